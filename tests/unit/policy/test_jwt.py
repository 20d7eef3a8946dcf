"""The policy `jwt` through real sockets: where tokens may be, what is refused and how, who calls, waiting for fresher keys; and gw explain."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.shm import Segment
from gw.config import load
from gw.config.convert import convert
from gw.errors import ConfigError, GatewayError
from gw.policy import Tools
from gw.policy.jwt import Config, build
from gw.runtime import Decision, Engine, compile_snapshot, decide
from gw.server.sources import Sources, sources_of, supply
from tests.jwks import Issuer, secret_of, token_of
from tests.reference import pairs
from tests.reference.token import encode
from tests.tokens import sign
from tests.unit.fast.rig import Answer, Client, Origin, Rig, behind, until

KEY = f"keys: [{{secret: {secret_of('k1').decode()}, alg: HS256, kid: k1}}]"
LOOK = """
def build(config: Config, tools: Tools) -> Hooks:
    def look(request: Request) -> None:
        SEEN.append({name: getattr(request, name) for name in ("auth", "consumer", "subject", "credential", "groups", "scopes", "claims")})
    return Hooks(request=look)
"""
PASS = """
from gw.policy import Refusal

KIND = "authentication"

def build(config: Config, tools: Tools) -> Hooks:
    def check(request: Request):
        if request.headers.get("X-Key") != "open":
            return Refusal("no-credential")
        request.identify("key", subject="by-key")
    return Hooks(request=check)
