"""The policy `condition`: an expression decides."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gw._fast.shm import Segment
from gw.config import loads
from gw.policy import Tools
from gw.policy.condition import EXPRESSION_MAX, VARIABLES, Config, build, compiled
from gw.runtime import Engine, compile_snapshot
from tests.unit.policy.callers import CONSUMERS, outcome, problems_of, served, who

KNOWN = who("ann", groups="extern", scopes="read write", claims=json.dumps({"sub": "7", "level": 3, "admin": True, "aud": ["a", "b"], "nested": {"x": [1]}}))
URL = "/user/7?a=1&b=x%20y&empty"
HOLDS = [
    "request.method == 'GET'",
    "request.path.startsWith('/user/')",
    "request.host == 'h.example'",
    "request.headers['x-tenant'] == 'acme, other'",
    "'x-tenant' in request.headers && !('X-Tenant' in request.headers)",
    "request.query['a'] == '1' && request.query['b'] == 'x y' && request.query['empty'] == ''",
    "client.ip == '127.0.0.1'",
    "consumer == 'ann'",
    "'admin' in groups && 'extern' in groups && 'staff' in groups && groups.size() == 3",
    "scopes == ['read', 'write']",
    "claims.sub == '7' && claims.level == 3 && claims['level'] > 2.5",
    "claims.admin",
    "claims.nested.x[0] == 1",
    "'b' in claims.aud",
    "!has(claims.nothing)",
    "now > timestamp('2024-01-01T00:00:00Z')",
    "request.path.matches('^/user/[0-9]+$')",
    "groups.exists(each, each.startsWith('ext'))",
]
FAILS = [
    "request.method == 'POST'",
    "claims.sub == 7",
    "claims.level == '3'",
    "claims.level",
    "claims.nothing",
    "claims.nothing == claims.nothing",
    "request.headers['x-none'] != 'x'",
    "request.headers['X-Tenant'] != 'x'",
    "1 / (claims.level - 3) != 0",
    "claims.sub > 1",
    "request.path.matches('(') || request.path.matches('(')",
    f"{list(range(300))}.all(a, {list(range(300))}.all(b, claims.level == 3))",
]


@pytest.mark.parametrize(("expression", "expected"), [*((each, "passed") for each in HOLDS), *((each, "not-permitted") for each in FAILS)])
def test_allow(tmp_path: Path, expression: str, expected: str) -> None:
    with served(tmp_path, f"condition: {{allow: {json.dumps(expression)}}}") as client:
        assert outcome(client.ask(URL, *KNOWN, "X-Tenant: acme", "x-tenant: other")) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("request.method == 'POST'", "passed"),
        ("request.method == 'GET'", "not-permitted"),
        ("request.headers['x-none'] == 'x'", "not-permitted"),
        ("claims.level", "not-permitted"),
    ],
)
def test_deny_fails_closed_as_well(tmp_path: Path, expression: str, expected: str) -> None:
    with served(tmp_path, f"condition: {{deny: {json.dumps(expression)}}}") as client:
        answer = client.ask("/", *KNOWN)
    assert outcome(answer) == expected
    assert answer.status == (200 if expected == "passed" else 403)


@pytest.mark.parametrize(("side", "expression"), [("allow", "!('debug' in request.query)"), ("deny", "request.query['role'] == 'admin'")])
def test_a_parameter_sent_twice_decides_nothing(tmp_path: Path, side: str, expression: str) -> None:
    with served(tmp_path, f"condition: {{{side}: {json.dumps(expression)}}}") as client:
        assert outcome(client.ask("/?role=user")) == "passed"
        assert outcome(client.ask("/?role=user&role=admin")) == "not-permitted"
        assert outcome(client.ask("/?role=user&r%6fle=admin")) == "not-permitted"


def test_nobody_is_known(tmp_path: Path) -> None:
    with served(tmp_path, "condition: {allow: 'consumer == \"\" && groups == [] && scopes == [] && claims == {}'}", more=CONSUMERS) as client:
        assert outcome(client.ask("/")) == "passed"


def test_now_is_the_clock_of_whoever_asks(tmp_path: Path) -> None:
    text = """\
listeners: [{bind: '127.0.0.1:1'}]
routes: [{path: /, respond: {}, policies: [condition: {allow: "now.getHours('Europe/Vienna') < 9"}]}]
"""
    segment = Segment(1, 8, 8)
    engine = Engine(compile_snapshot(loads(text).config, 1, segment, tmp_path), segment)
    morning, noon = 1_750_000_000 - 1_750_000_000 % 86_400, 1_750_000_000 - 1_750_000_000 % 86_400 + 43_200
    found = [asyncio.run(engine.ask("GET", "http://h/", wall=wall)).status for wall in (morning, noon)]
    engine.close()
    assert found == [200, 403]


WRONG = [
    ("", "column 1: mismatched input '<EOF>'"),
    ("request.method = 'GET'", "column 16: token recognition error at: '= '"),
    ("request.method == 'GET' &&", "column 27: mismatched input '<EOF>'"),
    ("true &&\n  request.nope == 1", "line 2, column 10: undeclared reference to 'request.nope'"),
    ("consumer == 1", "column 10: found no matching overload for '_==_' applied to '(string, int)'"),
    ("request.method", "the expression gives string, not true or false"),
    ("__import__('os').system('id') == 0", "column 11: undeclared reference to '__import__'"),
    ("(" * 40 + "true" + ")" * 40, "Expression recursion limit exceeded. limit: 32"),
    ("'" + "x" * EXPRESSION_MAX + "' == ''", f"the expression has {EXPRESSION_MAX + 8} characters; at most {EXPRESSION_MAX} are taken"),
    ("'\ud800' == ''", "the expression is not valid Unicode"),
]


@pytest.mark.parametrize(("expression", "message"), WRONG)
def test_a_wrong_expression_is_refused_with_its_column(expression: str, message: str) -> None:
    assert problems_of(build, Config(allow=expression), Tools("all", "$.p")) == [(".allow", message)]
    assert problems_of(build, Config(deny=expression), Tools("all", "$.p")) == [(".deny", message)]


@pytest.mark.parametrize("config", [Config(), Config(allow="true", deny="false")])
def test_one_of_the_two_is_written(config: Config) -> None:
    assert problems_of(build, config, Tools("all", "$.p")) == [("", "expected either `allow` or `deny`")]


@pytest.mark.parametrize(
    ("expression", "reads"),
    [("true", []), ("'now' == 'consumer'", []), ("request . headers [ 'a' ] == ''", ["request.headers"]), ("claims.now == consumer", ["consumer", "claims"])],
)
def test_only_what_an_expression_uses_is_read(expression: str, reads: list[str]) -> None:
    assert list(compiled(expression).reads) == reads
    assert set(reads) <= VARIABLES.keys()
