"""The policy `cors`: what browsers are told, for answers of origins and of gw."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.cross_origin import OriginSet
from tests.unit.policy.gateway import explained, gateway, problems

APP = "Origin: https://app.example"
SITES = "[cors: {origins: ['https://app.example', 'https://*.example.com'], methods: [GET, PUT], headers: [X-A, X-B], expose: [X-Origin], credentials: true, max_age: 60s}"


def test_an_answer_says_who_may_read_it(tmp_path: Path) -> None:
    with gateway(tmp_path, f"{SITES}]") as made:
        client = made.client()
        for origin in ("https://app.example", "https://a.example.com", "https://b.a.example.com"):
            answer = client.ask("/", f"Origin: {origin}")
            assert answer.status == 200
            assert answer.one("Access-Control-Allow-Origin") == origin
            assert answer.one("Access-Control-Allow-Credentials") == "true"
            assert answer.one("Access-Control-Expose-Headers") == "X-Origin"
            assert answer.all("Vary") == ["Origin"]


OTHERS = ["Origin: https://evil.example", "Origin: https://example.com", "Origin: http://app.example", "Origin: https://app.example:444", "Origin: null", "Origin: ", "X-None: x"]


@pytest.mark.parametrize("field", [*OTHERS, "Origin: https://app.example.evil", "Origin: https://evil/.example.com", "Origin: https://.example.com"])
def test_another_origin_is_told_nothing_but_that_the_answer_depends_on_it(tmp_path: Path, field: str) -> None:
    with gateway(tmp_path, f"{SITES}]") as made:
        answer = made.client().ask("/", field)
        assert answer.status == 200
        assert [name for name, _ in answer.fields if name.startswith("Access-Control")] == []
        assert answer.all("Vary") == ["Origin"]


def test_two_origins_are_none(tmp_path: Path) -> None:
    with gateway(tmp_path, f"{SITES}]") as made:
        assert made.client().ask("/", APP, APP).all("Access-Control-Allow-Origin") == []


def test_any_site_may_read_what_does_not_depend_on_the_site(tmp_path: Path) -> None:
    with gateway(tmp_path, "[cors: {origins: ['*']}]") as made:
        answer = made.client().ask("/", "Origin: https://any.example")
        assert answer.all("Access-Control-Allow-Origin") == ["*"]
        assert answer.all("Vary") == []
        assert answer.all("Access-Control-Allow-Credentials") == []


OWN = """
def build(config: Config, tools: Tools) -> Hooks:
    def say(request: Request) -> None:
        request.response_headers["Access-Control-Allow-Origin"] = "*"
        request.response_headers["Access-Control-Allow-Credentials"] = "true"
    return Hooks(response=say)
"""


def test_what_the_service_says_by_itself_does_not_count(tmp_path: Path) -> None:
    with gateway(tmp_path, "[cors: {origins: ['https://app.example']}, own]", own=OWN) as made:
        client = made.client()
        answer = client.ask("/", APP)
        assert answer.all("Access-Control-Allow-Origin") == ["https://app.example"]
        assert answer.all("Access-Control-Allow-Credentials") == []
        assert client.ask("/").all("Access-Control-Allow-Origin") == []


def test_a_preflight_is_answered(tmp_path: Path) -> None:
    with gateway(tmp_path, f"{SITES}]") as made:
        client = made.client()
        for _ in range(2):
            answer = client.ask("/", APP, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-a", method="OPTIONS")
            assert (answer.status, answer.body) == (204, b"")
            assert answer.one("Access-Control-Allow-Origin") == "https://app.example"
            assert answer.one("Access-Control-Allow-Methods") == "GET, PUT"
            assert answer.one("Access-Control-Allow-Headers") == "X-A, X-B"
            assert answer.one("Access-Control-Allow-Credentials") == "true"
            assert answer.one("Access-Control-Max-Age") == "60"
            assert answer.all("Access-Control-Expose-Headers") == []
            assert answer.one("Vary") == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        assert made.origin.paths == []


def test_a_preflight_of_another_site_is_refused(tmp_path: Path) -> None:
    with gateway(tmp_path, f"{SITES}]") as made:
        answer = made.client().ask("/", "Origin: https://evil.example", "Access-Control-Request-Method: PUT", method="OPTIONS")
        assert answer.status == 403
        assert b'"reason":"cross-origin"' in answer.body
        assert answer.all("Access-Control-Allow-Origin") == []
        assert answer.all("Access-Control-Allow-Methods") == []
        assert answer.one("Vary") == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


@pytest.mark.parametrize("fields", [(APP,), ("Access-Control-Request-Method: PUT",), ()])
def test_other_options_go_on(tmp_path: Path, fields: tuple[str, ...]) -> None:
    with gateway(tmp_path, "[cors: {origins: ['https://app.example']}, respond: {status: 418}]") as made:
        assert made.client().ask("/", *fields, method="OPTIONS").status == 418


def test_what_is_asked_for_is_allowed_where_anything_is(tmp_path: Path) -> None:
    with gateway(tmp_path, "[cors: {origins: ['https://app.example'], methods: ['*'], headers: ['*'], max_age: null, private_network: true}]") as made:
        client = made.client()
        asked = ("Access-Control-Request-Method: PURGE", "Access-Control-Request-Headers: authorization, x-b")
        answer = client.ask("/", APP, *asked, "Access-Control-Request-Private-Network: true", method="OPTIONS")
        assert answer.one("Access-Control-Allow-Methods") == "PURGE"
        assert answer.one("Access-Control-Allow-Headers") == "authorization, x-b"
        assert answer.one("Access-Control-Allow-Private-Network") == "true"
        assert answer.all("Access-Control-Max-Age") == []
        plain = client.ask("/", APP, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: \x80", method="OPTIONS")
        assert plain.all("Access-Control-Allow-Headers") == []
        assert plain.all("Access-Control-Allow-Private-Network") == []


DENY = """
from gw.policy import Refusal

