"""Routes as Python objects: what Router.add was given, and the trees from which the compiled arrays are filled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from gw._fast.regex import Regex

METHOD_ORDER = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
KINDS = ("exact", "prefix", "regex")  # best first
MAX_METHODS = 64  # bits of Candidate.methods
MAX_PARAMS = 16  # as in radix.pxd, like the two below
MAX_SEGMENTS = 128
MAX_LABEL = 1024


class Predicate(NamedTuple):
    """One header or query match."""

    name: str
    op: str
    value: str
    regex: Regex | None


class Route:
    """One route as given to Router.add."""

    def __init__(
        self,
        index: int,
        hosts: Sequence[str],
        kind: str,
        path: str,
        methods: Sequence[str],
        headers: Iterable[tuple[str, str, str]],
        query: Iterable[tuple[str, str, str]],
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown kind '{kind}'")
        self.index = index
        self.hosts = tuple(dict.fromkeys(hosts))
        self.kind = kind
        self.path = path
        self.regex = Regex(path) if kind == "regex" else None
        self.segments = [] if kind == "regex" else _segments(path)
        self.below = kind == "prefix" and self.segments[-1] == b""
        if self.below:
            self.segments.pop()
        self.methods = tuple(dict.fromkeys(methods))
        self.headers = [_predicate(name.lower(), op, value) for name, op, value in headers]
        self.query = [_predicate(name, op, value) for name, op, value in query]
        self.merit = (not self.methods, -len(self.headers), -len(self.query))  # order among routes of one path, the best first
        self.params = [number for number, label in enumerate(self.segments) if label is None]

    def __repr__(self) -> str:
        return f"<Route {self.index}, {self.kind} {self.path}>"


def _predicate(name: str, op: str, value: str) -> Predicate:
    if op not in ("eq", "regex", "present", "absent"):
        raise ValueError(f"unknown operator '{op}'")
    return Predicate(name, op, value if op in ("eq", "regex") else "", Regex(value) if op == "regex" else None)


def _segments(path: str) -> list[bytes | None]:
    """Literal segments percent-decoded, None for a parameter."""
    if not path.startswith("/"):
        raise ValueError(f"path '{path}' does not start with '/'")
    labels = [None if text.startswith("{") and text.endswith("}") else unquote_to_bytes(text) for text in path[1:].split("/")]
    if len(labels) >= MAX_SEGMENTS or labels.count(None) > MAX_PARAMS or any(label is not None and len(label) > MAX_LABEL for label in labels):
        raise ValueError(f"a path is limited to {MAX_SEGMENTS - 1} segments, {MAX_LABEL} bytes in each and {MAX_PARAMS} parameters")
    return labels


class Node:
    """One path segment; radix.pyx gives it a slot and a hash when it copies it into its array."""

    __slots__ = ("hash", "label", "leaves", "literals", "param", "parent", "slot")

    def __init__(self, parent: Node | None, label: bytes | None) -> None:
        self.parent = parent
        self.label = label
        self.literals: dict[bytes, Node] = {}
        self.param: Node | None = None
        self.leaves: dict[str, int] = {}
        self.slot = 0
        self.hash = 0

    def child(self, label: bytes | None, grown: list[Node]) -> Node:
        found = self.param if label is None else self.literals.get(label)
        if found is None:
            found = Node(self, label)
            grown.append(found)
            if label is None:
                self.param = found
            else:
                self.literals[label] = found
        return found


class Tree:
    """The routes of one host: paths by segment, and expressions in the order of their first route."""

    def __init__(self) -> None:
        self.root = Node(None, None)
        self.expressions: dict[str, tuple[Regex, int]] = {}


class Forest:
    """The trees of all hosts; `nodes` has parents before children, `leaves` the routes of each path, best first."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.trees: dict[bytes, Tree] = {}
        self.nodes: list[Node] = []
        self.leaves: list[list[Route]] = []
        for route in routes:
            for host in route.hosts or ("",):
                self.leaves[self._leaf(route, host.removeprefix("*").encode())].append(route)
        for leaf in self.leaves:
            leaf.sort(key=lambda route: route.merit)

    def _leaf(self, route: Route, host: bytes) -> int:
        tree = self.trees.get(host)
        if tree is None:
            tree = self.trees[host] = Tree()
            self.nodes.append(tree.root)
        if route.regex is not None:
            if route.path not in tree.expressions:
                tree.expressions[route.path] = (route.regex, self._new_leaf())
            return tree.expressions[route.path][1]
        node = tree.root
        for label in route.segments:
            node = node.child(label, self.nodes)
        ending = "below" if route.below else route.kind
        if ending not in node.leaves:
            node.leaves[ending] = self._new_leaf()
        return node.leaves[ending]

    def _new_leaf(self) -> int:
        self.leaves.append([])
        return len(self.leaves) - 1


class Text:
    """Bytes that the compiled state refers to by offset, each kept once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.offsets: dict[bytes, int] = {}

    def put(self, text: bytes) -> int:
        if text not in self.offsets:
            self.offsets[text] = len(self.data)
            self.data += text
        return self.offsets[text]


def ordered_methods(routes: Iterable[Route]) -> list[str]:
    """All methods that routes name, in the order of an Allow field."""
    names = {method for route in routes for method in route.methods}
    if len(names) > MAX_METHODS:
        raise ValueError(f"more than {MAX_METHODS} different methods")
    known = [name for name in METHOD_ORDER if name in names]
    return known + sorted(names.difference(known))
