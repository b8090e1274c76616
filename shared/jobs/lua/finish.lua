-- Ends an active job as failed or cancelled. ARGV: job id, status, problem as JSON or ''. Returns 1 if it was active.
local id = ARGV[1]
local status = redis.call('HGET', 'shapbox:job:' .. id, 'status')
if not is_active(status) then return 0 end
end_job(id, status, ARGV[2], ARGV[3])
return 1
