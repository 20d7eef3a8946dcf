-- One request for each header field in the file named by the first argument, a field a line, one after the other.
local requests, next_request = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    local name, value = line:match("^(.-): (.*)$")
    requests[#requests + 1] = wrk.format("GET", nil, {[name] = value, Host = "bench"})
  end
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end
