"""What the pages say holds: their blocks run, their links lead somewhere, the numbers they name are the defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gw.config.model import Config, Listener, Route
from gw.policy import Hooks
from tests.documents import ROOT, Page, blocks

TRIED = ["README.md", "docs/quickstart.md", "docs/first-policy.md", "docs/cases.md", *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs" / "policies").glob("*.md")))]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "CHANGES").glob("*.md")])
PROSE = re.compile(r"\b(robust|seamless|comprehensive|leverage[sd]?|cutting-edge|blazing|powerful|effortless)\b|[\U0001F300-\U0001FAFF\u2700-\u27BF]", re.IGNORECASE)


@pytest.mark.parametrize("name", TRIED)
@pytest.mark.timeout(180)
def test_every_block_does_what_it_shows(name: str, tmp_path: Path) -> None:
    page = Page(tmp_path)
    try:
        for block in blocks((ROOT / name).read_text()):
            try:
                page.run(block)
            except Exception as error:
                error.add_note(f"{name}:{block.line}")
                raise
    finally:
        page.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_plain(page: Path) -> None:
    assert PROSE.findall(page.read_text()) == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 100


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = [line for block in blocks((ROOT / "README.md").read_text()) if block.mark == "checkout" for line in block.text.splitlines()]
    assert "make test" in commands
    assert "exec make test\n" in (ROOT / ".ci" / "run").read_text()


def test_the_threat_model_names_the_defaults() -> None:
    named = re.findall(r"`([a-z_.\[\]*]+)` = `([^`]+)`", (ROOT / "docs" / "threat-model.md").read_text())
    assert len(named) > 15
    wrong = [(key, said, written(default_of(key))) for key, said in named if written(default_of(key)) != said]
    assert not wrong


def default_of(key: str) -> Any:
    """The default at a key such as `routes[].max_body`: by value where a default exists above it, by the struct's own otherwise."""
    where: Any = Config
    for part in re.findall(r"[a-z_]+", key):
        if isinstance(where, type):
            found = {field.name: field for field in msgspec.structs.fields(where)}[part]
            given = found.default if found.default is not msgspec.NODEFAULT else None if found.default_factory is msgspec.NODEFAULT else found.default_factory()
            where = struct_in(found.type) or given if given in (None, [], {}) else given
        else:
            where = getattr(where, part)
    return where


def struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a field's type speaks of, through Annotated, None, list and dict."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next(filter(None, map(struct_in, get_args(kind))), None)


def written(value: Any) -> str:
    """As an operator writes it."""
    if isinstance(value, bool | list):
        return msgspec.json.encode(value).decode()
    return str(value)


def test_news_fragments_are_named_well() -> None:
    names = [file.name for file in (ROOT / "CHANGES").iterdir() if file.name != "README.md"]
    assert not [name for name in names if not re.fullmatch(r"(\+[a-z0-9-]+|\d+)\.(feature|fix|change|removal|doc)\.md", name)]


def test_decisions_have_a_number_of_their_own_and_a_status() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [page.name[:4] for page in pages]
    assert len(set(numbers)) == len(numbers)
    assert not [page.name for page in pages if "**Status**" not in page.read_text()]


def test_the_architecture_page_knows_every_room_and_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = [each.stem for each in (ROOT / "gw").iterdir() if each.stem not in ("__init__", "__main__", "__pycache__", "py")]
    modules = [file.stem for ending in ("pyx", "pxd", "py") for file in (ROOT / "gw" / "_fast").glob(f"*.{ending}") if file.stem != "__init__"]
    assert not [name for name in [*rooms, *modules] if f"`{name}`" not in text]


def test_the_life_of_a_request_lists_the_hooks_and_names_real_functions() -> None:
    text = (ROOT / "docs" / "life-of-a-request.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [field.name for field in msgspec.structs.fields(Hooks) if field.name != "body_limit"]
    source = "\n".join(file.read_text() for file in (ROOT / "gw" / "_fast").glob("*.pyx"))
    options = {field.name for struct in (Route, Listener, Hooks) for field in msgspec.structs.fields(struct)}
    functions = set(re.findall(r"`(_?[a-z]+(?:_[a-z]+)+)`", text)) - options
    assert functions
    assert not [name for name in functions if not re.search(rf"\b{name}\(", source)]
