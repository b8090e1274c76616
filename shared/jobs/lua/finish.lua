-- Ends an active job as failed or cancelled. ARGV: job id, status, problem as JSON or ''.
-- Returns the job's status before, or gone.
local id = ARGV[1]
local status = redis.call('HGET', 'shapbox:job:' .. id, 'status')
if not status then return 'gone' end
if is_active(status) then end_job(id, status, ARGV[2], ARGV[3]) end
return status
