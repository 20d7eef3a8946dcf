"""gw.router: config routes to a table, its order, what can never win, templates."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gw.config.model import PathRules, Route
from gw.errors import ConfigError
from gw.router import Part, RouteMatch, Row, compile_routes, order, parse_template, shadowed

RULES = PathRules()


def problems(*routes: Route, rules: PathRules = RULES) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        compile_routes(routes, rules)
    return [(problem.pointer, problem.message) for problem in caught.value.problems]


def test_a_match_is_what_the_config_says() -> None:
    route = Route(
        path="//caf\u00e9/{id}/",
        hosts=["*.Example.com"],
        methods=["GET"],
        headers={"X-A": True, "X-B": False, "X-C": "~v[12]", "X-D": "v"},
        query={"q": "1"},
    )
    table = compile_routes([route], RULES)
    conditions = (("x-a", "present", ""), ("x-b", "absent", ""), ("x-c", "regex", "v[12]"), ("x-d", "eq", "v"))
    assert table.matches == [RouteMatch(("*.example.com",), "prefix", "/caf%C3%A9/{id}/", ("GET",), conditions, (("q", "eq", "1"),), ("id",))]
    assert table.router.find(b"GET", b"a.example.com", b"/caf%C3%A9/7/x", b"q=1", [(b"x-a", b""), (b"x-c", b"v2"), (b"x-d", b"v")]) == (0, 12, [b"7"])


def test_a_route_without_a_path_takes_every_path() -> None:
    assert compile_routes([Route()], RULES).router.find(b"GET", b"", b"/a/b")[0] == 0


def test_everything_wrong_is_told_at_once() -> None:
    found = problems(Route(path="/a%2fb"), Route(exact="/a;b"), Route(regex="(?=x)"), Route(headers={"X-A": "~("}, query={"a b": "~["}), Route(path="/" + "a/" * 130))
    assert found == [
        ("$.routes[0].path", "'/a%2fb' never matches: the path has an encoded slash or backslash"),
        ("$.routes[1].exact", "'/a;b' never matches: the path has a ';'"),
        ("$.routes[2].regex", "'(?=x)' cannot be used: look-ahead is not supported, it cannot be matched in linear time at offset 0"),
        ("$.routes[3].headers.x-a", "'(' cannot be used: missing ')' of the group at offset 0"),
        ('$.routes[3].query["a b"]', "'[' cannot be used: missing ']' of the class at offset 0"),
        ("$.routes[4]", "a path is limited to 127 segments, 1024 bytes in each and 16 parameters"),
    ]


def test_rules_of_the_path_apply_to_routes() -> None:
    kept = PathRules(encoded_slash="keep", parameters="keep", merge_slashes=False)
    assert compile_routes([Route(path="/a%2fb;c//d")], kept).matches[0].path == "/a%2Fb;c//d"


def test_too_many_methods() -> None:
    assert problems(Route(methods=[f"M{number}" for number in range(65)])) == [("$.routes", "more than 64 different methods")]


def test_order_is_the_documented_one() -> None:
    routes = [
        Route(),  # 0
        Route(regex="/b.*"),  # 1
        Route(regex="/a.*"),  # 2
        Route(path="/a"),  # 3
        Route(path="/a/"),  # 4
        Route(path="/{x}/"),  # 5
        Route(path="/a/b"),  # 6
        Route(exact="/{x}"),  # 7
        Route(exact="/a"),  # 8
        Route(exact="/a", methods=["GET"]),  # 9
        Route(exact="/a", headers={"x": "1"}),  # 10
        Route(exact="/a", query={"x": "1"}),  # 11
        Route(regex="/b.*", methods=["GET"]),  # 12
        Route(hosts=["*.b.com"]),  # 13
        Route(hosts=["*.a.b.com", "z.com"]),  # 14
    ]
    rows = order(compile_routes(routes, RULES))
    assert rows[:3] == [Row("z.com", 14), Row("*.a.b.com", 14), Row("*.b.com", 13)]
    assert [row.route for row in rows[3:]] == [9, 10, 11, 8, 7, 6, 4, 5, 3, 0, 12, 1, 2]


@pytest.mark.parametrize(
    ("routes", "pairs"),
    [
        ([Route(path="/a"), Route(path="/a")], [(1, 0)]),
        ([Route(path="/a"), Route(path="/b")], []),
        ([Route(path="/a/{x}"), Route(path="/a/{y}")], [(1, 0)]),
        ([Route(path="/%61"), Route(path="/a")], [(1, 0)]),
        ([Route(path="/a"), Route(exact="/a")], []),
        ([Route(path="/a"), Route(path="/a/")], []),
        ([Route(path="/a"), Route(path="/a", methods=["GET"])], []),
        ([Route(path="/a", methods=["GET", "POST"]), Route(path="/a", methods=["GET"])], [(1, 0)]),
        ([Route(path="/a", methods=["GET"]), Route(path="/a", methods=["GET", "POST"])], []),
        ([Route(methods=["GET"]), Route(methods=["POST"]), Route(methods=["POST", "GET"])], [(2, 1)]),
        ([Route(headers={"a": "1"}), Route(headers={"A": "1"})], [(1, 0)]),
        ([Route(headers={"a": "1"}), Route(headers={"a": "2"})], []),
        ([Route(headers={"a": True}), Route(headers={"a": "2"})], [(1, 0)]),
        ([Route(headers={"a": "~[23]"}), Route(headers={"a": "2"})], [(1, 0)]),
        ([Route(headers={"a": "2"}), Route(headers={"a": "~[23]"})], []),
        ([Route(headers={"a": False}), Route(headers={"a": "2"})], []),
        ([Route(), Route(headers={"a": "2"})], []),
        ([Route(hosts=["a.com", "b.com"]), Route(hosts=["b.com"])], [(1, 0)]),
        ([Route(hosts=["a.com"]), Route(hosts=["b.com"]), Route(hosts=["a.com", "b.com"])], [(2, 0)]),
        ([Route(hosts=["*.com"]), Route(hosts=["a.com"])], []),
        ([Route(), Route(hosts=["a.com"])], []),
        ([Route(regex="/a.*"), Route(regex="/a.*")], [(1, 0)]),
        ([Route(regex="/a.*"), Route()], [(0, 1)]),
        ([Route(regex="/a.*"), Route(methods=["GET"])], []),
        ([Route(regex="/a.*", methods=["GET"]), Route(methods=["GET"])], [(0, 1)]),
        ([Route(regex=r"^/api/v1/\d+", headers={"h": "1"}), Route(path="/api/v1")], [(0, 1)]),
        ([Route(regex=r"/api/v1\d+"), Route(path="/api/v1")], []),
        ([Route(regex=r"/api/*x"), Route(path="/api")], []),
        ([Route(regex=r"/api/x|/b"), Route(path="/api")], []),
        ([Route(regex=r"(?i)/api/x"), Route(path="/api")], []),
    ],
)
def test_shadowed(routes: list[Route], pairs: list[tuple[int, int]]) -> None:
    assert shadowed(compile_routes(routes, RULES)) == pairs


PATHS: list[dict[str, Any]] = [{"path": "/a"}, {"path": "/a/"}, {"exact": "/a"}, {"path": "/{x}"}, {"regex": "/a/.*"}, {"regex": "/[ab]/?"}, {"path": "/"}]
ROUTES = st.builds(
    lambda path, hosts, methods, headers: Route(**path, hosts=hosts, methods=methods, headers=headers),
    st.sampled_from(PATHS),
    st.lists(st.sampled_from(["a.com", "*.com"]), max_size=2),
    st.lists(st.sampled_from(["GET", "POST"]), max_size=2, unique=True),
    st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from([True, False, "1", "~[12]"]), max_size=2),
)
HEADERS = [[], [(b"x", b"1")], [(b"x", b"2")], [(b"y", b"1")], [(b"x", b"1"), (b"y", b"2")], [(b"x", b"3"), (b"x", b"1"), (b"y", b"")]]


@settings(max_examples=200, deadline=None)
@given(st.lists(ROUTES, min_size=2, max_size=8))
def test_shadowed_routes_never_win(routes: list[Route]) -> None:
    table = compile_routes(routes, RULES)
    losers = {loser for loser, _ in shadowed(table)}
    for host in (b"a.com", b"b.com", b"c.org"):
        for path in (b"/a", b"/a/", b"/a/b", b"/b", b"/b/", b"/"):
            for method in (b"GET", b"POST", b"PUT"):
                for headers in HEADERS:
                    assert table.router.find(method, host, path, b"", headers)[0] not in losers


@settings(max_examples=200, deadline=None)
@given(st.lists(ROUTES, min_size=2, max_size=8))
def test_the_winner_is_the_first_row_that_takes_the_request(routes: list[Route]) -> None:
    table = compile_routes(routes, RULES)
    rows = order(table)
    for host, path, method in [(b"a.com", b"/a/b", b"GET"), (b"b.com", b"/a", b"POST"), (b"c.org", b"/b/", b"PUT"), (b"a.com", b"/a/", b"PUT")]:
        told: dict[int, str] = {}
        winner, _, _ = table.router.find(method, host, path, trace=told.__setitem__)
        refused = {index for index, reason in told.items() if reason.startswith(("path is not ", "header ", "method ")) or (reason.startswith("host ") and " is not " in reason)}
        takers = [row.route for row in rows if row.route not in refused and (row.host in ("", host.decode()) or (row.host == "*.com" and host.endswith(b".com")))]
        assert winner in takers[:1] or (winner < 0 and not takers)


def test_templates() -> None:
    assert parse_template("/n\u00e9w/{id}{rest}", ["x", "id"]) == [Part("text", b"/n%C3%A9w/"), Part("param", param=1), Part("rest")]
    assert parse_template("{scheme}://{host}:8443{path}", []) == [Part("scheme"), Part("text", b"://"), Part("host"), Part("text", b":8443"), Part("path")]
    assert parse_template("/{host}?{query}", ["host"]) == [Part("text", b"/"), Part("param", param=0), Part("text", b"?"), Part("query")]
    assert parse_template("", []) == []
    with pytest.raises(ValueError, match=r"unknown parameter '\{id\}'"):
        parse_template("/{id}", ["x"])
