"""Python hooks in a plan, through real sockets: what they see, what they change, how they fail, that nothing is left of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gw._fast.hooks import Request, Response
from gw._fast.python_step import PythonStep
from tests.unit.fast.rig import LOOK, Client, Make, Origin, behind, two_routes, until

COPY = """
def build(config: Config, tools: Tools) -> Hooks:
    def copy(request: Request) -> None:
        request.headers["X-Copy"] = request.headers.get("x-read", "none") + config.text
    return Hooks(request=copy)
"""


def test_a_hook_reads_and_sets_a_field(rig: Make, origin: Origin) -> None:
    with Client(rig(behind(origin, "copy", "copy: {text: twice}"), copy=COPY).port) as client:
        for _ in range(3):
            answer = client.ask("/a", "X-Read: given", "X-Copy: forged", "x_copy: forged too")
            assert answer.sent("X-Copy") == ["giventwice"]
            assert answer.sent("x_copy") == []
        assert client.ask("/a").sent("X-Copy") == ["nonetwice"]


def test_what_a_hook_sees(rig: Make, origin: Origin) -> None:
    config = f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{{path: '/u/{{id}}/{{what}}', service: one, policies: [look]}}]"
    made = rig(config, look=LOOK)
    with Client(made.port) as client:
        answer = client.ask("/u//7/./%41b%2c?x=%20&y", "X-Request-Id: mine", method="DELETE")
    seen, text = made.module("look").SEEN
    (request_id,) = answer.sent("X-Request-Id")
    expected = {"method": "DELETE", "path": "/u/7/Ab%2C", "query": "x=%20&y", "host": "h.example", "scheme": "http", "client": "127.0.0.1", "params": ["7", "Ab%2C"]}
    assert seen == {**expected, "id": request_id, "route": "/u/{id}/{what}", "status": 0, "by": "", "reason": ""}
    assert text == f"<Request DELETE /u/7/Ab%2C {request_id}>"
    assert answer.told["path"] == "/u/7/Ab%2C?x=%20&y"


@pytest.mark.parametrize(
    ("trusted", "fields", "scheme"),
    [("[127.0.0.1]", ["X-Forwarded-Proto: https"], "https"), ("[127.0.0.1]", [], "http"), ("[]", ["X-Forwarded-Proto: https"], "http")],
)
def test_the_scheme_is_what_the_client_used(rig: Make, trusted: str, fields: list[str], scheme: str) -> None:
    routes = "routes: [{path: /look, policies: [look], respond: {}}, {path: /, redirect: {to: '{scheme}://other.example{path}'}}]"
    made = rig(f"trusted_proxies: {trusted}\n{routes}", look=LOOK)
    with Client(made.port) as client:
        assert client.ask("/look", *fields).status == 200
        assert client.ask("/x", *fields).one("Location") == f"{scheme}://other.example/x"
    assert made.module("look").SEEN[0]["scheme"] == scheme


# Answers by hooks

ANSWERS = """
def build(config: Config, tools: Tools) -> Hooks:
    def answer(request: Request) -> Response | None:
        return {
            "/text": lambda: Response(403, "n\\u00f6", {"X-Why": "because", "X-Two": ["1", "2"]}),
            "/bytes": lambda: Response(418, b"\\0\\xff"),
            "/empty": lambda: Response(204),
            "/go": lambda: None,
            "/cut": lambda: Response(200, "x", {"X-A": "a\\r\\nX-B: b"}),
            "/odd": lambda: "a string",
            "/list": lambda: Response(200, "x", [("X-A", "a")]),
            "/number": lambda: Response(200, 5),
            "/status": lambda: Response(99),
        }[request.path]()

    async def later(request: Request) -> Response | None:
        await asyncio.sleep(0)
        return answer(request)

    return Hooks(request=later if config.text == "later" else answer)
