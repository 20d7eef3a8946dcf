"""Allow or deny callers by consumer and by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

from msgspec import Meta, Struct, field

from gw._fast.permit import AclStep
from gw.config.convert import advise
from gw.config.model import Consumer
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Need, Tools

KIND: Kind = "authorisation"
NEEDS: Need = "identity"


class Members(Struct, forbid_unknown_fields=True, frozen=True):
    """Callers: those named, and those of the groups."""

    groups: Annotated[list[str], Meta(description="Groups of consumers, and groups that a credential carries, such as a token's.")] = field(default_factory=list)
    consumers: Annotated[list[str], Meta(description="Names of consumers.")] = field(default_factory=list)


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Who may pass. Denying wins over allowing; a caller whom nobody has authenticated never passes."""

    allow: Annotated[Members, Meta(description="Who may pass; empty means everybody who is not denied.")] = field(default_factory=Members)
    deny: Annotated[Members, Meta(description="Who may not.")] = field(default_factory=Members)


def build(config: Config, tools: Tools) -> AclStep:
    """A compiled step; raises ConfigError for consumers that there are not and for lists that name nobody."""
    everybody = config.allow == Members()
    problems = [*_flaws(config.allow, f"{tools.pointer}.allow", tools), *_flaws(config.deny, f"{tools.pointer}.deny", tools)]
    if everybody and config.deny == Members():
        problems.append(Problem(message="neither `allow` nor `deny` names anybody", pointer=tools.pointer, hint="`acl: {allow: {groups: [staff]}}`"))
    if problems:
        raise ConfigError(problems)
    allowed, denied = (_bits(_belongs(name, each, side) for name, each in tools.consumers.items()) for side in (config.allow, config.deny))
    return AclStep("acl", allowed, denied, config.allow.groups, config.deny.groups, everybody, tools.challenge)


def _belongs(name: str, consumer: Consumer, members: Members) -> bool:
    return name in members.consumers or not set(consumer.groups).isdisjoint(members.groups)


def _bits(flags: Iterable[bool]) -> bytes:
    made = bytearray(1)
    for index, flag in enumerate(flags):
        if index >> 3 == len(made):
            made.append(0)
        made[index >> 3] |= flag << (index & 7)
    return bytes(made)


def _flaws(members: Members, pointer: str, tools: Tools) -> Iterator[Problem]:
    for index, name in enumerate(members.consumers):
        if name not in tools.consumers:
            hint = advise(name, tools.consumers, "there are no consumers")
            yield Problem(message=f"unknown consumer '{name}'", pointer=f"{pointer}.consumers[{index}]", hint=hint)
    for index, group in enumerate(members.groups):
        if not group or "," in group:
            yield Problem(message=f"'{group}' is not the name of a group", pointer=f"{pointer}.groups[{index}]", hint="some text without a comma")
