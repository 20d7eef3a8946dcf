"""`gw test`: cases pass and fail for what they say, with places, clocks, sources and coverage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

CONFIG = """\
listeners:
  - bind: 127.0.0.1:8080
modules: [policies]
services:
  users: {endpoints: [127.0.0.1:9001, {address: 127.0.0.1:9002}]}
consumers:
  alice: {groups: [staff]}
routes:
  - path: /users
    name: users
    methods: [GET]
    service: users
    strip_prefix: true
    policies:
      - any-of: [{key: {text: alice}}, {key: {text: bob}}]
      - headers: {request: {set: {X-A: b}}}
  - exact: /old
    redirect: {to: /new}
  - path: /few
    respond: {body: "here\\n"}
    policies: [few]
  - path: /followed
    respond: {}
    policies: [followed]
"""

MODULE = """
from msgspec import Struct
from gw.errors import GatewayError
from gw.policy import Hooks, Refusal, Request, Response, Tools
from gw.store import Source

class Config(Struct, forbid_unknown_fields=True, frozen=True):
    text: str = ""

"""

KEY = """
KIND = "authentication"

def build(config, tools):
    def check(request):
        key = request.headers.get("X-Key")
        if key is None:
            return Refusal("no-credential", {"WWW-Authenticate": "Key"})
        if key == "fault":
            1 / 0
        if key != config.text:
            return Refusal("invalid-credential")
        request.identify("key", consumer=key if key in tools.consumers else None, subject=key)
    return Hooks(request=check)
"""

# Two requests a second; none at all from the year 2027 on.
FEW = """
KIND = "limit"

def build(config, tools):
    taken = []
    def count(request):
        if request.now >= 1798761600:
            return Refusal("quota-exceeded")
        taken.append(request.monotonic)
        if sum(each > request.monotonic - 1 for each in taken) > 2:
            return Refusal("rate-limited", {"Retry-After": "1"})
    return Hooks(request=count)
"""

FOLLOWED = """
class Keys(Source, frozen=True):
    url: str

    async def once(self):
        if self.url.endswith("gone"):
            raise GatewayError(f"{self.url} is gone")
        return b"fetched"

def build(config, tools):
    seen = []
    tools.follow(Keys("https://issuer.example/" + config.text), seen.append)
    return Hooks(request=lambda request: Response(200, body=seen[-1] if seen else b"nothing"))
