"""YAML into nodes: the core schema of YAML 1.2, duplicate keys refused, anchors bounded.

PyYAML's parser gives events with marks; its constructors are not used, because they follow YAML 1.1, where `on`, `010` and `1:30` turn into something else.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from gw.config.node import Node, Position
from gw.errors import ConfigError, Problem

# Deeper than any configuration, and far from the limits of recursion.
DEPTH_MAX = 64
# Values of one file with aliases written out: 10,000 routes have about 200,000; a "billion laughs" stops here.
NODES_MAX = 2_000_000

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def scalar(text: str) -> Any:
    """An unquoted scalar by the core schema (YAML 1.2.2 section 10.3.2). What has no exact value in 64 bits stays text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > 20:
            return text
        number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        return number if -(2**63) <= number < 2**64 else text
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def parse(text: str, file: str) -> Node | None:
    """The one document of the text, None when there is none. Raises ConfigError, with every duplicate key at once."""
    odd = _UNPRINTABLE.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        column = odd.start() - text.rfind("\n", 0, odd.start())
        hint = 'in a quoted string write it as an escape, such as "\\x07"'
        raise ConfigError([Problem(message=f"character U+{ord(odd[0]):04X} is not allowed", file=file, line=line, column=column, hint=hint)])
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([*builder.problems, _of_yaml(error, file)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([*builder.problems, Problem(message=f"this is not YAML: {error}", file=file, line=1, column=1)]) from None
    if builder.problems:
        raise ConfigError(builder.problems)
    return builder.root


def _of_yaml(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    message = f"this is not YAML: {error.problem}" + (f" {error.context}" if error.context else "")
    return Problem(message=message, file=file, line=line, column=column, hint=_advice(str(error.problem)))


def _advice(problem: str) -> str | None:
    if "cannot start any token" in problem:
        return "indent with spaces, not tabs, and quote values that begin with @, ` or %"
    if "mapping values are not allowed" in problem:
        return "check the indentation, and quote a value that holds ': '"
    if "expected ',' or" in problem or "node content" in problem:
        return "inside {...} and [...] quote values that hold any of { } [ ] , or begin with ':', such as \"${NAME}\""
    return None


class _Open:
    """A mapping or list whose end has not been read yet."""

    __slots__ = ("anchor", "first_count", "height", "key", "key_at", "keys", "merges", "node")

    def __init__(self, node: Node, anchor: str | None, count: int) -> None:
        self.node = node
        self.keys: dict[str, Position] = {}
        node.keys = self.keys
        self.anchor = anchor
        self.first_count = count
        self.height = 0
        self.key: str | None = None
        self.key_at = node.at
        self.merges: list[Node] = []


class _Builder:
    """Builds the tree from parser events, with a stack of its own, so that depth is a number and not a crash."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []
        # Name of an anchor: its value, how many values that is, how deep they nest.
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._count = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._start(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._stop(event, "a second document", "a file holds one document; put the other in a file of its own and name the folder")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        at = self._at(event)
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._fail(at, f"tag '{event.tag}' is not supported", "write the value without a tag")
        is_plain = event.implicit[0] and event.tag is None
        node = Node(scalar(event.value), at, event.value) if is_plain else Node(event.value, at)
        if event.anchor:
            self._anchors[event.anchor] = (node, 1, 0)
        self._place(node, event.value if is_plain else None)

    def _start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        at = self._at(event)
        if event.tag is not None:
            self._fail(at, f"tag '{event.tag}' is not supported", "write the value without a tag")
        if len(self._stack) >= DEPTH_MAX:
            self._stop(event, f"nested more than {DEPTH_MAX} deep")
        if self._expects_key():
            self._stop(event, "a mapping or list cannot be a key")
        node = Node({} if isinstance(event, yaml.MappingStartEvent) else [], at)
        self._stack.append(_Open(node, event.anchor, self._count))
        self._anchors.pop(event.anchor or "", None)

    def _end(self) -> None:
        done = self._stack.pop()
        for merged in done.merges:
            for key, child in merged.value.items():
                if key not in done.node.value:
                    done.node.value[key], done.keys[key] = child, merged.keys[key]
        if done.anchor:
            self._anchors[done.anchor] = (done.node, self._count - done.first_count + 1, done.height + 1)
        self._place(done.node, None, done.height + 1)

    def _alias(self, event: yaml.AliasEvent) -> None:
        node, size, height = self._anchors.get(event.anchor or "") or self._stop(event, f"no anchor &{event.anchor} before this alias")
        if len(self._stack) + height > DEPTH_MAX:
            self._stop(event, f"nested more than {DEPTH_MAX} deep")
        self._count += size
        self._place(node, node.text, height)

    def _place(self, node: Node, written: str | None, height: int = 0) -> None:
        """Put a finished value where it belongs: the document, a list, a key or the value of a key."""
        self._count += 1
        if self._count > NODES_MAX:
            self._stop(node, f"more than {NODES_MAX:,} values (aliases counted as written out)")
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        parent.height = max(parent.height, height)
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif parent.key is None:
            parent.key = self._key(node, written)
            parent.key_at = node.at
        else:
            self._member(parent, parent.key, node)
            parent.key = None

    def _key(self, node: Node, written: str | None) -> str:
        if isinstance(node.value, dict | list):
            self._stop(node, "a mapping or list cannot be a key")
        return node.value if isinstance(node.value, str) else str(written)

    def _member(self, parent: _Open, key: str, node: Node) -> None:
        if key == "<<":
            merged = node.value if isinstance(node.value, list) else [node]
            parent.merges += [each for each in merged if isinstance(each.value, dict)]
            if not all(isinstance(each.value, dict) for each in merged):
                self._fail(node.at, "<< takes a mapping, or a list of mappings", "such as `<<: *name`")
        elif key in parent.node.value:
            self._fail(parent.key_at, f"duplicate key '{key}'", f"first written at {parent.keys[key]}")
        else:
            parent.node.value[key], parent.keys[key] = node, parent.key_at

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].node.value, dict) and self._stack[-1].key is None

    def _at(self, event: yaml.Event) -> Position:
        mark = event.start_mark
        return Position(self.file, mark.line + 1, mark.column + 1) if mark else Position(self.file, 1, 1)

    def _fail(self, at: Position, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message=message, file=at.file, line=at.line, column=at.column, hint=hint))

    def _stop(self, place: Node | yaml.Event, message: str, hint: str | None = None) -> Any:
        self._fail(place.at if isinstance(place, Node) else self._at(place), message, hint)
        raise ConfigError(self.problems)
