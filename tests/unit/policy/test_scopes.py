"""The policy `scopes`: what a token must be good for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gw.policy import Tools
from gw.policy.scopes import Config, build
from tests.unit.policy.callers import explained, outcome, problems_of, served, who

MISSING, REFUSED = "scope-missing", "not-permitted"


@pytest.mark.parametrize(
    ("settings", "scopes", "expected"),
    [
        ("{all: [read, write]}", "read write", "passed"),
        ("{all: [read, write]}", "other write read", "passed"),
        ("{all: [read, write]}", "read", MISSING),
        ("{all: [read]}", "", MISSING),
        ("{all: [read]}", "reads rea READ", MISSING),
        ("{any: [read, admin]}", "admin", "passed"),
        ("{any: [read, admin]}", "write", MISSING),
        ("{all: [read], any: [a, b]}", "read b", "passed"),
        ("{all: [read], any: [a, b]}", "a b", MISSING),
        ("{all: [read], any: [a, b]}", "read", MISSING),
    ],
)
def test_a_list_holds_for_every_method(tmp_path: Path, settings: str, scopes: str, expected: str) -> None:
    with served(tmp_path, f"scopes: {settings}") as client:
        assert [outcome(client.ask("/", *who(scopes=scopes), method=method)) for method in ("GET", "POST", "DELETE")] == [expected] * 3


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("{all: {GET: [read], POST: [write]}}", {"GET": "passed", "POST": MISSING, "PUT": REFUSED}),
        ("{all: {GET: [read], '*': [write]}}", {"GET": "passed", "POST": MISSING, "PUT": MISSING}),
        ("{all: {POST: [write], '*': [read]}}", {"GET": "passed", "POST": MISSING, "PUT": "passed"}),
        ("{any: {PUT: [write, read]}}", {"GET": REFUSED, "POST": REFUSED, "PUT": "passed"}),
        ("{all: {GET: [], POST: [write]}}", {"GET": "passed", "POST": MISSING, "PUT": REFUSED}),
        ("{all: [read], any: {POST: [write]}}", {"GET": "passed", "POST": MISSING, "PUT": "passed"}),
    ],
)
def test_a_mapping_says_it_for_each_method(tmp_path: Path, settings: str, expected: dict[str, str]) -> None:
    with served(tmp_path, f"scopes: {settings}") as client:
        assert {method: outcome(client.ask("/", *who(scopes="read"), method=method)) for method in expected} == expected


def test_head_needs_what_get_does_unless_it_is_named(tmp_path: Path) -> None:
    with served(tmp_path, "scopes: {all: {GET: [read], '*': [admin]}}") as client:
        assert client.ask("/", *who(scopes="read"), method="HEAD").status == 200
        assert client.ask("/", *who(scopes="admin"), method="HEAD").status == 403


def test_head_that_is_named(tmp_path: Path) -> None:
    with served(tmp_path, "scopes: {all: {GET: [read], HEAD: [look]}}") as client:
        assert client.ask("/", *who(scopes="look"), method="HEAD").status == 200
        assert client.ask("/", *who(scopes="read"), method="HEAD").status == 403


def test_the_refusal_says_what_is_missing_as_rfc_6750_has_it(tmp_path: Path) -> None:
    with served(tmp_path, "scopes: {all: {GET: [read], POST: [write]}, any: {POST: [a, b]}}") as client:
        answers = [client.ask("/", *who(scopes="x"), method=method) for method in ("GET", "POST")]
        unknown = client.ask("/")
    assert [answer.status for answer in answers] == [403, 403]
    assert [answer.one("WWW-Authenticate") for answer in answers] == [
        'Bearer error="insufficient_scope", scope="read"',
        'Bearer error="insufficient_scope", scope="write a b"',
    ]
    assert (unknown.status, outcome(unknown), unknown.one("WWW-Authenticate")) == (401, "no-credential", "Bearer")


@pytest.mark.parametrize(("scopes", "told"), [("a b", "scopes 'a b'"), ("", "no scopes")])
def test_explain_shows_the_scopes(tmp_path: Path, scopes: str, told: str) -> None:
    route = "routes: [{path: /, respond: {}, policies: [caller, scopes: {all: [read]}]}]"
    verdict = explained(tmp_path, route, ("X-Known", "yes"), ("X-Scopes", scopes))[1]
    assert (verdict.policy, verdict.verdict, verdict.reason, verdict.told) == ("scopes", "answer", MISSING, told)


def test_what_cannot_work_is_refused_where_it_is_written() -> None:
    config = Config(all={"get": ["read"], "GET": ['a"b', "a b"]}, any=["é", ""])
    assert problems_of(build, config, Tools("all", "$.p")) == [
        (".all.get", "'get' is not a method"),
        (".all.GET[0]", "'a\"b' is not a scope"),
        (".all.GET[1]", "'a b' is not a scope"),
        (".any[0]", "'é' is not a scope"),
        (".any[1]", "'' is not a scope"),
    ]
    assert problems_of(build, Config(all={"GET": []}), Tools("all", "$.p")) == [("", "neither `all` nor `any` names a scope")]
