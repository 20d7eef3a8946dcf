"""`gw keys`: what it makes, shows and refuses."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import argon2
import pytest

from tests.unit.cli.conftest import Said

CONFIG = """
listeners: [{bind: '127.0.0.1:1'}]
store: {file: keys/gw.db}
routes: [{path: /, respond: {body: in}, policies: [api-key: {}]}]
consumers: {alice: {}, bob: {}}
"""

Run = Callable[..., Said]


@pytest.fixture
def config(folder: Path) -> Path:
    (folder / "keys").mkdir()
    (folder / "gw.yaml").write_text(CONFIG)
    return folder / "gw.yaml"


def created(gw: Run, *arguments: str) -> tuple[str, str]:
    """Id and text of a new key."""
    said = gw("keys", "create", *arguments)
    assert said.code == 0, said
    text = said.out.strip()
    return text.split("_")[1], text


def test_a_key_is_shown_once_and_works_in_explain(gw: Run, config: Path) -> None:
    said = gw("keys", "create", "alice", "--expires", "90d")
    assert said.code == 0
    text = said.out.strip()
    name = text.split("_")[1]
    assert said.err.startswith(f"Key {name} of alice, good until 20")
    assert "It is shown this once" in said.err
    explained = gw("explain", "GET", "/", "-H", f"X-API-Key: {text}")
    assert explained.code == 0
    assert f"passes: key {name} of alice" in explained.out
    listed = gw("keys", "list")
    assert name in listed.out
    assert text not in listed.out
    assert "active" in listed.out
    assert (config.parent / "keys" / "gw.db").exists()


def test_a_revoked_key_is_refused(gw: Run, config: Path) -> None:
    name, text = created(gw, "bob")
    said = gw("keys", "revoke", name)
    assert said.out.startswith(f"Key {name} of bob is revoked")
    assert gw("explain", "GET", "/", "-H", f"X-API-Key: {text}").code == 1
    again = gw("keys", "revoke", name)
    assert (again.code, again.err) == (1, f"gw: key '{name}' is already revoked\n")
    found = json.loads(gw("keys", "list", "--json").out)
    assert [(key["id"], key["consumer"], key["state"], key["expires"]) for key in found] == [(name, "bob", "revoked", None)]


def test_rotating_gives_another_key(gw: Run, config: Path) -> None:
    name, text = created(gw, "bob", "--config", str(config))
    said = gw("keys", "rotate", name, "--overlap", "1h")
    assert said.code == 0
    assert said.out.strip() != text
    assert f"Key {name} goes on for 1h at most." in said.err
    for key in (text, said.out.strip()):
        assert gw("explain", "GET", "/", "-H", f"X-API-Key: {key}").code == 0
    states = {key["id"]: key["expires"] for key in json.loads(gw("keys", "list", "--json").out)}
    assert states[name] is not None
    assert len(states) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["create", "alcie"], 1, "unknown consumer 'alcie'. Did you mean alice?"),
        (["create", "zzz"], 1, "unknown consumer 'zzz'. Name it under `consumers` first."),
        (["create", "alice", "--expires", "soon"], 2, "'soon' is not a duration such as 12h or 90d"),
        (["rotate", "x", "--overlap", "-1"], 2, "'-1' is not a duration"),
        (["revoke", "x"], 1, "no key 'x' in"),
    ],
)
def test_mistakes(gw: Run, config: Path, arguments: list[str], code: int, message: str) -> None:
    said = gw("keys", *arguments)
    assert said.code == code
    assert message in said.err


def test_without_a_store_there_is_nowhere_to_keep_keys(gw: Run, config: Path) -> None:
    config.write_text(CONFIG.replace("store: {file: keys/gw.db}", ""))
    for arguments in (["create", "alice"], ["list"], ["revoke", "x"], ["rotate", "x"]):
        said = gw("keys", *arguments)
        assert said.code == 1
        assert said.err.startswith("gw: this config has no store to keep keys in. Add `store: {file: gw.db}`")


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nanother line"])
def test_the_hash_of_a_key(gw: Run, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    piped(monkeypatch, f"my key{end}")
    assert gw("keys", "hash").out == f"sha256:{hashlib.sha256(b'my key').hexdigest()}\n"


def test_the_hash_of_a_password(gw: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, "grün zeug\n")
    kept = gw("keys", "password").out.strip()
    assert kept.startswith("$argon2id$")
    assert argon2.PasswordHasher().verify(kept, "grün zeug")


@pytest.mark.parametrize(("verb", "what"), [("hash", "key"), ("password", "password")])
def test_nothing_has_no_hash(gw: Run, monkeypatch: pytest.MonkeyPatch, verb: str, what: str) -> None:
    piped(monkeypatch, "\n")
    said = gw("keys", verb)
    assert (said.code, said.err) == (1, f"gw: no {what} on standard input\n")
