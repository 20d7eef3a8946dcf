"""The policy `acl`: who may pass by consumer and by group."""

from __future__ import annotations

from pathlib import Path

import pytest

from gw.config.model import Consumer
from gw.policy import Tools
from gw.policy.acl import Config, Members, build
from tests.unit.policy.callers import explained, outcome, problems_of, served, who

CALLERS = {
    "nobody": [],
    "ann": who("ann"),
    "bob": who("bob"),
    "eve": who("eve"),
    "token": who(groups="staff guests"),
    "bare token": who(),
    "eve with a token": who("eve", groups="admin"),
    "bob with a token": who("bob", groups="banned"),
}
REFUSED = "not-permitted"


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ("{allow: {groups: [staff]}}", {"ann", "bob", "token", "bob with a token"}),
        ("{allow: {groups: [admin]}}", {"ann", "eve with a token"}),
        ("{allow: {consumers: [eve]}}", {"eve", "eve with a token"}),
        ("{allow: {consumers: [eve], groups: [admin]}}", {"ann", "eve", "eve with a token"}),
        ("{deny: {groups: [banned]}}", {"ann", "bob", "eve", "token", "bare token", "eve with a token"}),
        ("{allow: {groups: [staff]}, deny: {consumers: [bob]}}", {"ann", "token"}),
        ("{allow: {consumers: [ann]}, deny: {groups: [admin]}}", set()),
        ("{allow: {groups: [taff, staf, 'staff guests', admi]}}", set()),
    ],
)
def test_who_passes(tmp_path: Path, settings: str, passes: set[str]) -> None:
    with served(tmp_path, f"acl: {settings}") as client:
        found = {name: outcome(client.ask("/", *fields)) for name, fields in CALLERS.items()}
    assert found == {"nobody": "no-credential"} | {name: "passed" if name in passes else REFUSED for name in CALLERS if name != "nobody"}


def test_the_refusals_are_answers_of_rfc_9110(tmp_path: Path) -> None:
    with served(tmp_path, "acl: {allow: {groups: [admin]}}") as client:
        unknown, refused = client.ask("/"), client.ask("/", *who("bob"))
    assert (unknown.status, unknown.one("WWW-Authenticate")) == (401, "Bearer")
    assert (refused.status, refused.one("WWW-Authenticate")) == (403, None)


def test_consumers_beyond_one_byte_of_the_set(tmp_path: Path) -> None:
    names = [f"c{index}" for index in range(20)]
    more = f"consumers: {{{', '.join(f'{name}: {{}}' for name in names)}}}"
    with served(tmp_path, "acl: {allow: {consumers: [c0, c7, c8, c19]}}", more=more) as client:
        assert [name for name in names if outcome(client.ask("/", *who(name))) == "passed"] == ["c0", "c7", "c8", "c19"]


def test_explain_names_the_caller(tmp_path: Path) -> None:
    route = "routes: [{path: /, respond: {}, policies: [caller, acl: {allow: {groups: [admin]}}]}]"
    verdict = explained(tmp_path, route, ("X-Known", "yes"), ("X-Who", "bob"))[1]
    assert (verdict.policy, verdict.verdict, verdict.reason, verdict.told) == ("acl", "answer", REFUSED, "consumer 'bob'")


def test_what_cannot_work_is_refused_where_it_is_written() -> None:
    tools = Tools("all", "$.p", consumers={"ann": Consumer()})
    config = Config(allow=Members(consumers=["ann", "anne"]), deny=Members(groups=["a,b", ""]))
    assert problems_of(build, config, tools) == [
        (".allow.consumers[1]", "unknown consumer 'anne'"),
        (".deny.groups[0]", "'a,b' is not the name of a group"),
        (".deny.groups[1]", "'' is not the name of a group"),
    ]
    assert problems_of(build, Config(), tools) == [("", "neither `allow` nor `deny` names anybody")]
