"""The policy `bot`: who is denied by the name it gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from gw._fast.regex import Regex
from gw.policy.bot import CRAWLERS, _crawlers
from tests.unit.policy.gateway import explained, gateway, problems

RULES = r"[bot: {deny: [curl, '^wget/[0-9]', 'sqlmap$', 'a|b{3}'], allow: ['curl/8[.]'], nameless: deny}]"


@pytest.mark.parametrize(
    ("agents", "status"),
    [
        (["Mozilla/5.0 (X11) Firefox/150"], 403),  # "a|b{3}" is looked for anywhere, in any case
        (["Nozill Firefox"], 200),
        (["my CURL/7"], 403),
        (["curl/8.1"], 200),
        (["Wget/1"], 403),
        (["X wget/1"], 200),
        (["sqlm sqlmp"], 200),
        (["Bbb"], 403),
        (["Bb"], 200),
        ([""], 403),
        ([], 403),
        (["Nozill", "curl/7"], 403),
        (["curl/7", "Nozill"], 403),
        (["Nozill", ""], 200),
    ],
)
def test_who_is_denied(tmp_path: Path, agents: list[str], status: int) -> None:
    with gateway(tmp_path, RULES) as made:
        answer = made.client().ask("/", *(f"User-Agent: {agent}" for agent in agents))
        assert answer.status == status
        assert (b'"reason":"denied"' in answer.body) == (status == 403)


def test_crawlers_can_be_denied_and_one_of_them_let_in(tmp_path: Path) -> None:
    with gateway(tmp_path, "[bot: {crawlers: deny, allow: [Googlebot]}]") as made:
        client = made.client()
        assert client.ask("/", "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)").status == 200
        assert client.ask("/", "User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)").status == 403
        assert client.ask("/", "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0").status == 200
        assert client.ask("/").status == 200


def test_every_crawler_is_found_by_an_automaton() -> None:
    crawlers: Regex = _crawlers()
    assert crawlers.has_dfa
    assert [name for name in CRAWLERS if not crawlers.match(f"x ({name.lower()}/1)".encode())] == []
    assert not crawlers.match(b"archivexorg_bot")


def test_explain_says_the_name(tmp_path: Path) -> None:
    told = [explained(tmp_path, "[bot: {deny: [curl]}]", "GET", "http://h.example/", *fields).verdicts[0].told for fields in ([("User-Agent", "curl/8")], [])]
    assert told == ["curl/8", "no agent"]


def test_expressions_are_refused_where_they_are_written() -> None:
    (problem,) = problems("bot", deny=["ok", "a)"])
    assert (problem.pointer, problem.message) == ("$.p.deny[1]", "'a)' cannot be used: unbalanced ')' at offset 1")
    assert [each.message for each in problems("bot", allow=["x"])] == ["bot denies nobody"]
