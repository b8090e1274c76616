-- Releases a batch from its holder, or fails its job if the batch has ended too many workers. ARGV: job id, batch, the
-- holder exactly as read, the limit of blame, the problem as JSON, and the blame to add (shared.jobs.recovery.Blame).
-- Returns requeue, poisoned, done, ended, or changed (another worker holds it now).
local id, batch, holder, limit, problem = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local blame = tonumber(ARGV[6])
local field = id .. ':' .. batch
if redis.call('HGET', 'shapbox:running', field) ~= holder then return 'changed' end
redis.call('HDEL', 'shapbox:running', field)
local status = redis.call('HGET', 'shapbox:job:' .. id, 'status')
if not is_active(status) then return 'ended' end
if redis.call('SISMEMBER', 'shapbox:todo:' .. id, batch) == 0 then return 'done' end
if blame > 0 and redis.call('HINCRBY', 'shapbox:deaths:' .. id, batch, blame) >= limit then
  end_job(id, status, 'failed', problem)
  redis.call('HINCRBY', 'shapbox:counters', 'batches_poisoned_total', 1)
  return 'poisoned'
end
return 'requeue'
