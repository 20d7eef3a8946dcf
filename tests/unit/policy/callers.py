"""A gateway whose callers say in fields of the request who they are, for policies that look at who calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gw._fast.shm import Segment
from gw.config import loads
from gw.errors import ConfigError
from gw.policy import Tools
from gw.runtime import Verdict, compile_snapshot, decide
from tests.unit.fast.rig import PREAMBLE, Answer, Client, Origin, Rig, behind

# Who sends X-Known is known: to be the consumer X-Who, with X-Groups, X-Scopes and X-Claims.
CALLER = """
from gw.policy import Challenge

KIND = "authentication"


def challenge(config: Config) -> Challenge:
    return {"WWW-Authenticate": "Bearer"}


def build(config: Config, tools: Tools) -> Hooks:
    def know(request: Request) -> None:
        said = request.headers.get
        if said("X-Known"):
            claims = said("X-Claims")
            groups = said("X-Groups", "").split()
            request.identify("caller", consumer=said("X-Who"), groups=groups, scopes=said("X-Scopes", ""), claims=claims.encode("latin-1") if claims else None)
    return Hooks(request=know)
"""
CONSUMERS = "consumers: {ann: {groups: [staff, admin]}, bob: {groups: [staff]}, eve: {}}"


@contextmanager
def served(folder: Path, *policies: str, more: str = CONSUMERS, first: str = "caller") -> Iterator[Client]:
    """A client of one route to an origin, behind `first`, which finds out who calls, and these policies."""
    origin = Origin()
    try:
        made = Rig(folder, behind(origin, first, *policies, more=more), caller=CALLER)
        client = Client(made.port)
        try:
            yield client
        finally:
            client.close()
            made.close()
    finally:
        origin.close()


def who(name: str = "", **fields: str) -> list[str]:
    """The fields with which a caller is known."""
    return ["X-Known: yes", *([f"X-Who: {name}"] if name else []), *(f"X-{key.title()}: {value}" for key, value in fields.items())]


def outcome(answer: Answer) -> str:
    """Passed, or the reason of the refusal."""
    return "passed" if answer.one("X-Origin") else str(answer.told["reason"])


def explained(folder: Path, text: str, *fields: tuple[str, str], method: str = "GET", url: str = "http://h.example/", client: str = "10.0.0.1") -> list[Verdict]:
    """What each policy of a config makes of a request, `caller` among them."""
    (folder / "policies").mkdir()
    (folder / "policies" / "caller.py").write_text(PREAMBLE + CALLER)
    config = loads(f"listeners: [{{bind: '127.0.0.1:1'}}]\nadmin: null\nmodules: [policies]\n{CONSUMERS}\n{text}", base=folder).config
    segment = Segment(1, 8, 8)
    return decide(compile_snapshot(config, 1, segment, folder), segment, method, url, list(fields), client).verdicts


def problems_of(build: Callable[[Any, Tools], object], config: object, tools: Tools) -> list[tuple[str, str]]:
    """(pointer below the policy, message) of everything that build() finds wrong."""
    with pytest.raises(ConfigError) as raised:
        build(config, tools)
    return [(each.pointer.removeprefix(tools.pointer), each.message) for each in raised.value.problems]
