-- A batch's holder is dead, or hands it back: give the batch back, or fail its job when it has killed too many.
-- ARGV: job id, batch, the holder exactly as read, how many deaths are too many, the problem as JSON, and
-- whether the batch may be to blame (1) or is handed back for a reason outside of it (0).
-- Returns requeue, poisoned, done, ended, or changed (someone else holds it by now).
local id, batch, holder, limit, problem = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local field = id .. ':' .. batch
if redis.call('HGET', 'shapbox:running', field) ~= holder then return 'changed' end
redis.call('HDEL', 'shapbox:running', field)
local status = redis.call('HGET', 'shapbox:job:' .. id, 'status')
if not status or not is_active(status) then return 'ended' end
if redis.call('SISMEMBER', 'shapbox:todo:' .. id, batch) == 0 then return 'done' end
if ARGV[6] == '1' and redis.call('HINCRBY', 'shapbox:deaths:' .. id, batch, 1) >= limit then
  end_job(id, status, 'failed', problem)
  return 'poisoned'
end
return 'requeue'
