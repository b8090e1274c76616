-- A worker takes a batch. ARGV: job id, batch, owner, token.
-- Returns run, taken (another worker holds it), done (its result is recorded), ended (its job has ended)
-- or gone (its job is deleted).
local id, batch, owner, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local status = redis.call('HGET', 'shapbox:job:' .. id, 'status')
if not status then return 'gone' end
if not is_active(status) then return 'ended' end
if redis.call('SISMEMBER', 'shapbox:todo:' .. id, batch) == 0 then return 'done' end
local field = id .. ':' .. batch
local holder = redis.call('HGET', 'shapbox:running', field)
if holder and cjson.decode(holder).owner ~= owner then return 'taken' end
local now = seconds()
redis.call('HSET', 'shapbox:running', field, cjson.encode({owner = owner, token = token, since = tonumber(now)}))
if status == 'queued' then
  redis.call('HSET', 'shapbox:job:' .. id, 'status', 'running', 'started_at', now)
  redis.call('ZREM', 'shapbox:jobs:queued', id)
  redis.call('ZADD', 'shapbox:jobs:running', 0, id)
end
return 'run'
