"""The policy `headers`: what it refuses. What its edits do to heads stands in tests/unit/fast/test_hooks_fields.py and below, through real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gw.errors import ConfigError
from gw.policy import Tools, find
from gw.policy.headers import Config, Edits, build
from tests.unit.fast.rig import Client, Origin, Rig
from tests.unit.policy.gateway import gateway as gateway_of

TOOLS = Tools("all", "$.routes[0].policies[0].headers")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[[str], Client]]:
    """Routes `/origin` and `/own` under a policy `headers` with these settings; gives a client."""
    origin, rigs, clients = Origin(), [], []

    def make(settings: str) -> Client:
        routes = ", ".join(f"{{path: /{name}, {end}, policies: [headers: {settings}]}}" for name, end in (("origin", "service: one"), ("own", f"respond: {OWN}")))
        rigs.append(Rig(tmp_path, f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{routes}]"))
        clients.append(Client(rigs[-1].port))
        return clients[-1]

    yield make
    for each in [*clients, *rigs, origin]:
        each.close()


OWN = "{body: own, headers: {X-Origin: 'yes', Set-Cookie: a=1}}"


@pytest.mark.parametrize("path", ["/origin", "/own"])
def test_answers_of_origins_and_of_gw_are_edited_alike(gateway: Callable[[str], Client], path: str) -> None:
    client = gateway("{response: {remove: [set_cookie], set: {x-origin: mine}, add: {X-Origin: more, X-New: there}, default: {X-New: unused, X-Default: used}}}")
    for _ in range(2):
        answer = client.ask(path)
        assert answer.all("X-Origin") == ["mine", "more"]
        assert answer.all("Set-Cookie") == []
        assert answer.all("X-New") == ["there"]
        assert answer.one("X-Default") == "used"
        assert answer.one("Date")


def test_gw_s_own_fields_can_be_replaced_and_taken_away(gateway: Callable[[str], Client]) -> None:
    answer = gateway("{response: {set: {Content-Type: text/html}}}").ask("/own")
    assert answer.one("Content-Type") == "text/html"
    assert answer.body == b"own"


def test_requests_are_edited(gateway: Callable[[str], Client]) -> None:
    client = gateway("{request: {remove: [X-Gone], set: {X-Set: mine}, add: {X-Add: mine}, default: {X-Default: mine}}}")
    answer = client.ask("/origin", "X-Gone: a", "x_gone: b", "X-Set: a", "X-Set: b", "X-Add: a", "X-Default: sent")
    assert [answer.sent(f"X-{name}") for name in ("Gone", "Set", "Add", "Default")] == [[], ["mine"], ["a", "mine"], ["sent"]]
    assert answer.sent("x_gone") == []
    assert client.ask("/origin").sent("X-Default") == ["mine"]


def test_a_client_cannot_switch_a_default_off_with_a_field_that_is_not_forwarded(gateway: Callable[[str], Client]) -> None:
    client = gateway("{request: {default: {X-Forwarded-Prefix: /api}}}")
    assert client.ask("/origin", "X-Forwarded-Prefix: /forged").sent("X-Forwarded-Prefix") == ["/api"]


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize(
    ("edits", "place", "message"),
    [
        (Edits(remove=["X-A", "X B"]), "remove[1]", "'X B' is not a field name"),
        (Edits(set={"": "x"}), "set", "'' is not a field name"),
        (Edits(set={"Content-Length": "5"}), "set.Content-Length", "'Content-Length' frames or routes the message"),
        (Edits(add={"transfer_encoding": "x"}), "add.transfer_encoding", "'transfer_encoding' frames or routes the message"),
        (Edits(default={"Host": "x"}), "default.Host", "'Host' frames or routes the message"),
        (Edits(set={"X-A": "a\r\nX-B: b"}), "set.X-A", "the value of 'X-A' holds a control character"),
        (Edits(set={"X-A": "\u20ac"}), "set.X-A", "the value of 'X-A' holds letters beyond ISO 8859-1"),
    ],
)
def test_what_cannot_stand_in_a_head_is_refused_where_it_is_written(side: str, edits: Edits, place: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build(Config(**{side: edits}), TOOLS)
    (problem,) = raised.value.problems
    assert problem.pointer.startswith(f"{TOOLS.pointer}.{side}.{place}")
    assert problem.message.startswith(message)


def test_only_the_date_of_answers_is_gw_s() -> None:
    assert build(Config(request=Edits(set={"Date": "x"})), TOOLS).phases() == ["request"]
    with pytest.raises(ConfigError, match="'Date' frames or routes the message"):
        build(Config(response=Edits(set={"Date": "x"})), TOOLS)


def test_a_side_without_edits_has_no_step() -> None:
    assert build(Config(), TOOLS).phases() == []
    assert build(Config(response=Edits(remove=["Server"])), TOOLS).phases() == ["response"]


def test_it_is_found_by_its_name() -> None:
    assert find("headers", [], "$").summary == "Set, add, rename or remove header fields on the way to the origin and on the way back."


# Names in values, and renaming

WHO = """
def build(config: Config, tools: Tools) -> Hooks:
    def who(request: Request) -> None:
        claims = b'{"sub": "s\\\\u00e9\\\\ud83d\\\\ude00", "n": 12.5, "ok": true, "none": null, "list": ["a", 1, {}, null, "b"], "deep": {"x": {"y": "z"}}, '
        request.identify("who", consumer="alice", claims=claims + b'"bad": "a\\\\r\\\\nX-B: b", "empty": ""}')
    return Hooks(request=who)
