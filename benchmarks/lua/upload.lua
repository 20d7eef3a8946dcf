wrk.method = "POST"
wrk.body = string.rep("u", 256 * 1024)