"""


@pytest.fixture
def rig(tmp_path: Path, origin: Origin) -> Iterator[Callable[..., Rig]]:
    """Call it with policies as YAML and more sections; modules `look` and `key` are there."""
    made: list[Rig] = []

    def make(*policies: str, more: str = "") -> Rig:
        made.append(Rig(tmp_path, behind(origin, *policies, more=more), look=LOOK, key=PASS))
        return made[-1]

    yield make
    for each in made:
        each.close()


def settings(more: str = "", keys: str = KEY, audience: str = "api") -> str:
    return f"jwt: {{audience: {audience}, {keys}{', ' if more else ''}{more}}}"


def ask(rig: Rig, *fields: str, path: str = "/") -> Answer:
    with Client(rig.port) as client:
        return client.ask(path, *fields)


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def reason(answer: Answer) -> str:
    return str(answer.told["reason"]) if answer.status != 200 else ""


# Where the token is.

T = token_of("k1")
SPELLINGS: list[tuple[list[str], str]] = [
    ([f"Authorization: Bearer {T}"], ""),
    ([f"authorization: bearer {T}"], ""),
    ([f"AUTHORIZATION: BEARER {T}"], ""),
    ([f"Authorization: bEaReR {T}"], ""),
    ([f"Authorization: Bearer   {T}"], ""),
    ([f"Authorization:Bearer {T}"], ""),
    ([f"Authorization: Bearer {T}  "], ""),
    ([f"Authorization: \t Bearer {T}\t"], ""),
    ([], "no-credential"),
    (["Authorization:"], "no-credential"),
    (["Authorization:    "], "no-credential"),
    (["Authorization: Basic YTpi"], "no-credential"),
    ([f"Authorization: {T}"], "no-credential"),
    ([f"Authorization: Token {T}"], "no-credential"),
    ([f"Authorization: Bearer2 {T}"], "no-credential"),
    ([f"Authorization: BearerX{T}"], "no-credential"),
    ([f"Authorization: Bear {T}"], "no-credential"),
    ([f"Authorization: Basic YTpi, Bearer {T}"], "no-credential"),
    ([f"X-Authorization: Bearer {T}"], "no-credential"),
    ([f"Proxy-Authorization: Bearer {T}"], "no-credential"),
    ([f"Cookie: Authorization=Bearer {T}"], "no-credential"),
    (["Authorization: Bearer"], "invalid-credential"),
    (["Authorization: Bearer "], "invalid-credential"),
    ([f"Authorization: Bearer\t{T}"], "invalid-credential"),
    ([f"Authorization: Bearer, {T}"], "invalid-credential"),
    ([f"Authorization: Bearer=\"{T}\""], "invalid-credential"),
    ([f"Authorization: Bearer {T},"], "invalid-credential"),
    ([f"Authorization: Bearer {T}, Bearer {T}"], "invalid-credential"),
    ([f"Authorization: Bearer {T} {T}"], "invalid-credential"),
    ([f"Authorization: Bearer \"{T}\""], "invalid-credential"),
    ([f"Authorization: Bearer '{T}'"], "invalid-credential"),
    ([f"Authorization: Bearer {T}=="], "invalid-credential"),
    ([f"Authorization: Bearer {T}."], "invalid-credential"),
    ([f"Authorization: Bearer .{T}"], "invalid-credential"),
    ([f"Authorization: Bearer token={T}"], "invalid-credential"),
    ([f"Authorization: Bearer {T[:40]} {T[40:]}"], "invalid-credential"),
    ([f"Authorization: Bearer {T[:40]}\t{T[40:]}"], "invalid-credential"),
    ([f"Authorization: Bearer {T.replace('.', '%2E')}"], "invalid-credential"),
    ([f"Authorization: Bearer {T.rpartition('.')[0]}."], "invalid-credential"),
    (["Authorization: Bearer \xe9"], "invalid-credential"),
    ([f"Authorization: Bearer {'a' * 9000}"], "invalid-credential"),
    ([f"Authorization: Bearer {T}", f"Authorization: Bearer {T}"], "invalid-credential"),
    ([f"Authorization: Bearer {T}", "authorization: Basic YTpi"], "invalid-credential"),
    (["Authorization:", f"Authorization: Bearer {T}"], "invalid-credential"),
]


def test_one_field_has_one_token_whatever_else_is_written(rig: Callable[..., Rig]) -> None:
    made = rig(settings())
    got = [(fields, reason(ask(made, *fields))) for fields, _ in SPELLINGS]
    assert got == SPELLINGS


@pytest.mark.parametrize("hide", ["true", "false"])
def test_tokens_in_fields_cookies_and_parameters(rig: Callable[..., Rig], hide: str) -> None:
    made = rig(settings(f"from: [{{header: Authorization}}, {{header: X-Token}}, {{cookie: session}}, {{query: access_token}}], hide_credential: {hide}"))
    hidden = hide == "true"
    for field in (f"Authorization: Bearer {T}", f"x-tokeN: {T}"):
        answer = ask(made, field)
        name = field.partition(":")[0]
        assert (answer.status, bool(answer.sent(name))) == (200, not hidden)
    cookies = {
        f"session={T}": [],
        f"a=1; session={T}; b=2": ["a=1; b=2"],
        f"session={T}; b=2": ["b=2"],
        f"a=1; session={T}": ["a=1"],
        f"a=1;session={T};b=2": ["a=1;b=2"],
        f"xsession=1; session={T}; session2=2": ["xsession=1; session2=2"],
    }
    for sent, left in cookies.items():
        assert ask(made, f"Cookie: {sent}").sent("Cookie") == (left if hidden else [sent])
    assert ask(made, f"Cookie: session={T}", "Cookie: b=2").sent("Cookie") == (["", "b=2"] if hidden else [f"session={T}", "b=2"])
    queries = {f"access_token={T}": "", f"a=1&access_token={T}&b=2": "?a=1&b=2", f"access_token={T}&b=2": "?b=2", f"a=1&access_token={T}": "?a=1"}
    for sent, left in queries.items():
        assert ask(made, path=f"/p?{sent}").told["path"] == (f"/p{left}" if hidden else f"/p?{sent}")


def test_a_request_with_two_tokens_is_refused(rig: Callable[..., Rig]) -> None:
    made = rig(settings("from: [{header: Authorization}, {cookie: session}, {query: t}]"))
    for fields, path in (
        ([bearer(T), f"Cookie: session={T}"], "/"),
        ([bearer(T)], f"/?t={T}"),
        ([f"Cookie: session={T}; session={T}"], "/"),
        ([f"Cookie: session={T}", f"Cookie: session={T}"], "/"),
        ([], f"/?t={T}&t={T}"),
    ):
        answer = ask(made, *fields, path=path)
        assert reason(answer) == "invalid-credential"
        assert answer.one("WWW-Authenticate") == 'Bearer realm="gw", error="invalid_request", error_description="The request carries more than one token"'
    assert reason(ask(made, path=f"/?%74={T}")) == "no-credential"


PIECES = st.sampled_from([f"s={T}", "s=", "s", "xs=1", "s2=2", "a=1", "=", "", " ", "a=s=x", "S=1"])


@pytest.fixture(scope="module")
def hiding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Offline, a cookie or a parameter `s` holds the token and does not reach the endpoint."""
    folder = tmp_path_factory.mktemp("hiding")
    policies = settings("from: [{cookie: s}, {query: s}], hide_credential: true")
    config = f"services: {{one: {{endpoints: ['127.0.0.1:1']}}}}\nroutes: [{{path: /, service: one, policies: [{policies}]}}]\n"
    (folder / "gw.yaml").write_text(f"listeners: [{{bind: '127.0.0.1:1'}}]\nadmin: null\n{config}")
    segment = Segment(1, 8, 8)
    made = Engine(compile_snapshot(load(folder / "gw.yaml").config, 1, segment, folder), segment)
    yield made
    made.close()


