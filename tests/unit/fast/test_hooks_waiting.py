"""Python hooks that wait: parked exchanges, time-outs, cancellation, reloads, through real sockets."""

from __future__ import annotations

import socket
import time

import pytest

from tests.unit.fast.rig import LOOK, Client, Make, Origin, behind, until

ASYNC = """
GATE = asyncio.Event()
CANCELLED = []

def build(config: Config, tools: Tools) -> Hooks:
    async def at_once(request: Request) -> None:
        request.headers["X-How"] = "at once"

    async def sleeps(request: Request) -> None:
        before = request.id, request.method, request.path
        await asyncio.sleep(0.01)
        assert before == (request.id, request.method, request.path)
        request.headers["X-How"] = "slept"

    async def waits(request: Request) -> None:
        SEEN.append(request)
        try:
            await GATE.wait()
        except asyncio.CancelledError:
            CANCELLED.append(request)
            raise
        request.headers["X-How"] = "waited for " + request.path

    return Hooks(request={"at once": at_once, "sleeps": sleeps, "waits": waits}[config.text])
"""


@pytest.mark.parametrize(("kind", "said"), [("at once", "at once"), ("sleeps", "slept")])
@pytest.mark.parametrize("count", [1, 3])
def test_an_async_hook_that_waits_or_does_not(rig: Make, origin: Origin, kind: str, said: str, count: int) -> None:
    made = rig(behind(origin, *[f"async: {{text: {kind}}}"] * count), **{"async": ASYNC})
    with Client(made.port) as client:
        for _ in range(3):
            assert client.ask("/").sent("X-How") == [said]
        answer = client.ask("/", method="POST", body=b"x" * 100_000)
        assert answer.told["body"] == "x" * 100_000
        answer = client.ask("/", method="HEAD")
        assert (answer.status, answer.one("X-Origin")) == (200, "yes")
        assert client.ask("/", version="1.0").sent("X-How") == [said]
        assert client.ended()
    made.quiet()


def test_parked_exchanges_hold_nobody_up_and_are_counted(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "async: {text: waits}"), **{"async": ASYNC})
    with Client(made.port) as first, Client(made.port) as second:
        first.send("/one")
        second.send("/two", method="POST", body=b"body")
        until(lambda: made.stats()["exchanges"] == 2, "both are parked")
        made.loop.call_soon_threadsafe(made.module("async").GATE.set)
        assert second.read().sent("X-How") == ["waited for /two"]
        assert first.read().sent("X-How") == ["waited for /one"]
    made.quiet()


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_a_client_that_goes_away_cancels_its_hook(rig: Make, origin: Origin, leave: str) -> None:
    made = rig(behind(origin, "async: {text: waits}", "look"), look=LOOK, **{"async": ASYNC})
    client = Client(made.port)
    client.send("/one")
    until(lambda: made.stats()["exchanges"] == 1, "it is parked")
    if leave == "close":
        client.sock.shutdown(socket.SHUT_WR)
        assert made.stats()["exchanges"] == 1  # a half-close: it may still read its answer
        client.reset()
    else:
        client.reset()
    until(lambda: made.module("async").CANCELLED, "the task saw CancelledError")
    made.quiet()
    assert made.said("hook-failed") == []
    assert made.module("look").SEEN == []
    assert origin.paths == []
    (request,) = made.module("async").CANCELLED
    with pytest.raises(RuntimeError, match="the exchange has ended"):
        _ = request.path


def test_a_lane_that_closes_cancels_hooks(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "async: {text: waits}"), **{"async": ASYNC})
    with Client(made.port) as client:
        client.send("/one")
        until(lambda: made.stats()["exchanges"] == 1, "it is parked")
        made.call(made.lane.abort)
        assert client.ended()
    until(lambda: made.module("async").CANCELLED, "the task saw CancelledError")
    made.quiet()


STUBBORN = """
def build(config: Config, tools: Tools) -> Hooks:
    async def waits(request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            SEEN.append("cancelled")
        return Response(200, "too late")
    return Hooks(request=waits)
"""