"""


@pytest.mark.parametrize("when", ["now", "later"])
def test_a_hook_answers_by_itself(rig: Make, origin: Origin, when: str) -> None:
    made = rig(behind(origin, f"answers: {{text: {when}}}"), answers=ANSWERS)
    with Client(made.port) as client:
        answer = client.ask("/text")
        assert (answer.status, answer.body) == (403, "nö".encode())
        assert (answer.one("X-Why"), answer.all("X-Two")) == ("because", ["1", "2"])
        assert answer.one("Content-Length") == "3"
        assert answer.one("Date")
        answer = client.ask("/bytes", method="POST", body=b"some body")
        assert (answer.status, answer.body) == (418, b"\0\xff")
        answer = client.ask("/text", method="HEAD")
        assert (answer.status, answer.one("Content-Length")) == (403, "3")
        answer = client.ask("/empty")
        assert (answer.status, answer.one("Content-Length")) == (204, None)
        assert client.ask("/go").told["path"] == "/go"
    assert origin.paths == ["/go"]


@pytest.mark.parametrize("when", ["now", "later"])
@pytest.mark.parametrize("path", ["/cut", "/odd", "/list", "/number", "/status", "/none-such"])
def test_a_wrong_answer_of_a_hook_is_a_failure_of_the_hook(rig: Make, origin: Origin, when: str, path: str) -> None:
    made = rig(behind(origin, f"answers: {{text: {when}}}"), answers=ANSWERS)
    with Client(made.port) as client:
        answer = client.ask(path)
        assert (answer.status, answer.told["reason"]) == (500, "hook-failed")
        assert client.ask("/bytes").status == 418
    assert [(event["policy"], "Error" in event["error"]) for event in made.said("hook-failed")] == [("answers", True)]
    assert origin.paths == []


# Failures

RAISES = """
def build(config: Config, tools: Tools) -> Hooks:
    def fails(request: Request) -> None:
        raise {"LookupError": LookupError("secret of the operator"), "SystemExit": SystemExit(3), "Cancelled": asyncio.CancelledError(), "Base": BaseException("b")}[config.text]

    async def fails_later(request: Request) -> None:
        await asyncio.sleep(0)
        fails(request)

    return Hooks(request=fails_later if tools.route == "later" else fails)
"""


@pytest.mark.parametrize("path", ["/now", "/later"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_hook_that_raises_answers_500_and_is_logged_with_its_policy(rig: Make, origin: Origin, path: str, method: str) -> None:
    made = rig(two_routes(origin, "raises: {text: LookupError}"), raises=RAISES)
    with Client(made.port) as client:
        for _ in range(2):
            answer = client.ask(path, method=method, body=b"x" * 100 if method == "POST" else b"")
            assert answer.status == 500
            assert answer.one("Content-Type") == "application/problem+json"
            assert answer.one("Proxy-Status") == "gw; error=proxy_internal_error"
            if method != "HEAD":
                assert answer.told["reason"] == "hook-failed"
                assert b"secret" not in answer.body
    events = made.said("hook-failed")
    assert [(event["policy"], event["error"]) for event in events] == [("raises", "LookupError('secret of the operator')")] * 2
    assert events[0]["request_id"] == answer.one("X-Request-Id") or events[1]["request_id"] == answer.one("X-Request-Id")
    assert "raises.py" in events[0]["traceback"]
    assert "in fails\n" in events[0]["traceback"]
    assert made.figures()["hook_errors"] == 2
    assert origin.paths == []


@pytest.mark.parametrize("kind", ["SystemExit", "Cancelled", "Base"])
def test_nothing_a_hook_raises_lets_the_request_through(rig: Make, origin: Origin, kind: str) -> None:
    made = rig(two_routes(origin, f"raises: {{text: {kind}}}"), raises=RAISES)
    with Client(made.port) as client:
        answer = client.ask("/now")
        assert (answer.status, answer.told["reason"]) == (500, "hook-failed")
        assert client.ask("/later").status == 500
    assert origin.paths == []
    assert len(made.said("hook-failed")) == 2


SLOW = """
import time

def build(config: Config, tools: Tools) -> Hooks:
    def slow(request: Request) -> None:
        time.sleep(0.03)
    return Hooks(request=slow)
"""


def test_a_hook_that_blocks_is_named(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "slow", more="process: {hook_warn: 20ms}"), slow=SLOW)
    with Client(made.port) as client:
        (request_id,) = client.ask("/").sent("X-Request-Id")
    (event,) = made.said("hook-slow")
    assert (event["policy"], event["request_id"]) == ("slow", request_id)
    assert 20 <= event["blocked_ms"] < 500
    assert made.figures()["hook_slow"] == 1


# Responses

RESPONSE = """
def build(config: Config, tools: Tools) -> Hooks:
    def edit(request: Request) -> None:
        headers = request.response_headers
        SEEN.append((request.status, request.by, headers.get("x-origin"), headers.get_all("set-cookie"), request.headers.get("x-read")))
        headers["X-Origin"] = "changed"
        headers.add("Set-Cookie", "c=3")
        del headers["Server"]
        headers["X-New"] = request.state.get("left", "")

    def leave(request: Request) -> None:
        request.state["left"] = request.path

    async def later(request: Request) -> None:
        await asyncio.sleep(0.002)
        edit(request)

    return Hooks(request=leave, response=later if config.text == "later" else edit)
