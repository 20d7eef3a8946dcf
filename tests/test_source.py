"""Own small linters, for what ruff and mypy cannot see: words, sizes, shape, dead options. Limits: CONTRIBUTING.md."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parent.parent
PYTHON = sorted((ROOT / "gw").rglob("*.py"))
CYTHON = sorted(file for ending in ("pyx", "pxd", "pyi") for file in (ROOT / "gw").rglob(f"*.{ending}"))
DOCS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
SOURCES = [*PYTHON, *CYTHON]

LINES_MAX = 700
FUNCTION_MEDIAN = 8
FUNCTION_P95 = 50
BROAD_PER_THOUSAND = 1.5

# Words that other products use for what we call service and endpoint. A line that speaks of such a product may quote it.
FOREIGN_WORDS = re.compile(r"\b(backend|upstream|cluster)s?\b", re.IGNORECASE)
FOREIGN_PRODUCTS = re.compile(r"nginx|envoy|kong|apisix|haproxy|istio|kubernetes|spring|redis|traefik|caddy|setuptools|build-backend|never \"", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
REASONED = re.compile(r"# noqa: ([A-Z]+\d+(, ?[A-Z]+\d+)*[ #-]+\w|E402$)")  # REASONED; E402: sys.path is set above, always
VAGUE_MODULES = {"utils", "util", "helpers", "helper", "common", "misc"}


def numbered(files: list[Path]) -> Iterator[tuple[str, str]]:
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            yield f"{file.relative_to(ROOT)}:{number}", line


def functions(file: Path) -> Iterator[int]:
    """Lines of each function, its docstring not counted."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node, clean=False)
            yield node.end_lineno - node.lineno + 1 - (len(doc.splitlines()) if doc else 0)


def test_one_word_per_thing() -> None:
    found = [f"{place}: {line.strip()}" for place, line in numbered([*SOURCES, *DOCS]) if FOREIGN_WORDS.search(line) and not FOREIGN_PRODUCTS.search(line)]
    assert not found, "\n".join(found)


def test_nothing_is_left_for_later() -> None:
    files = [*SOURCES, *DOCS, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    found = [f"{place}: {line.strip()}" for place, line in numbered(files) if UNFINISHED.search(line) and "UNFINISHED" not in line]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_can_be_read_in_one_sitting(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LINES_MAX


def test_no_room_for_leftovers() -> None:
    assert not [file for file in SOURCES if file.stem in VAGUE_MODULES]


def test_functions_are_short() -> None:
    sizes = sorted(size for file in PYTHON for size in functions(file))
    assert sizes[len(sizes) // 2] <= FUNCTION_MEDIAN
    assert sizes[int(len(sizes) * 0.95)] <= FUNCTION_P95


def test_broad_excepts_are_rare() -> None:
    handlers = [node for file in PYTHON for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ExceptHandler)]
    broad = sum(node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")) for node in handlers)
    code = sum(bool(line.strip()) and not line.strip().startswith("#") for _, line in numbered(PYTHON))
    assert broad <= BROAD_PER_THOUSAND * code / 1000


def test_every_ignored_rule_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    ruff = text[text.index("[tool.ruff") : text.index("[tool.mypy")]
    lists = re.findall(r"(?:ignore|\"tests/\*\*\"|\"[\w/*.]+\") = \[(.*?)\]", ruff, re.DOTALL)
    entries = [line.strip() for each in lists for line in each.splitlines() if line.strip()]
    assert entries and all(re.fullmatch(r'"[A-Z]+\d*",\s+# \S.+', entry) for entry in entries), entries
    lines = numbered([*PYTHON, *(ROOT / "tests").rglob("*.py")])
    bare = [f"{place}: {line.strip()}" for place, line in lines if "# noqa" in line and not REASONED.search(line) and "REASONED" not in line]
    assert not bare, "\n".join(bare)


def test_every_option_is_read_somewhere() -> None:
    from gw.config import model

    structs = [each for each in vars(model).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    options = {f"{struct.__name__}.{name}": name for struct in structs for name in struct.__struct_fields__}
    used = {node.attr for file in PYTHON if "config" not in file.relative_to(ROOT).parts for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
    used |= set(re.findall(r"\.(\w+)", "\n".join(file.read_text() for file in CYTHON if file.suffix == ".pyx")))
    dead = [option for option, name in options.items() if name not in used]
    assert not dead, f"nobody outside gw/config reads {', '.join(dead)}"


def test_dependencies_of_the_project_are_imported() -> None:
    names = {"PyYAML": "yaml", "argon2-cffi": "argon2", "dnspython": "dns", "wsproto": "wsproto", "cel-expr-python": "cel_expr_python", "http-sf": "http_sf"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = [re.split(r"[<>=\[]", each)[0] for each in project["dependencies"]]
    text = "\n".join(file.read_text() for file in [*PYTHON, *CYTHON])
    unused = [name for name in packages if not re.search(rf"\b{names.get(name, name)}\b", text)]
    assert not unused, f"nothing imports {', '.join(unused)}"


def run(*command: str) -> str:
    # cython-lint calls pycodestyle, which lies beside it.
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.lint
def test_ruff() -> None:
    assert run(sys.executable, "-m", "ruff", "check", ".") == ""


@pytest.mark.lint
@pytest.mark.timeout(300)
def test_mypy() -> None:
    assert run(sys.executable, "-m", "mypy") == ""


@pytest.mark.lint
def test_cython_lint() -> None:
    assert run("cython-lint", "gw/_fast") == ""


@pytest.mark.lint
@pytest.mark.timeout(600)
def test_stubs_say_what_the_compiled_modules_are() -> None:
    modules = [f"gw._fast.{file.stem}" for file in sorted((ROOT / "gw" / "_fast").glob("*.pyi"))]
    assert run(sys.executable, "-m", "mypy.stubtest", "--allowlist", "tests/stubtest-allowlist.txt", "--ignore-unused-allowlist", *modules) == ""


def performance_hints(out: Path, *files: Path) -> list[str]:
    """What Cython says only in passing, not as a warning: a `cdef void f() nogil` without noexcept re-takes the GIL after every call."""
    done = subprocess.run([sys.executable, "-m", "cython", "-3", "-o", f"{out}/", *files], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if "performance hint" in line]


@pytest.mark.lint
@pytest.mark.timeout(300)
def test_cython_has_no_performance_hints(tmp_path: Path) -> None:
    assert performance_hints(tmp_path, *(file for file in CYTHON if file.suffix == ".pyx")) == []


@pytest.mark.lint
def test_performance_hints_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "a.pyx").write_text("cdef void f() nogil:\n    pass\n")
    (tmp_path / "b.pyx").write_text("x = 1\n")
    assert len(performance_hints(tmp_path, tmp_path / "a.pyx", tmp_path / "b.pyx")) == 1