@hypothesis.settings(deadline=None)
@given(pieces=st.lists(st.tuples(PIECES, st.sampled_from(["", " ", "  "])), max_size=6), query=st.booleans())
def test_a_pair_is_found_and_hidden_wherever_it_stands(hiding: Engine, pieces: list[tuple[str, str]], query: bool) -> None:
    mark = "&" if query else ";"
    text = mark.join(piece.strip() if query else space + piece for piece, space in pieces).strip()
    found = pairs.find(text, mark, "s")
    asked = hiding.ask("GET", f"/p?{text}") if query else hiding.ask("GET", "/p", [("Cookie", text), ("X-Behind", "there")])
    decision = asyncio.run(asked)
    assert decision.reason == ("" if found == [T] else "invalid-credential" if found else "no-credential")
    if decision.reason:
        return
    lines = decision.forwarded.decode().split("\r\n")
    sent = lines[0].split(" ")[1].partition("?")[2] if query else "".join(line[7:] for line in lines if line.startswith("Cookie:"))
    assert pairs.others(sent, mark, "s") == pairs.others(text, mark, "s")
    assert T not in decision.forwarded.decode()
    assert query or "X-Behind: there" in lines


# What is refused, and how that is said.


def expected(error: str, text: str) -> str:
    return f'Bearer realm="shop", error="{error}", error_description="{text}"'


@pytest.mark.parametrize(
    ("token", "status", "why", "challenge"),
    [
        (token_of("k1", exp=5), 401, "expired-credential", expected("invalid_token", "The token has expired")),
        (token_of("k1", nbf=2**40, exp=2**41), 401, "expired-credential", expected("invalid_token", "The token is not valid yet")),
        (token_of("k1", exp=None), 401, "invalid-credential", expected("invalid_token", "The token lacks a claim that is required here")),
        (token_of("k1", aud="other"), 401, "invalid-credential", expected("invalid_token", "The token is not meant for this service")),
        (token_of("k1", iss="other"), 401, "invalid-credential", expected("invalid_token", "The token is not from an issuer that is accepted here")),
        (token_of("k1", secret_of("k2")), 401, "invalid-credential", expected("invalid_token", "The token's signature is wrong")),
        (token_of("k2"), 401, "invalid-credential", expected("invalid_token", "The token is signed by a key that this gateway does not have")),
        (token_of("k1", scope="read"), 403, "scope-missing", expected("insufficient_scope", "The token lacks a scope that is required here") + ', scope="read write"'),
        (None, 401, "no-credential", 'Bearer realm="shop"'),
    ],
)
def test_refusals_say_why(rig: Callable[..., Rig], token: str | None, status: int, why: str, challenge: str) -> None:
    made = rig(settings("scopes: [read, write], issuer: [i, j], realm: shop"))
    answer = ask(made, *([bearer(token)] if token else []))
    assert (answer.status, reason(answer), answer.one("WWW-Authenticate")) == (status, why, challenge)
    assert ask(made, bearer(token_of("k1", scope="write more read"))).status == 200


