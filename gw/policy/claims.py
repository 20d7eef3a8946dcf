"""Require claims of the caller's token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct, field
from msgspec.structs import asdict

from gw._fast.hooks import Refusal, Request
from gw._fast.regex import Regex
from gw.errors import ConfigError, Problem
from gw.policy.base import Hooks, Kind, Need, Tools

KIND: Kind = "authorisation"
NEEDS: Need = "identity"
MISSING: Any = object()  # what a claim that is not there holds

Scalar = str | int | float | bool
Test = Callable[[Any], bool]


class Claim(Struct, forbid_unknown_fields=True, frozen=True):
    """What must hold of one claim. Types count: the text `"1"` is not the number 1. Of a claim that is missing nothing holds but `exists: false`."""

    claim: Annotated[str | list[str], Meta(description="Names on the way to it, with dots between them: `realm_access.roles`. A list of names where one holds a dot itself.")]
    exists: Annotated[bool | None, Meta(description="Whether it is there, whatever it holds.")] = None
    equals: Annotated[Scalar | None, Meta(description="It is this value.")] = None
    one_of: Annotated[list[Scalar] | None, Meta(description="It is one of these values.")] = None
    contains: Annotated[Scalar | None, Meta(description="It is a list with this member; a claim that is no list counts as a list of one, as `aud` does.")] = None
    matches: Annotated[str | None, Meta(description="It is a text, and the whole of it matches this linear-time regular expression.")] = None
    above: Annotated[int | float | None, Meta(description="It is a larger number.")] = None
    at_least: Annotated[int | float | None, Meta(description="It is this number or a larger one.")] = None
    below: Annotated[int | float | None, Meta(description="It is a smaller number.")] = None
    at_most: Annotated[int | float | None, Meta(description="It is this number or a smaller one.")] = None


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """What must hold of the claims of the caller's token. With both lists, both must be satisfied."""

    all: Annotated[list[Claim], Meta(description="All of these.")] = field(default_factory=list)
    any: Annotated[list[Claim], Meta(description="At least one of these.")] = field(default_factory=list)


def build(config: Config, tools: Tools) -> Hooks:
    """A request hook; raises ConfigError for conditions that say nothing and for expressions that are not supported."""
    problems = [*_flaws(config.all, f"{tools.pointer}.all"), *_flaws(config.any, f"{tools.pointer}.any")]
    if not (config.all or config.any):
        problems.append(Problem(message="neither `all` nor `any` names a claim", pointer=tools.pointer, hint="`claims: {all: [{claim: tenant, equals: acme}]}`"))
    if problems:
        raise ConfigError(problems)
    every, one_of = [_test(each) for each in config.all], [_test(each) for each in config.any]
    challenge = tools.challenge

    def judge(request: Request) -> Refusal | None:
        if not request.known:
            return Refusal("no-credential", challenge)
        claims = request.claims or {}
        fit = all(test(claims) for test in every) and (not one_of or any(test(claims) for test in one_of))
        return None if fit else Refusal("not-permitted")

    return Hooks(request=judge)


def _test(claim: Claim) -> Test:
    path = claim.claim.split(".") if isinstance(claim.claim, str) else claim.claim
    tests = [TESTS[name](wanted) for name, wanted in _said(claim).items()]

    def test(claims: Any) -> bool:
        found = _at(claims, path)
        return all(each(found) for each in tests)

    return test


def _at(claims: Any, path: list[str]) -> Any:
    for name in path:
        if not isinstance(claims, dict) or name not in claims:
            return MISSING
        claims = claims[name]
    return claims


def _said(claim: Claim) -> dict[str, Any]:
    return {name: wanted for name, wanted in asdict(claim).items() if name != "claim" and wanted is not None}


def _same(found: Any, wanted: Scalar) -> bool:
    """As JSON has it: true is not 1, and 1 is 1.0."""
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _matches(pattern: str) -> Test:
    regex = Regex(pattern)
    return lambda found: isinstance(found, str) and regex.match(found.encode())


def _compares(holds: Callable[[Any, Any], bool]) -> Callable[[float], Test]:
    return lambda wanted: lambda found: isinstance(found, int | float) and not isinstance(found, bool) and holds(found, wanted)


TESTS: dict[str, Callable[[Any], Test]] = {
    "exists": lambda wanted: lambda found: (found is not MISSING) == wanted,
    "equals": lambda wanted: lambda found: _same(found, wanted),
    "one_of": lambda wanted: lambda found: any(_same(found, each) for each in wanted),
    "contains": lambda wanted: lambda found: any(_same(each, wanted) for each in (found if isinstance(found, list) else [found])),
    "matches": _matches,
    "above": _compares(lambda found, wanted: found > wanted),
    "at_least": _compares(lambda found, wanted: found >= wanted),
    "below": _compares(lambda found, wanted: found < wanted),
    "at_most": _compares(lambda found, wanted: found <= wanted),
}


def _flaws(claims: list[Claim], pointer: str) -> Iterator[Problem]:
    for index, claim in enumerate(claims):
        place = f"{pointer}[{index}]"
        if not claim.claim or "" in (claim.claim.split(".") if isinstance(claim.claim, str) else claim.claim):
            yield Problem(message="a name on the way to the claim is empty", pointer=f"{place}.claim", hint="such as `tenant`, `realm_access.roles` or `[https://example.com/roles]`")
        if not _said(claim):
            yield Problem(message="nothing is asked of the claim", pointer=place, hint=f"add one of {', '.join(TESTS)}")
        if claim.exists is False and len(_said(claim)) > 1:
            yield Problem(message="a claim that must not exist cannot be asked for more", pointer=place)
        if claim.matches is not None:
            try:
                Regex(claim.matches)
            except ValueError as error:
                yield Problem(message=f"'{claim.matches}': {error}", pointer=f"{place}.matches")
