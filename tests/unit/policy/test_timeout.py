"""The policy `timeout`: waits below the route's."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.unit.policy.gateway import explained, gateway, problems


def test_an_answer_that_takes_longer_is_not_waited_for(tmp_path: Path) -> None:
    with gateway(tmp_path, "[timeout: {answer: 50ms}]") as made:
        answer = made.client().ask("/slow", method="POST")
        assert answer.status == 504
        assert b'"reason":"origin-timeout"' in answer.body
        made.origin.go_on.set()
        assert made.client().ask("/").status == 200


def test_a_body_that_stops_is_not_waited_for(tmp_path: Path) -> None:
    with gateway(tmp_path, "[timeout: {idle: 50ms}]") as made:
        client = made.client()
        client.send("/", "Content-Length: 5", method="POST")
        client.sock.sendall(b"ab")
        answer = client.read()
        assert answer.status == 408
        assert b'"reason":"body-timeout"' in answer.body


def test_an_endpoint_that_does_not_accept_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        port = full.getsockname()[1]  # its queue holds the one above and no other
        with gateway(tmp_path, "[]") as made:
            made.rig.reload(f"services: {{one: {{endpoints: ['127.0.0.1:{port}'], retries: 0}}}}\nroutes: [{{path: /, service: one, policies: [timeout: {{connect: 50ms}}]}}]")
            answer = made.client().ask("/")
            assert answer.status == 504
            assert b'"reason":"connect-timeout"' in answer.body


def test_waits_that_are_longer_than_the_routes_change_nothing(tmp_path: Path) -> None:
    (verdict,) = explained(tmp_path, "[timeout: {connect: 1h, answer: 1s}]", "GET", "http://h.example/").verdicts
    assert verdict.told.endswith("connect 5000 ms, answer 1000 ms, idle 30000 ms")


def test_a_time_out_for_nothing_is_refused() -> None:
    assert [each.message for each in problems("timeout")] == ["timeout shortens nothing"]
