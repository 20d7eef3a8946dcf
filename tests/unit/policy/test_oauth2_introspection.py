"""Introspection of tokens: a real lane, a real authorisation server that says what the test wants."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gw._fast.shm import Segment
from gw.errors import ConfigError
from gw.runtime.explain import Engine
from tests.unit.fast.rig import Answer, Client, Make, Origin, behind, until
from tests.unit.policy.asking import Asked, Service, Told, compiled

OWN = "client_id: gateway, client_secret: 's3:cret'"


def policy(service: Service, more: str = "") -> str:
    return f"oauth2-introspection: {{endpoint: '{service.url}/introspect', {OWN}, {more}}}"


def saying(service: Service, **claims: Any) -> None:
    """From now on every token is active and says this."""
    service.answer = lambda _: Told(200, json.dumps({"active": True, **claims}).encode())


def ask(port: int, *fields: str, path: str = "/") -> Answer:
    with Client(port) as client:
        return client.ask(path, *fields)


def test_a_good_token_passes_and_says_who_calls(rig: Make, origin: Origin, service: Service) -> None:
    saying(service, sub="alice-id", client_id="app", scope="read write", jti="token-7")
    made = rig(behind(origin, policy(service, "scopes: [read]"), more="consumers: {alice: {subjects: [alice-id]}}\nidentity: {scopes: X-Scopes, method: X-Method}"))
    answer = ask(made.port, "Authorization: Bearer good", "X-Subject: forged")
    assert answer.status == 200
    sent = {name: answer.sent(name) for name in ("x-consumer", "x-subject", "x-credential", "x-scopes", "x-method", "authorization")}
    assert sent == {
        "x-consumer": ["alice"],
        "x-subject": ["alice-id"],
        "x-credential": ["token-7"],
        "x-scopes": ["read write"],
        "x-method": ["oauth2-introspection"],
        "authorization": ["Bearer good"],
    }
    (asked,) = service.asked
    assert (asked.method, asked.path, asked.form) == ("POST", "/introspect", {"token": "good", "token_type_hint": "access_token"})
    assert base64.b64decode(asked.fields["authorization"].removeprefix("Basic ")) == b"gateway:s3%3Acret"


def test_the_gateway_may_have_a_token_of_its_own(rig: Make, origin: Origin, service: Service) -> None:
    saying(service, sub="x")
    made = rig(behind(origin, f"oauth2-introspection: {{endpoint: '{service.url}/i', bearer: own-token}}"))
    assert ask(made.port, "Authorization: bearer good").status == 200
    assert service.asked[0].fields["authorization"] == "Bearer own-token"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([], "no-credential"),
        (["Authorization: Basic YTpi"], "no-credential"),
        (["Authorization: Bearer"], "invalid-credential"),
        (["Authorization: Bearer a b"], "invalid-credential"),
        (["Authorization: Bearer a,b"], "invalid-credential"),
        (["Authorization: Bearer a\u00e9"], "invalid-credential"),
        ([f"Authorization: Bearer {'a' * 8200}"], "invalid-credential"),
        (["Authorization: Bearer a", "Authorization: Bearer a"], "invalid-credential"),
        (["Authorization: Bearer a", "Cookie: token=b"], "invalid-credential"),
    ],
)
def test_what_is_no_single_token_is_refused_without_a_question(rig: Make, origin: Origin, service: Service, fields: list[str], reason: str) -> None:
    made = rig(behind(origin, policy(service, "cookie: token")))
    answer = ask(made.port, *fields)
    assert (answer.status, answer.told["reason"]) == (401, reason)
    assert answer.one("WWW-Authenticate").startswith("Bearer")
    assert service.asked == []
    assert origin.paths == []


NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("claims", "more", "status", "reason"),
    [
        ({"active": False}, "", 401, "invalid-credential"),
        ({"active": False, "exp": NOW + 99}, "", 401, "invalid-credential"),
        ({"exp": NOW - 29}, "", 200, ""),
        ({"exp": NOW - 30}, "", 401, "expired-credential"),
        ({"exp": NOW - 30.5}, "", 401, "expired-credential"),
        ({"exp": NOW}, "leeway: 0s", 401, "expired-credential"),
        ({"nbf": NOW + 30}, "", 200, ""),
        ({"nbf": NOW + 31}, "", 401, "expired-credential"),
        ({"iss": "https://a"}, "issuers: ['https://a', 'https://b']", 200, ""),
        ({"iss": "https://c"}, "issuers: ['https://a', 'https://b']", 401, "invalid-credential"),
        ({}, "issuers: ['https://a']", 401, "invalid-credential"),
        ({"aud": "api"}, "audiences: [api]", 200, ""),
        ({"aud": ["x", "api"]}, "audiences: [api]", 200, ""),
        ({"aud": "ap"}, "audiences: [api]", 401, "invalid-credential"),
        ({"aud": []}, "audiences: [api]", 401, "invalid-credential"),
        ({"scope": "b a"}, "scopes: [a, b]", 200, ""),
        ({"scope": "a"}, "scopes: [a, b]", 403, "scope-missing"),
        ({}, "scopes: [a]", 403, "scope-missing"),
        # Not what RFC 7662 lets an answer be: nothing is decided.
        ({"active": "true"}, "", 503, "decision-unavailable"),
        ({"active": 1}, "", 503, "decision-unavailable"),
        ({"exp": "1800000099"}, "", 503, "decision-unavailable"),
        ({"exp": True}, "", 503, "decision-unavailable"),
        ({"scope": ["a"]}, "scopes: [a]", 503, "decision-unavailable"),
    ],
)
def test_what_the_answer_says_decides(
    rig: Make, origin: Origin, service: Service, monkeypatch: pytest.MonkeyPatch, claims: dict[str, Any], more: str, status: int, reason: str
) -> None:
    monkeypatch.setattr("gw.policy.oauth2_introspection.Introspection.__init__.__defaults__", (lambda: NOW,))
    saying(service, **claims)
    made = rig(behind(origin, policy(service, more)))
    answer = ask(made.port, "Authorization: Bearer good")
    assert (answer.status, answer.told.get("reason", "")) == (status, reason)
    if status == 403:
        assert 'error="insufficient_scope"' in answer.one("WWW-Authenticate")
    assert len(origin.paths) == (1 if status == 200 else 0)


@pytest.mark.parametrize(
    "told",
    [
        Told(401, b'{"active": true}'),
        Told(500, b""),
        Told(302, b"", (("Location", "/elsewhere"),)),
        Told(200, b"no json"),
        Told(200, b"[]"),
        Told(200, b"{}"),
        Told(200, b'{"active": true, "sub": "' + b"x" * 70_000 + b'"}'),
        Told(200, b'{"active": true}', (("Content-Encoding", "gzip"),)),
    ],
)
def test_an_answer_that_cannot_be_used_decides_nothing(rig: Make, origin: Origin, service: Service, told: Told) -> None:
    service.answer = lambda _: told
    made = rig(behind(origin, policy(service)))
    answer = ask(made.port, "Authorization: Bearer good")
    assert (answer.status, answer.told["reason"]) == (503, "decision-unavailable")
    assert len(service.asked) == 1
    assert origin.paths == []


def test_a_server_that_does_not_answer_in_time(rig: Make, origin: Origin, service: Service) -> None:
    service.go_on.clear()
    made = rig(behind(origin, policy(service, "reach: {timeout: 100ms}")))
    began = time.monotonic()
    answer = ask(made.port, "Authorization: Bearer good")
    assert (answer.status, answer.told["reason"]) == (503, "decision-unavailable")
    assert time.monotonic() - began < 3


def test_answers_are_kept_good_ones_and_bad_ones(rig: Make, origin: Origin, service: Service) -> None:
    service.answer = lambda asked: Told(200, json.dumps({"active": asked.form["token"] == "good"}).encode())
    made = rig(behind(origin, policy(service)))
    for token, status in (("good", 200), ("bad", 401)) * 3:
        assert ask(made.port, f"Authorization: Bearer {token}").status == status
    assert [asked.form["token"] for asked in service.asked] == ["good", "bad"]


def test_nothing_is_kept_where_the_config_says_so(rig: Make, origin: Origin, service: Service) -> None:
    saying(service)
    made = rig(behind(origin, policy(service, "cache: {active: 0}")))
    for _ in range(2):
        assert ask(made.port, "Authorization: Bearer good").status == 200
    assert len(service.asked) == 2


def test_the_cache_is_bounded(rig: Make, origin: Origin, service: Service) -> None:
    saying(service)
    made = rig(behind(origin, policy(service, "cache: {entries: 2}")))
    for token in "abacab":  # `b` went when `c` came, `c` when `b` came back
        assert ask(made.port, f"Authorization: Bearer {token}").status == 200
    assert [asked.form["token"] for asked in service.asked] == ["a", "b", "c", "b"]


def test_requests_with_one_token_share_a_question(rig: Make, origin: Origin, service: Service) -> None:
    saying(service, sub="alice")
    service.go_on.clear()
    made = rig(behind(origin, policy(service)))
    clients = [Client(made.port) for _ in range(8)]
    for client in clients:
        client.send("/", "Authorization: Bearer good")
    until(lambda: made.stats()["exchanges"] == 8 and service.asked, "all wait for one answer")
    clients[0].reset()  # the one that asked goes away; the others still get theirs
    until(lambda: made.stats()["exchanges"] == 7, "it is gone")
    service.go_on.set()
    for client in clients[1:]:
        assert client.read().sent("X-Subject") == ["alice"]
        client.close()
    assert len(service.asked) == 1


def test_a_known_answer_may_hold_while_the_server_is_down(rig: Make, origin: Origin, service: Service) -> None:
    saying(service)
    made = rig(behind(origin, policy(service, "cache: {active: 1ms, stale: 1h}")))
    assert ask(made.port, "Authorization: Bearer good").status == 200
    service.answer = lambda _: Told(500)
    until(lambda: ask(made.port, "Authorization: Bearer good").status == 200 and len(service.asked) > 1, "it was asked again and the old answer holds")
    assert ask(made.port, "Authorization: Bearer other").status == 503


def test_where_a_token_may_stand(rig: Make, origin: Origin, service: Service) -> None:
    saying(service)
    made = rig(behind(origin, policy(service, "header: X-Token, cookie: token, query: access_token")))
    assert ask(made.port, "X-Token: one").status == 200
    assert ask(made.port, "Cookie: a=b; token=two; c=d").status == 200
    assert ask(made.port, path="/?x=1&access_token=th%72ee").status == 200
    assert ask(made.port, "Authorization: Bearer four").status == 401
    assert [asked.form["token"] for asked in service.asked] == ["one", "two", "three"]


def test_the_credential_can_be_kept_from_the_origin(rig: Make, origin: Origin, service: Service) -> None:
    saying(service)
    made = rig(behind(origin, policy(service, "cookie: token, hide_credential: true")))
    assert ask(made.port, "Authorization: Bearer one", "Cookie: a=b").sent("authorization") == []
    answer = ask(made.port, "Cookie: a=b; token=two; c=d")
    assert answer.sent("cookie") == ["a=b; c=d"]
    assert ask(made.port, "Cookie: token=two").sent("cookie") == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("endpoint: 'ftp://x/'", "not a URL that can be asked"),
        ("endpoint: 'http://u:p@x/'", "not a URL that can be asked"),
        ("endpoint: 'http://x/', client_id: a", "does not say who it is"),
        ("endpoint: 'http://x/', client_id: a, client_secret: b, bearer: c", "does not say who it is"),
        ("endpoint: 'http://x/', bearer: 'a b '", "cannot stand in a header field"),
        ("endpoint: 'http://x/', bearer: a, header: null", "can be found nowhere"),
        ("endpoint: 'http://x/', bearer: a, header: 'a b'", "is not a name"),
        ("endpoint: 'http://x/', bearer: a, query: t, hide_credential: true", "out of the query"),
        ("endpoint: 'https://x/', bearer: a, reach: {ca: nowhere.pem}", "nowhere.pem cannot be used"),
    ],
)
def test_what_cannot_work_is_said_before_it_runs(tmp_path: Path, config: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compiled(tmp_path, f"oauth2-introspection: {{{config}}}")


def test_explain_asks_too(tmp_path: Path, service: Service) -> None:
    service.answer = lambda _: Told(200, b'{"active": true, "sub": "alice"}', (("Connection", "close"),))
    segment = Segment(1, 8, 8)
    engine = Engine(compiled(tmp_path, policy(service), segment=segment), segment)
    try:
        found = asyncio.run(engine.ask("GET", "http://h/", [("Authorization", "Bearer good")]))
    finally:
        engine.close()
    assert (found.verdicts[0].policy, found.verdicts[0].verdict) == ("oauth2-introspection", "pass")
    assert found.identity["subject"] == "alice"
    assert service.asked[0].form["token"] == "good"


def test_questions_are_of_the_form_the_standard_asks_for(rig: Make, origin: Origin, service: Service) -> None:
    seen: list[Asked] = service.asked
    saying(service)
    made = rig(behind(origin, policy(service)))
    assert ask(made.port, "Authorization: Bearer a+/~b==").status == 200
    assert seen[0].fields["content-type"] == "application/x-www-form-urlencoded"
    assert seen[0].fields["accept"] == "application/json"
    assert seen[0].form["token"] == "a+/~b=="
