-- Requests are put together once, and sent in turn. Arguments: a file with a token a line,
-- the values of the Connection and of the Host header. BENCH_PERCENTILES says where to read
-- latencies off (the state that ends a run is another one than those that make requests).
local requests = {}
local position = 0

function init(arguments)
  for token in io.lines(arguments[1]) do
    local headers = { Authorization = token, Connection = arguments[2], Host = arguments[3] }
    requests[#requests + 1] = wrk.format("GET", nil, headers)
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  local values = {}
  for percentile in string.gmatch(os.getenv("BENCH_PERCENTILES"), "[^,]+") do
    values[#values + 1] = string.format("%d", latency:percentile(tonumber(percentile)))
  end
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"bytes":%d,"failed":%d,"refused":%d,"distribution":[%s]}\n',
    summary.requests, summary.duration, summary.bytes, failed, errors.status,
    table.concat(values, ",")))
end