"""


@pytest.mark.parametrize("when", ["now", "later"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_response_hooks_edit_what_the_client_gets(rig: Make, origin: Origin, when: str, method: str) -> None:
    made = rig(behind(origin, f"response: {{text: {when}}}"), response=RESPONSE)
    with Client(made.port) as client:
        for _ in range(2):
            answer = client.ask("/p", "X-Read: kept", method=method, body=b"x" * 70_000 if method == "POST" else b"")
            assert (answer.one("X-Origin"), answer.all("Set-Cookie"), answer.one("Server"), answer.one("X-New")) == ("changed", ["a=1", "b=2", "c=3"], None, "/p")
            if method == "POST":
                assert len(answer.told["body"]) == 70_000
    assert made.module("response").SEEN == [(200, "origin", "yes", ["a=1", "b=2"], "kept")] * 2
    made.quiet()


def test_sync_response_hooks_see_answers_of_the_gateway_too(rig: Make, origin: Origin) -> None:
    config = "routes: [{path: /, respond: {body: own}, policies: [response, response: {text: later}]}]"
    made = rig(config, response=RESPONSE)
    with Client(made.port) as client:
        answer = client.ask("/own")
        assert (answer.status, answer.body, answer.one("X-New"), answer.one("X-Origin")) == (200, b"own", "/own", "changed")
    assert made.module("response").SEEN == [(200, "gateway", None, [], None)]


RESPONSE_RAISES = """
def build(config: Config, tools: Tools) -> Hooks:
    def fails(request: Request) -> None:
        raise LookupError

    async def fails_later(request: Request) -> None:
        await asyncio.sleep(0)
        raise LookupError

    return Hooks(response=fails_later if tools.route == "later" else fails)
"""


@pytest.mark.parametrize("path", ["/now", "/later"])
def test_a_response_hook_that_raises_answers_500(rig: Make, origin: Origin, path: str) -> None:
    made = rig(two_routes(origin, "fails"), fails=RESPONSE_RAISES)
    with Client(made.port) as client:
        answer = client.ask(path)
        assert (answer.status, answer.told["reason"]) == (500, "hook-failed")
        assert client.ask(path).status == 500
    assert [event["policy"] for event in made.said("hook-failed")] == ["fails", "fails"]
    made.quiet()


FAILS_LAST = """
def build(config: Config, tools: Tools) -> Hooks:
    def fails(request: Request) -> None:
        request.response_headers["X-Fails"] = "set before"
        raise LookupError

    async def fails_later(request: Request) -> None:
        fails(request)

    def outer(request: Request) -> None:
        SEEN.append((request.status, request.by))
        request.response_headers["X-Outer"] = "there"

    def answer(request: Request) -> Response:
        return Response(200, "secret", {"Content-Type": "text/html", "X-Own": "yes"})

    return {
        "fails": Hooks(response=fails),
        "fails later": Hooks(response=fails_later),
        "outer": Hooks(response=outer),
        "answers": Hooks(request=answer),
    }[config.text]
"""


@pytest.mark.parametrize(("route", "policy"), [("service: one", "fails"), ("service: one", "fails later"), ("respond: {body: own}", "fails"), ("redirect: {to: /x}", "fails")])
def test_a_failed_response_hook_fails_gw_s_own_answers_too_and_outer_hooks_see_the_500(rig: Make, origin: Origin, route: str, policy: str) -> None:
    config = f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{{path: /, {route}, policies: [last: {{text: outer}}, last: {{text: {policy}}}]}}]"
    made = rig(config, last=FAILS_LAST)
    with Client(made.port) as client:
        for _ in range(2):
            answer = client.ask("/")
            assert (answer.status, answer.told["reason"], answer.one("X-Outer"), answer.one("X-Origin")) == (500, "hook-failed", "there", None)
    assert made.module("last").SEEN == [(500, "gateway")] * 2
    assert len(made.said("hook-failed")) == 2
    made.quiet()


def test_what_a_hook_answered_does_not_leak_into_the_failure_of_another(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "last: {text: fails}", "last: {text: answers}"), last=FAILS_LAST)
    with Client(made.port) as client:
        answer = client.ask("/")
    assert (answer.status, answer.told["reason"], answer.one("X-Own"), answer.one("Content-Type")) == (500, "hook-failed", None, "application/problem+json")


# The end

DONE = """
KEPT = []

def build(config: Config, tools: Tools) -> Hooks:
    def keep(request: Request) -> None:
        KEPT.append((request, request.headers, request.response_headers))

    def done(request: Request) -> None:
        SEEN.append((request.path, request.status, request.by, request.reason))
        if request.path == "/fails":
            raise LookupError

    return Hooks(request=keep, done=done)
