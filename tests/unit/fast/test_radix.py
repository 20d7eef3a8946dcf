"""gw._fast.radix against an oracle that tries every route."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gw._fast.radix import Router
from tests.reference import router as reference
from tests.reference.router import METHOD, NONE, Request, Rule


def frozen(rules: list[Rule]) -> Router:
    router = Router()
    for index, rule in enumerate(rules):
        router.add(index, hosts=rule.hosts, kind=rule.kind, path=rule.path, methods=rule.methods, headers=rule.headers, query=rule.query)
    router.freeze()
    return router


def asked(request: Request) -> tuple[bytes, bytes, bytes, bytes, list[tuple[bytes, bytes]]]:
    method, host, path, query, headers = astuple(request)
    return method.encode(), host.encode(), path.encode(), query.encode(), [(name.encode(), value.encode()) for name, value in headers]


LONG = "l" * 33
LABELS = ["a", "b", "ab", "", "%40", "@", "eightlet", "ninelette", LONG, LONG + "x", "%C3%A9", "sixteen-letters.", "%2F"]
SEGMENT = st.sampled_from([*LABELS, "{p}", "{q}"])
TREE_PATHS = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda segments: "/" + "/".join(segments))
EXPRESSIONS = st.sampled_from([r"/a(?P<x>.*)", r"/(?P<x>[^/]*)/(?P<y>b)?.*", r".*", r"/a/b", r"/(a|b)+", r"/[ab](?P<x>/.*)?"])
CONDITIONS = st.lists(
    st.tuples(st.sampled_from(["x-a", "X-B"]), st.sampled_from(["eq", "regex", "present", "absent"]), st.sampled_from(["1", "a b", "[12]", ""])),
    max_size=2,
    unique_by=lambda item: item[0],
).map(tuple)
HOSTS = st.lists(st.sampled_from(["a.com", "b.com", "x.a.com", "*.a.com", "*.x.a.com", "*.com"]), max_size=2).map(tuple)
METHODS = st.lists(st.sampled_from(["GET", "POST", "PURGE"]), max_size=2).map(tuple)
RULES = st.one_of(
    st.builds(Rule, HOSTS, st.sampled_from(["prefix", "exact"]), TREE_PATHS, METHODS, CONDITIONS, CONDITIONS),
    st.builds(Rule, st.just(()), st.sampled_from(["prefix", "exact"]), TREE_PATHS),
    st.builds(Rule, HOSTS, st.just("regex"), EXPRESSIONS, METHODS, st.just(()), CONDITIONS),
)
REQUESTS = st.builds(
    Request,
    st.sampled_from(["GET", "POST", "BREW"]),
    st.sampled_from(["a.com", "b.com", "x.a.com", "y.x.a.com", "c.org", "", ".a.com", "com"]),
    st.lists(st.sampled_from([*LABELS, "c"]), min_size=1, max_size=5).map(lambda segments: "/" + "/".join(segments)),
    st.sampled_from(["", "x-a=1", "X-B=a+b", "X-B=a%20b&x-a=2", "x-a", "x-a&x-a=1", "x%2da=1&X-B", "&&x-a=%5b12%5D", "x-a=%zz"]),
    st.lists(st.sampled_from([("x-a", "1"), ("X-A", "2"), ("x-b", "a b"), ("x_a", "1"), ("X-B", "")]), max_size=3).map(tuple),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(RULES, min_size=1, max_size=12), st.lists(REQUESTS, min_size=1, max_size=8))
def test_same_as_trying_every_route(rules: list[Rule], requests: list[Request]) -> None:
    router = frozen(rules)
    for request in requests:
        expected = reference.find(rules, request)
        route, taken, params = router.find(*asked(request))
        assert route == expected.route
        if route >= 0:
            assert (taken, tuple(params)) == (expected.taken, tuple(param.encode() for param in expected.params))
        if route == METHOD:
            assert set(router.allow(*asked(request)).split(", ")) == expected.allow


@settings(max_examples=300, deadline=None)
@given(st.lists(RULES, min_size=1, max_size=8), REQUESTS)
def test_a_trace_names_every_route_once_and_the_winner_last(rules: list[Rule], request_: Request) -> None:
    told: list[tuple[int, str]] = []
    route, _, _ = frozen(rules).find(*asked(request_), trace=lambda index, reason: told.append((index, reason)))
    assert sorted(index for index, _ in told) == list(range(len(rules)))
    assert (told[-1] == (route, "wins")) == (route >= 0)
    assert all(reason for _, reason in told)


def losses(rules: list[Rule], request: Request) -> dict[int, str]:
    told: dict[int, str] = {}
    frozen(rules).find(*asked(request), trace=told.__setitem__)
    return told


@pytest.mark.parametrize(
    ("loser", "winner", "request_", "reason"),
    [
        (Rule(hosts=("*.foo",)), Rule(), Request(host="api.example.com"), "host api.example.com is not *.foo"),
        (Rule(hosts=("*.com",)), Rule(hosts=("a.com",)), Request(), "host is narrower in route 1"),
        (Rule(path="/b"), Rule(), Request(path="/a"), "path is not below /b"),
        (Rule(kind="exact", path="/b"), Rule(), Request(path="/a"), "path is not /b"),
        (Rule(kind="regex", path="/b+"), Rule(), Request(path="/a"), "path is not matched by /b+"),
        (Rule(path="/a"), Rule(path="/a/b"), Request(path="/a/b"), "path is longer in route 1"),
        (Rule(path="/{x}"), Rule(path="/a"), Request(path="/a"), "path of route 1 names a segment that is a parameter here"),
        (Rule(path="/a"), Rule(kind="exact", path="/a"), Request(path="/a"), "path is exact in route 1"),
        (Rule(kind="regex", path=".*"), Rule(), Request(), "path is no expression in route 1"),
        (Rule(methods=("GET", "HEAD")), Rule(), Request(method="POST"), "method POST not in GET, HEAD"),
        (Rule(), Rule(methods=("GET",)), Request(), "names no method, route 1 does"),
        (Rule(headers=(("X-A", "present", ""),)), Rule(), Request(), "header x-a is absent"),
        (Rule(headers=(("x-a", "absent", ""),)), Rule(), Request(headers=(("X-A", "1"),)), "header x-a is present"),
        (Rule(headers=(("x-a", "eq", "2"),)), Rule(), Request(headers=(("x-a", "1"),)), "header x-a is not 2"),
        (Rule(headers=(("x-a", "regex", "[23]"),)), Rule(), Request(headers=(("x-a", "1"),)), "header x-a does not match [23]"),
        (Rule(query=(("q", "present", ""),)), Rule(), Request(), "query parameter q is absent"),
        (Rule(), Rule(headers=(("x-a", "absent", ""),)), Request(), "has fewer header matches than route 1"),
        (Rule(), Rule(query=(("q", "absent", ""),)), Request(), "has fewer query matches than route 1"),
    ],
)
def test_reasons(loser: Rule, winner: Rule, request_: Request, reason: str) -> None:
    assert losses([loser, winner], request_) == {0: reason, 1: "wins"}


def test_the_order_of_the_file_decides_last() -> None:
    assert losses([Rule(path="/a"), Rule(path="/a")], Request(path="/a")) == {0: "wins", 1: "stands after route 0"}
    assert losses([Rule(kind="regex", path=".+"), Rule(kind="regex", path=".*")], Request()) == {0: "wins", 1: "the expression of route 0 stands before"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/user", 0),
        ("/user/", 0),
        ("/user/7", 0),
        ("/user/7/8", 0),
        ("/users", NONE),
        ("/use", NONE),
        ("/", NONE),
        ("/item", NONE),
        ("/item/", 1),
        ("/item/7", 1),
        ("/whole", 2),
        ("/whole/", NONE),
    ],
)
def test_prefixes_end_at_segments(path: str, found: int) -> None:
    router = frozen([Rule(path="/user"), Rule(path="/item/"), Rule(kind="exact", path="/whole")])
    assert router.find(b"GET", b"", path.encode())[0] == found


@pytest.mark.parametrize(
    ("prefix", "path", "rest"),
    [("/", "/a/b", "/a/b"), ("/a", "/a", ""), ("/a", "/a/", "/"), ("/a/", "/a/b", "/b"), ("/{x}", "/long/b", "/b"), ("/%40me", "/@me/b", "/b")],
)
def test_what_follows_a_prefix_is_empty_or_starts_with_a_slash(prefix: str, path: str, rest: str) -> None:
    _, taken, _ = frozen([Rule(path=prefix)]).find(b"GET", b"", path.encode())
    assert path[taken:] == rest


def test_what_a_service_would_decode_is_matched_decoded() -> None:
    router = frozen([Rule(path="/@me/{x}")])
    assert router.find(b"GET", b"", b"/%40me/%40") == (0, 10, [b"%40"])


def test_values_of_any_length_are_compared() -> None:
    rules = [Rule(query=(("q", "regex", "a*"),)), Rule(query=(("q", "eq", "b" * 5000),))]
    router = frozen(rules)
    assert router.find(b"GET", b"", b"/", b"q=" + b"%61" * 5000)[0] == 0
    assert router.find(b"GET", b"", b"/", b"q=" + b"b" * 5000)[0] == 1
    assert router.find(b"GET", b"", b"/", b"q=" + b"b" * 5001)[0] == NONE


def test_sixty_four_methods() -> None:
    router = frozen([Rule(methods=(f"M{number:02}",)) for number in range(64)])
    assert [router.find(f"M{number:02}".encode(), b"", b"/")[0] for number in range(64)] == list(range(64))
    assert router.allow(b"GET", b"", b"/") == ", ".join(f"M{number:02}" for number in range(64))


def test_limits() -> None:
    router = Router()
    for path in ("/" + "/".join("a" * 128), "/" + "a" * 1025, "/" + "/".join(["{x}"] * 17), "a"):
        with pytest.raises(ValueError):
            router.add(0, path=path)
    with pytest.raises(ValueError, match="kind"):
        router.add(0, kind="glob")
    with pytest.raises(ValueError, match="operator"):
        router.add(0, headers=[("a", "like", "b")])
    for number in range(65):
        router.add(number, methods=[f"M{number}"])
    with pytest.raises(ValueError, match="64"):
        router.freeze()


def test_the_deepest_path_there_can_be() -> None:
    deep = "/" + "/".join(["{a}"] * 16 + ["b"] * 111)
    router = frozen([Rule(path=deep), Rule(path="/b")])
    assert router.find(b"GET", b"", deep.replace("{a}", "b").encode() + b"/b" * 4000)[0] == 0
    assert router.find(b"GET", b"", b"/b" * 126)[0] == 1


def test_life_of_a_router() -> None:
    router = Router()
    router.add(7, path="/a")
    with pytest.raises(RuntimeError, match="not frozen yet"):
        router.find(b"GET", b"", b"/a")
    assert repr(router) == "<Router, 1 routes, open>"
    router.freeze()
    router.freeze()
    assert repr(router) == "<Router, 1 routes, frozen>"
    with pytest.raises(RuntimeError, match="is frozen"):
        router.add(8)
    assert router.find(b"GET", b"", b"/a")[0] == 7
    assert router.routes[0].path == "/a"


def test_a_router_without_routes() -> None:
    assert frozen([]).find(b"GET", b"a.com", b"/") == (NONE, 0, [])


def test_ten_thousand_routes_are_all_found() -> None:
    rules = [Rule(path=f"/api/service{number}/{{id}}" if number % 2 else f"/v{number % 100}/service-with-a-long-name-{number}") for number in range(10_000)]
    router = frozen(rules)
    for number, rule in enumerate(rules):
        assert router.find(b"GET", b"h", rule.path.replace("{id}", "x").encode() + b"/more")[0] == number
    assert router.find(b"GET", b"h", b"/api/service10001/x")[0] == NONE