def test_any_audience_has_to_be_said(rig: Callable[..., Rig]) -> None:
    made = rig(settings(audience="any"))
    assert ask(made, bearer(token_of("k1", aud="other"))).status == 200


# Who calls.


def test_what_a_token_says_is_what_policies_see(rig: Callable[..., Rig]) -> None:
    made = rig(settings("groups_claim: realm.roles, consumer_claim: client.id"), "look", more="consumers: {bob: {}, alice: {subjects: [zoe, ann]}}")
    claims = {"sub": 'a"\\b', "realm": {"roles": ["admin", "a,b", 7, "", "x y", "a\nb", "last"]}, "client": {"id": "ann"}, "scp": ["read", "two words", "write"]}
    for _ in range(2):  # checked, and found checked
        assert ask(made, bearer(token_of("k1", **claims))).status == 200
    assert ask(made, bearer(token_of("k1", realm={"roles": "one two"}, scope="read  write", client={"id": 5}))).status == 200
    first, again, other = made.module("look").SEEN
    assert first == again
    assert {name: first[name] for name in ("auth", "consumer", "subject", "credential", "scopes")} == {
        "auth": "jwt",
        "consumer": "alice",
        "subject": 'a"\\b',
        "credential": "k1",
        "scopes": ["read", "write"],
    }
    assert first["groups"] == ["admin", "x y", "last"]
    assert first["claims"]["realm"] == claims["realm"]
    assert (other["groups"], other["scopes"], other["consumer"]) == (["one", "two"], ["read", "write"], None)


def test_a_consumer_may_be_required(rig: Callable[..., Rig]) -> None:
    made = rig(settings("consumer_required: true"), more="consumers: {alice: {subjects: [user-1]}}")
    assert ask(made, bearer(token_of("k1"))).sent("X-Consumer") == ["alice"]
    assert reason(ask(made, bearer(token_of("k1", sub="user-2")))) == "not-permitted"
    assert reason(ask(made, bearer(token_of("k1", sub=None)))) == "not-permitted"


def test_claims_are_told_and_never_forged(rig: Callable[..., Rig]) -> None:
    fields = "claims_to_headers: {email: X-Email, age: X-Age, ok: X-Ok, tags: X-Tags, a.b: X-Deep, nothing: X-Nothing}"
    made = rig(settings(fields))
    forged = [f"{spelled}: forged" for spelled in ("x_email", "X-EMAIL", "X-Age", "X-Nothing", "X-Deep")]
    answer = ask(made, bearer(token_of("k1", email="ä@b", age=7, ok=True, tags=["a", "b"], a={"b": "c"})), *forged)
    assert answer.sent("X-Email") == ["ä@b".encode().decode("latin-1")]
    assert [answer.sent(name) for name in ("X-Age", "X-Ok", "X-Deep", "X-Nothing", "x_email")] == [["7"], ["true"], ["c"], [], []]
    assert json.loads(answer.sent("X-Tags")[0]) == ["a", "b"]
    answer = ask(made, bearer(token_of("k1", email="a\r\nX-Evil: 1", age=None, a={"b": ""})), *forged)
    assert [answer.sent(name) for name in ("X-Email", "X-Age", "X-Deep", "X-Evil")] == [[], [], [], []]


