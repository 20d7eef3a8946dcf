"""JSON into nodes. The standard library judges the text; a second pass over what is then known to be JSON finds the positions."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from json.decoder import scanstring
from typing import Any

from gw.config.node import Node, Position
from gw.config.yaml_source import DEPTH_MAX, scalar
from gw.errors import ConfigError, Problem

_TOKEN = re.compile(r'[\s,:]*(?:([{}\[\]])|(")|([^\s,:{}\[\]"]+))', re.ASCII)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(text: str, file: str) -> Node:
    """The value of the text. Raises ConfigError, with every duplicate key at once."""
    try:
        json.loads(text, parse_constant=str, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        raise ConfigError([Problem(message=f"this is not JSON: {error.msg}", file=file, line=error.lineno, column=error.colno)]) from None
    except RecursionError:
        raise ConfigError([Problem(message=f"nested more than {DEPTH_MAX} deep", file=file, line=1, column=1)]) from None
    except ValueError as error:
        raise ConfigError([Problem(message=f"this is not JSON: {error}", file=file, line=1, column=1)]) from None
    return _Positions(text, file).tree()


class _Positions:
    """Walks over the tokens of a valid text."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.problems: list[Problem] = []

    def tree(self) -> Node:
        root, _ = self._value(0, 0)
        if self.problems:
            raise ConfigError(self.problems)
        return root

    def _at(self, offset: int) -> Position:
        line = bisect_right(self.lines, offset)
        return Position(self.file, line, offset - self.lines[line - 1] + 1)

    def _value(self, offset: int, depth: int) -> tuple[Node, int]:
        match = _TOKEN.match(self.text, offset)
        at = self._at(match.start(match.lastindex))
        if match[3]:
            if match[3] in ("NaN", "Infinity", "-Infinity"):
                self._fail(at, f"this is not JSON: {match[3]}")
            return Node(scalar(match[3]), at, match[3]), match.end()
        if match[2]:
            text, end = self._string(match.end())
            return Node(text, at), end
        if depth >= DEPTH_MAX:
            self._fail(at, f"nested more than {DEPTH_MAX} deep")
            raise ConfigError(self.problems)
        return self._object(match.end(), at, depth) if match[1] == "{" else self._array(match.end(), at, depth)

    def _array(self, offset: int, at: Position, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        while (match := _TOKEN.match(self.text, offset))[1] != "]":
            item, offset = self._value(offset, depth + 1)
            items.append(item)
        return Node(items, at), match.end()

    def _object(self, offset: int, at: Position, depth: int) -> tuple[Node, int]:
        members: dict[str, Any] = {}
        keys: dict[str, Position] = {}
        while (match := _TOKEN.match(self.text, offset))[1] != "}":
            key_at = self._at(match.start(2))
            key, offset = self._string(match.end())
            child, offset = self._value(offset, depth + 1)
            if key in members:
                self._fail(key_at, f"duplicate key '{key}'", f"first written at {keys[key]}")
            else:
                members[key], keys[key] = child, key_at
        return Node(members, at, keys=keys), match.end()

    def _string(self, offset: int) -> tuple[str, int]:
        text, end = scanstring(self.text, offset)
        if _LONE_SURROGATE.search(text):
            self._fail(self._at(offset - 1), "half of a surrogate pair is not a character")
        return text, end

    def _fail(self, at: Position, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message=message, file=at.file, line=at.line, column=at.column, hint=hint))
