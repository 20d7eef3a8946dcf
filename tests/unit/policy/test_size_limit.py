"""The policy `size-limit`: what is larger than the route's own limits is not its business, what is larger than it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.policy.gateway import explained, gateway, problems


def test_a_declared_body_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with gateway(tmp_path, "[size-limit: {body: 10}]") as made:
        client = made.client()
        assert client.ask("/", method="POST", body=b"x" * 10).told["body"] == "x" * 10
        answer = client.ask("/", "Expect: 100-continue", "Content-Length: 11", method="POST")
        assert answer.status == 413
        assert b'"reason":"body-too-large"' in answer.body
        assert answer.one("Connection") == "close"
        assert made.origin.paths == ["/"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_chunked_body_is_refused_where_it_grows_too_large(tmp_path: Path, whole: bool) -> None:
    with gateway(tmp_path, "[size-limit: {body: 10}]") as made:
        client = made.client()
        client.send("/", "Transfer-Encoding: chunked", method="POST")
        client.sock.sendall(b"a\r\n0123456789\r\n0\r\n\r\n")
        assert client.read().told["body"] == "0123456789"
        client.send("/", "Transfer-Encoding: chunked", method="POST")
        client.sock.sendall(b"a\r\n0123456789\r\n" + (b"1\r\nx\r\n0\r\n\r\n" if whole else b""))
        if not whole:
            client.sock.sendall(b"1\r\nx\r\n")
        assert client.read().status == 413


def test_the_lower_limit_counts(tmp_path: Path) -> None:
    with gateway(tmp_path, "[size-limit: {body: 20}, size-limit: {body: 10}, size-limit: {body: 30}]", route="path: /, max_body: 15") as made:
        for size, status in ((10, 200), (11, 413), (16, 413)):
            client = made.client()
            client.send("/", "Transfer-Encoding: chunked", method="POST")
            client.sock.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size))
            assert client.read().status == status
    with gateway(tmp_path, "[size-limit: {body: 20}]", route="path: /, max_body: 15") as made:
        assert made.client().ask("/", method="POST", body=b"x" * 16).status == 413


def test_one_request_is_not_measured_by_the_limits_of_another(tmp_path: Path) -> None:
    with gateway(tmp_path, "[size-limit: {body: 10}]", route="path: /small", others=", {path: /free, service: one}") as made:
        client = made.client()
        assert client.ask("/small", method="POST", body=b"x" * 5).status == 200
        client.send("/free", "Transfer-Encoding: chunked", method="POST")
        client.sock.sendall(b"14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n")
        assert client.read().status == 200


def test_a_head_is_refused_for_its_size_and_for_its_fields(tmp_path: Path) -> None:
    with gateway(tmp_path, "[size-limit: {head: 100, fields: 3}]") as made:
        client = made.client()
        assert client.ask("/", "A: 1", "B: 2").status == 200
        answer = client.ask("/", "A: 1", "B: 2", "C: 3")
        assert (answer.status, b'"reason":"too-many-fields"' in answer.body) == (431, True)
        answer = client.ask("/", f"A: {'x' * 100}")
        assert (answer.status, b'"reason":"head-too-large"' in answer.body) == (431, True)
        assert client.ask("/").status == 200


def test_explain_says_what_is_in_force(tmp_path: Path) -> None:
    (verdict,) = explained(tmp_path, "[size-limit: {body: 10}]", "GET", "http://h.example/").verdicts
    assert verdict.told == "head 35 B, 1 fields; body up to 10 B, connect 5000 ms, answer 15000 ms, idle 30000 ms"


def test_a_limit_on_nothing_is_refused() -> None:
    assert [each.message for each in problems("size-limit")] == ["size-limit limits nothing"]