def build(config: Config, tools: Tools) -> Hooks:
    def deny(request: Request) -> Refusal:
        return Refusal("no-credential", {"WWW-Authenticate": "Key"})
    return Hooks(request=deny)
"""


def test_in_front_of_authentication_preflights_need_none_and_refusals_can_be_read(tmp_path: Path) -> None:
    with gateway(tmp_path, "[cors: {origins: ['https://app.example']}, deny]", deny=DENY) as made:
        client = made.client()
        assert client.ask("/", APP, "Access-Control-Request-Method: POST", method="OPTIONS").status == 204
        answer = client.ask("/", APP)
        assert (answer.status, answer.one("WWW-Authenticate")) == (401, "Key")
        assert answer.one("Access-Control-Allow-Origin") == "https://app.example"
        assert answer.all("Vary") == ["Origin"]


def test_explain_says_whose_request_it_was(tmp_path: Path) -> None:
    asked = ("Access-Control-Request-Method", "GET")
    decision = explained(tmp_path, f"{SITES}]", "OPTIONS", "http://h.example/", ("Origin", "https://app.example"), asked)
    assert [(each.verdict, each.told) for each in decision.verdicts] == [("answer", "preflight from an allowed origin")]
    assert decision.answer.startswith(b"HTTP/1.1 204 ")
    decision = explained(tmp_path, f"{SITES}]", "OPTIONS", "http://h.example/", ("Origin", "https://evil.example"), asked)
    assert [(each.verdict, each.reason, each.told) for each in decision.verdicts] == [("answer", "cross-origin", "preflight from another origin")]


@pytest.mark.parametrize(
    ("settings", "place", "message"),
    [
        ({"origins": ["https://app.example/"]}, "origins[0]", "'https://app.example/' is not an origin"),
        ({"origins": ["*", "app.example"]}, "origins[1]", "'app.example' is not an origin"),
        ({"origins": ["null"]}, "origins[0]", "'null' is not an origin"),
        ({"origins": ["https://App.example"]}, "origins[0]", "'https://App.example' is not in lower case"),
        ({"origins": ["https://app.example:443"]}, "origins[0]", "'https://app.example:443' names the default port"),
        ({"origins": ["https://a.*.example"]}, "origins[0]", "'a.*.example' is not a host name"),
        ({"origins": ["https://*"]}, "origins[0]", "'*' is not a host name"),
        ({"origins": ["*"], "methods": ["GE T"]}, "methods[0]", "'GE T' is not a method"),
        ({"origins": ["*"], "headers": ["X-A", "*"]}, "headers[1]", "'*' is not a field name"),
        ({"origins": ["*"], "credentials": True}, "credentials", "credentials for any site would let every site act as its visitors"),
        ({"origins": ["https://app.example"], "credentials": True, "expose": ["*"]}, "expose", "`*` exposes nothing to requests with credentials (WHATWG Fetch section 3.3.3)"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(settings: dict[str, object], place: str, message: str) -> None:
    (problem,) = problems("cors", **settings)
    assert (problem.pointer, problem.message) == (f"$.p.{place}", message)


LABELS = st.sampled_from(["a", "b", "evil", "example", "-", "", "a@b", "a/b", "a:1", "A"])


@given(st.sampled_from(["https://*.example.com", "https://a.example.com", "http://*.example.com:8080"]), st.sampled_from(["https://", "http://", ""]), st.lists(LABELS, max_size=3),
       st.sampled_from([".example.com", "example.com", ".example.com:8080", ".example.org"]))
def test_a_pattern_takes_subdomains_only(pattern: str, scheme: str, labels: list[str], end: str) -> None:
    origin = f"{scheme}{'.'.join(labels)}{end}"
    head, star, tail = pattern.partition("*")
    inside = origin[len(head) : len(origin) - len(tail)]
    whole = [set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") and label != "" for label in inside.split(".")]
    fits = origin.startswith(head) and origin.endswith(tail) and len(origin) > len(head) + len(tail) and all(whole) if star else origin == pattern
    assert OriginSet([pattern]).holds(origin) == fits
