"""Limits tried out: asked of the engine under a clock that the test sets, and on a lane between real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gw._fast.shm import Segment
from gw.config import load
from gw.errors import ConfigError
from gw.runtime import Decision, Engine, compile_snapshot
from tests.unit.fast.rig import Origin, Rig

# Identifies whoever the field X-Key names; the field X-Claims is taken as claims.
WHO = """
from gw.policy import Refusal

KIND = "authentication"

def build(config: Config, tools: Tools) -> Hooks:
    def check(request: Request):
        key = request.headers.get("X-Key")
        if key:
            request.identify("who", consumer=key if key in tools.consumers else None, subject=key, credential=key, claims=request.headers.get("X-Claims", "{}").encode())
    return Hooks(request=check)
"""
OWN = "routes: [{{path: /, name: all, respond: {{body: own}}, policies: [{}]}}]"


def fields_of(answer: bytes) -> dict[str, str]:
    """Of a head that has no field twice."""
    lines = answer.partition(b"\r\n\r\n")[0].decode().splitlines()[1:]
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    assert len(dict(fields)) == len(fields)
    return dict(fields)


class Asked:
    """Configurations on one segment, each behind an engine; `now` is in seconds."""

    def __init__(self, folder: Path, cells: int) -> None:
        self.segment = Segment(2, 64, 64, cells)
        self.folder = folder
        self.engines: list[Engine] = []

    def use(self, config: str) -> None:
        """A new revision."""
        (self.folder / "policies").mkdir(exist_ok=True)
        (self.folder / "policies" / "who.py").write_text(f"from msgspec import Struct\nfrom gw.policy import Hooks, Request, Tools\nclass Config(Struct):\n    pass\n{WHO}")
        file = self.folder / "gw.yaml"
        file.write_text(f"listeners: [{{bind: '127.0.0.1:1'}}]\nadmin: null\nmodules: [policies]\n{config}")
        snapshot = compile_snapshot(load(file).config, len(self.engines) + 1, self.segment, self.folder)
        self.engines.append(Engine(snapshot, self.segment))

    def ask(self, *fields: str, path: str = "/", now: float = 1000.0, client: str = "192.0.2.1", wall: float | None = None) -> Decision:
        headers = [(name, value.strip()) for name, _, value in (field.partition(":") for field in fields)]
        return asyncio.run(self.engines[-1].ask("GET", path, headers, client, wall, now))

    def count_from(self, store: Path) -> None:
        """The revision again, behind an engine that knows what quotas have used."""
        self.engines.append(Engine(self.engines[-1].snapshot, self.segment, store))

    def passes(self, *fields: str, **asked: Any) -> bool:
        return self.ask(*fields, **asked).status == 200


@contextmanager
def asking(folder: Path, policies: str = "", *, config: str = "", cells: int = 1024) -> Iterator[Asked]:
    """Of one route `/` that answers itself, or of a whole config."""
    made = Asked(folder, cells)
    try:
        made.use(config or OWN.format(policies))
        yield made
    finally:
        for engine in made.engines:
            engine.close()


@contextmanager
def serving(folder: Path, policies: str, more: str = "") -> Iterator[tuple[Rig, Origin]]:
    """A lane with routes `/` to an origin and `/own`, which answers itself, both with these policies."""
    origin = Origin()
    try:
        ends = ", ".join(f"{{{end}, policies: [{policies}]}}" for end in ("path: /, name: all, service: one", "path: /own, name: own, respond: {body: own}"))
        rig = Rig(folder, f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{ends}]\n{more}", who=WHO)
        try:
            yield rig, origin
        finally:
            origin.go_on.set()
            rig.close()
    finally:
        origin.close()


def problem(folder: Path, policy: str = "", *, config: str = "", cells: int = 1024) -> tuple[str, str, str]:
    """Message, pointer below the policy, and hint of the one problem that the first policy of the first route has."""
    try:
        with asking(folder, policy, config=config, cells=cells):
            raise AssertionError("it was accepted")
    except ConfigError as error:
        (found,) = error.problems
        return found.message, found.pointer.removeprefix("$.routes[0].policies[0]"), found.hint or ""
