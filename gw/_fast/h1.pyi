"""HTTP/1.1 framing for both roles, without sockets; for compiled callers only. gw._fast.probe drives it from Python."""
