"""Runs the vectors: what was accepted that must not be, and what was refused that is called valid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gw._fast.jwt import verify
from gw._fast.keys import KeySet
from gw.tls.jwk import read_keys

FILE = Path("testvectors_v1") / "json_web_signature_test.json"


class Outcome(NamedTuple):
    """`verdict`: "ok", a word of REASONS, or why the key was not taken. `contradicted`: called invalid, and the very same text with the same key valid."""

    number: int
    comment: str
    valid: bool
    contradicted: bool
    verdict: str

    @property
    def wrongly_accepted(self) -> bool:
        return not self.valid and not self.contradicted and self.verdict == "ok"


def run(checkout: Path) -> Iterator[Outcome]:
    """Every vector of a checkout of Wycheproof."""
    for group in json.loads((checkout / FILE).read_text())["testGroups"]:
        keys = keys_of(group.get("public", group["private"]))
        valid = [test["jws"] for test in group["tests"] if test["result"] == "valid"]
        for test in group["tests"]:
            # the vectors in JSON serialisation are objects; gw takes tokens in compact form only
            text = test["jws"] if isinstance(test["jws"], str) else json.dumps(test["jws"])
            good = test["result"] == "valid"
            yield Outcome(test["tcId"], test["comment"], good, not good and test["jws"] in valid, verdict(keys, text.encode()))


def keys_of(jwk: dict[str, Any]) -> KeySet | str:
    try:
        return KeySet(read_keys(json.dumps(jwk).encode(), what="key").keys)
    except ValueError as error:
        return str(error)


def verdict(keys: KeySet | str, token: bytes) -> str:
    if isinstance(keys, str):
        return keys
    verified = verify(keys, token)
    return verified if isinstance(verified, str) else "ok"
