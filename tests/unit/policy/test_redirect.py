"""The policy `redirect`: where clients are sent, and that they arrive."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.policy.gateway import explained, gateway, problems


@pytest.mark.parametrize(
    ("settings", "url", "location"),
    [
        ("https: true", "http://h.example/a?b=c", "https://h.example/a?b=c"),
        ("https: true", "https://h.example/a", ""),
        ("https: true", "http://h.example:8080/a", "https://h.example/a"),
        ("https: true, port: 8443", "http://h.example:8080/a", "https://h.example:8443/a"),
        ("host: www.example.com", "http://h.example/a?", "http://www.example.com/a?"),
        ("host: h.EXAMPLE", "http://H.example:81/a", ""),
        ("https: true, host: e.example", "http://h.example//evil.example/", "https://e.example/evil.example/"),
        ("www: add", "http://h.example/", "http://www.h.example/"),
        ("www: add", "http://www.h.example/", ""),
        ("www: remove", "https://www.h.example/", "https://h.example/"),
        ("www: remove", "https://h.example/", ""),
        ("trailing_slash: add", "http://h.example:81/a/b", "http://h.example:81/a/b/"),
        ("trailing_slash: add", "http://h.example/a/b.css", ""),
        ("trailing_slash: add", "http://h.example/", ""),
        ("trailing_slash: remove", "http://h.example/a/b/?x", "http://h.example/a/b?x"),
        ("trailing_slash: remove", "http://h.example/", ""),
        ("trailing_slash: remove, https: true", "http://h.example/a/", "https://h.example/a"),
    ],
)
def test_where_a_client_is_sent(tmp_path: Path, settings: str, url: str, location: str) -> None:
    policies = f"[redirect: {{{settings}}}]"
    decision = explained(tmp_path, policies, "GET", url)
    head = decision.answer.decode("latin-1")
    assert (f"\r\nLocation: {location}\r\n" in head) == bool(location)
    assert head.startswith("HTTP/1.1 308 ") == bool(location)
    if location:
        assert explained(tmp_path, policies, "GET", location).answer == b"", "it would be sent on again"


def test_status_and_sockets(tmp_path: Path) -> None:
    with gateway(tmp_path, "[redirect: {host: other.example, status: 303}]") as made:
        client = made.client()
        for _ in range(2):
            answer = client.ask("/a", method="POST", body=b"x")
            assert (answer.status, answer.one("Location"), answer.body) == (303, "http://other.example/a", b"")
        assert made.origin.paths == []


def test_a_trusted_proxy_has_ended_the_tls(tmp_path: Path) -> None:
    with gateway(tmp_path, "[redirect: {https: true}]", more="trusted_proxies: [127.0.0.1]") as made:
        client = made.client()
        assert client.ask("/", "X-Forwarded-Proto: https").status == 200
        assert client.ask("/", "X-Forwarded-Proto: http").status == 308
    with gateway(tmp_path, "[redirect: {https: true}]") as made:
        assert made.client().ask("/", "X-Forwarded-Proto: https").status == 308


def test_a_request_without_a_host_goes_on(tmp_path: Path) -> None:
    with gateway(tmp_path, "[redirect: {https: true}]") as made:
        client = made.client()
        client.sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read().status == 200


def test_explain_says_where_to(tmp_path: Path) -> None:
    told = [explained(tmp_path, "[redirect: {https: true}]", "GET", f"{scheme}://h.example/").verdicts[0].told for scheme in ("http", "https")]
    assert told == ["Location: https://h.example/", "this is the URL it should be"]


@pytest.mark.parametrize(
    ("settings", "place", "message"),
    [
        ({}, "$.p", "redirect asks for no form"),
        ({"host": "a b"}, "$.p.host", "'a b' is not a host name"),
        ({"host": "a.example", "www": "add"}, "$.p.www", "host and www exclude each other"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(settings: dict[str, str], place: str, message: str) -> None:
    (problem,) = problems("redirect", **settings)
    assert (problem.pointer, problem.message) == (place, message)
