"""Fields as hooks read and edit them: what they see is what is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reference.fields import edited, fold, named
from tests.unit.fast.rig import Client, Make, Origin, Rig, behind

FIELDS = """
def build(config: Config, tools: Tools) -> Hooks:
    def edit(request: Request) -> None:
        headers = request.headers
        note = lambda: SEEN.append((headers.get("x-a"), headers.get_all("X-A"), "X_A" in headers))
        note()
        headers.add("X-A", "added")
        note()
        headers["x-a"] = "set"
        note()
        headers.add("X-A", "behind")
        note()
        del headers["X-A"]
        note()
        headers.add("X-A", "last")
        note()
        SEEN.append(headers.get("x-none"))
        SEEN.append(headers.get("x-none", "default"))
        SEEN.append([item for item in headers.items() if item[0] in ("X-A", "X-Real-IP")])
        try:
            headers["x-none"]
        except KeyError as error:
            SEEN.append(error.args)
        SEEN.append("X-Real-IP" in headers or "x-forwarded-for" in headers or "x_real_ip" in headers)
    return Hooks(request=edit)
"""


def test_reading_sees_the_edits_of_this_exchange(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "fields"), fields=FIELDS)
    with Client(made.port) as client:
        answer = client.ask("/", "X-A: one", "X-A: two", "X-Real-IP: 6.6.6.6", "X-Forwarded-For: 6.6.6.6")
    assert made.module("fields").SEEN == [
        ("one", ["one", "two"], True),
        ("one", ["one", "two", "added"], True),
        ("set", ["set"], True),
        ("set", ["set", "behind"], True),
        (None, [], False),
        ("last", ["last"], True),
        None,
        "default",
        [("X-A", "last")],
        ("x-none",),
        False,
    ]
    assert answer.sent("X-A") == ["last"]


SPELLED = """
def build(config: Config, tools: Tools) -> Hooks:
    def look(request: Request) -> None:
        SEEN.append([request.headers.get(name) for name in ("X-Real-IP", "X_Real_IP", "Authorization", "X-Request-Id")])
    return Hooks(request=look)
"""


def test_a_name_only_spelled_like_a_known_one_is_not_shown(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "spelled"), spelled=SPELLED)
    with Client(made.port) as client:
        answer = client.ask("/", "X_Real_IP: 6.6.6.6", "X_Request_Id: forged")
    assert made.module("spelled").SEEN == [[None, None, None, None]]
    assert answer.sent("X_Real_IP") == []


NOMINATED = """
def build(config: Config, tools: Tools) -> Hooks:
    def look(request: Request) -> None:
        SEEN.append([request.headers.get(name) for name in ("X-Tenant", "Connection", "Upgrade", "TE")])
    return Hooks(request=look)
"""


def test_what_connection_names_is_not_shown_for_it_is_not_sent(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "nominated"), nominated=NOMINATED)
    with Client(made.port) as client:
        answer = client.ask("/", "X-Tenant: a", "Connection: x-tenant", "Upgrade: odd", "TE: trailers")
    assert made.module("nominated").SEEN == [[None, "x-tenant", "odd", "trailers"]]
    assert answer.sent("X-Tenant") == []


LATER = """
def build(config: Config, tools: Tools) -> Hooks:
    def look(request: Request) -> None:
        SEEN.append(request.headers.get_all("X-A"))
    return Hooks(request=look)
"""


def test_a_hook_sees_what_the_header_policy_before_it_did(rig: Make, origin: Origin) -> None:
    header = "headers: {request: {default: {X-A: default}}}"
    made = rig(behind(origin, header, "later"), later=LATER)
    with Client(made.port) as client:
        assert client.ask("/", "X-A: sent").sent("X-A") == ["sent"]
        assert client.ask("/").sent("X-A") == ["default"]
    assert made.module("later").SEEN == [["sent"], ["default"]]


REFUSED = """
def build(config: Config, tools: Tools) -> Hooks:
    def edit(request: Request) -> None:
        text = [("X-A", "a\\r\\nX-B: b"), ("X-A", "a\\n"), ("X-A", "\\0"), ("X-A", "\\x7f"), ("X-A", "\\u20ac"), ("X A", "a"), ("X-A:", "a"), ("", "a"), ("X-A\\r\\n", "a")]
        framing = ["Content-Length", "transfer-encoding", "Transfer_Encoding", "Host", "CONNECTION", "Upgrade", "Trailer", "te"]
        for headers in (request.headers, request.response_headers):
            for name, value in [*text, *((name, "5") for name in framing)]:
                for verb in (headers.__setitem__, headers.add):
                    try:
                        verb(name, value)
                        SEEN.append((name, value))
                    except ValueError:
                        pass
        request.headers["X-Tab"] = "a\\tb"
    return Hooks(request=edit)
