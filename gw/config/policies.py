"""Policy lists as written: items `name` or `name: {config}`."""

from __future__ import annotations

from typing import Any, NamedTuple

from gw.config.convert import whole
from gw.config.node import join
from gw.errors import ConfigError, Problem


class WrittenPolicy(NamedTuple):
    """A policy's name, its config as plain values, and where that config stands."""

    name: str
    config: dict[str, Any]
    pointer: str


def policies_of(raw: list[Any], pointer: str = "$.policies") -> list[WrittenPolicy]:
    """The items of a policy list in order. Raises ConfigError for a wrong shape, which a loaded config no longer has."""
    policies, problems = read_policies(raw, pointer)
    if problems:
        raise ConfigError(problems)
    return policies


def read_policies(raw: list[Any], pointer: str) -> tuple[list[WrittenPolicy], list[Problem]]:
    """The well-formed items, and what is wrong with the others."""
    read = [_policy(item, join(pointer, index)) for index, item in whole(raw)]
    return [each for each in read if isinstance(each, WrittenPolicy)], [each for each in read if isinstance(each, Problem)]


def _policy(item: Any, pointer: str) -> WrittenPolicy | Problem:
    if isinstance(item, str) and item:
        return WrittenPolicy(item, {}, pointer)
    if not isinstance(item, dict) or not item:
        return Problem(message="expected a policy: `- name` or `- name: {...}`", pointer=pointer)
    if len(item) > 1:
        hint = "begin each policy with `- `, and indent its settings below its name"
        return Problem(message=f"one item holds {len(item)} policies: {', '.join(item)}", pointer=pointer, hint=hint)
    [(name, config)] = item.items()
    place = join(pointer, name)
    if config is None:
        return WrittenPolicy(name, {}, place)
    if not isinstance(config, dict):
        return Problem(message=f"expected a mapping of settings under policy '{name}'", pointer=place)
    return WrittenPolicy(name, config, place)
