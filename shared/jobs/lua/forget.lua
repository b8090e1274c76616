-- Removes an ended job. ARGV: job id. Returns 1 if it existed.
local id = ARGV[1]
local key = 'shapbox:job:' .. id
local status, idempotency = unpack(redis.call('HMGET', key, 'status', 'idempotency'))
if status and is_active(status) then return 0 end
redis.call('ZREM', 'shapbox:jobs', id)
redis.call('ZREM', 'shapbox:finished', id)
if status then redis.call('ZREM', 'shapbox:jobs:' .. status, id) end
if idempotency and idempotency ~= '' then redis.call('DEL', idempotency) end
redis.call('DEL', 'shapbox:todo:' .. id, 'shapbox:deaths:' .. id)
return redis.call('DEL', key)
