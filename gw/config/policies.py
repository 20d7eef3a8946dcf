"""Policy lists as written: items `name`, `name: {config}`, or `any-of: [policies]` and `all-of: [policies]`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gw.config.convert import whole
from gw.config.model import Config
from gw.config.node import join
from gw.errors import ConfigError, Problem


class WrittenPolicy(NamedTuple):
    """A policy's name, its config as plain values, and where that config stands."""

    name: str
    config: dict[str, Any]
    pointer: str
    members: tuple[WrittenPolicy, ...] = ()  # of any-of and all-of


ANY, ALL = "any-of", "all-of"


def policies_of(raw: list[Any], pointer: str = "$.policies") -> list[WrittenPolicy]:
    """The items of a policy list in order. Raises ConfigError for a wrong shape, which a loaded config no longer has."""
    policies, problems = read_policies(raw, pointer)
    if problems:
        raise ConfigError(problems)
    return policies


def written_policies(config: Config) -> Iterator[WrittenPolicy]:
    """Every policy written anywhere in a config, members of combinations one by one."""
    yield from leaves(policies_of(config.policies, "$.policies"))
    for name, service in config.services.items():
        yield from leaves(policies_of(service.policies, f"{join('$.services', name)}.policies"))
    for index, route in enumerate(config.routes):
        yield from leaves(policies_of(route.policies, f"$.routes[{index}].policies"))
    for name, consumer in config.consumers.items():
        yield from leaves(policies_of(consumer.policies, f"{join('$.consumers', name)}.policies"))


def leaves(written: Iterable[WrittenPolicy]) -> Iterator[WrittenPolicy]:
    """The policies themselves, where combinations hold several."""
    for each in written:
        if each.members:
            yield from leaves(each.members)
        else:
            yield each


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
    if name in (ANY, ALL):
        return _combined(name, config, place)
    if config is None:
        return WrittenPolicy(name, {}, place)
    if not isinstance(config, dict):
        return Problem(message=f"expected a mapping of settings under policy '{name}'", pointer=place)
    return WrittenPolicy(name, config, place)


def _combined(name: str, raw: Any, pointer: str) -> WrittenPolicy | Problem:
    if not isinstance(raw, list) or not raw:
        return Problem(message=f"expected a list of policies under '{name}'", pointer=pointer, hint="`any-of: [{jwt: {...}}, {api-key: {...}}]`")
    members, problems = read_policies(raw, pointer)
    return problems[0] if problems else WrittenPolicy(name, {}, pointer, tuple(members))