"""

Gw = Callable[..., Any]


@pytest.fixture(autouse=True)
def config(folder: Path) -> Path:
    (folder / "policies").mkdir()
    for name, text in (("key", KEY), ("few", FEW), ("followed", FOLLOWED)):
        (folder / "policies" / f"{name}.py").write_text(MODULE + text)
    (folder / "gw.yaml").write_text(CONFIG)
    return folder / "gw.yaml"


def cases(folder: Path, text: str, name: str = "gw.test.yaml") -> None:
    (folder / name).write_text(text)


def of(request: str, expect: str, more: str = "") -> str:
    return f"cases:\n  - name: one\n    request: {request}\n    expect: {expect}\n{more}"


HOLDS = [
    ("{url: '/users/7?x=1', headers: {X-Key: alice}}", "{status: 0, reason: '', route: users, service: users, endpoint: '127.0.0.1:9001', consumer: alice}"),
    ("{url: /users, headers: {X-Key: bob}}", "{consumer: '', identity: {method: key, subject: bob}, policies: [key: next, key: pass, headers: pass]}"),
    ("{url: '/users/7?x=1', headers: {X-Key: bob}}", "{origin: {path: '/7?x=1', headers: {x-a: b, X-Subject: '~b.b', Cookie: false, Host: true}}}"),
    ("{url: /users, headers: {X-Key: bob, Accept: [a, b]}}", "{origin: {headers: {Accept: [a, b]}}}"),
    ("{url: /users, headers: {X-Key: bob}, body: some}", "{origin: {body: '~s.me', headers: {Content-Length: '4'}}}"),
    ("{url: /users}", "{status: 401, reason: no-credential, origin: false, service: '', answer: {headers: {WWW-Authenticate: Key}, members: {status: 401}}}"),
    ("{url: /users, headers: {X-Key: eve}}", "{reason: invalid-credential, policies: [key: next, key: answer]}"),
    ("{url: /users, headers: {X-Key: fault}}", "{status: 500, reason: hook-failed}"),
    ("{url: /users, method: PUT}", "{status: 405, reason: method-not-allowed, route: ''}"),
    ("{url: /old}", "{status: 308, reason: '', answer: {headers: {Location: /new}}}"),
    ("{url: /few}", "{status: 200, route: /few, answer: {body: \"here\\n\"}}"),
    ("{url: /few}", "{answer: {body: '~he.*\\s', headers: {Content-Type: '~text/.*'}}}"),
    ("{url: 'https://h.example/users', client: 10.1.2.3, headers: {X-Key: bob}}", "{origin: {headers: {X-Forwarded-For: 10.1.2.3, X-Forwarded-Proto: https, Host: h.example}}}"),
]


@pytest.mark.parametrize(("request_", "expect"), HOLDS)
def test_what_holds_passes(folder: Path, gw: Gw, request_: str, expect: str) -> None:
    cases(folder, of(request_, expect))
    said = gw("test")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("ok    gw.test.yaml:2  one\n1 case: 1 passed, 0 failed, in ")


FAILS = [
    ("{url: /users}", "{status: 200}", "expect.status", "200", "401 (no-credential)"),
    ("{url: /users, headers: {X-Key: bob}}", "{status: 200}", "expect.status", "200", "0 (forwarded)"),
    ("{url: /old}", "{reason: no-route}", "expect.reason", '"no-route"', '""'),
    ("{url: /none}", "{route: users}", "expect.route", '"users"', '""'),
    ("{url: /users, headers: {X-Key: bob}}", "{consumer: bob}", "expect.consumer", '"bob"', '""'),
    ("{url: /users, headers: {X-Key: bob}}", "{identity: {subject: alice}}", "expect.identity.subject", '"alice"', '"bob"'),
    ("{url: /users, headers: {X-Key: bob}}", "{endpoint: '127.0.0.1:9002'}", "expect.endpoint", '"127.0.0.1:9002"', '"127.0.0.1:9001"'),
    ("{url: /users, headers: {X-Key: bob}}", "{policies: [key: pass]}", "expect.policies", "key: pass", "key: next, key: pass, headers: pass"),
    ("{url: /old}", "{policies: [key: pass]}", "expect.policies", "key: pass", "none"),
    ("{url: /users, headers: {X-Key: bob}}", "{origin: false}", "expect.origin", "nothing", "a forwarded request"),
    ("{url: /old}", "{origin: true}", "expect.origin", "a forwarded request", "nothing is forwarded"),
    ("{url: /old}", "{origin: {path: /}}", "expect.origin", "a forwarded request", "nothing is forwarded"),
    ("{url: /users, headers: {X-Key: bob}}", "{origin: {path: /users}}", "expect.origin.path", '"/users"', '"/"'),
    ("{url: /users, headers: {X-Key: bob}}", "{origin: {headers: {X-A: c}}}", "expect.origin.headers.X-A", '"c"', '"b"'),
    ("{url: /users, headers: {X-Key: bob}}", "{origin: {headers: {X-A: false}}}", "expect.origin.headers.X-A", "absent", '"b"'),
    ("{url: /users, headers: {X-Key: bob}}", "{origin: {headers: {X-B: true}}}", "expect.origin.headers.X-B", "present", "absent"),
    ("{url: /users, headers: {X-Key: bob}}", "{origin: {headers: {X-A: [b, b]}}}", "expect.origin.headers.X-A", '["b","b"]', '"b"'),
    ("{url: /users, headers: {X-Key: bob}}", "{answer: {body: ''}}", "expect.answer", "an answer", "the request is forwarded, and the case does not say what the endpoint answers"),
    ("{url: /few}", "{answer: {body: here}}", "expect.answer.body", '"here"', '"here\\n"'),
    ("{url: /users, headers: {X-Key: bob}, body: some}", "{origin: {body: other}}", "expect.origin.body", '"other"', '"some"'),
    ("{url: /users, headers: {X-Key: bob}}", "{origin: {body: other}}", "expect.origin.body", '"other"', "a body that the case does not tell"),
    ("{url: /users, headers: {X-Key: bob, Content-Length: '3'}, body: some}", "{}", "request", "a request that can be sent", "Content-Length is 3, and the body has 4 bytes"),
    ("{url: /few}", "{answer: {members: {a: 1}}}", "expect.answer.members", "a JSON object", '"here\\n": JSON is malformed: invalid character (byte 0)'),
    ("{url: /users}", "{answer: {members: {status: 403}}}", "expect.answer.members.status", "403", "401"),
    ("{url: /users}", "{answer: {members: {extra: 1}}}", "expect.answer.members.extra", "1", "no such member"),
    ("{url: /users, headers: {X-Key: \"a\\r\\nb\"}}", "{}", "request", "a request that can be sent", "a header or the URL holds a line break"),
]


@pytest.mark.parametrize(("request_", "expect", "key", "expected", "found"), FAILS)
def test_what_does_not_hold_is_shown_beside_what_was_found(folder: Path, gw: Gw, request_: str, expect: str, key: str, expected: str, found: str) -> None:
    cases(folder, of(request_, expect))
    said = gw("test", "--json")
    assert said.code == 1
    [case] = json.loads(said.out)["cases"]
    assert not case["passed"]
    assert [(each["key"], each["expected"], each["found"]) for each in case["differences"]] == [(key, expected, found)]


def test_a_failure_names_its_line_and_the_line_that_decided(folder: Path, gw: Gw) -> None:
    cases(folder, of("{url: /users}", "\n      status: 200"))
    said = gw("test")
    assert said.code == 1
    lines = [line.rstrip() for line in said.out.splitlines()]
    assert lines[:-1] == [
        "FAIL  gw.test.yaml:2  one",
        "      gw.test.yaml:5:15: expect.status",
        "        expected  200",
        "        got       401 (no-credential)",
        "      taken by the route users at gw.yaml:9",
        "      key at gw.yaml:15: next, no-credential",
        "      key at gw.yaml:15: answer, no-credential",
        "      source-without-data: url https://issuer.example/",
    ]


def test_a_failure_tells_why_no_route_took_it_and_what_a_hook_raised(folder: Path, gw: Gw) -> None:
    cases(folder, of("{url: /users, method: PUT}", "{route: users}"))
    assert "the route users at gw.yaml:9: method PUT not in GET" in gw("test").out
    cases(folder, of("{url: /users, headers: {X-Key: fault}}", "{status: 0}"))
    assert "hook-failed: policy key, error ZeroDivisionError('division by zero')" in gw("test").out


LIMITS = """\
cases:
  - name: two a second
    request: {url: /few}
    repeat: 2
    expect: {status: 200, policies: [few: pass]}
    then:
      - expect: {status: 429, reason: rate-limited, answer: {headers: {Retry-After: "1"}}}
      - {request: {url: /old}, expect: {status: 308}}
      - {after: 999ms, expect: {status: 308}}
      - {request: {url: /few}, expect: {reason: rate-limited}}
      - {after: 2s, repeat: 2, expect: {status: 200}}
  - name: a case remembers nothing of another
    request: {url: /few}
    expect: {status: 200}
  - name: no more from 2027 on
    clock: 2026-12-31T23:59:59Z
    request: {url: /few}
    expect: {status: 200}
    then: [{after: 1s, expect: {reason: quota-exceeded}}]
