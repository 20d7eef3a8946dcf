"""Hooks that see whole bodies, and heads as they go to endpoints, through real sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.unit.fast.rig import Answer, Client, Make, Origin, Rig, behind, until

LIMIT = 100_000
BIG = 3_000_000

UP = f"""
GATE = asyncio.Event()

def build(config: Config, tools: Tools) -> Hooks:
    def see(request: Request, body: bytes) -> None:
        SEEN.append(body)
    def upper(request: Request, body: bytes) -> bytes:
        return body.upper()
    def mark(request: Request, body: bytes) -> bytes:
        return body + b"!"
    def none(request: Request, body: bytes) -> bytes:
        return b""
    def deny(request: Request, body: bytes) -> Response | None:
        return Response(422, "no: " + body.decode()) if b"bad" in body else None
    def fails(request: Request, body: bytes) -> None:
        raise ValueError("no")
    def text(request: Request, body: bytes) -> str:
        return "text"
    async def later(request: Request, body: bytes) -> bytes:
        await asyncio.sleep(0.01)
        request.headers["X-Length"] = str(len(body))
        return body[::-1]
    async def waits(request: Request, body: bytes) -> None:
        SEEN.append(len(body))
        await GATE.wait()
    return Hooks(request_body=locals()[config.text], body_limit={BIG} if tools.route == "big" else {LIMIT})