"""


def filled(folder: Path, value: str, *fields: str, path: str = "/u/7%2C/x?q=a+b%21&q=2&n=%0A", verb: str = "set") -> list[str]:
    """What X-Value is for the origin."""
    config = f"[who, headers: {{request: {{{verb}: {{X-Value: '{value}'}}}}}}]"
    with gateway_of(folder, config, route="path: '/u/{id}/{what}'", more="consumers: {alice: {}}", who=WHO) as made:
        sent: list[str] = made.client().ask(path, "X-Value: old", *fields).sent("X-Value")
        return sent


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("{consumer}", "alice"),
        ("{param:id}/{param:what}", "7%2C/x"),
        ("{query:q}.", "a b!."),
        ("{header:x-a}", "1, 2"),
        ("{header:X_A}", "1, 2"),
        ("{client} {host} {method} {scheme} {route} {service}", "127.0.0.1 h.example GET http all one"),
        ("{path}", "/u/7%2C/x"),
        ("{{{consumer}}}", "{alice}"),
        ('{{"a": 1}}', '{"a": 1}'),
        ("{claim:sub}", "s\u00e9\U0001f600"),
        ("{claim:n} {claim:ok} {claim:list} {claim:deep.x.y}", "12.5 true a,1,b z"),
        ("-{claim:none}{claim:deep}{claim:gone}{query:gone}{header:gone}-", "--"),
        (" {consumer} ".strip() + "{query:gone}", "alice"),
    ],
)
def test_values_hold_what_the_request_says(tmp_path: Path, value: str, sent: str) -> None:
    (found,) = filled(tmp_path, value, "X-A: 1", "x-a: 2")
    assert found.encode("latin-1").decode() == sent


def test_the_id_is_the_request_s(tmp_path: Path) -> None:
    with gateway_of(tmp_path, "[headers: {request: {set: {X-Value: 'id={id}'}}, response: {set: {X-Id: '{id}'}}}]") as made:
        answer = made.client().ask("/")
        assert answer.sent("X-Value") == [f"id={answer.one('X-Id')}"]
        assert answer.sent("X-Request-Id") == [answer.one("X-Id")]


@pytest.mark.parametrize("value", ["{claim:bad}", "x{query:n}", "{claim:empty}", "{query:gone}", "{header:x_real_ip}"])
@pytest.mark.parametrize(("verb", "left"), [("set", []), ("add", ["old"]), ("default", ["old"])])
def test_a_value_that_is_empty_or_cannot_be_sent_is_not_sent(tmp_path: Path, value: str, verb: str, left: list[str]) -> None:
    assert filled(tmp_path, value, "X-Real-IP: 6.6.6.6", verb=verb) == left


def test_values_see_the_edits_before_them(tmp_path: Path) -> None:
    policies = "[headers: {request: {remove: [X-A], set: {X-B: b}}}, headers: {request: {set: {X-Value: 'a={header:X-A}, b={header:X-B}'}}}]"
    with gateway_of(tmp_path, policies) as made:
        assert made.client().ask("/", "X-A: a", "X-B: a").sent("X-Value") == ["a=, b=b"]


def test_many_long_values_stay_whole_while_their_memory_grows(tmp_path: Path) -> None:
    edits = ", ".join(f"X-{index}: '{index}{{header:x-long}}'" for index in range(40))
    with gateway_of(tmp_path, f"[headers: {{request: {{set: {{{edits}}}}}, response: {{set: {{{edits}}}}}}}]") as made:
        client = made.client()
        for size in (10, 200, 10):
            answer = client.ask("/", f"X-Long: {'y' * size}")
            for index in range(40):
                assert answer.sent(f"X-{index}") == [f"{index}{'y' * size}"]
                assert answer.one(f"X-{index}") == f"{index}{'y' * size}"


def test_renaming_keeps_all_values_in_their_order(tmp_path: Path) -> None:
    policies = "[headers: {request: {rename: {X-Old: X-New, X-Gone: X-None}}, response: {rename: {set-cookie: X-Cookie}}}]"
    with gateway_of(tmp_path, policies) as made:
        client = made.client()
        for _ in range(2):
            answer = client.ask("/", "X-Old: 1", "X-New: 0", "x-old: 2", "x_old: 3")
            assert answer.sent("X-New") == ["0", "1", "2", "3"]
            assert answer.sent("X-Old") == []
            assert answer.sent("X-None") == []
            assert answer.all("X-Cookie") == ["a=1", "b=2"]
            assert answer.all("Set-Cookie") == []


def test_renaming_stands_between_removing_and_setting(tmp_path: Path) -> None:
    policies = "[headers: {request: {remove: [X-New], rename: {X-Old: X-New}, add: {X-New: added, X-Old: fresh}}}]"
    with gateway_of(tmp_path, policies) as made:
        answer = made.client().ask("/", "X-Old: 1", "X-New: 0")
        assert answer.sent("X-New") == ["1", "added"]
        assert answer.sent("X-Old") == ["fresh"]


@pytest.mark.parametrize(
    ("edits", "place", "message"),
    [
        (Edits(set={"X-A": "{sub}"}), "set.X-A", "the value of 'X-A': unknown name '{sub}'"),
        (Edits(set={"X-A": "{}"}), "set.X-A", "the value of 'X-A': unknown name '{}'"),
        (Edits(add={"X-A": "a { b"}), "add.X-A", "the value of 'X-A': a single '{'"),
        (Edits(add={"X-A": "}"}), "add.X-A", "the value of 'X-A': a single '}'"),
        (Edits(default={"X-A": "{claim}"}), "default.X-A", "the value of 'X-A': '{claim}' needs a name"),
        (Edits(set={"X-A": "{host:x}"}), "set.X-A", "the value of 'X-A': '{host:x}' takes no name"),
        (Edits(set={"X-A": "{header:a b}"}), "set.X-A", "the value of 'X-A': '{header:a b}' needs a name"),
        (Edits(set={"X-A": "{param:id}"}), "set.X-A", "the value of 'X-A': the route has no path parameter 'id'"),
        (Edits(rename={"X-A": "X B"}), "rename.X-A", "'X B' is not a field name"),
        (Edits(rename={"X-A": "Host"}), "rename.X-A", "'Host' frames or routes the message and cannot be edited"),
        (Edits(rename={"X-A": "x_a"}), "rename.X-A", "'X-A' and 'x_a' are the same field"),
    ],
)
def test_names_that_stand_for_nothing_are_refused(edits: Edits, place: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build(Config(request=edits), TOOLS)
    assert [(problem.pointer, problem.message) for problem in raised.value.problems] == [(f"{TOOLS.pointer}.request.{place}", message)]
