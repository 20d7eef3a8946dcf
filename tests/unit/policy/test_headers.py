"""The policy `headers`: what it refuses. What its edits do to heads stands in tests/unit/fast/test_hooks_fields.py and below, through real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gw.errors import ConfigError
from gw.policy import Tools, find
from gw.policy.headers import Config, Edits, build
from tests.unit.fast.rig import Client, Origin, Rig

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
    assert find("headers", [], "$").summary == "Set, add or remove header fields on the way to the origin and on the way back."