@pytest.mark.parametrize("order", ["{jwt}, key", "key, {jwt}"])
def test_alternatives(rig: Callable[..., Rig], order: str) -> None:
    jwt = f"{{{settings('claims_to_headers: {sub: X-Sub}')}}}"
    made = rig(f"any-of: [{order.replace('{jwt}', jwt)}]", "look")
    answer = ask(made, "X-Key: open", "X-Sub: forged", bearer("bad"))
    assert (answer.status, answer.sent("X-Sub"), answer.sent("X-Subject")) == (200, [], ["by-key"])
    answer = ask(made, "x_sub: forged", bearer(T))
    assert (answer.status, answer.sent("X-Sub"), answer.sent("x_sub"), answer.sent("X-Subject")) == (200, ["user-1"], [], ["user-1"])
    assert ask(made).status == ask(made, bearer("bad")).status == 401
    assert [seen["auth"] for seen in made.module("look").SEEN] == ["key", "jwt"]


@pytest.mark.parametrize("cache", ["off", "{entries: 1}", "{bytes: 64KiB, entries: 100000}"])
def test_the_cache_changes_no_answer(rig: Callable[..., Rig], cache: str) -> None:
    made = rig(settings(f"cache: {cache}, claims_to_headers: {{pad: X-Pad}}"))
    tokens = [token_of("k1", sub=f"user-{i}", pad="x" * 3000) for i in range(30)]
    with Client(made.port) as client:
        for _ in range(2):
            for i, token in enumerate(tokens):
                answer = client.ask("/", bearer(token))
                assert (answer.sent("X-Subject"), answer.sent("X-Pad")) == ([f"user-{i}"], ["x" * 3000])
        assert client.ask("/", bearer(tokens[0][:-2])).status == 401


# Keys of an issuer that change.


class Wants(list[Any]):
    """What a lane reports; a wanted source is wanted from the sources."""

    def __init__(self, sources: Sources) -> None:
        super().__init__()
        self.sources = sources

    def append(self, item: Any) -> None:
        super().append(item)
        if item[0] == "source-wanted":
            self.sources.want(item[1]["source"])