"""


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def ask_chunked(client: Client, *pieces: bytes, path: str = "/", trailers: bytes = b"") -> Answer:
    client.send(path, "Transfer-Encoding: chunked", "Trailer: X-Sum", method="POST")
    client.sock.sendall(chunked(*pieces, trailers=trailers))
    return client.read()


def test_a_body_is_seen_and_leaves_as_it_came(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "up: {text: see}"), up=UP)
    with Client(made.port) as client:
        answer = client.ask("/", method="POST", body=b"one")
        assert (answer.told["body"], answer.sent("Content-Length"), answer.sent("Transfer-Encoding")) == ("one", ["3"], [])
        answer = ask_chunked(client, b"tw", b"o" * 70_000, trailers=b"X-Sum: 1\r\n")
        assert (answer.told["body"], answer.sent("Content-Length"), answer.sent("Transfer-Encoding"), answer.sent("Trailer")) == ("tw" + "o" * 70_000, ["70002"], [], [])
        assert client.ask("/").sent("Content-Length") == []
        assert client.ask("/", method="HEAD").status == 200
        assert client.ask("/", "Connection: keep-alive", method="POST", body=b"old", version="1.0").told["body"] == "old"
    assert made.module("up").SEEN == [b"one", b"tw" + b"o" * 70_000, b"", b"", b"old"]
    made.quiet()


@pytest.mark.parametrize("how", ["length", "chunked"])
def test_replacements_leave_with_their_length_in_the_order_of_policies(rig: Make, origin: Origin, how: str) -> None:
    made = rig(behind(origin, "first: {text: mark}", "second: {text: upper}", "third: {text: later}"), first=UP, second=UP, third=UP)
    with Client(made.port) as client:
        for body in (b"a", b"b" * 50_000):
            answer = client.ask("/", method="POST", body=body) if how == "length" else ask_chunked(client, body)
            said = (body.upper() + b"!")[::-1].decode()
            assert (answer.told["body"], answer.sent("Content-Length"), answer.sent("X-Length")) == (said, [str(len(said))], [str(len(said))])
    made.quiet()


def test_a_body_can_be_added_and_taken_away(rig: Make, origin: Origin) -> None:
    config = f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes:\n"
    config += "".join(f"  - {{path: /{name}, service: one, policies: [up: {{text: {name}}}]}}\n" for name in ("mark", "none"))
    made = rig(config, up=UP)
    with Client(made.port) as client:
        assert client.ask("/mark", method="PUT").told["body"] == "!"
        assert client.ask("/mark", "Content-Length: 0", method="PUT").sent("Content-Length") == ["1"]
        answer = client.ask("/none", method="PUT", body=b"gone")
        assert (answer.told["body"], answer.sent("Content-Length")) == ("", ["0"])
    made.quiet()


def test_a_hook_ends_the_exchange_before_an_endpoint_sees_it(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "up: {text: deny}"), up=UP)
    with Client(made.port) as client:
        client.sock.sendall(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nbad"
            b"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\ngoodGET /3 HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        assert client.read().status == 422
        assert client.read().told["body"] == "good"
        assert client.read().told["path"] == "/3"
    assert origin.paths == ["/2", "/3"]
    made.quiet()


@pytest.mark.parametrize(("kind", "status"), [("fails", 500), ("text", 500)])
def test_a_hook_that_fails_lets_nothing_pass(rig: Make, origin: Origin, kind: str, status: int) -> None:
    made = rig(behind(origin, f"up: {{text: {kind}}}"), up=UP)
    with Client(made.port) as client:
        assert client.ask("/", method="POST", body=b"x").status == status
        assert client.ask("/", method="POST", body=b"x").status == status
    assert origin.paths == []
    assert len(made.said("hook-failed")) == 2
    made.quiet()


def test_limits_are_the_least_of_policies_and_route(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "up: {text: see}"), up=UP)
    with Client(made.port) as client:
        assert client.ask("/", method="POST", body=b"x" * LIMIT).status == 200
        assert client.ask("/", method="POST", body=b"x" * (LIMIT + 1)).status == 413
    with Client(made.port) as client:
        assert ask_chunked(client, b"x" * LIMIT).status == 200
        assert ask_chunked(client, b"x" * LIMIT, b"x").status == 413
    assert [len(body) for body in made.module("up").SEEN] == [LIMIT, LIMIT]
    made.quiet()


def test_a_client_that_waits_to_be_asked_is_asked_once(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "up: {text: upper}"), up=UP)
    with Client(made.port) as client:
        client.send("/", "Expect: 100-continue", "Content-Length: 4", method="POST")
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.file.readline() == b"\r\n"
        client.sock.sendall(b"body")
        answer = client.read()
        assert (answer.told["body"], answer.sent("Expect")) == ("BODY", [])
        client.send("/", "Expect: 100-continue", f"Content-Length: {LIMIT + 1}", method="POST")
        assert client.read().status == 413
    made.quiet()


@pytest.mark.parametrize("leave", ["reset", "close", "malformed"])
def test_a_body_that_is_cut_reaches_no_hook(rig: Make, origin: Origin, leave: str) -> None:
    made = rig(behind(origin, "up: {text: see}"), up=UP)
    with Client(made.port) as client:
        client.send("/", "Transfer-Encoding: chunked", method="POST")
        client.sock.sendall(b"5\r\nhello\r\n" if leave != "malformed" else b"5\r\nhello\r\nx\r\n")
        if leave == "reset":
            until(lambda: made.stats()["exchanges"] == 1, "it is being read")
            client.reset()
        else:
            client.sock.shutdown(socket.SHUT_WR)
            assert client.read().status == 400
    made.quiet()
    assert made.module("up").SEEN == origin.paths == []


def test_a_slow_body_comes_whole_and_one_that_stops_times_out(rig: Make, origin: Origin) -> None:
    config = f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{{path: /, service: one, timeouts: {{idle: 300ms}}, policies: [up: {{text: see}}]}}]"
    made = rig(config, up=UP)
    with Client(made.port) as client:
        client.send("/", "Content-Length: 5", method="POST")
        for byte in b"hello":
            time.sleep(0.1)
            client.sock.sendall(bytes([byte]))
        assert client.read().told["body"] == "hello"
        client.send("/", "Content-Length: 5", method="POST")
        client.sock.sendall(b"he")
        assert client.read().status == 408
    made.quiet()


def test_what_waits_is_cancelled_and_what_is_kept_goes(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "up: {text: waits}", more="process: {hook_timeout: 200ms}"), up=UP)
    before = made.figures()["memory_bytes"]
    client = Client(made.port)
    client.send("/", method="POST", body=b"x" * 90_000)
    until(lambda: made.module("up").SEEN, "it waits")
    assert made.figures()["memory_bytes"] > before + 90_000
    client.reset()
    made.quiet()
    with Client(made.port) as client:
        assert client.ask("/", method="POST", body=b"x").status == 504
        made.loop.call_soon_threadsafe(made.module("up").GATE.set)
        assert client.ask("/", method="POST", body=b"y").told["body"] == "y"
    made.quiet()
    assert len(made.said("hook-timeout")) == 1


class Script:
    """An origin that reads what a function says and answers what it gives, once per connection; `got` are whole requests."""

    def __init__(self, answer: Callable[[bytes], bytes | None], *, buffer: int | None = None) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        if buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.port: int = self.sock.getsockname()[1]
        self.got: list[bytes] = []
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=[conn], daemon=True).start()

    def _talk(self, conn: socket.socket) -> None:
        with conn, suppress(ConnectionError):
            self._requests(conn)

    def _requests(self, conn: socket.socket) -> None:
        while True:
            request = b""
            while b"\r\n\r\n" not in request:
                piece = conn.recv(65536)
                if not piece:
                    return
                request += piece
            head, _, body = request.partition(b"\r\n\r\n")
            size = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
            while len(body) < size:
                body += conn.recv(65536)
            self.got.append(head + b"\r\n\r\n" + body)
            answer = self._answer(self.got[-1])
            if answer is None:
                return
            conn.sendall(answer)
            if b"Connection: close" in answer:
                return

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self._thread.join(5)


@pytest.fixture
def script() -> Iterator[Callable[..., Script]]:
    made: list[Script] = []

    def make(answer: Callable[[bytes], bytes | None], **how: int) -> Script:
        made.append(Script(answer, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


TRY = """
def build(config: Config, tools: Tools) -> Hooks:
    def goes(request: Request) -> None:
        SEEN.append((request.endpoint, request.headers.get("X-Try"), request.headers.get("X-Drop")))
        request.headers.add("X-Try", str(len(SEEN)))
        del request.headers["X-Drop"]
        if config.text == "fails":
            raise ValueError("no")
    def replace(request: Request, body: bytes) -> bytes:
        return body * 2
    return Hooks(origin_request=goes, request_body=replace if config.text == "body" else None)
