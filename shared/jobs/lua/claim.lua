-- A worker claims a batch. ARGV: job id, batch, owner, token.
-- The holder may claim it again while it runs, which renews `since`: the monitor judges by that whether a worker hangs.
-- Returns run, taken (another process holds it), done (its result is recorded), ended or gone (so is its job).
local id, batch, owner, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local status, request = unpack(redis.call('HMGET', 'shapbox:job:' .. id, 'status', 'request'))
if not status then return 'gone' end
if not is_active(status) then return 'ended' end
if redis.call('SISMEMBER', 'shapbox:todo:' .. id, batch) == 0 then return 'done' end
local field = id .. ':' .. batch
local holder = redis.call('HGET', 'shapbox:running', field)
-- A batch of an earlier process of this name is released by the monitor, which knows how that process ended.
if holder then
  local holds = cjson.decode(holder)
  if holds.owner ~= owner or holds.token ~= token then return 'taken' end
end
local now = seconds()
-- A script that begins with a removal may go on when Redis's memory is full.
redis.call('HDEL', 'shapbox:running', field)
redis.call('HSET', 'shapbox:running', field, cjson.encode({owner = owner, token = token, since = tonumber(now), request = request or ''}))
if status == 'queued' then
  redis.call('HSET', 'shapbox:job:' .. id, 'status', 'running', 'started_at', now)
  redis.call('ZREM', 'shapbox:jobs:queued', id)
  redis.call('ZADD', 'shapbox:jobs:running', 0, id)
end
return 'run'
