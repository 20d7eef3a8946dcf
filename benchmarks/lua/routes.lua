-- 5,000 URLs spread evenly over the routes, whose number is the first argument. The second may name a file of header fields, a field a line: each request has one.
local urls, total, next_url = {}, 5000, 0

function init(args)
  local routes, fields = tonumber(args[1]), {}
  for line in args[2] and io.lines(args[2]) or function() end do fields[#fields + 1] = line end
  for i = 0, total - 1 do
    local route, headers = math.floor(i * routes / total), nil
    if #fields > 0 then
      local name, value = fields[i % #fields + 1]:match("^(.-): (.*)$")
      headers = {[name] = value, Host = "bench"}
    end
    urls[i] = wrk.format("GET", string.format("/team%d/service-%d/items/%d?page=2", route % 40, route, i), headers)
  end
  -- Neighbours in the list share a route: a stride that is coprime to the total visits all of them in a scattered order.
end

function request()
  next_url = (next_url + 1931) % total
  return urls[next_url]
end
