"""What `gw explain` and `gw test` say of bodies is what traffic meets: the same requests through real sockets and through the engine offline."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gw._fast.shm import Segment
from gw.config import load
from gw.runtime import Decision, Engine, Reply, compile_snapshot
from tests.unit.fast.rig import Answer, Client, Origin, Rig

LIMIT = 100_000
HOOKS = f"""
from gw.policy import Refusal

def build(config: Config, tools: Tools) -> Hooks:
    def see(request: Request, body: bytes) -> None:
        request.headers["X-Size"] = str(len(body))
    def upper(request: Request, body: bytes) -> bytes:
        return body.upper()
    def none(request: Request, body: bytes) -> bytes:
        return b""
    def deny(request: Request, body: bytes) -> Response | None:
        return Response(422, "no: " + body.decode()) if b"bad" in body else None
    def refuse(request: Request, body: bytes) -> Refusal | None:
        return Refusal("forbidden") if b"bad" in body else None
    def fails(request: Request, body: bytes) -> None:
        raise ValueError("no")
    def text(request: Request, body: bytes) -> str:
        return "text"
    async def later(request: Request, body: bytes) -> bytes:
        await asyncio.sleep(0)
        request.headers["X-Size"] = str(len(body))
        return body[::-1]
    return Hooks(request_body=locals()[config.text], body_limit={LIMIT})
"""
GOES = """
def build(config: Config, tools: Tools) -> Hooks:
    def goes(request: Request) -> None:
        request.headers["X-Goes-To"] = request.endpoint
        if config.text == "fails":
            raise ValueError("no")
    return Hooks(origin_request=goes)
"""
DOWN = f"""
def build(config: Config, tools: Tools) -> Hooks:
    def size(request: Request, body: bytes) -> bytes:
        request.response_headers["X-Size"] = str(len(body))
        return b"%d bytes of %d" % (len(body), request.status)
    def fails(request: Request, body: bytes) -> None:
        raise ValueError("no")
    async def later(request: Request, body: bytes) -> bytes:
        await asyncio.sleep(0)
        return b"later"
    return Hooks(response_body=locals()[config.text], body_limit={LIMIT})
"""
BACK = """
def build(config: Config, tools: Tools) -> Hooks:
    async def back(request: Request) -> None:
        await asyncio.sleep(0)
        request.response_headers["X-Back"] = request.response_headers.get("X-Origin", "gw")
        if config.text == "fails":
            raise ValueError("no")
    return Hooks(response=back)
