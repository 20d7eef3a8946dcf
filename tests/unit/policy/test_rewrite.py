"""The policy `rewrite`: what leaves for the origin, and that it is normal."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.policy.gateway import explained, gateway, problems


def sent(folder: Path, policies: str, path: str) -> str:
    """The path that the origin would get; empty when it is refused."""
    decision = explained(folder, policies, "GET", f"http://h.example{path}")
    return decision.forwarded.split(b" ")[1].decode("latin-1") if decision.forwarded else ""


GROUPS = r"[rewrite: {regex: '/v(?P<version>[0-9]+)/(?P<rest>.*)', to: '/{rest}/at/{version}'}]"


@pytest.mark.parametrize(
    ("policies", "path", "expected"),
    [
        (GROUPS, "/v2/a/b?x=1&y", "/a/b/at/2?x=1&y"),
        (GROUPS, "/v/a", "/v/a"),
        (GROUPS, "/v2/%C3%A9", "/%C3%A9/at/2"),
        (GROUPS, "/v2/", ""),  # "//at/2": an empty segment is not normal
        ("[rewrite: {prefix: /old, to: /new}]", "/old/x?q", "/new/x?q"),
        ("[rewrite: {prefix: /old, to: /new}]", "/old", "/new"),
        ("[rewrite: {prefix: /old, to: /new}]", "/older/x", "/older/x"),
        ("[rewrite: {prefix: /old, to: /}]", "/old/x", "/x"),
        ("[rewrite: {prefix: /old, to: /}]", "/old", "/"),
        ("[rewrite: {prefix: /old/, to: /new}]", "/old/x", "/new/x"),
        ("[rewrite: {prefix: /, to: /new}]", "/x", "/new/x"),
        ("[rewrite: {prefix: /, to: /new/}]", "/x", "/new/x"),
        ("[rewrite: {prefix: /a, to: /b}, rewrite: {prefix: /b, to: /c}]", "/a/x?q=1", "/c/x?q=1"),
        ("[rewrite: {query: {remove: [a], set: {b: 'x y'}, add: {c: '&'}}}]", "/p?a=1&%61=2&b=3&d&&c=4", "/p?d&c=4&b=x%20y&c=%26"),
        ("[rewrite: {query: {remove: [a]}}]", "/p?a=1", "/p"),
        ("[rewrite: {query: {remove: [a]}}]", "/p", "/p"),
        ("[rewrite: {query: {add: {c: '1'}}}]", "/p", "/p?c=1"),
        ("[rewrite: {prefix: /a, to: /b}]", "/a?", "/b?"),
    ],
)
def test_what_the_origin_gets(tmp_path: Path, policies: str, path: str, expected: str) -> None:
    assert sent(tmp_path, policies, path) == expected


def test_through_sockets_and_on_one_connection(tmp_path: Path) -> None:
    with gateway(tmp_path, "[rewrite: {prefix: /a, to: /b, query: {add: {k: v}}}]") as made:
        client = made.client()
        assert [client.ask(path).told["path"] for path in ("/a/1", "/c", "/a/2?x=1")] == ["/b/1?k=v", "/c?k=v", "/b/2?x=1&k=v"]


def test_it_starts_from_what_the_route_would_send(tmp_path: Path) -> None:
    with gateway(tmp_path, "[rewrite: {prefix: /user, to: /people}]", route="path: /api, strip_prefix: true") as made:
        assert made.client().ask("/api/user/7?x").told["path"] == "/people/7?x"


@pytest.mark.parametrize("path", ["/x/.a", "/x/a", "/x/"])
def test_a_group_cannot_make_a_path_that_is_not_normal(tmp_path: Path, path: str) -> None:
    policies = r"[rewrite: {regex: '/x/?(?P<a>[^a]*)(?P<b>.*)', to: '/private/{a}./{b}'}]"
    decision = explained(tmp_path, policies, "GET", f"http://h.example{path}")
    assert decision.reason == "ambiguous-path"
    assert decision.status == 400


TEXT = st.text(st.sampled_from("ab=&%+ é/?#"), max_size=5)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(PAIRS, st.dictionaries(TEXT, TEXT, max_size=2), st.dictionaries(TEXT, TEXT, max_size=2), st.lists(TEXT, max_size=2))
def test_a_query_reads_as_it_should(tmp_path: Path, given_pairs: list[tuple[str, str]], to_set: dict[str, str], to_add: dict[str, str], to_remove: list[str]) -> None:
    if not (to_set or to_add or to_remove):
        return
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in given_pairs)
    policies = f"[rewrite: {{query: {{remove: {quoted(to_remove)}, set: {mapping(to_set)}, add: {mapping(to_add)}}}}}]"
    target = sent(tmp_path, policies, f"/p?{query}")
    kept = [(name, value) for name, value in given_pairs if name not in to_remove and name not in to_set]
    assert parse_qsl(target.partition("?")[2], keep_blank_values=True) == [*kept, *to_set.items(), *to_add.items()]


def quoted(texts: list[str]) -> str:
    return "[" + ", ".join(f"'{text}'" for text in texts) + "]"


def mapping(texts: dict[str, str]) -> str:
    return "{" + ", ".join(f"'{name}': '{value}'" for name, value in texts.items()) + "}"


def test_explain_says_what_goes_on(tmp_path: Path) -> None:
    (verdict,) = explained(tmp_path, "[rewrite: {prefix: /a, to: /b}]", "GET", "http://h.example/a?x").verdicts
    assert verdict.told == "/b?x goes on"


@pytest.mark.parametrize(
    ("settings_", "place", "message"),
    [
        ({}, "$.p", "rewrite changes nothing"),
        ({"regex": "/a", "prefix": "/b", "to": "/c"}, "$.p.prefix", "regex and prefix exclude each other"),
        ({"regex": "/a"}, "$.p", "`to` goes with `regex` or `prefix`"),
        ({"to": "/a"}, "$.p", "`to` goes with `regex` or `prefix`"),
        ({"regex": "/(a", "to": "/c"}, "$.p.regex", "'/(a' cannot be used: "),
        ({"regex": "/(?P<a>.)", "to": "/{b}"}, "$.p.to", "unknown parameter '{b}'"),
        ({"prefix": "/a", "to": "/{host}"}, "$.p.to", "unknown parameter '{host}'"),
        ({"prefix": "a", "to": "/b"}, "$.p.prefix", "'a' does not begin with /"),
        ({"prefix": "/a", "to": "/b?c"}, "$.p.to", "a path holds no query or fragment"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(settings_: dict[str, str], place: str, message: str) -> None:
    (problem,) = problems("rewrite", **settings_)
    assert problem.pointer == place
    assert problem.message.startswith(message)
