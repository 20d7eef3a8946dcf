"""The policy `anonymous`: who presents nothing passes, who presents something wrong does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gw._fast.shm import Segment
from gw.config import load
from gw.config.model import Consumer
from gw.errors import ConfigError
from gw.policy import Tools
from gw.policy.anonymous import Config, build
from gw.runtime import Engine, compile_snapshot
from gw.store import hashed
from tests.unit.fast.rig import Client, Origin, Rig, behind

CONSUMERS = f"""
consumers:
  alice: {{api_keys: [{{id: a1, hash: '{hashed("secret")}'}}]}}
  visitors: {{groups: [public]}}
"""


@pytest.mark.parametrize(("consumer", "told"), [("visitors", ["visitors"]), ("null", [])])
def test_only_those_who_present_nothing_are_anonymous(tmp_path: Path, origin: Origin, consumer: str, told: list[str]) -> None:
    rig = Rig(tmp_path, behind(origin, f"any-of: [api-key, {{anonymous: {{consumer: {consumer}}}}}]", more=CONSUMERS))
    with Client(rig.port) as client:
        for _ in range(2):
            known = client.ask("/", "X-API-Key: secret")
            assert known.sent("X-Consumer") == ["alice"]
            anybody = client.ask("/", "X-Consumer: root")
            assert anybody.sent("X-Consumer") == told
            refused = client.ask("/", "X-API-Key: wrong")
            assert refused.status == 401
            assert b"invalid-credential" in refused.body
    rig.close()


def test_explain_says_why(tmp_path: Path, origin: Origin) -> None:
    path = tmp_path / "gw.yaml"
    path.write_text(f"listeners: [{{bind: '127.0.0.1:1'}}]\n{behind(origin, 'any-of: [api-key, anonymous]', more=CONSUMERS)}")
    segment = Segment(1, 64, 64)
    engine = Engine(compile_snapshot(load(path).config, 1, segment, tmp_path), segment)
    passed, refused = (asyncio.run(engine.ask("GET", "/", fields)).verdicts[1] for fields in ([], [("X-API-Key", "wrong")]))
    engine.close()
    assert (passed.told, passed.verdict) == ("no credential was presented", "pass")
    assert (refused.told, refused.verdict) == ("a credential was presented, and no policy before this one accepts it", "answer")


def test_an_unknown_consumer_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError) as raised:
        build(Config(consumer="visitor"), Tools("a", "$.routes[0].policies[0].anonymous", consumers={"visitors": Consumer()}))
    (problem,) = raised.value.problems
    assert problem.message == "unknown consumer 'visitor'"
    assert problem.hint == "did you mean 'visitors'?"
    assert problem.pointer == "$.routes[0].policies[0].anonymous.consumer"
