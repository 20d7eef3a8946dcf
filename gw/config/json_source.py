"""JSON into nodes. The standard library judges the text; a second pass over what is then known to be JSON finds the positions."""

from __future__ import annotations

import json
import re
from bisect import bisect_right

from gw.config.node import Node, Position
from gw.config.yaml_source import DEPTH_MAX, scalar
from gw.errors import ConfigError, Problem

_TOKEN = re.compile(r'[{}\[\]]|"[^"\\]*(?:\\.[^"\\]*)*"|[^\s,:{}\[\]"]+', re.ASCII)
_NOT_NUMBERS = ("NaN", "Infinity", "-Infinity")
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
        self.file = file
        self.tokens = _TOKEN.finditer(text)
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.problems: list[Problem] = []

    def tree(self) -> Node:
        root = self._value(next(self.tokens), 0)
        if self.problems:
            raise ConfigError(self.problems)
        return root

    def _value(self, token: re.Match[str], depth: int) -> Node:
        at, text = self._at(token), token[0]
        if text[0] == '"':
            return Node(self._string(token), at)
        if text[0] not in "[{":
            if text in _NOT_NUMBERS:
                self._fail(at, f"this is not JSON: {text}")
            return Node(scalar(text), at, text)
        if depth >= DEPTH_MAX:
            self._fail(at, f"nested more than {DEPTH_MAX} deep")
            raise ConfigError(self.problems)
        return self._object(at, depth) if text == "{" else self._array(at, depth)

    def _array(self, at: Position, depth: int) -> Node:
        items: list[Node] = []
        while (token := next(self.tokens))[0] != "]":
            items.append(self._value(token, depth + 1))
        return Node(items, at)

    def _object(self, at: Position, depth: int) -> Node:
        members: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        while (token := next(self.tokens))[0] != "}":
            key, key_at = self._string(token), self._at(token)
            child = self._value(next(self.tokens), depth + 1)
            if key in members:
                self._fail(key_at, f"duplicate key '{key}'", f"first written at {keys[key]}")
            else:
                members[key], keys[key] = child, key_at
        return Node(members, at, keys=keys)

    def _string(self, token: re.Match[str]) -> str:
        text: str = json.loads(token[0])
        if _LONE_SURROGATE.search(text):
            self._fail(self._at(token), "half of a surrogate pair is not a character")
        return text

    def _at(self, token: re.Match[str]) -> Position:
        line = bisect_right(self.lines, token.start())
        return Position(self.file, line, token.start() - self.lines[line - 1] + 1)

    def _fail(self, at: Position, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message=message, file=at.file, line=at.line, column=at.column, hint=hint))
