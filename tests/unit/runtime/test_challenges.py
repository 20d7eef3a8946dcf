"""What a refusal asks for fits the way in which clients of the route authenticate (RFC 9110 section 11.6.1), and callers who have done so (RFC 6750 section 3.1)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from pathlib import Path

import argon2
import pytest

from gw.errors import ConfigError
from gw.store import hashed
from tests.jwks import secret_of, token_of
from tests.unit.fast.rig import Client, Origin, Rig, behind

JWT = f"jwt: {{audience: api, realm: r, keys: [{{secret: {secret_of('k1').decode()}, alg: HS256, kid: k1}}]}}"
INTROSPECTION = "oauth2-introspection: {endpoint: 'http://127.0.0.1:1/', bearer: x}"
OIDC = f"oidc: {{issuer: 'http://127.0.0.1:1', client_id: app, cookie: {{name: s, keys: [{'k' * 32}]}}}}"
PASSWORD = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("b")
CALLERS = f"""
consumers:
  alice:
    subjects: [alice]
    api_keys: [{{id: a1, hash: '{hashed("secret")}'}}]
    passwords: [{{user: a, hash: '{PASSWORD}'}}]
    secrets: [{{id: one, secret: {"x" * 32}}}]
"""
BY_TOKEN = f"Authorization: Bearer {token_of('k1', aud='api', sub='alice', scope='x')}"
BY_PASSWORD = f"Authorization: Basic {base64.b64encode(b'a:b').decode()}"
BY_KEY = "X-API-Key: secret"
ACL, SCOPES, CLAIMS = "acl: {allow: {consumers: [alice]}}", "scopes: {all: [read]}", "claims: {all: [{claim: a, exists: true}]}"

# Policies of somebody's own: one says what it asks for, the other does not.
SAYS = """
from gw.policy import Challenge

KIND = "authentication"

def challenge(config: Config) -> Challenge:
    return {"www-authenticate": ["Own a=1", "Own a=2"], "X-Asks": config.text}

def build(config: Config, tools: Tools) -> Hooks:
    def check(request: Request):
        if request.headers.get("X-Own"):
            request.identify("says", consumer="alice", scopes="x")
    return Hooks(request=check)
"""
MUTE = """
KIND = "authentication"

def build(config: Config, tools: Tools) -> Hooks:
    return Hooks(request=lambda request: None)
"""

Serve = Callable[..., Client]


@pytest.fixture
def serve(client: Serve) -> Serve:
    """A client of a gateway whose only route has these policies."""
    return partial(client, more=CALLERS, says=SAYS, mute=MUTE)


@pytest.mark.parametrize("refuses", [ACL, SCOPES, CLAIMS])
@pytest.mark.parametrize(
    ("first", "asked"),
    [
        (["any-of: [basic: {realm: r}, anonymous]"], ['Basic realm="r", charset="UTF-8"']),
        (["any-of: [api-key, anonymous]"], ['ApiKey realm="gw"']),
        (["any-of: [api-key: {look_in: ['authorization:Token', 'header:X-Key']}, anonymous]"], ['Token realm="gw"', 'ApiKey realm="gw"']),
        ([f"any-of: [{{{JWT}}}, anonymous]"], ['Bearer realm="r"']),
        ([f"any-of: [{{{INTROSPECTION}}}, anonymous]"], ["Bearer"]),
        ([f"any-of: [basic, all-of: [{{{JWT}}}, api-key], anonymous]"], ['Basic realm="gw", charset="UTF-8"', 'Bearer realm="r"', 'ApiKey realm="gw"']),
        (["any-of: [hmac: {}, anonymous]"], ["Signature"]),
        (["any-of: [mtls: {accept: verified}, anonymous]"], ["Certificate"]),
        (["says: {text: x}"], ["Own a=1", "Own a=2"]),
        (["says: {text: x}", "any-of: [basic, anonymous]"], ["Own a=1", "Own a=2", 'Basic realm="gw", charset="UTF-8"']),
        (["mute"], ["Bearer"]),
        ([], ["Bearer"]),
    ],
)
def test_who_has_no_identity_is_asked_for_what_the_route_takes(serve: Serve, first: list[str], refuses: str, asked: list[str]) -> None:
    client = serve(*first, refuses)
    answer = client.ask("/")
    assert (answer.status, answer.told["reason"]) == (401, "no-credential")
    assert answer.all("WWW-Authenticate") == asked


def test_a_session_is_a_cookie(serve: Serve) -> None:
    client = serve(f"any-of: [{{{OIDC}}}, anonymous]", ACL)
    assert client.ask("/", "Accept: application/json").all("WWW-Authenticate") == ['Cookie cookie-name="s"']


def test_further_fields_of_a_challenge_go_with_it(serve: Serve) -> None:
    client = serve("says: {text: hello}", "any-of: [hmac: {}, anonymous]", ACL)
    answer = client.ask("/")
    assert (answer.one("X-Asks"), str(answer.one("Accept-Signature")).partition("=")[0]) == ("hello", "sig1")


@pytest.mark.parametrize(
    ("first", "field", "asked"),
    [
        (JWT, BY_TOKEN, ['Bearer error="insufficient_scope", scope="read"']),
        ("basic", BY_PASSWORD, []),
        ("api-key", BY_KEY, []),
        ("says", "X-Own: 1", []),
        (f"any-of: [{{{JWT}}}, api-key]", BY_TOKEN, ['Bearer error="insufficient_scope", scope="read"']),
        (f"any-of: [{{{JWT}}}, api-key]", BY_KEY, []),
        ("anonymous: {consumer: alice}", "X-None: 1", []),
    ],
)
@pytest.mark.parametrize("of_consumer", [False, True])
def test_only_who_came_with_a_token_is_told_the_scopes_that_it_lacks(serve: Serve, first: str, field: str, asked: list[str], *, of_consumer: bool) -> None:
    policies, more = ((first,), f"{CALLERS}    policies: [{SCOPES}]\n") if of_consumer else ((first, SCOPES), CALLERS)
    client = serve(*policies, more=more)
    answer = client.ask("/", field)
    assert (answer.status, answer.told["reason"]) == (403, "scope-missing")
    assert answer.all("WWW-Authenticate") == asked


@pytest.mark.parametrize("refuses", ["acl: {deny: {consumers: [alice]}}", CLAIMS])
def test_who_may_not_is_asked_for_nothing(serve: Serve, refuses: str) -> None:
    client = serve("api-key", refuses)
    answer = client.ask("/", BY_KEY)
    assert (answer.status, answer.told["reason"], answer.all("WWW-Authenticate")) == (403, "not-permitted", [])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('return {"WWW-Authenticate": "a\\nb"}', "ValueError: 'a\\nb' holds a control character: it cannot be a field value"),
        ('return {"a b": "x"}', "ValueError: 'a b' is not a field name (RFC 9110 section 5.1)"),
        ('return {"Content-Length": "x"}', "ValueError: Content-Length frames or routes the message: a hook cannot set it"),
        ('raise KeyError("x")', "KeyError: 'x'"),
    ],
)
def test_what_cannot_be_sent_is_found_when_the_route_is_built(tmp_path: Path, origin: Origin, said: str, message: str) -> None:
    wrong = f"def challenge(config: Config):\n    {said}\n\n{MUTE}"
    with pytest.raises(ConfigError) as raised:
        Rig(tmp_path, behind(origin, "wrong", ACL, more=CALLERS), wrong=wrong)
    assert [problem.message for problem in raised.value.problems] == [f"policy 'wrong': challenge(): {message}"]