"""


@pytest.mark.parametrize("text", ["head", "body"])
def test_each_try_begins_anew_and_sends_the_whole_body(rig: Make, script: Callable[..., Script], text: str) -> None:
    answers: list[bytes | None] = [None, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
    origins = [script(lambda _: answers.pop(0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{each.port}" for each in origins]
    route = f"{{path: /, service: one, policies: [try: {{text: {text}}}]}}"
    made = rig(f"services: {{one: {{endpoints: {json.dumps(addresses)}, retries: 1}}}}\nroutes: [{route}]", **{"try": TRY})
    body = b"" if text == "head" else b"z" * 40_000
    with Client(made.port) as client:
        for _ in range(5):  # the budget of retries
            answers.insert(0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert client.ask("/", "X-Drop: me", method="PUT", body=b"1" if body else b"").status == 200
        answers[:] = [None, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"]
        before = len(made.module("try").SEEN)
        assert client.ask("/", "X-Drop: me", method="PUT", body=body).status == 200
    seen = made.module("try").SEEN
    tries = seen[before:]
    assert len(tries) == 2
    assert all((first, drop) == (None, "me") for _, first, drop in tries)
    assert {address for address, _, _ in tries} <= set(addresses)
    last = [each for origin in origins for each in origin.got if f"X-Try: {len(seen)}".encode() in each]
    assert len(last) == 1
    assert b"X-Drop" not in last[0]
    assert last[0].partition(b"\r\n\r\n")[2] == body * 2
    assert last[0].count(b"X-Try") == 1
    made.quiet()


def test_an_origin_hook_that_fails_lets_nothing_leave(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "try: {text: fails}"), **{"try": TRY})
    with Client(made.port) as client:
        assert client.ask("/").status == 500
        assert client.ask("/").status == 500
    assert origin.paths == []
    made.quiet()


DOWN = f"""
def build(config: Config, tools: Tools) -> Hooks:
    def see(request: Request, body: bytes) -> None:
        SEEN.append(body)
        request.response_headers["X-Size"] = str(len(body))
    def upper(request: Request, body: bytes) -> bytes:
        return body.upper()
    def fails(request: Request, body: bytes) -> None:
        raise ValueError("no")
    def text(request: Request, body: bytes) -> str:
        return "text"
    def big(request: Request, body: bytes) -> bytes:
        return b"b" * {BIG}
    async def later(request: Request, body: bytes) -> bytes:
        await asyncio.sleep(0.01)
        return body + b"!"
    async def waits(request: Request, body: bytes) -> None:
        await asyncio.sleep(60)
    return Hooks(response_body=locals()[config.text], body_limit={LIMIT})
