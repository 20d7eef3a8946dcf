"""Limits over two workers in processes of their own: exact, and nothing is lost with a worker that is killed."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

from tests.integration.conftest import START, Gateway, until

ROUTES = """
services: {{slow: {{endpoints: ["127.0.0.1:{port}"]}}}}
routes:
  - {{path: /, service: slow, policies: [concurrency: {{limit: 2}}]}}
  - {{path: /rate, respond: {{}}, policies: [rate-limit: {{rate: 20/h}}]}}
"""


def sent(port: int, path: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), START)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    return sock


def test_a_rate_is_exact_over_all_workers(gateway: Gateway) -> None:
    gateway.write(ROUTES.format(port=1))
    gateway.start()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: gateway.get("/rate")[0], range(60)))
    assert sorted(set(answers)) == [200, 429]
    assert answers.count(200) == 20


def test_what_a_killed_worker_had_in_flight_is_given_back(slow_origin: int, gateway: Gateway) -> None:
    gateway.write(ROUTES.format(port=slow_origin))
    gateway.start()
    held = [sent(gateway.port, "/60") for _ in range(2)]
    until(lambda: gateway.get("/0")[0] == 429, START, "both places are taken")
    killed = gateway.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not set(killed) & set(gateway.workers()) and gateway.call("status")["ready"], START, "new workers serve")
    assert [gateway.get("/0")[0] for _ in range(4)] == [200] * 4
    for sock in held:
        sock.close()