"""


def test_clocks_go_on_as_the_case_says_and_limits_count(folder: Path, gw: Gw) -> None:
    cases(folder, LIMITS)
    said = gw("test")
    assert said.code == 0, said.out
    cases(folder, LIMITS.replace("repeat: 2\n", "repeat: 9\n"))
    assert "gw.test.yaml:5:22: expect.status of request 3" in gw("test").out


def test_cases_are_chosen_by_name(folder: Path, gw: Gw) -> None:
    cases(folder, LIMITS)
    assert [case["name"] for case in json.loads(gw("test", "--case", "2027", "--json").out)["cases"]] == ["no more from 2027 on"]
    said = gw("test", "--case", "2028")
    assert (said.code, said.err) == (1, "gw: no case's name holds '2028'\n")


def test_data_of_sources_is_given_or_fetched_never_fetched_unasked(folder: Path, gw: Gw) -> None:
    (folder / "keys.json").write_text("from the file\n")
    given = "sources:\n  - {match: {url: 'https://issuer.example/'}, data: 'file:keys.json'}\n"
    cases(folder, of("{url: /followed}", "{answer: {body: nothing}}"))
    assert gw("test").code == 0
    cases(folder, of("{url: /followed}", "{answer: {body: fetched}}"))
    assert gw("test", "--online").code == 0
    assert "source-without-data: url https://issuer.example/" in gw("test").out
    cases(folder, of("{url: /followed}", "{answer: {body: from the file}}", given))
    assert gw("test", "--online").code == 0
    cases(folder, of("{url: /followed}", "{}", given.replace("issuer.example", "other.example")))
    said = gw("test")
    assert said.code == 1
    assert "gw.test.yaml:6:5: error: no policy of this config follows such a source" in said.err
    assert "hint: followed: url: https://issuer.example/" in said.err


def test_explain_fetches_on_request_too_and_says_what_could_not_be_had(folder: Path, gw: Gw, config: Path) -> None:
    assert gw("explain", "GET", "/followed", "--forwarded").out.endswith("\n  nothing\n")
    assert gw("explain", "GET", "/followed", "--forwarded", "--online").out.endswith("\n  fetched\n")
    config.write_text(CONFIG.replace("[followed]", "[followed: {text: gone}]"))
    said = gw("explain", "GET", "/followed", "--online")
    assert said.err == "gw: https://issuer.example/gone is gone\n"
    cases(folder, of("{url: /followed}", "{answer: {body: nothing}}"))
    said = gw("test", "--online")
    assert (said.code, said.err) == (0, "gw: https://issuer.example/gone is gone\n")


def test_explain_shows_the_head_that_would_be_sent(gw: Gw) -> None:
    said = gw("explain", "GET", "/users/7", "-H", "X-Key: bob", "--forwarded")
    assert "to the endpoint:\n  GET /7 HTTP/1.1\n  Host: localhost\n  X-Key: bob\n" in said.out
    found = json.loads(gw("explain", "GET", "/users", "--forwarded", "--json").out)
    assert found["forwarded"] == ""
    assert found["answer"].startswith("HTTP/1.1 401 Unauthorized\r\n")
    assert [each["at"] for each in found["verdicts"]] == ["gw.yaml:15", "gw.yaml:15"]


COVERED = """\
cases:
  - {name: bob, request: {url: /users, headers: {X-Key: bob}}}
  - {name: old, request: {url: /old}}
