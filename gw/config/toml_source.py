"""TOML into nodes. tomllib keeps no positions, so the line of a key is found by reading the headers and keys again; inside an inline table or
array the position is that of its key."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

from gw.config.node import Node, Position
from gw.config.yaml_source import DEPTH_MAX
from gw.errors import ConfigError, Problem

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"^[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]\]?[ \t\r]*(?:#|$)", re.ASCII)
_ENTRY = re.compile(rf"^[ \t]*({_DOTTED})[ \t]*=", re.ASCII)
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

Path = tuple[str | int, ...]


def parse(text: str, file: str) -> Node:
    """The root table of the text. Raises ConfigError; TOML itself refuses duplicate keys, one at a time."""
    try:
        root = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_of_toml(str(error), text, file)]) from None
    except (RecursionError, ValueError) as error:
        message = f"nested more than {DEPTH_MAX} deep" if isinstance(error, RecursionError) else f"this is not TOML: {error}"
        raise ConfigError([Problem(message=message, file=file, line=1, column=1)]) from None
    return _node(root, (), Position(file, 1, 1), _places(text, file))


def _of_toml(message: str, text: str, file: str) -> Problem:
    place = _PLACE.search(message)
    line, column = (int(place[1]), int(place[2])) if place and place[1] else (text.count("\n") + 1, 1)
    return Problem(message=f"this is not TOML: {_PLACE.sub('', message)}", file=file, line=line, column=column)


def _places(text: str, file: str) -> dict[Path, Position]:
    """Where each key is written."""
    places: dict[Path, Position] = {}
    table: Path = ()
    items: dict[Path, int] = {}
    for number, line in _lines_outside_strings(text):
        header, entry = _HEADER.match(line), _ENTRY.match(line)
        if header:
            table = _inside_items(_parts(header[2]), items, opens_item=header[1] == "[[")
            places.setdefault(table, Position(file, number, header.start(2) + 1))
        elif entry:
            path = table
            for part in _parts(entry[1]):
                path = (*path, part)
                places.setdefault(path, Position(file, number, entry.start(1) + 1))
    return places


def _lines_outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, without those that begin inside a multi-line string and may look like anything."""
    end = None
    for number, line in enumerate(text.split("\n"), 1):
        if end is None:
            yield number, line
            end = next((quotes for quotes in ('"""', "'''") if line.count(quotes) % 2), None)
        elif end in line:
            end = None


def _parts(dotted: str) -> list[str]:
    return [_name(part) for part in re.findall(_KEY, dotted)]


def _name(part: str) -> str:
    if part[0] not in "\"'":
        return part
    try:
        return next(iter(tomllib.loads(f"{part}=0")))
    except tomllib.TOMLDecodeError:
        return part  # no key at all, but an item of an array that looks like one


def _inside_items(parts: list[str], items: dict[Path, int], opens_item: bool) -> Path:
    """The path of a header with the index of the array item that each part is in."""
    path: Path = ()
    for position, part in enumerate(parts, 1):
        path = (*path, part)
        if opens_item and position == len(parts):
            items[path] = items.get(path, -1) + 1
        if path in items:
            path = (*path, items[path])
    return path


def _node(value: Any, path: Path, around: Position, places: dict[Path, Position]) -> Node:
    at = places.get(path, around)
    if len(path) > DEPTH_MAX:
        raise ConfigError([Problem(message=f"nested more than {DEPTH_MAX} deep", file=at.file, line=at.line, column=at.column)])
    if isinstance(value, dict):
        members = {key: _node(child, (*path, key), at, places) for key, child in value.items()}
        return Node(members, at, keys={key: places.get((*path, key), at) for key in value})
    if isinstance(value, list):
        return Node([_node(child, (*path, index), at, places) for index, child in enumerate(value)], at)
    if isinstance(value, datetime | date | time):
        value = value.isoformat()
    elif isinstance(value, int | float) and not _fits(value):
        value = str(value)
    return Node(value, at)


def _fits(number: float) -> bool:
    return -(2**63) <= number < 2**64 if isinstance(number, int) else math.isfinite(number)
