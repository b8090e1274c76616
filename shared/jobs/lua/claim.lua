-- A worker takes a batch. ARGV: job id, batch, owner, token.
-- Whoever holds it already may claim it again, to say that it is still at it: `since` is now, and the monitor judges by that whether
-- it hangs (services/monitor/recovery/rescue.py). Workers do so in the middle of a batch that takes long (services/worker/slices.py).
-- Returns run, taken (another worker, or an earlier life of this one, holds it), done (its result is recorded), ended (its job has ended)
-- or gone (its job is deleted).
local id, batch, owner, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local status, request = unpack(redis.call('HMGET', 'shapbox:job:' .. id, 'status', 'request'))
if not status then return 'gone' end
if not is_active(status) then return 'ended' end
if redis.call('SISMEMBER', 'shapbox:todo:' .. id, batch) == 0 then return 'done' end
local field = id .. ':' .. batch
local holder = redis.call('HGET', 'shapbox:running', field)
-- What an earlier life held is released by whoever knows how that life ended, and counted.
if holder then
  local holds = cjson.decode(holder)
  if holds.owner ~= owner or holds.token ~= token then return 'taken' end
end
local now = seconds()
-- A script that begins with a removal may go on where Redis's memory is full.
redis.call('HDEL', 'shapbox:running', field)
redis.call('HSET', 'shapbox:running', field, cjson.encode({owner = owner, token = token, since = tonumber(now), request = request or ''}))
if status == 'queued' then
  redis.call('HSET', 'shapbox:job:' .. id, 'status', 'running', 'started_at', now)
  redis.call('ZREM', 'shapbox:jobs:queued', id)
  redis.call('ZADD', 'shapbox:jobs:running', 0, id)
end
return 'run'
