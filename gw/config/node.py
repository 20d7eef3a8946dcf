"""A configuration as a tree of values that remember where they were written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_STEP = re.compile(r'\.([A-Za-z0-9_-]+)|\[([0-9]+)\]|\[("(?:[^"\\]|\\.)*")\]', re.ASCII)
_SERVICE = re.compile(r"\$\.services(\.[A-Za-z0-9_-]+|\[.*\])", re.ASCII)


class Position(Struct, frozen=True, gc=False):
    """A place in a file; line and column count from 1, 0 means not known."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Unfilled(Struct, gc=False):
    """In place of a value whose variable or file could not be had: what is wrong, with advice, once for each."""

    flaws: list[tuple[str, str | None]]


_NO_KEYS: Mapping[str, Position] = MappingProxyType({})


class Node(Struct, gc=False):
    """One value: a dict or list of further nodes, or a scalar.

    `text` is what was written where the scalar was not quoted, so that a place that expects text gets `1.10` and not the number 1.1.
    `filled` says that a `${VARIABLE}` or a `file:` reference made the value: it may become a number where one is expected, and messages do not quote it.
    """

    value: Any
    at: Position
    text: str | None = None
    keys: Mapping[str, Position] = _NO_KEYS
    filled: bool = False


def plain(node: Node) -> Any:
    """The values alone."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    return [plain(child) for child in value] if isinstance(value, list) else value


def join(pointer: str, key: str | int) -> str:
    """The pointer of a member: `$.routes` and 0 give `$.routes[0]`."""
    if isinstance(key, int):
        return f"{pointer}[{key}]"
    return f"{pointer}.{key}" if _PLAIN_KEY.fullmatch(key) else f"{pointer}[{json.dumps(key)}]"


def locate(root: Node, pointer: str, at_key: bool = False) -> Position:
    """Where the value (or its key) stands; the nearest place around it when it is a default that nobody wrote."""
    node, at = root, root.at
    for name, index, quoted in _STEP.findall(pointer):
        key = int(index) if index else json.loads(quoted) if quoted else name
        members = node.value
        if not _has(members, key):
            return at
        key_at = node.keys.get(str(key))
        node = members[key]
        at = key_at or node.at
    return at if at_key else node.at


def _has(members: Any, key: str | int) -> bool:
    return key < len(members) if isinstance(key, int) and isinstance(members, list) else isinstance(members, dict) and key in members


def merge(first: Node, second: Node, pointer: str = "$") -> tuple[Node, list[tuple[str, Position, Position]]]:
    """One tree of two: mappings merge, lists append. Also what both wrote, as (pointer, first place, second place); a service is one value."""
    if isinstance(first.value, list) and isinstance(second.value, list):
        return Node([*first.value, *second.value], first.at), []
    if not (isinstance(first.value, dict) and isinstance(second.value, dict)) or _SERVICE.fullmatch(pointer):
        return first, [(pointer, first.at, second.at)]
    clashes: list[tuple[str, Position, Position]] = []
    members, keys = dict(first.value), {**second.keys, **first.keys}
    for key, child in second.value.items():
        name = join(pointer, key)
        members[key], found = merge(members[key], child, name) if key in members else (child, [])
        clashes += [(name, first.keys[key], second.keys[key]) if clash[0] == name else clash for clash in found]
    return Node(members, first.at, keys=keys), clashes
