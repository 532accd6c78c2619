-- Sends the requests of a file, one "TARGET CLIENT" a line, one after the other, and prints what came of it as JSON.
local requests, place = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    local target, client = line:match("^(%S+) (%S+)$")
    requests[#requests + 1] = wrk.format("GET", target, { ["X-Forwarded-For"] = client })
  end
  place = tonumber(args[2]) % #requests
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "bytes": %d, "failed": %d, "p50": %f, "p99": %f, "p999": %f, "worst": %f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, latency.max / 1e3))
end
