-- End a job from outside: it failed, or it is cancelled. ARGV: job id, status, problem as JSON or ''.
-- Returns the status the job had before, or gone. A job that has ended stays as it is.
local id = ARGV[1]
local status = redis.call('HGET', 'shapbox:job:' .. id, 'status')
if not status then return 'gone' end
if is_active(status) then end_job(id, status, ARGV[2], ARGV[3]) end
return status
