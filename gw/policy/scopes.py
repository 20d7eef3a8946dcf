"""Require scopes of the caller's token, for all methods or for each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct, field

from gw._fast.permit import ScopeStep
from gw.config.node import join
from gw.config.syntax import is_token
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Need, Tools

KIND: Kind = "authorisation"
NEEDS: Need = "identity"
REST = "*"  # methods that are not named
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3

Wanted = list[str] | dict[str, list[str]]


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Scopes that a request needs (RFC 6750). A list holds for every method; a mapping `{GET: [read], POST: [write]}` for those named, with `*` for all others.

    HEAD needs what GET does, unless it is named. A method of which nothing is said is not permitted.
    """

    all: Annotated[Wanted, Meta(description="Every one of these scopes.")] = field(default_factory=list)
    any: Annotated[Wanted, Meta(description="At least one of these scopes.")] = field(default_factory=list)


def build(config: Config, tools: Tools) -> ScopeStep:
    """A compiled step; raises ConfigError for what is no scope or method, and where no scope is named."""
    every, one_of = _by_method(config.all), _by_method(config.any)
    problems = [*_flaws(config.all, f"{tools.pointer}.all"), *_flaws(config.any, f"{tools.pointer}.any")]
    if not any([*every.values(), *one_of.values()]):
        problems.append(Problem(message="neither `all` nor `any` names a scope", pointer=tools.pointer, hint="`scopes: {all: [read]}`"))
    if problems:
        raise ConfigError(problems)
    needs = {method: (_of(every, method), _of(one_of, method)) for method in sorted({*every, *one_of})}
    if "GET" in needs:
        needs.setdefault("HEAD", needs["GET"])
    return ScopeStep("scopes", [(method, *need) for method, need in needs.items()], tools.challenge, tools.bearers)


def _by_method(wanted: Wanted) -> dict[str, list[str]]:
    if isinstance(wanted, dict):
        return wanted
    return {REST: wanted} if wanted else {}


def _of(wanted: dict[str, list[str]], method: str) -> list[str]:
    return wanted.get(method, wanted.get(REST, []))


def _flaws(wanted: Wanted, pointer: str) -> Iterator[Problem]:
    for method, scopes in _by_method(wanted).items():
        place = join(pointer, method) if isinstance(wanted, dict) else pointer
        if method != REST and (not is_token(method) or method != method.upper()):
            yield Problem(message=f"'{method}' is not a method", pointer=place, at_key=True, hint="such as GET, in capitals, or * for all others")
        for index, scope in enumerate(scopes):
            if not SCOPE.fullmatch(scope):
                hint = "one word without quotes and backslashes; several are several items (RFC 6749 section 3.3)"
                yield Problem(message=f"'{scope}' is not a scope", pointer=f"{place}[{index}]", hint=hint)