def test_a_hook_that_swallows_its_cancellation_answers_nobody(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "stubborn"), stubborn=STUBBORN)
    client = Client(made.port)
    client.send("/one")
    until(lambda: made.stats()["exchanges"] == 1, "it is parked")
    client.reset()
    until(lambda: made.module("stubborn").SEEN, "the task saw CancelledError")
    made.quiet()
    assert made.said("hook-failed") == []


def test_a_thousand_parked_requests(rig: Make, origin: Origin) -> None:
    made = rig("routes: [{path: /, respond: {body: done}, policies: ['async': {text: waits}]}]", **{"async": ASYNC})
    clients = [Client(made.port) for _ in range(1000)]
    for number, client in enumerate(clients):
        client.send(f"/{number}")
    until(lambda: made.stats()["exchanges"] == 1000, "all are parked")
    for client in clients[::10]:
        client.reset()
    until(lambda: made.stats()["exchanges"] == 900, "a tenth has gone")
    made.loop.call_soon_threadsafe(made.module("async").GATE.set)
    for number, client in enumerate(clients):
        if number % 10:
            assert client.read().body == b"done"
            client.close()
    assert len(made.module("async").CANCELLED) == 100
    made.quiet()


ENDLESS = """
def build(config: Config, tools: Tools) -> Hooks:
    async def endless(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            SEEN.append("cancelled")

    def after(request: Request) -> None:
        SEEN.append((request.status, request.by, request.reason))

    return Hooks(request=endless, done=after) if config.text == "request" else Hooks(response=endless, done=after)
"""


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("phase", ["request", "response"])
def test_an_async_hook_that_never_ends_is_ended(rig: Make, origin: Origin, phase: str, method: str) -> None:
    made = rig(behind(origin, f"endless: {{text: {phase}}}", more="process: {hook_timeout: 150ms}"), endless=ENDLESS)
    with Client(made.port) as client:
        for count in (1, 2):
            began = time.monotonic()
            answer = client.ask("/", method=method, body=b"x" * 100 if method == "POST" else b"")
            assert answer.status == 504
            assert answer.one("Proxy-Status") == "gw; error=proxy_internal_error"
            if method != "HEAD":
                assert answer.told["reason"] == "hook-timeout"
            assert 0.1 < time.monotonic() - began < 2
            assert len(made.said("hook-timeout")) == count
    event = made.said("hook-timeout")[-1]
    assert (event["policy"], event["waited_ms"], event["request_id"]) == ("endless", 150, answer.one("X-Request-Id"))
    made.quiet()
    seen = made.module("endless").SEEN
    assert seen == [(504, "gateway", "hook-timeout"), "cancelled"] * 2
    assert len(origin.paths) == (2 if phase == "response" else 0)
    assert made.said("hook-failed") == []


def test_a_hook_in_time_leaves_no_deadline_behind(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "async: {text: sleeps}", more="process: {hook_timeout: 100ms}"), **{"async": ASYNC})
    with Client(made.port) as client:
        client.send("/slow")
        until(lambda: "/slow" in origin.paths, "the origin was asked")
        ticks = made.figures()["drains"]
        until(lambda: made.figures()["drains"] > ticks + 4, "several ticks have passed")
        origin.go_on.set()
        assert client.read().sent("X-How") == ["slept"]


def test_a_hook_waits_on_the_revision_it_began_with(rig: Make, origin: Origin) -> None:
    config = behind(origin, "async: {text: waits}", "look")
    made = rig(config, look=LOOK, **{"async": ASYNC})
    before = made.module("async"), made.module("look")
    old = made.lane.current
    with Client(made.port) as client, Client(made.port) as other:
        client.send("/old")
        until(lambda: made.stats()["exchanges"] == 1, "it is parked")
        made.reload("routes: [{path: /, respond: {body: new}}]")
        assert other.ask("/").body == b"new"
        assert made.stats()["exchanges"] == 1
        made.loop.call_soon_threadsafe(before[0].GATE.set)
        answer = client.read()
        assert answer.sent("X-How") == ["waited for /old"]
        assert before[1].SEEN[0]["path"] == "/old"
        assert client.ask("/").body == b"new"
    assert made.call(old.users) == 0


