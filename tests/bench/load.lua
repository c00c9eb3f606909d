-- The load of one wrk run. Arguments after `--`: request file, load time in seconds, last bytes of a right answer.
--
-- wrk neither counts a request whose connection closed before the answer, nor a wrong body. Both are counted here.
-- It also ends with requests in flight, which a gateway must account; so new requests are held back once the load time
-- is over, and the run ends idle. Every request sent then has one answer, or is an error.

local ffi = require("ffi")
ffi.cdef [[
struct kf_timespec { long seconds; long nanoseconds; };
int clock_gettime(int clock_id, struct kf_timespec *now);
]]
local CLOCK_MONOTONIC = 1
local HOLD_MS = 3600000
local TRAILING_SPACE = 4 -- line ends allowed after the right ending
local LATENCY_PERCENTILES = { 50, 90, 99 }

local clock = ffi.new("struct kf_timespec")
local threads = {}
local request_bytes, load_us, ending

-- Globals, because `done` runs in another Lua state and reads them through the thread.
sent, answered, wrong, first_us, last_us = 0, 0, 0, 0, 0

local function now_us()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, clock)
  return tonumber(clock.seconds) * 1e6 + tonumber(clock.nanoseconds) / 1e3
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  request_bytes = file:read("*a")
  file:close()
  load_us = tonumber(args[2]) * 1e6
  ending = args[3]
end

function delay()
  local now = now_us()
  if first_us == 0 then
    first_us = now
    sent = 0 -- wrk asks once for a request before the run, to look at it
  end
  if now - first_us >= load_us then return HOLD_MS end
  return 0
end

function request()
  sent = sent + 1
  return request_bytes
end

function response(status, headers, body)
  answered = answered + 1
  last_us = now_us()
  local tail_start = math.max(#body - #ending - TRAILING_SPACE, 1)
  if status ~= 200 or not body:find(ending, tail_start, true) then wrong = wrong + 1 end
end

function done(summary, latency, requests)
  local total_sent, total_answered, total_wrong, elapsed_us = 0, 0, 0, 0
  for _, thread in ipairs(threads) do
    total_sent = total_sent + thread:get("sent")
    total_answered = total_answered + thread:get("answered")
    total_wrong = total_wrong + thread:get("wrong")
    elapsed_us = math.max(elapsed_us, thread:get("last_us") - thread:get("first_us"))
  end
  local socket_errors = summary.errors.connect + summary.errors.read + summary.errors.write
  io.write(string.format(
    'BENCH {"sent": %d, "answered": %d, "wrong": %d, "socket_errors": %d, "timeouts": %d, "elapsed_us": %d',
    total_sent, total_answered, total_wrong, socket_errors, summary.errors.timeout, elapsed_us))
  for _, percentile in ipairs(LATENCY_PERCENTILES) do
    io.write(string.format(', "p%d_us": %d', percentile, latency:percentile(percentile)))
  end
  io.write("}\n")
end
