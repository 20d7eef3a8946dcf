"""Who calls: alternatives, consumers and their own policies, what origins are told, through real sockets and through gw explain's engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gw._fast.shm import Segment
from gw.config import load
from gw.errors import ConfigError
from gw.runtime import Engine, compile_snapshot
from tests.unit.fast.rig import Client, Origin, Rig

# `want: alice` passes when the field X-Key holds alice; `slow` does the same after a turn of the loop.
KEY = """
from gw.policy import Refusal

KIND = "authentication"

def build(config: Config, tools: Tools) -> Hooks:
    def check(request: Request):
        key = request.headers.get("X-Key")
        if key is None:
            return Refusal("no-credential", {"WWW-Authenticate": f"Key of={config.text}"})
        request.presents()
        if key != config.text:
            return Refusal("invalid-credential")
        request.identify("key", consumer=key if key in tools.consumers else None, subject=key, credential=f"id-{key}", scopes="read", claims=b'{"a": 1}')
    async def wait(request: Request):
        await asyncio.sleep(0)
        return check(request)
    return Hooks(request=wait if tools.pointer.endswith(".slow") else check)
"""
MARK = """
def build(config: Config, tools: Tools) -> Hooks:
    def mark(request: Request) -> None:
        request.headers.add("X-Mark", config.text)
    def back(request: Request) -> None:
        request.response_headers.add("X-Back", config.text)
    def done(request: Request) -> None:
        SEEN.append((config.text, request.consumer, request.status))
    return Hooks(request=mark, response=back, done=done)
"""
EDIT = """
KIND = "authentication"

def build(config: Config, tools: Tools) -> Hooks:
    def edit(request: Request) -> None:
        request.headers.add("X-Edit", config.text)
        request.response_headers.add("X-Edit", config.text)
    return Hooks(request=edit)
"""
NOBODY = """
from gw.policy import Refusal

KIND = "authentication"

def build(config: Config, tools: Tools) -> Hooks:
    return Hooks(request=lambda request: Refusal("no-credential"))