"""

Both = Callable[..., tuple[Rig, Engine]]


@pytest.fixture
def both(tmp_path: Path, rig: Callable[..., Rig], origin: Origin) -> Iterator[Both]:
    engines: list[Engine] = []

    def make(policies: str, most: int = 1 << 20) -> tuple[Rig, Engine]:
        service = f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\n"
        routes = f"routes:\n  - {{path: /, service: one, max_body: {most}, policies: {policies}}}\n  - {{path: /plain, service: one}}\n"
        routes += f"  - {{path: /own, respond: {{body: mine}}, policies: {policies}}}\n"
        made = rig(service + routes, up=HOOKS, second=HOOKS, goes=GOES, down=DOWN, back=BACK)
        segment = Segment(1, 64, 64)
        engines.append(Engine(compile_snapshot(load(tmp_path / "gw.yaml").config, 1, segment, tmp_path), segment))
        return made, engines[-1]

    yield make
    for each in engines:
        each.close()


def live(rig: Rig, body: bytes, path: str = "/", method: str = "POST", *, chunked: bool = False) -> Answer:
    with Client(rig.port) as client:
        if not chunked:
            return client.ask(path, method=method, body=body)
        client.send(path, "Transfer-Encoding: chunked", method=method)
        client.sock.sendall((b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n")
        return client.read()


def asked(engine: Engine, body: bytes | None, path: str = "/", method: str = "POST", reply: Reply | None = None, *, chunked: bool = False) -> Decision:
    fields = [("Host", "h.example"), *([("Transfer-Encoding", "chunked")] if chunked else [])]
    return asyncio.run(engine.ask(method, path, fields, body=body, reply=reply))


def field(head: bytes, name: str) -> list[str]:
    lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return [value for key, value in (line.split(": ", 1) for line in lines) if key.lower() == name.lower()]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("body", [b"", b"abc", b"a bad one", b"a" * LIMIT, b"a" * (LIMIT + 1)], ids=["empty", "abc", "bad", "most", "too large"])
@pytest.mark.parametrize("text", ["see", "upper", "none", "deny", "refuse", "fails", "text", "later"])
def test_a_request_with_a_body(both: Both, text: str, body: bytes, *, chunked: bool) -> None:
    rig, engine = both(f"[up: {{text: {text}}}, second: {{text: later}}]")
    answer, found = live(rig, body, chunked=chunked), asked(engine, body, chunked=chunked)
    if answer.status == 200:
        assert (found.status, found.reason, found.answer) == (0, "", b"")
        assert found.forwarded_body == answer.told["body"].encode()
        for name in ("Content-Length", "Transfer-Encoding", "X-Size"):
            assert field(found.forwarded, name) == answer.sent(name)
        assert [(each.policy, each.phase, each.verdict) for each in found.verdicts if each.pointer] == [("up", "request_body", "pass"), ("second", "request_body", "pass")]
        return
    assert (found.status, found.forwarded, found.forwarded_body) == (answer.status, b"", None)
    if answer.one("Content-Type") == "application/problem+json":
        assert found.reason == answer.told["reason"]
        assert json.loads(found.answer.partition(b"\r\n\r\n")[2])["reason"] == found.reason
    else:
        assert found.answer.partition(b"\r\n\r\n")[2] == answer.body


@pytest.mark.parametrize("text", ["", "fails"])
def test_the_head_as_it_goes_to_the_endpoint(both: Both, text: str) -> None:
    rig, engine = both(f"[goes: {{text: '{text}'}}]")
    answer, found = live(rig, b"abc"), asked(engine, b"abc")
    assert [(each.policy, each.phase, each.verdict) for each in found.verdicts if each.pointer] == [("goes", "origin_request", "answer" if text else "pass")]
    if text:
        assert (found.status, found.reason, found.forwarded, found.endpoint) == (answer.status, "hook-failed", b"", -1)
    else:
        assert field(found.forwarded, "X-Goes-To") == answer.sent("X-Goes-To") != []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "policies",
    ["[down: {text: size}]", "[down: {text: later}]", "[down: {text: fails}]", "[back, down: {text: size}]", "[back: {text: fails}]", "[headers: {response: {set: {X-A: b}}}]"],
)
def test_an_answer_of_the_endpoint(both: Both, policies: str, method: str) -> None:
    rig, engine = both(policies)
    plain = live(rig, b"", "/plain")
    answer = live(rig, b"", "/extra", method)
    reply = Reply(200, [each for each in plain.fields if each[0] in ("X-Origin", "Set-Cookie")], b"." * len(live(rig, b"", "/plain", "PUT").body))
    found = asked(engine, None, "/", method, reply)
    assert (found.status, found.reason) == (
        answer.status,
        json.loads(answer.body)["reason"] if answer.status == 500 and answer.body else "hook-failed" if answer.status == 500 else "",
    )
    for name in ("X-Back", "X-A", "Set-Cookie"):
        assert field(found.answer, name) == answer.all(name)
    if answer.status == 200 and method == "GET" and "down" in policies:
        assert re.sub(rb"^\d+", b"N", found.answer.partition(b"\r\n\r\n")[2]) == re.sub(rb"^\d+", b"N", answer.body) in (b"N bytes of 200", b"later")
        assert field(found.answer, "Content-Length") == [str(len(found.answer.partition(b"\r\n\r\n")[2]))]
    if method == "HEAD":
        assert found.answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("status", "seen"), [(200, True), (404, True), (204, False), (304, False)])
def test_answers_without_a_body_are_not_looked_at(both: Both, status: int, *, seen: bool) -> None:
    _, engine = both("[down: {text: size}]")
    found = asked(engine, None, "/", "GET", Reply(status, [], b"four"))
    assert found.status == status
    assert [each.phase for each in found.verdicts if each.policy == "down"] == (["response_body"] if seen else [])
    assert found.answer.partition(b"\r\n\r\n")[2] == (b"4 bytes of %d" % status if seen else b"")


def test_a_chunked_answer_is_told_without_its_framing(both: Both) -> None:
    _, engine = both("[back]")
    found = asked(engine, None, "/", "GET", Reply(200, [("Transfer-Encoding", "chunked")], b"0 or more"))
    assert field(found.answer, "Transfer-Encoding") == ["chunked"]
    assert found.answer.partition(b"\r\n\r\n")[2] == b"0 or more"
    assert field(found.answer, "X-Back") == ["gw"]


def test_an_answer_that_is_too_large(both: Both) -> None:
    _, engine = both("[down: {text: size}]")
    found = asked(engine, None, "/", "GET", Reply(200, [], b"a" * (LIMIT + 1)))
    assert (found.status, found.reason) == (502, "answer-too-large")


def test_gws_own_answers_need_no_endpoint(both: Both) -> None:
    rig, engine = both("[up: {text: deny}, back]")
    assert (live(rig, b"x", "/own").body, live(rig, b"bad", "/own").body) == (b"mine", b"no: bad")
    assert asked(engine, b"x", "/own").answer.endswith(b"\r\n\r\nmine")
    assert asked(engine, b"bad", "/own").answer.endswith(b"\r\n\r\nno: bad")


def test_a_chunked_body_beyond_the_route_s_limit(both: Both) -> None:
    rig, engine = both("[goes]", 10)
    answer, found = live(rig, b"a" * 11, chunked=True), asked(engine, b"a" * 11, chunked=True)
    assert (answer.status, answer.told["reason"]) == (found.status, found.reason) == (413, "body-too-large")
    assert asked(engine, b"a" * 10, chunked=True).forwarded_body == b"a" * 10


def test_what_is_not_told_is_not_made_up(both: Both) -> None:
    _, engine = both("[up: {text: see}]")
    found = asked(engine, None, "/plain")
    assert (found.status, found.forwarded_body) == (0, None)
    assert [each.phase for each in asked(engine, None).verdicts if each.policy == "up"] == ["request_body"]  # a head that announces none is followed by none
    with pytest.raises(ValueError, match="a policy looks at this request's body: the head announces one, and none was given"):
        asyncio.run(engine.ask("POST", "/", [("Host", "h"), ("Content-Length", "3")]))
    with pytest.raises(ValueError, match="Content-Length is 3, and the body has 2 bytes"):
        asyncio.run(engine.ask("POST", "/", [("Host", "h"), ("Content-Length", "3")], body=b"ab"))
    with pytest.raises(ValueError, match="the endpoint's answer is malformed"):
        asked(engine, b"", reply=Reply(200, [("A B", "c")]))
