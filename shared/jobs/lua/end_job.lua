-- Prepended to every script. end_job moves a job to its final status, once. Keys are built as in shared/jobs/keys.py.
local function seconds()
  local t = redis.call('TIME')
  return t[1] .. '.' .. string.format('%06d', tonumber(t[2]))
end

local function is_active(status)
  return status == 'queued' or status == 'running'
end

local function end_job(id, from, status, problem)
  local now = seconds()
  -- A script that begins with a removal may go on when Redis's memory is full.
  redis.call('ZREM', 'shapbox:jobs:' .. from, id)
  redis.call('HSET', 'shapbox:job:' .. id, 'status', status, 'finished_at', now, 'error', problem)
  redis.call('ZADD', 'shapbox:jobs:' .. status, 0, id)
  redis.call('ZADD', 'shapbox:finished', now, id)
  redis.call('HINCRBY', 'shapbox:counters', 'jobs_total|' .. status, 1)
  redis.call('PUBLISH', 'shapbox:ended', id)
end
