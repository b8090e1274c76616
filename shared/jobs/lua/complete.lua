-- Records a stored result. ARGV: job id, batch, rows, model, largest residual.
-- The last batch completes the job. Returns recorded, completed, repeated (it was recorded before), ended or gone.
local id, batch = ARGV[1], ARGV[2]
redis.call('HDEL', 'shapbox:running', id .. ':' .. batch)
local status = redis.call('HGET', 'shapbox:job:' .. id, 'status')
if not status then return 'gone' end
if not is_active(status) then return 'ended' end
if redis.call('SREM', 'shapbox:todo:' .. id, batch) == 0 then return 'repeated' end
redis.call('HINCRBY', 'shapbox:counters', 'rows_explained_total|' .. ARGV[4], ARGV[3])
-- The largest residual of the job, and of the model since the data folder was created.
for key, field in pairs({
  ['shapbox:job:' .. id] = 'largest_residual',
  ['shapbox:counters'] = 'largest_residual|' .. ARGV[4],
}) do
  local largest = tonumber(redis.call('HGET', key, field) or '')
  if not largest or tonumber(ARGV[5]) > largest then redis.call('HSET', key, field, ARGV[5]) end
end
if redis.call('SCARD', 'shapbox:todo:' .. id) > 0 then return 'recorded' end
end_job(id, status, 'completed', '')
return 'completed'