class Followed:
    """A rig whose sources are followed on its own loop, as a supervisor does for its workers."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.sources = Sources(lambda key, data: supply(rig.lane.current, {key: data}), lambda _level, event, /, **fields: rig.events.append((event, fields)))
        rig.events = Wants(self.sources)
        rig.call(lambda: self.sources.follow(sources_of(rig.lane.current)))

    def said(self, event: str) -> int:
        return len(self.rig.said(event))

    def close(self) -> None:
        tasks = list(self.sources._tasks.values())
        self.rig.call(self.sources.stop)
        until(lambda: all(task.done() for task in tasks), "sources have stopped")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer("k1")
    yield made
    made.close()


@pytest.fixture
def follow(rig: Callable[..., Rig], issuer: Issuer) -> Iterator[Callable[..., Followed]]:
    made: list[Followed] = []

    def make(more: str = "", key: str = "jwks: {url}/jwks") -> Followed:
        made.append(Followed(rig(settings(more, key.replace("{url}", issuer.url)))))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_without_keys_nobody_can_say(rig: Callable[..., Rig], issuer: Issuer) -> None:
    made = rig(settings(keys=f"jwks: {issuer.url}/jwks"))
    answer = ask(made, bearer(T))
    assert (answer.status, reason(answer), answer.all("WWW-Authenticate")) == (503, "decision-unavailable", [])
    assert reason(ask(made)) == "no-credential"


def test_a_token_of_a_new_key_waits_for_the_key(follow: Callable[..., Followed], issuer: Issuer) -> None:
    made = follow()
    until(lambda: ask(made.rig, bearer(T)).status == 200, "the first keys are there")
    for number in range(2, 6):
        issuer.rotate(f"k{number}", f"k{number - 1}")
        assert ask(made.rig, bearer(token_of(f"k{number}"))).status == 200
    assert ask(made.rig, bearer(token_of("k1"))).status == 401  # dropped: what was remembered of it is forgotten


def test_those_who_wait_are_all_let_go_and_may_leave(follow: Callable[..., Followed], issuer: Issuer) -> None:
    made = follow()
    until(lambda: ask(made.rig, bearer(T)).status == 200, "the first keys are there")
    issuer.gate.clear()
    issuer.rotate("k2")
    clients = [Client(made.rig.port) for _ in range(20)]
    for client in clients:
        client.send("/", bearer(token_of("k2")))
    until(lambda: made.rig.stats()["exchanges"] == 20, "all wait")
    for client in clients[::2]:
        client.reset()
    until(lambda: made.rig.stats()["exchanges"] == 10, "half has gone")
    issuer.gate.set()
    assert [client.read().status for client in clients[1::2]] == [200] * 10
    for client in clients[1::2]:
        client.close()


def test_garbage_costs_two_fetches_and_no_patience(follow: Callable[..., Followed], issuer: Issuer) -> None:
    made = follow("refetch: 1h")
    until(lambda: ask(made.rig, bearer(T)).status == 200, "the first keys are there")
    for number in range(20):
        assert ask(made.rig, bearer(token_of(f"g{number}"))).status == 401
    assert len(issuer.asked) <= 3
    began = time.monotonic()
    for number in range(20):
        ask(made.rig, bearer(token_of(f"h{number}")))
    assert time.monotonic() - began < 0.5
    assert ask(made.rig, bearer(T)).status == 200


def test_a_miss_is_remembered_while_more_fetches_are_allowed(follow: Callable[..., Followed], issuer: Issuer) -> None:
    made = follow("refetch: 30s")
    until(lambda: ask(made.rig, bearer(T)).status == 200, "the first keys are there")
    assert ask(made.rig, bearer(token_of("gone"))).status == 401
    asked = len(issuer.asked)
    assert [ask(made.rig, bearer(token_of("gone", sub=f"u{i}"))).status for i in range(5)] == [401] * 5
    assert len(issuer.asked) == asked


def test_a_wait_is_bounded_when_the_issuer_is_silent(follow: Callable[..., Followed], issuer: Issuer) -> None:
    made = follow()
    until(lambda: ask(made.rig, bearer(T)).status == 200, "the first keys are there")
    issuer.gate.clear()
    began = time.monotonic()
    assert reason(ask(made.rig, bearer(token_of("k2")))) == "decision-unavailable"
    assert 1 < time.monotonic() - began < 5
    assert ask(made.rig, bearer(T)).status == 200


def test_keys_without_names_are_fetched_again_after_a_wrong_signature(follow: Callable[..., Followed], issuer: Issuer) -> None:
    def nameless(kid: str) -> bytes:
        return json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": encode(secret_of(kid))}]}).encode()

    issuer.document = nameless("one")
    made = follow()
    until(lambda: ask(made.rig, bearer(token_of(None, secret_of("one")))).status == 200, "the first keys are there")
    issuer.document = nameless("two")
    assert ask(made.rig, bearer(token_of(None, secret_of("two")))).status == 200


def test_keys_stay_while_the_issuer_is_down(follow: Callable[..., Followed], issuer: Issuer) -> None:
    made = follow("refresh: 100ms")
    until(lambda: ask(made.rig, bearer(T)).status == 200, "the first keys are there")
    issuer.status = 500
    until(lambda: made.said("keys-failed"), "the failure is said")
    asked = len(issuer.asked)
    until(lambda: len(issuer.asked) > asked, "it is asked again")
    assert ask(made.rig, bearer(T)).status == 200
    assert made.said("keys-failed") == 1
    issuer.status = 200
    until(lambda: made.said("keys-fetched") == 2, "the return is said")


def test_a_reload_keeps_the_keys_and_those_who_wait(follow: Callable[..., Followed], issuer: Issuer, origin: Origin) -> None:
    made = follow()
    until(lambda: ask(made.rig, bearer(T)).status == 200, "the first keys are there")
    issuer.gate.clear()
    issuer.rotate("k2", "k1")
    with Client(made.rig.port) as client:
        client.send("/", bearer(token_of("k2")))
        until(lambda: made.said("source-wanted"), "it waits")
        made.rig.reload(behind(origin, settings("leeway: 5s", f"jwks: {issuer.url}/jwks")))
        assert ask(made.rig, bearer(T)).status == 200
        issuer.gate.set()
        assert client.read().status == 200


def test_an_issuer_found_by_discovery(follow: Callable[..., Followed], issuer: Issuer) -> None:
    made = follow(key="discovery: {url}")
    until(lambda: ask(made.rig, bearer(token_of("k1", iss=issuer.url))).status == 200, "the first keys are there")
    assert ask(made.rig, bearer(token_of("k1", iss=f"{issuer.url}/"))).status == 200
    assert ask(made.rig, bearer(token_of("k1", iss="i"))).status == 401


# gw explain.


def explained(folder: Path, policy: str, *fields: tuple[str, str], wall: float | None = None) -> Decision:
    (folder / "gw.yaml").write_text(f"listeners: [{{bind: '127.0.0.1:1'}}]\nadmin: null\nroutes: [{{path: /, respond: {{body: x}}, policies: [{policy}]}}]\n")
    segment = Segment(1, 8, 8)
    snapshot = compile_snapshot(load(folder / "gw.yaml").config, 1, segment, folder)
    if wall is None:
        return decide(snapshot, segment, "GET", "/", list(fields))
    engine = Engine(snapshot, segment)
    try:
        return asyncio.run(engine.ask("GET", "/", list(fields), wall=wall))
    finally:
        engine.close()


def test_explain_tells_what_it_saw(tmp_path: Path) -> None:
    token = token_of("k1", exp=2000)

    def told(token: str, wall: float) -> tuple[str, str]:
        (verdict,) = [each for each in explained(tmp_path, settings(), ("Authorization", f"Bearer {token}"), wall=wall).verdicts if each.policy == "jwt"]
        return verdict.verdict, verdict.told

    assert told(token, 1000) == ("pass", "HS256, kid 'k1', sub 'user-1', expires in 1000 s")
    assert told(token, 2029)[0] == "pass"
    assert told(token, 2030) == ("answer", "The token has expired (it says alg 'HS256', kid 'k1')")
    assert told(token_of("k7"), 1000)[1] == "The token is signed by a key that this gateway does not have (it says alg 'HS256', kid 'k7')"
    assert told("a.b.c", 1000)[1] == "A part of the token is not base64url without padding"
    assert told(sign("[]", "{}").decode(), 1000)[1] == "The token's header is not a JSON object, or a parameter in it has the wrong type"


def test_explain_fetches_the_keys(tmp_path: Path, issuer: Issuer) -> None:
    keys = f"jwks: {issuer.url}/jwks"
    assert explained(tmp_path, settings(keys=keys), ("Authorization", f"Bearer {T}")).identity["subject"] == "user-1"
    decision = explained(tmp_path, settings(keys=keys), ("Authorization", f"Bearer {token_of('k9')}"))
    assert (decision.status, decision.reason) == (401, "invalid-credential")
    issuer.status = 500
    with pytest.raises(GatewayError, match="the answer has status 500"):
        explained(tmp_path, settings("timeout: 4s", keys), ("Authorization", f"Bearer {T}"))
    assert explained(tmp_path, settings("timeout: 4s", keys)).reason == "no-credential"


# What cannot work.


@pytest.mark.parametrize(
    ("config", "pointer", "message"),
    [
        ({}, "", "'audience' is missing"),
        ({"audience": "api"}, "", "no keys to check tokens with"),
        ({"audience": "api", "jwks": "https://i/k", "discovery": "https://i"}, "", "keys come from one place, not from jwks and discovery"),
        ({"audience": [], "jwks": "https://i/k"}, ".audience", "expected an audience"),
        ({"audience": ["any", "x"], "jwks": "https://i/k"}, ".audience", "expected an audience"),
        ({"audience": "a", "jwks": "http://issuer.example/k"}, ".jwks", "keys over plain HTTP can be exchanged on the way"),
        ({"audience": "a", "discovery": "issuer.example"}, ".discovery", "'issuer.example' is not a URL"),
        ({"audience": "a", "keys": [{"alg": "HS256"}]}, ".keys[0]", "expected one of file, pem, jwk, secret"),
        ({"audience": "a", "keys": [{"secret": "x" * 32}]}, ".keys[0]", "a secret needs `alg`"),
        ({"audience": "a", "keys": [{"secret": "short", "alg": "HS256"}]}, ".keys[0]", "secret: "),
        ({"audience": "a", "keys": [{"file": "gone.pem"}]}, ".keys[0]", "[Errno 2]"),
        ({"audience": "a", "keys": [{"pem": "x"}]}, ".keys[0]", "pem: neither PEM nor JSON"),
        ({"audience": "a", "jwks": "https://i/k", "algorithms": ["none"]}, ".algorithms[0]", "expected one of"),
        ({"audience": "a", "jwks": "https://i/k", "from": []}, ".from", "no place to look for the token"),
        ({"audience": "a", "jwks": "https://i/k", "from": [{"header": "A", "query": "b"}]}, ".from[0]", "expected one of header, cookie, query, not header and query"),
        ({"audience": "a", "jwks": "https://i/k", "from": [{"cookie": "a b"}]}, ".from[0]", "'a b' is not the name of a field or a cookie"),
        ({"audience": "a", "jwks": "https://i/k", "from": [{"query": "a=b"}]}, ".from[0]", "'a=b' is not the name of a parameter"),
        ({"audience": "a", "jwks": "https://i/k", "claims_to_headers": {"sub": "Host"}}, ".claims_to_headers.sub", "'Host' cannot be a field that tells a claim"),
        ({"audience": "a", "jwks": "https://i/k", "claims_to_headers": {f"c{i}": f"X-{i}" for i in range(33)}}, ".claims_to_headers", "33 claims to tell"),
        ({"audience": "a", "jwks": "https://i/k", "realm": 'a"b'}, ".realm", "expected text"),
        ({"audience": "a", "jwks": "https://i/k", "scopes": ['a"b']}, "", "scopes: "),
        ({"audience": "a", "jwks": "https://i/k", "cache": "on"}, ".cache", "expected"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_written(config: dict[str, Any], pointer: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        build(convert(config, Config, "$.p.jwt"), Tools("all", "$.p.jwt", base=tmp_path))
    problem = raised.value.problems[0]
    assert (problem.pointer, problem.message[: len(message)]) == (f"$.p.jwt{pointer}", message)


def test_plain_http_is_for_this_machine_or_has_to_be_said() -> None:
    for config in ({"jwks": "http://127.0.0.1/k"}, {"jwks": "http://[::1]:8/k"}, {"jwks": "http://localhost/k"}, {"jwks": "http://issuer.example/k", "insecure": True}):
        assert build(convert({"audience": "a", **config}, Config, "$"), Tools("all", "$")).phases() == ["request"]


def test_a_client_that_hangs_up_in_the_middle_of_a_token(rig: Callable[..., Rig]) -> None:
    made = rig(settings())
    with socket.create_connection(("127.0.0.1", made.port)) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {T[:50]}".encode())
    made.quiet()
    assert ask(made, bearer(T)).status == 200
