"""One route under policies, in front of an origin that tells what it got."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gw._fast.shm import Segment
from gw.config import load
from gw.errors import ConfigError, Problem
from gw.policy import Tools, find
from gw.runtime import Decision, Engine, compile_snapshot
from tests.unit.fast.rig import Client, Origin, Rig


class Gateway:
    """`client()` opens a connection; all end with the gateway."""

    def __init__(self, rig: Rig, origin: Origin) -> None:
        self.rig = rig
        self.origin = origin
        self.clients: list[Client] = []

    def client(self) -> Client:
        self.clients.append(Client(self.rig.port))
        return self.clients[-1]


@contextmanager
def gateway(folder: Path, policies: str, route: str = "path: /", others: str = "", more: str = "", **modules: str) -> Iterator[Gateway]:
    """`policies`, `route`, `others` (routes behind it) and `more` (keys of the config) are YAML; `modules` are policies in Python, as for Rig."""
    origin = Origin()
    try:
        config = f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{{{route}, name: all, service: one, policies: {policies}}}{others}]\n{more}"
        made = Gateway(Rig(folder, config, **modules), origin)
        try:
            yield made
        finally:
            for each in made.clients:
                each.close()
            made.rig.close()
    finally:
        origin.close()


def explained(folder: Path, policies: str, method: str, url: str, *headers: tuple[str, str], **asked: Any) -> Decision:
    """What `gw explain` says of a request to one route under these policies."""
    path = folder / "gw.yaml"
    routes = f"services: {{one: {{endpoints: ['127.0.0.1:1']}}}}\nroutes: [{{path: /, name: all, service: one, policies: {policies}}}]"
    path.write_text(f"{routes}\nadmin: null\nlisteners: [{{bind: '127.0.0.1:1'}}]")
    segment = Segment(1, 64, 64)
    engine = Engine(compile_snapshot(load(path).config, 1, segment, folder), segment)
    try:
        return asyncio.run(engine.ask(method, url, list(headers), **asked))
    finally:
        engine.close()


def problems(name: str, /, **settings: Any) -> list[Problem]:
    """What build() of a policy says of these settings; none when it takes them."""
    policy = find(name, [], "$")
    with pytest.raises(ConfigError) as raised:
        policy.build(policy.config(**settings), Tools("all", "$.p"))
    return raised.value.problems
