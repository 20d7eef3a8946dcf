"""The policy `csrf`: which unsafe requests a browser was made to send."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.policy.gateway import explained, gateway, problems

ALLOW = "[csrf: {origins: ['https://*.friend.example']}]"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (("Sec-Fetch-Site: same-origin",), 200),
        (("Sec-Fetch-Site: none",), 200),
        (("Sec-Fetch-Site: same-site", "Origin: http://other.h.example"), 403),
        (("Sec-Fetch-Site: cross-site", "Origin: http://h.example"), 403),  # a browser's word counts for more than a name that was rebound
        (("Sec-Fetch-Site: cross-site", "Origin: https://a.friend.example"), 200),
        (("Sec-Fetch-Site: cross-site",), 403),
        (("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"), 403),
        (("Origin: http://h.example",), 200),
        (("Origin: http://H.example",), 200),
        (("Origin: http://h.example:80",), 403),  # no browser writes it so
        (("Origin: https://h.example",), 403),
        (("Origin: http://h.example.evil",), 403),
        (("Origin: http://h.exampl",), 403),
        (("Origin: http://",), 403),
        (("Origin: null",), 403),
        (("Origin: http://h.example", "Origin: http://h.example"), 403),
        (("Origin: https://a.friend.example",), 200),
        (("Origin: https://friend.example",), 403),
        (("Referer: http://h.example/page?x",), 200),
        (("Referer: http://h.example",), 200),
        (("Referer: http://evil.example/http://h.example/",), 403),
        (("Referer: https://a.friend.example#x",), 200),
        (("Referer: about:blank",), 403),
        (("Referer:",), 403),
        ((), 200),
    ],
)
def test_an_unsafe_request_comes_from_here_or_from_a_friend(tmp_path: Path, fields: tuple[str, ...], status: int) -> None:
    with gateway(tmp_path, ALLOW) as made:
        client = made.client()
        answer = client.ask("/", *fields, method="POST")
        assert answer.status == status
        assert (b'"reason":"cross-origin"' in answer.body) == (status == 403)
        assert client.ask("/", *fields).status == 200


def test_the_port_is_part_of_the_origin(tmp_path: Path) -> None:
    for port, origin, reason in ((":8080", ":8080", ""), (":8080", "", "cross-origin"), ("", ":8080", "cross-origin"), (":80", "", "")):
        decision = explained(tmp_path, "[csrf]", "POST", f"http://h.example{port}/", ("Origin", f"http://h.example{origin}"))
        assert decision.reason == reason, (port, origin)


def test_a_trusted_proxy_says_what_scheme_the_client_used(tmp_path: Path) -> None:
    with gateway(tmp_path, "[csrf]", more="trusted_proxies: [127.0.0.1]") as made:
        assert made.client().ask("/", "X-Forwarded-Proto: https", "Origin: https://h.example", method="POST").status == 200
    with gateway(tmp_path, "[csrf]") as made:
        assert made.client().ask("/", "X-Forwarded-Proto: https", "Origin: https://h.example", method="POST").status == 403


def test_what_says_nothing_can_be_refused(tmp_path: Path) -> None:
    with gateway(tmp_path, "[csrf: {missing: refuse}]") as made:
        client = made.client()
        assert client.ask("/", method="DELETE").status == 403
        assert client.ask("/", method="HEAD").status == 200
        assert client.ask("/", "Origin: http://h.example", method="DELETE").status == 200


def test_explain_says_why(tmp_path: Path) -> None:
    told = [explained(tmp_path, "[csrf]", method, "http://h.example/", ("Origin", "http://x.example")).verdicts[0].told for method in ("GET", "PUT")]
    assert told == ["a safe method", "another origin"]


@pytest.mark.parametrize("origin", ["*", "friend.example", "https://friend.example/path", "https://*friend.example"])
def test_what_is_no_origin_is_refused_where_it_is_written(origin: str) -> None:
    (problem,) = problems("csrf", origins=[origin])
    assert problem.pointer == "$.p.origins[0]"
    assert problem.message
