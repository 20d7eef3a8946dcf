-- Requests by the callers whose tokens stand in the file named by the first argument, one after the other.
local requests, next_request = {}, 0

function init(args)
  for token in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, {Authorization = "Bearer " .. token, Host = "bench"})
  end
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end
