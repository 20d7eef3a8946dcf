"""Slow oracle of edits of a head: fields as a list, edits applied one after the other. Names are equal in any case, `_` the same as `-`."""

from __future__ import annotations

from collections.abc import Iterable

Fields = list[tuple[str, str]]


def fold(name: str) -> str:
    return name.lower().replace("_", "-")


def named(fields: Fields, name: str) -> list[str]:
    """The values of a name, in order."""
    return [value for key, value in fields if fold(key) == fold(name)]


def edited(fields: Fields, edits: Iterable[tuple[str, str, str]]) -> Fields:
    """What is sent: what was received and left, then what was added and left."""
    for verb, name, value in edits:
        if verb in ("set", "remove"):
            fields = [(key, old) for key, old in fields if fold(key) != fold(name)]
        if verb in ("set", "add") or (verb == "default" and not named(fields, name)):
            fields = [*fields, (name, value)]
    return fields