"""


def test_coverage_counts_routes_and_both_outcomes_of_what_refuses(folder: Path, gw: Gw) -> None:
    cases(folder, COVERED)
    said = gw("test", "--coverage", "--json")
    assert said.code == 0
    [found] = json.loads(said.out)["coverage"]
    assert {route["name"]: route["requests"] for route in found["routes"]} == {"users": 1, "/old": 1, "/few": 0, "/followed": 0}
    assert [(each["name"], each["passed"], each["refused"], each["refuses"]) for each in found["policies"]] == [
        ("key", 0, 1, True),
        ("key", 1, 0, True),
        ("headers", 1, 0, False),
        ("few", 0, 0, True),
        ("followed", 0, 0, False),
    ]
    assert found["percent"] == round(100 * 5 / 12, 1)
    assert "gw.yaml: 5 of 12 covered, 42 %" in gw("test", "--coverage").out


def test_too_little_coverage_fails_and_files_add_up(folder: Path, gw: Gw) -> None:
    cases(folder, COVERED)
    said = gw("test", "--fail-under", "50")
    assert (said.code, said.err) == (1, "gw: gw.yaml: 42 % covered, less than 50 %\n")
    (folder / "tests").mkdir()
    cases(folder, "cases: [{name: few, request: {url: /few}, repeat: 3}]", "tests/few.test.yaml")
    assert gw("test", "--fail-under", "66").code == 0
    assert gw("test", "--fail-under", "67").code == 1


def test_cases_find_their_config_and_configs_their_cases(folder: Path, gw: Gw) -> None:
    (folder / "tests").mkdir()
    cases(folder, of("{url: /old}", "{status: 308}"), "tests/one.test.yaml")
    assert gw("test").out.startswith("ok    tests/one.test.yaml:2  one")
    assert gw("test", "tests/one.test.yaml").code == 0
    (folder / "other.yaml").write_text("listeners: [{bind: ':1'}]\nroutes: [{exact: /old, respond: {}}]\n")
    assert gw("test", "tests/one.test.yaml", "-c", "other.yaml").code == 1
    cases(folder, "config: other.yaml\n" + of("{url: /old}", "{status: 200}"), "other.test.yaml")
    assert gw("test", "other.test.yaml").code == 0
    assert "other.test.yaml" not in gw("test").out
    assert "other.test.yaml" in gw("test", "other.yaml").out


def test_files_of_cases_are_no_part_of_a_folder_of_config(folder: Path, gw: Gw) -> None:
    (folder / "conf").mkdir()
    (folder / "conf" / "a.yaml").write_text("listeners: [{bind: ':1'}]\nroutes: [{exact: /, respond: {}}]\n")
    cases(folder, "cases: [{name: one, expect: {status: 200}}]", "conf/a.test.yaml")
    assert gw("check", "conf").code == 0
    assert gw("test", "conf").code == 0
    assert gw("test", "conf/a.test.yaml").code == 0


def test_no_cases_is_an_error_that_shows_how_to_begin(folder: Path, gw: Gw) -> None:
    said = gw("test")
    assert said.code == 1
    assert said.err.startswith("gw: no cases for gw.yaml; looked for *.test.yaml, .json and .toml in . and tests. A file gw.test.yaml may hold: cases:")
    assert gw("test", "none.test.yaml").err == "gw: none.test.yaml does not exist\n"


WRONG = [
    ("cases: []", "1:8: error: expected at least 1 item, got none"),
    ("cases: [{name: a, expct: {}}]", "1:19: error: unknown key 'expct'"),
    ("cases: [{name: a}, {name: a}]", "1:27: error: another case is called 'a'"),
    ("cases: [{name: a, clock: noon}]", "1:26: error: expected a date and time with a zone, got 'noon'"),
    ("clock: 2026-01-01T00:00:00\ncases: [{name: a}]", "1:8: error: expected a date and time with a zone"),
    ("cases: [{name: a, expect: {reason: no-rout}}]", "1:36: error: there is no reason 'no-rout'"),
    ("cases: [{name: a, expect: {identity: {subjct: a}}}]", "1:39: error: unknown key 'subjct'"),
    ("cases: [{name: a, expect: {answer: {headers: {X: '~('}}}}]", "1:50: error: '(': "),
    ("cases: [{name: a, then: [{expect: {answer: {body: '~('}}}]}]", "1:51: error: '(': "),
    ("cases: [{name: a, expect: {policies: [{key: refuse}]}}]", "1:45: error: expected one of"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_a_file_that_is_wrong_says_where(folder: Path, gw: Gw, text: str, problem: str) -> None:
    cases(folder, text)
    said = gw("test")
    assert said.code == 1
    assert f"gw.test.yaml:{problem}" in said.err


def test_junit_names_every_case_with_its_line(folder: Path, gw: Gw) -> None:
    cases(folder, LIMITS.replace("repeat: 2\n", "repeat: 9\n"))
    assert gw("test", "--junit", "out.xml").code == 1
    [suite] = ElementTree.parse(folder / "out.xml").getroot()
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("gw.test.yaml", "3", "1")
    assert [(case.get("file"), case.get("line")) for case in suite] == [("gw.test.yaml", "2"), ("gw.test.yaml", "12"), ("gw.test.yaml", "15")]
    [failure] = suite.iter("failure")
    assert failure.get("message") == "expect.status: expected 200, got 429 (rate-limited)"
    assert "the route /few at gw.yaml:19" in str(failure.text)
    said = gw("test", "--junit", "none/out.xml")
    assert (said.code, said.err) == (1, "gw: cannot write none/out.xml: No such file or directory\n")


def test_the_schema_of_cases_is_made_from_the_structs(gw: Gw) -> None:
    made = json.loads(gw("schema", "--tests").out)
    assert made["title"] == "Cases of gw test"
    assert made["$defs"]["CaseFile"]["required"] == ["cases"]
    assert made["$defs"]["Turn"]["properties"]["after"]["default"] == 0
    assert made["$defs"]["Expected"]["properties"]["policies"]["anyOf"][0]["items"]["additionalProperties"]["enum"] == ["answer", "next", "pass"]


def test_quotas_count_under_the_clock_of_the_case(gw: Gw, folder: Path) -> None:
    quota = "policies: [quota: {limit: 2, per: day, by: ip}]"
    (folder / "gw.yaml").write_text(f"listeners: [{{bind: '127.0.0.1:1'}}]\nstore: {{file: gw.db}}\nroutes: [{{path: /, respond: {{}}, {quota}}}]\n")
    case = """
