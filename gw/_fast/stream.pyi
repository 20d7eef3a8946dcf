"""Non-blocking byte streams, plain or TLS, and the epoll set they live in; for compiled callers only."""
