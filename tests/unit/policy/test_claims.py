"""The policy `claims`: what must hold of a token's claims, by type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gw.policy import Tools
from gw.policy.claims import Claim, Config, build
from tests.unit.policy.callers import outcome, problems_of, served, who

CLAIMS = {
    "tenant": "acme",
    "level": 3,
    "ratio": 1.5,
    "text": "1",
    "one": 1,
    "yes": True,
    "none": None,
    "aud": "api",
    "roles": ["admin", "staff", 1],
    "realm_access": {"roles": ["a.b", "owner"], "deep": {"er": 0}},
    "https://example.com/roles": ["far"],
}
HOLDS = [
    "{claim: tenant, equals: acme}",
    "{claim: level, equals: 3}",
    "{claim: level, equals: 3.0}",
    "{claim: text, equals: '1'}",
    "{claim: 'yes', equals: true}",
    "{claim: tenant, one_of: [other, acme]}",
    "{claim: one, one_of: ['1', 1]}",
    "{claim: roles, contains: admin}",
    "{claim: roles, contains: 1}",
    "{claim: aud, contains: api}",
    "{claim: realm_access.roles, contains: owner}",
    "{claim: [https://example.com/roles], contains: far}",
    "{claim: [realm_access, deep, er], equals: 0}",
    "{claim: tenant, matches: 'ac[a-z]+'}",
    "{claim: none, exists: true}",
    "{claim: nothing, exists: false}",
    "{claim: tenant.more, exists: false}",
    "{claim: level, above: 2, at_most: 3}",
    "{claim: level, at_least: 3, below: 3.5}",
    "{claim: ratio, above: 1}",
]
FAILS = [
    "{claim: tenant, equals: acm}",
    "{claim: text, equals: 1}",
    "{claim: one, equals: '1'}",
    "{claim: one, equals: true}",
    "{claim: 'yes', equals: 1}",
    "{claim: 'yes', equals: 'true'}",
    "{claim: nothing, equals: acme}",
    "{claim: none, equals: 'null'}",
    "{claim: one, one_of: ['1', true]}",
    "{claim: roles, equals: admin}",
    "{claim: roles, contains: '1'}",
    "{claim: roles, contains: adm}",
    "{claim: tenant, contains: acm}",
    "{claim: nothing, contains: a}",
    "{claim: https://example.com/roles, contains: far}",
    "{claim: realm_access, contains: roles}",
    "{claim: roles.0, exists: true}",
    "{claim: tenant, matches: 'ac'}",
    "{claim: one, matches: '1'}",
    "{claim: roles, matches: '.*'}",
    "{claim: nothing, exists: true}",
    "{claim: none, exists: false}",
    "{claim: text, at_least: 0}",
    "{claim: 'yes', at_least: 0}",
    "{claim: level, above: 3}",
    "{claim: level, below: 3}",
    "{claim: level, at_least: 4}",
    "{claim: level, at_most: 2.9}",
    "{claim: level, above: 2, below: 3}",
    "{claim: nothing, at_most: 9}",
]
KNOWN = who(claims=json.dumps(CLAIMS))


@pytest.mark.parametrize(("claim", "expected"), [*((claim, "passed") for claim in HOLDS), *((claim, "not-permitted") for claim in FAILS)])
def test_one_claim(tmp_path: Path, claim: str, expected: str) -> None:
    with served(tmp_path, f"claims: {{all: [{claim}]}}") as client:
        assert outcome(client.ask("/", *KNOWN)) == expected


YES, NO = "{claim: one, equals: 1}", "{claim: one, equals: 2}"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (f"{{all: [{YES}, {YES}]}}", "passed"),
        (f"{{all: [{YES}, {NO}]}}", "not-permitted"),
        (f"{{any: [{NO}, {YES}]}}", "passed"),
        (f"{{any: [{NO}, {NO}]}}", "not-permitted"),
        (f"{{all: [{YES}], any: [{NO}]}}", "not-permitted"),
        (f"{{all: [{NO}], any: [{YES}]}}", "not-permitted"),
        (f"{{all: [{YES}], any: [{NO}, {YES}]}}", "passed"),
    ],
)
def test_several_claims(tmp_path: Path, settings: str, expected: str) -> None:
    with served(tmp_path, f"claims: {settings}") as client:
        assert outcome(client.ask("/", *KNOWN)) == expected


def test_callers_without_a_token(tmp_path: Path) -> None:
    with served(tmp_path, "claims: {all: [{claim: tenant, equals: acme}]}") as client:
        unknown, bare = client.ask("/"), client.ask("/", *who("ann"))
    assert (unknown.status, outcome(unknown), unknown.one("WWW-Authenticate")) == (401, "no-credential", "Bearer")
    assert (bare.status, outcome(bare)) == (403, "not-permitted")


def test_what_cannot_work_is_refused_where_it_is_written() -> None:
    config = Config(
        all=[Claim("tenant"), Claim("a..b", exists=True), Claim([], exists=True), Claim("a", matches="(a")],
        any=[Claim("a", exists=False, equals="x")],
    )
    assert problems_of(build, config, Tools("all", "$.p")) == [
        (".all[0]", "nothing is asked of the claim"),
        (".all[1].claim", "a name on the way to the claim is empty"),
        (".all[2].claim", "a name on the way to the claim is empty"),
        (".all[3].matches", "'(a': missing ')' of the group at offset 0"),
        (".any[0]", "a claim that must not exist cannot be asked for more"),
    ]
    assert problems_of(build, Config(), Tools("all", "$.p")) == [("", "neither `all` nor `any` names a claim")]
