-- A worker records that a batch's result is stored. ARGV: job id, batch, rows, model.
-- The batch that completes the set completes the job. Returns recorded, completed (the job with it),
-- repeated (it was recorded before), ended or gone.
local id, batch = ARGV[1], ARGV[2]
redis.call('HDEL', 'shapbox:running', id .. ':' .. batch)
local status = redis.call('HGET', 'shapbox:job:' .. id, 'status')
if not status then return 'gone' end
if not is_active(status) then return 'ended' end
if redis.call('SREM', 'shapbox:todo:' .. id, batch) == 0 then return 'repeated' end
redis.call('HINCRBY', 'shapbox:counters', 'rows_explained_total|' .. ARGV[4], ARGV[3])
if redis.call('SCARD', 'shapbox:todo:' .. id) > 0 then return 'recorded' end
end_job(id, status, 'completed', '')
return 'completed'