UNTIDY = STUBBORN.replace('SEEN.append("cancelled")', 'SEEN.append("cancelled")\n            raise LookupError("while leaving")')


def test_what_a_cancelled_hook_raises_is_logged(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "untidy"), untidy=UNTIDY)
    client = Client(made.port)
    client.send("/one")
    until(lambda: made.stats()["exchanges"] == 1, "it is parked")
    client.reset()
    (event,) = until(lambda: made.said("hook-failed"), "the failure is told")
    assert (event["policy"], event["error"]) == ("untidy", "LookupError('while leaving')")
    made.quiet()


JITTER = """
def build(config: Config, tools: Tools) -> Hooks:
    async def jitter(request: Request) -> Response | None:
        number = int(request.query)
        await asyncio.sleep(0.002 * (7 * number % 5))
        SEEN.append(number)
        return Response(200, str(number)) if number % 3 == 0 else None

    async def more(request: Request) -> None:
        await asyncio.sleep(0.001)
        request.response_headers["X-Number"] = request.query

    return Hooks(request=jitter, response=more)
"""


def test_pipelined_requests_keep_their_order(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "jitter"), jitter=JITTER)
    with Client(made.port) as client:
        client.sock.sendall(b"".join(b"GET /?%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(30)))
        for number in range(30):
            answer = client.read()
            if number % 3 == 0:
                assert answer.body == b"%d" % number
            else:
                assert answer.told["path"] == f"/?{number}"
                assert answer.one("X-Number") == str(number)
    assert list(range(30)) == made.module("jitter").SEEN


LOOKS_LATER = """
def build(config: Config, tools: Tools) -> Hooks:
    async def waits(request: Request) -> None:
        await asyncio.sleep(60)
        SEEN.append(request.status)
    return Hooks(response=waits)
"""


def test_a_client_that_goes_away_in_a_response_hook(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "response"), response=LOOKS_LATER)
    client = Client(made.port)
    client.send("/")
    until(lambda: origin.paths, "the origin was asked")
    client.reset()
    made.quiet()
    assert made.module("response").SEEN == []


WATCH = """
def build(config: Config, tools: Tools) -> Hooks:
    async def watch(request: Request) -> None:
        SEEN.append(request.status)
        await asyncio.sleep(0.3)
    return Hooks(response=watch)
"""


def test_no_time_out_of_the_origin_runs_while_a_hook_looks_at_its_answer(rig: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = f"services: {{one: {{endpoints: ['127.0.0.1:{server.getsockname()[1]}']}}}}\nroutes: [{{path: /, service: one, timeouts: {{answer: 100ms}}, policies: [watch]}}]"
        made = rig(config, watch=WATCH)
        with Client(made.port) as client:
            client.sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab")
            early, _ = server.accept()
            with early:
                early.recv(4096)
                early.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
                until(lambda: made.module("watch").SEEN, "the hook looks at the answer")
                client.sock.sendall(b"cd")
                assert client.read().body == b"early"
                assert early.recv(4096) == b"cd"


BLOCKS = """
import time

def build(config: Config, tools: Tools) -> Hooks:
    async def blocks(request: Request) -> None:
        await asyncio.sleep(0)
        time.sleep(0.03)
    return Hooks(request=blocks)
"""


def test_an_async_hook_that_blocks_is_named(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "blocks", more="process: {hook_warn: 20ms}"), blocks=BLOCKS)
    with Client(made.port) as client:
        (request_id,) = client.ask("/").sent("X-Request-Id")
    (event,) = made.said("hook-slow")
    assert (event["policy"], event["request_id"]) == ("blocks", request_id)
    assert made.figures()["hook_slow"] == 1


def test_an_async_hook_that_only_waits_is_not_slow(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "async: {text: sleeps}", more="process: {hook_warn: 5ms}"), **{"async": ASYNC})
    with Client(made.port) as client:
        assert client.ask("/").status == 200
    assert made.said("hook-slow") == []