"""
CONSUMERS = """
consumers:
  alice: {groups: [staff, admin], policies: [mark: {text: alice's}]}
  bob: {}
"""

Make = Callable[..., Rig]


@pytest.fixture
def rig(rig: Callable[..., Rig], origin: Origin) -> Make:
    def make(policies: str) -> Rig:
        config = f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{{path: /, name: all, service: one, policies: {policies}}}]\n{CONSUMERS}"
        return rig(config, key=KEY, slow=KEY, mark=MARK, edit=EDIT, nobody=NOBODY)

    return make


ALTERNATIVES = "[any-of: [{key: {text: alice}}, {all-of: [{key: {text: bob}}, {slow: {text: bob}}]}, {any-of: [{slow: {text: carol}}, {key: {text: dave}}]}], mark: {text: route}]"


@pytest.mark.parametrize("key", ["alice", "bob", "carol", "dave"])
def test_the_first_alternative_that_passes_is_enough(rig: Make, key: str) -> None:
    with Client(rig(ALTERNATIVES).port) as client:
        for _ in range(2):
            answer = client.ask("/", f"X-Key: {key}")
            assert answer.status == 200
            assert answer.sent("X-Subject") == [key]
            assert answer.sent("X-Mark") == (["route", "alice's"] if key == "alice" else ["route"])


def test_the_last_alternative_says_why_it_is_refused(rig: Make) -> None:
    with Client(rig(ALTERNATIVES).port) as client:
        assert client.ask("/", "X-Key: eve").status == 401
        answer = client.ask("/")
        assert answer.status == 401
        assert answer.all("WWW-Authenticate") == ["Key of=alice", "Key of=bob", "Key of=carol", "Key of=dave"]
        assert answer.one("Content-Type") == "application/problem+json"


def test_the_reason_is_that_of_an_alternative_which_was_given_a_credential(rig: Make) -> None:
    with Client(rig("[any-of: [{key: {text: alice}}, {nobody: {text: x}}]]").port) as client:
        answer = client.ask("/", "X-Key: eve")
        assert (answer.status, answer.told["reason"]) == (401, "invalid-credential")
        assert client.ask("/").told["reason"] == "no-credential"
        assert client.ask("/", "X-Key: alice").status == 200


def test_explain_gives_the_reason_that_the_client_gets(tmp_path: Path, rig: Make) -> None:
    rig("[any-of: [{key: {text: alice}}, {nobody: {text: x}}]]")
    segment = Segment(1, 64, 64)
    engine = Engine(compile_snapshot(load(tmp_path / "gw.yaml").config, 1, segment, tmp_path), segment)
    try:
        found = asyncio.run(engine.ask("GET", "/", [("X-Key", "eve"), ("Host", "h")]))
        assert [(each.verdict, each.reason) for each in found.verdicts] == [("next", "invalid-credential"), ("answer", "no-credential")]
        assert (found.reason, found.answer.count(b"invalid-credential")) == ("invalid-credential", 2)  # in `type` and in `reason`
    finally:
        engine.close()


def test_challenges_of_one_kind_are_told_once(rig: Make) -> None:
    with Client(rig("[any-of: [{key: {text: alice}}, {key: {text: alice}}, {slow: {text: alice}}]]").port) as client:
        assert client.ask("/").all("WWW-Authenticate") == ["Key of=alice"]


PARTS = [
    "{all-of: [{key: {text: alice}}, {edit: {text: one}}, {slow: {text: bob}}]}",
    "{any-of: [{key: {text: carol}}, {all-of: [{key: {text: alice}}, {edit: {text: two}}, {key: {text: bob}}]}]}",
    "{all-of: [{key: {text: alice}}, {any-of: [{all-of: [{edit: {text: three}}, {slow: {text: dave}}]}, {key: {text: erin}}]}]}",
]


@pytest.mark.parametrize("part", PARTS)
def test_what_an_alternative_did_before_it_refused_is_undone(rig: Make, part: str) -> None:
    made = rig(f"[mark: {{text: before}}, any-of: [{part}, {{edit: {{text: last}}}}], mark: {{text: behind}}]")
    with Client(made.port) as client:
        for _ in range(2):
            answer = client.ask("/", "X-Key: alice")
            assert answer.status == 200
            assert answer.sent("X-Edit") == ["last"]
            assert answer.all("X-Edit") == ["last"]
            assert answer.sent("X-Consumer") == answer.sent("X-Subject") == []
            assert answer.sent("X-Mark") == ["before", "behind"]


@pytest.mark.parametrize("part", PARTS)
def test_explain_does_not_show_the_undoing(tmp_path: Path, rig: Make, part: str) -> None:
    rig(f"[any-of: [{part}, {{edit: {{text: last}}}}]]")
    segment = Segment(1, 64, 64)
    engine = Engine(compile_snapshot(load(tmp_path / "gw.yaml").config, 1, segment, tmp_path), segment)
    try:
        found = asyncio.run(engine.ask("GET", "/", [("X-Key", "alice"), ("Host", "h")]))
        assert "any-of" not in [each.policy for each in found.verdicts]
        assert (found.identity, found.forwarded.count(b"X-Edit: last"), found.forwarded.count(b"X-Edit")) == ({}, 1, 1)
    finally:
        engine.close()


def test_every_part_of_all_of_must_pass(rig: Make) -> None:
    with Client(rig("[all-of: [{key: {text: alice}}, {slow: {text: bob}}]]").port) as client:
        assert client.ask("/", "X-Key: alice").status == 401
        assert client.ask("/", "X-Key: bob").status == 401


def test_a_consumers_own_policies_run_behind_the_routes_and_around_the_answer(rig: Make) -> None:
    made = rig("[key: {text: alice}, mark: {text: route}]")
    with Client(made.port) as client:
        answer = client.ask("/", "X-Key: alice")
        assert answer.sent("X-Mark") == ["route", "alice's"]
        assert answer.all("X-Back") == ["alice's", "route"]
        made.quiet()
        assert made.module("mark").SEEN == [("alice's", "alice", 200), ("route", "alice", 200)]


def test_origins_are_told_who_calls_and_clients_cannot_forge_it(rig: Make) -> None:
    forged = ["X-Consumer: root", "x_consumer: root", "X-Subject: root", "X-Credential: root", "X-Consumer-Groups: root", "X_SUBJECT: root"]
    with Client(rig("[key: {text: alice}]").port) as client:
        answer = client.ask("/", "X-Key: alice", *forged)
        told = {name.lower(): value for name, value in answer.told["headers"] if "root" in value or name.lower().startswith(("x-consumer", "x-subject", "x-cred"))}
        assert told == {"x-consumer": "alice", "x-consumer-groups": "staff,admin", "x-subject": "alice", "x-credential": "id-alice"}
    with Client(rig("[any-of: [{key: {text: bob}}, {slow: {text: carol}}]]").port) as client:
        answer = client.ask("/", "X-Key: carol", *forged)
        assert answer.sent("X-Subject") == ["carol"]
        assert answer.sent("X-Consumer") == answer.sent("X-Consumer-Groups") == []


def test_only_policies_that_authenticate_are_alternatives(rig: Make) -> None:
    with pytest.raises(ConfigError, match="policy 'mark' does not authenticate: it cannot be an alternative in any-of"):
        rig("[any-of: [{key: {text: a}}, mark]]")


def test_explain_tells_every_verdict(tmp_path: Path, origin: Origin, rig: Make) -> None:
    rig(ALTERNATIVES)  # writes config and policies
    segment = Segment(1, 64, 64)
    engine = Engine(compile_snapshot(load(tmp_path / "gw.yaml").config, 1, segment, tmp_path), segment)
    try:
        found = asyncio.run(engine.ask("GET", "/", [("X-Key", "carol"), ("Host", "h")]))
        assert [(each.policy, each.verdict, each.reason) for each in found.verdicts] == [
            ("key", "next", "invalid-credential"),
            ("key", "next", "invalid-credential"),
            ("slow", "pass", ""),
            ("mark", "pass", ""),
            ("identity", "pass", ""),
        ]
        assert found.identity == {"method": "key", "subject": "carol", "credential": "id-carol", "scopes": "read"}
        assert b"\r\nX-Subject: carol\r\n" in found.forwarded
        assert (found.status, found.answer, found.reason) == (0, b"", "")
        refused = asyncio.run(engine.ask("GET", "/", [("Host", "h")]))
        assert (refused.status, refused.reason, refused.forwarded, refused.endpoint) == (401, "no-credential", b"", -1)
        assert b"\r\nWWW-Authenticate: Key of=dave\r\n" in refused.answer
        assert [each.verdict for each in refused.verdicts] == ["next", "next", "next", "answer"]
    finally:
        engine.close()