cases:
  - name: a day
    clock: 2026-03-05T23:00:00Z
    repeat: 2
    expect: {status: 200}
    then:
      - expect: {status: 429, reason: quota-exceeded, answer: {headers: {Retry-After: "3600"}}}
      - {after: 59m, expect: {reason: quota-exceeded}}
      - {after: 1m, repeat: 2, expect: {status: 200}}
      - expect: {reason: quota-exceeded}
"""
    (folder / "gw.test.yaml").write_text(case)
    said = gw("test")
    assert said.code == 0, said
    assert not (folder / "gw.db").exists()


def test_what_the_endpoint_answers_is_what_the_client_gets(folder: Path, gw: Gw) -> None:
    request = "{url: /users, headers: {X-Key: bob}}"
    answers = "    origin_answer: {status: 404, headers: {X-A: [a, b], Connection: close}, body: none}\n"
    then = "    then: [{expect: {status: 404}}, {origin_answer: {}, expect: {status: 200, answer: {body: '', headers: {Content-Length: '0'}}}}]\n"
    cases(folder, of(request, "{status: 404, reason: '', endpoint: '127.0.0.1:9001', answer: {body: none, headers: {X-A: [a, b]}}}", answers + then))
    assert gw("test").code == 0
    cases(folder, of("{url: /users}", "{status: 401}", answers))
    assert gw("test").code == 0
    cases(folder, of(request, "{status: 200}", answers))
    said = gw("test")
    assert (said.code, "expected  200" in said.out, "got       404" in said.out) == (1, True, True)