"""


def test_edits_that_cannot_stand_in_a_head_are_refused(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "refused"), refused=REFUSED)
    with Client(made.port) as client:
        answer = client.ask("/")
    assert made.module("refused").SEEN == []
    assert answer.sent("X-Tab") == ["a\tb"]
    assert answer.sent("X-A") == answer.sent("X-B") == []


# Edits against the oracle

SCRIPT = """
import json
from urllib.parse import unquote

def build(config: Config, tools: Tools) -> Hooks:
    def edit(request: Request) -> None:
        for headers in (request.headers, request.response_headers):
            for verb, name, value in json.loads(unquote(request.query)):
                if verb == "set":
                    headers[name] = value
                elif verb == "add":
                    headers.add(name, value)
                else:
                    del headers[name]

    def look(request: Request) -> None:
        for headers in (request.headers, request.response_headers):
            SEEN.append([(name, headers.get_all(name), headers.get(name), name in headers) for name in ("X-A", "x_a", "X-B", "x-c")])
            SEEN.append(headers.items())

    return Hooks(request=edit) if config.text else Hooks(response=look)
"""
NAMES = st.sampled_from(["X-A", "x-a", "X_A", "X-B", "x-b", "X-C", "-c", "_C", "y_a"])
EDITS = st.lists(st.tuples(st.sampled_from(["set", "add", "remove"]), NAMES, st.sampled_from("12345")), max_size=8)
SENT = st.lists(st.tuples(NAMES, st.sampled_from(["sent", "other"])), max_size=4)
FIXED = [("remove", "X-B", ""), ("set", "X-A", "policy"), ("add", "X-A", "beside"), ("default", "X-C", "default")]
HEADERS = "{remove: [X-B], set: {X-A: policy}, add: {X-A: beside}, default: {X-C: default}}"


def of_interest(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in fields if fold(name) in ("x-a", "x-b", "x-c", "-c", "y-a")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(sent=SENT, edits=EDITS, order=st.sampled_from(["before", "behind", "none"]), path=st.sampled_from(["/own", "/forward"]))
def test_edits_are_read_and_sent_as_the_oracle_says(lane: tuple[Rig, Client], sent: list[tuple[str, str]], edits: list[tuple[str, str, str]], order: str, path: str) -> None:
    made, client = lane
    seen = made.module("script").SEEN
    seen.clear()
    answer = client.ask(f"{path}/{order}?{quote(json.dumps(edits))}", *(f"{name}: {value}" for name, value in sent))
    script = {"before": [*FIXED, *edits], "behind": [*edits, *FIXED], "none": edits}[order]
    # Response steps run after the request's: to the answer the policy always comes last.
    towards_origin, towards_client = edited(sent, script), edited([], edits if order == "none" else [*edits, *FIXED])
    assert of_interest(answer.fields) == towards_client
    if path == "/forward":
        assert of_interest([(name, value) for name, value in answer.told["headers"]]) == towards_origin
    for kept, (values, items) in zip((towards_origin, towards_client), (seen[:2], seen[2:]), strict=True):
        assert values == [(name, named(kept, name), next(iter(named(kept, name)), None), bool(named(kept, name))) for name in ("X-A", "x_a", "X-B", "x-c")]
        assert of_interest(items) == kept


@pytest.fixture
def lane(rig: Make, origin: Origin) -> Iterator[tuple[Rig, Client]]:
    """Routes that edit by script, with a fixed policy before it, behind it, or without one; the last response step looks."""
    hook, fixed = "script: {text: edit}", f"headers: {{request: {HEADERS}, response: {HEADERS}}}"
    orders = {"before": [fixed, hook], "behind": [hook, fixed], "none": [hook]}
    ends = {"own": "respond: {body: x}", "forward": "service: one"}
    routes = [f"{{path: /{path}/{order}, {end}, policies: [{', '.join(['script', *policies])}]}}" for path, end in ends.items() for order, policies in orders.items()]
    made = rig(f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{', '.join(routes)}]", script=SCRIPT)
    with Client(made.port) as client:
        yield made, client