"""
FRAMED = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n" + chunked(b"hel", b"lo", trailers=b"X: 1\r\n"),
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("framing", FRAMED)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_answers_in_all_framings(rig: Make, script: Callable[..., Script], framing: str, version: str) -> None:
    made = rig(behind(script(lambda _: FRAMED[framing]), "outer: {text: upper}", "inner: {text: see}"), outer=DOWN, inner=DOWN)
    with Client(made.port) as client:
        for _ in range(3):
            client.send("/", *(["Connection: keep-alive"] if version == "1.0" else []), version=version)
            answer = client.read()
            if answer.status == 103:
                answer = client.read()
            assert (answer.status, answer.body, answer.one("Content-Length"), answer.one("X-Size")) == (200, b"HELLO", "5", "5")
            assert answer.all("Transfer-Encoding") == answer.all("Trailer") == []
    assert made.module("inner").SEEN == [b"hello"] * 3
    made.quiet()


@pytest.mark.parametrize("kind", ["see", "later", "big"])
def test_answers_of_any_size_and_hooks_that_wait(rig: Make, origin: Origin, kind: str) -> None:
    made = rig(behind(origin, f"down: {{text: {kind}}}"), down=DOWN)
    with Client(made.port) as client:
        for path in ("/one", "/two"):
            answer = client.ask(path, method="POST", body=b"x" * 50_000)
            assert answer.one("Content-Length") == str(len(answer.body))
            assert {"see": len(answer.body) > 50_000, "later": answer.body.endswith(b"}!"), "big": answer.body == b"b" * BIG}[kind]
    made.quiet()


def test_answers_without_body_and_of_gws_own_are_not_asked_about(rig: Make, script: Callable[..., Script]) -> None:
    def answer(request: bytes) -> bytes:
        if b"/204" in request:
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        return b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n" if b"/304" in request else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"

    routes = ["{path: /, service: one, policies: [down: {text: see}]}", "{exact: /own, respond: {body: x}, policies: [down: {text: see}]}"]
    made = rig(f"services: {{one: {{endpoints: ['127.0.0.1:{script(answer).port}']}}}}\nroutes: [{', '.join(routes)}]", down=DOWN)
    with Client(made.port) as client:
        assert [client.ask("/204").status, client.ask("/304").status, client.ask("/", method="HEAD").one("Content-Length"), client.ask("/own").body] == [204, 304, "9", b"x"]
    assert made.module("down").SEEN == []
    made.quiet()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_answer_that_is_too_large_is_not_passed(rig: Make, script: Callable[..., Script], framing: str) -> None:
    body = b"x" * (LIMIT + 1)
    head = {"length": b"Content-Length: %d" % len(body), "chunked": b"Transfer-Encoding: chunked", "close": b"Connection: close"}[framing]
    whole = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + (chunked(body) if framing == "chunked" else body)
    made = rig(behind(script(lambda _: whole), "down: {text: see}"), down=DOWN)
    with Client(made.port) as client:
        answer = client.ask("/")
        assert (answer.status, b"answer-too-large" in answer.body) == (502, True)
    assert made.module("down").SEEN == []
    made.quiet()


CUTS = [
    b"Content-Length: 9\r\nConnection: close\r\n\r\nhello",
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
]


@pytest.mark.parametrize("cut", CUTS)
def test_an_answer_that_is_cut_or_malformed_reaches_nobody(rig: Make, script: Callable[..., Script], cut: bytes) -> None:
    made = rig(behind(script(lambda _: b"HTTP/1.1 200 OK\r\n" + cut), "down: {text: see}"), down=DOWN)
    with Client(made.port) as client:
        assert client.ask("/").status == 502
    assert made.module("down").SEEN == []
    made.quiet()


@pytest.mark.parametrize(("kind", "status"), [("fails", 500), ("text", 500), ("waits", 504)])
def test_an_answer_whose_hook_fails_is_not_passed(rig: Make, origin: Origin, kind: str, status: int) -> None:
    made = rig(behind(origin, f"down: {{text: {kind}}}", more="process: {hook_timeout: 200ms}"), down=DOWN)
    with Client(made.port) as client:
        assert client.ask("/").status == status
        assert client.ask("/").status == status
    made.quiet()


def test_many_at_once_leave_nothing_behind(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "up: {text: later}", "down: {text: later}"), up=UP, down=DOWN)

    def work(number: int) -> None:
        body = b"%d" % number * 5000
        with Client(made.port) as client:
            for turn in range(5):
                if number % 4 == 3 and turn == 3:
                    client.send("/", "Content-Length: 70000", method="POST")
                    client.sock.sendall(body)
                    client.reset()
                    return
                answer = client.ask(f"/{number}", method="POST", body=body) if turn % 2 else ask_chunked(client, body)
                assert json.loads(answer.body[:-1])["body"] == body[::-1].decode()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    made.quiet()
    first = _settled(made)
    for number in range(16):
        work(number)
    made.quiet()
    assert _settled(made) <= first


KEEPS = f"""
def build(config: Config, tools: Tools) -> Hooks:
    def see(request: Request, body: bytes) -> None:
        SEEN.append(len(body))
    def twice(request: Request, body: bytes) -> bytes:
        SEEN.append(len(body))
        return body * 2
    async def later(request: Request, body: bytes) -> bytes:
        await asyncio.sleep(0.001)
        SEEN.append(len(body))
        return body * 2
    return Hooks(**{{tools.route: locals()[config.text]}}, body_limit={BIG})
