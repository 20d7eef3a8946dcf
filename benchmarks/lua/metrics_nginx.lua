-- What Kong's prometheus plugin does with a request, no more: counts and histograms by route in tables of the worker, added to a shared dict once a second.
local bounds = {0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, math.huge}
local histograms = {"gateway_request_duration_seconds", "gateway_origin_duration_seconds"}
local counters = {"gateway_request_bytes_total", "gateway_response_bytes_total"}
local classes = {"1xx", "2xx", "3xx", "4xx", "5xx"}
local routes, touched = {}, {}

local function histogram()
  local made = {sum = 0}
  for i = 1, #bounds do made[i] = 0 end
  return made
end

local function observe(into, seconds)
  into.sum = into.sum + seconds
  local i = 1
  while seconds > bounds[i] do i = i + 1 end
  into[i] = into[i] + 1
end

local function log()
  local var = ngx.var
  local name = var.route or "(no route)"
  local route = routes[name]
  if not route then
    route = {requests = {0, 0, 0, 0, 0}, bytes = {0, 0}, times = {histogram(), histogram()}}
    routes[name] = route
  end
  touched[name] = route
  local class = math.floor(ngx.status / 100)
  route.requests[class] = route.requests[class] + 1
  route.bytes[1] = route.bytes[1] + tonumber(var.request_length)
  route.bytes[2] = route.bytes[2] + tonumber(var.bytes_sent)
  observe(route.times[1], ngx.now() - ngx.req.start_time())
  local origin = tonumber(var.upstream_response_time)
  if origin then observe(route.times[2], origin) end
end

-- Adds what `values` holds to the shared counts and sets it back to 0.
local function move(values, index, key)
  if values[index] ~= 0 then
    ngx.shared.metrics:incr(key, values[index], 0)
    values[index] = 0
  end
end

local function flush()
  for name, route in pairs(touched) do
    for i, class in ipairs(classes) do move(route.requests, i, 'gateway_requests_total{route="' .. name .. '",status_class="' .. class .. '"}') end
    for i, counter in ipairs(counters) do move(route.bytes, i, counter .. '{route="' .. name .. '"}') end
    for i, each in ipairs(histograms) do
      for j, bound in ipairs(bounds) do move(route.times[i], j, each .. '_bucket{route="' .. name .. '",le="' .. bound .. '"}') end
      move(route.times[i], "sum", each .. '_sum{route="' .. name .. '"}')
    end
    touched[name] = nil
  end
end

local function show()
  flush()
  for _, key in ipairs(ngx.shared.metrics:get_keys(0)) do ngx.say(key, " ", ngx.shared.metrics:get(key)) end
end

return {log = log, show = show, start = function() ngx.timer.every(1, flush) end}
