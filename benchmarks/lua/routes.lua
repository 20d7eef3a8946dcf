-- 5,000 URLs spread evenly over the routes; the number of routes is the first argument.
local urls, total, next_url = {}, 5000, 0

function init(args)
  local routes = tonumber(args[1])
  for i = 0, total - 1 do
    local route = math.floor(i * routes / total)
    urls[i] = wrk.format("GET", string.format("/team%d/service-%d/items/%d?page=2", route % 40, route, i))
  end
  -- Neighbours in the list share a route: a stride that is coprime to the total visits all of them in a scattered order.
end

function request()
  next_url = (next_url + 1931) % total
  return urls[next_url]
end