"""


def test_done_sees_how_it_ended(rig: Make, origin: Origin) -> None:
    refused = "{path: /refused, service: gone, policies: [done]}"
    config = behind(origin, "done").replace("services: {", "services: {gone: {endpoints: ['127.0.0.1:1']}, ").replace("routes: [", f"routes: [{refused}, ")
    made = rig(config, done=DONE)
    with Client(made.port) as client:
        assert client.ask("/").status == 200
        assert client.ask("/refused").status == 502
        assert client.ask("/fails").status == 200
        client.send("/slow")
        until(lambda: "/slow" in origin.paths, "the origin was asked")
        client.reset()
        made.quiet()
    assert made.module("done").SEEN == [
        ("/", 200, "origin", ""),
        ("/refused", 502, "gateway", "connect-refused"),
        ("/fails", 200, "origin", ""),
        ("/slow", 499, "client", "client-closed"),
    ]
    assert [event["policy"] for event in made.said("hook-failed")] == ["done"]


def test_a_view_is_dead_after_the_end(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "done"), done=DONE)
    with Client(made.port) as client:
        client.ask("/")
        client.ask("/")
    made.quiet()
    for request, headers, response_headers in made.module("done").KEPT:
        assert repr(request) == "<Request, ended>"
        attributes = [name for name in dir(Request) if not name.startswith("_") and name not in ("state", "identify", "presents")]
        uses: list[Callable[[], object]] = [request.presents, lambda r=request: r.identify("jwt"), *[lambda r=request, name=name: getattr(r, name) for name in attributes]]
        for fields in (headers, response_headers):
            uses += [lambda f=fields: f.get("x"), lambda f=fields: f.get_all("x"), lambda f=fields: f["x"], lambda f=fields: "x" in f, lambda f=fields: f.items()]
            uses += [lambda f=fields: f.__setitem__("x", "y"), lambda f=fields: f.__delitem__("x"), lambda f=fields: f.add("x", "y")]
        for use in uses:
            with pytest.raises(RuntimeError, match="the exchange has ended"):
                use()


LATE = """
def build(config: Config, tools: Tools) -> Hooks:
    def done(request: Request) -> None:
        SEEN.append((request.headers.get("x-sent"), request.response_headers.get("x-origin"), request.response_headers.get_all("set-cookie")))
    return Hooks(done=done)
"""


def test_done_reads_both_heads_after_the_bodies(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "late"), late=LATE)
    with Client(made.port) as client:
        for _ in range(2):
            assert len(client.ask("/", "X-Sent: kept", method="POST", body=b"x" * 900_000).told["body"]) == 900_000
    made.quiet()
    assert made.module("late").SEEN == [("kept", "yes", ["a=1", "b=2"])] * 2


# Order

ORDER = """
def build(config: Config, tools: Tools) -> Hooks:
    def request(request: Request) -> None:
        request.state.setdefault("order", []).append(config.text)

    def response(request: Request) -> None:
        request.state["order"].append(config.text + "'")

    def done(request: Request) -> None:
        request.state["order"].append(config.text + "*")
        if config.text == "gateway":
            SEEN.append(request.state["order"])

    return Hooks(request=request, response=response, done=done)
"""


def test_order_is_gateway_service_route_and_back(rig: Make, origin: Origin) -> None:
    made = rig(
        f"""
policies: [order: {{text: gateway}}]
services: {{one: {{endpoints: ['127.0.0.1:{origin.port}'], policies: [order: {{text: service}}]}}}}
routes: [{{path: /, service: one, policies: [order: {{text: first}}, order: {{text: second}}]}}]
""",
        order=ORDER,
    )
    with Client(made.port) as client:
        client.ask("/")
    made.quiet()
    assert made.module("order").SEEN == [["gateway", "service", "first", "second", "second'", "first'", "service'", "gateway'", "second*", "first*", "service*", "gateway*"]]


# Without a lane


def test_phases_and_names() -> None:
    def hook(request: Request) -> None:
        """Does nothing."""

    async def waits(request: Request) -> None:
        """Does nothing."""

    assert PythonStep("p").phases() == []
    assert PythonStep("p", waits, hook, hook).phases() == ["request", "response", "done"]
    assert PythonStep("mine", done=hook).name == "mine"
    with pytest.raises(TypeError, match="policy p: the hook `done` runs after the exchange and cannot be async"):
        PythonStep("p", done=waits)


@pytest.mark.parametrize("status", [0, 99, 100, 199, 600])
def test_a_response_has_a_final_status(status: int) -> None:
    with pytest.raises(ValueError, match=rf"status {status} is not in 200\.\.599"):
        Response(status)
    assert repr(Response(200)) == "<Response 200>"
