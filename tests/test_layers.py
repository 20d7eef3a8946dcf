"""A room imports rooms on lower floors only, never its own floor, never above (docs/architecture.md); cimports included."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = [
    {"_fast", "errors"},
    {"config"},
    {"router", "store", "observe", "tls", "importers"},
    {"policy", "services"},
    {"runtime"},
    {"server", "admin"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# The same inside gw/_fast: kernels, wire, data plane.
FAST = [
    # kernels
    {"octets", "pages"},
    {"library", "headers", "slab", "wheel", "hist", "hash", "logbuf", "claims", "openssl", "out", "cidr", "words"},
    {"regex", "path", "shm", "x509"},
    {"cell"},
    {"predicate", "pick", "bucket", "budget", "tls_context", "forest", "keys", "api_keys"},
    {"losers", "jwt", "lease"},
    {"radix", "tls", "token_cache"},
    # wire
    {"llhttp", "uv"},
    {"h1", "stream"},
    {"greet", "recall"},
    {"probe"},
    # data plane
    {"plane"},
    {"fields", "forward", "pool"},
    {"step", "answer", "relay", "tunnel", "selector"},
    {"record", "snapshot", "client"},
    {"decide", "life", "limit", "bodies", "hooks"},
    {"pump", "deliver"},
    {"exchange"},
    {
        "agent", "allowance", "alternative", "credential", "cross_origin", "identity", "inflight", "jwt_step", "lease_step", "permit",
        "python_step", "rate", "request_id", "respond", "secure_headers", "shed", "target", "templates",
    },
    {"lane"},
    {"explain"},
]
FAST_TIER = {module: tier for tier, modules in enumerate(FAST) for module in modules}

PY_FILES = sorted((ROOT / "gw").rglob("*.py"))
FAST_FILES = sorted(file for ending in ("pyx", "pxd", "py") for file in (ROOT / "gw" / "_fast").glob(f"*.{ending}") if file.stem != "__init__")


def python_imports(source: str) -> Iterator[tuple[int, str]]:
    """Every (line, dotted name) of gw that a .py file imports, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            # `from gw import errors` names a room, `from gw.config import load` a name inside one.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+)?c?import\s+(.+)$")


def cython_imports(source: str) -> Iterator[tuple[int, str]]:
    """As python_imports, for .pyx and .pxd: imports and cimports."""
    for number, line in logical_lines(source):
        if found := IMPORT.match(line):
            module, names = found.groups()
            for name in re.split(r"\s*,\s*", names.strip("() \t,")):
                yield number, f"{module}.{name.split()[0]}" if module else name.split()[0]


def logical_lines(source: str) -> Iterator[tuple[int, str]]:
    """Lines without strings and comments, with brackets joined; Cython's tokens are Python's."""
    words: list[str] = []
    start = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            if words:
                yield start, " ".join(words).replace(" . ", ".")
            words = []
        elif token.type in (tokenize.NAME, tokenize.OP):
            start = start if words else token.start[0]
            words.append(token.string)


def room_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "gw" and len(parts) > 1 else None


def test_every_room_has_a_floor() -> None:
    rooms = {path.stem for path in (ROOT / "gw").iterdir() if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed")}
    assert rooms <= FLOOR.keys()


@pytest.mark.parametrize("file", PY_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_rooms_import_lower_floors_only(file: Path) -> None:
    own = room_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
    if own in (None, "__main__", "__init__"):
        return
    for line, name in python_imports(file.read_text()):
        room = room_of(name)
        if room in (None, own, "__version__"):
            continue
        assert room in FLOOR, f"{file}:{line}: gw.{room} is not a room"
        assert FLOOR[room] < FLOOR[own], f"{file}:{line}: {own} (floor {FLOOR[own]}) imports {room} (floor {FLOOR[room]})"


@pytest.mark.parametrize("file", FAST_FILES, ids=lambda file: file.name)
def test_fast_has_its_own_order(file: Path) -> None:
    own = file.stem
    assert own in FAST_TIER, f"{file.name}: give the module its tier in this test and in docs/architecture.md"
    imports = python_imports if file.suffix == ".py" else cython_imports
    for line, name in imports(file.read_text()):
        if room_of(name) is None:
            continue
        parts = name.split(".")
        assert parts[1] == "_fast", f"{file}:{line}: {name}: _fast imports nothing from gw outside _fast"
        other = parts[2]
        assert other == own or FAST_TIER[other] < FAST_TIER[own], f"{file}:{line}: {own} (tier {FAST_TIER[own]}) imports {other} (tier {FAST_TIER.get(other)})"


def test_the_readers_of_this_test_see_all_forms() -> None:
    cython = "from gw._fast.headers cimport (\n    Span,  # a comment\n    Head,\n)\ncimport gw._fast.slab as slab\ncdef str s = 'import gw.config'\nfrom gw.config import load\n"
    assert [name for _, name in cython_imports(cython)] == ["gw._fast.headers.Span", "gw._fast.headers.Head", "gw._fast.slab", "gw.config.load"]
    python = "def f():\n    from gw.server import x\nimport gw.cli.main\n"
    assert sorted(name for _, name in python_imports(python)) == ["gw.cli.main", "gw.server.x"]