"""
MIB = 1 << 20


@pytest.mark.parametrize(
    ("kind", "room", "seen", "refused"),
    [
        ("see", 1.5, [], True),
        ("see", 2.5, [MIB], False),
        ("twice", 1.5, [], True),
        ("twice", 2.5, [MIB], True),
        ("twice", 3.5, [MIB], False),
        ("later", 2.5, [MIB], True),
        ("later", 3.5, [MIB], False),
    ],
)
@pytest.mark.parametrize("phase", ["request_body", "response_body"])
def test_a_body_that_there_is_no_memory_for_is_refused(rig: Make, script: Callable[..., Script], phase: str, kind: str, room: float, seen: list[int], *, refused: bool) -> None:
    """A body of 1 MiB is held as it was gathered, as bytes for the hook, and as what the hook makes of it: two of these at a time."""
    body = b"x" * MIB
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (MIB, body) if phase == "response_body" else b"HTTP/1.1 204 No Content\r\n\r\n"
    at = script(lambda _: answer)
    config = behind(at, f"keeps: {{text: {kind}}}").replace("name: all", f"name: {phase}, max_body: 4MiB")
    made = rig(config, keeps=KEEPS)
    for _ in range(2):
        with Client(made.port) as client:
            assert client.ask("/", method="POST", body=b"y").status < 300  # connections and exchanges are there from now on
        made.quiet()
        held = _settled(made)
        made.module("keeps").SEEN.clear()
        made.segment.set_worker(0, memory_ask=held, memory_most=held + int(room * MIB) + 100_000)
        with Client(made.port) as client:
            found = client.ask("/", method="POST", body=body if phase == "request_body" else b"")
        assert found.status == (503 if refused else 200 if phase == "response_body" else 204)
        assert not refused or found.told["reason"] == "overloaded"
        asked = made.module("keeps").SEEN
        assert asked == seen
        made.quiet()
        made.segment.set_worker(0, memory_ask=2**64 - 1, memory_most=2**64 - 1)
        made.call(lambda: made.lane.shed(False))
        assert _settled(made) <= held


def _settled(made: Rig) -> int:
    until(lambda: made.stats()["connections"] == 0, "every client has gone")
    return made.figures()["memory_bytes"]


def test_a_slow_endpoint_gets_all_of_a_kept_body(rig: Make, script: Callable[..., Script]) -> None:
    slow = script(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", buffer=4096)
    route = "{path: /, name: big, service: one, max_body: 8MiB, policies: [up: {text: upper}]}"
    made = rig(f"services: {{one: {{endpoints: ['127.0.0.1:{slow.port}']}}}}\nroutes: [{route}]", up=UP)
    with Client(made.port) as client:
        assert client.ask("/", method="POST", body=b"q" * BIG).status == 200
        assert client.ask("/", method="POST", body=b"r" * 10).status == 200
    assert [len(each.partition(b"\r\n\r\n")[2]) for each in slow.got] == [BIG, 10]
    made.quiet()


def test_upgrades_pass_untouched(rig: Make, script: Callable[..., Script]) -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
    origin = script(lambda _: answer)
    route = "{path: /, service: one, upgrade: [websocket], policies: [up: {text: see}, down: {text: see}]}"
    made = rig(f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{route}]", up=UP, down=DOWN)
    with Client(made.port) as client:
        client.send("/", "Connection: Upgrade", "Upgrade: websocket")
        assert client.read().status == 101
        assert client.file.read(5) == b"hello"
    assert (made.module("up").SEEN, made.module("down").SEEN) == ([b""], [])
