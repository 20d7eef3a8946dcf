"""One policy is one file, one test file and one page of the same name; and what every one of them owes its users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import StructConfig, fields

from gw.config.document import settings
from gw.config.json_schema import settings_schema
from gw.policy import BUILTIN, Policy, find
from gw.policy.reference import pages

ROOT = Path(__file__).parent.parent
ROOM = {"__init__", "base", "reference", "registry"}  # the contract, the door and the maker of pages, which are no policies
SHARED = {"body_digest", "cookies", "limit", "login", "message_signature", "provider", "remote", "session", "target"}  # what limits, and policies that ask others, are made of


def built_in(name: str) -> Policy:
    return find(name, [], "$")


def structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """The structs that a type speaks of, itself included, through Annotated, unions, lists and dicts."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in fields(kind):
            yield from structs(field.type)
    for inner in get_args(kind):
        yield from structs(inner)


def test_each_policy_has_its_file_its_tests_and_its_page() -> None:
    names = sorted(name.replace("-", "_") for name in BUILTIN)
    assert sorted({file.stem for file in (ROOT / "gw" / "policy").glob("*.py")} - ROOM - SHARED) == names
    assert sorted(file.stem.removeprefix("test_") for file in (ROOT / "tests" / "unit" / "policy").glob("test_*.py")) == names
    assert sorted(file.stem for file in (ROOT / "docs" / "policies").glob("*.md") if file.name != "README.md") == sorted(BUILTIN)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_policy_says_in_one_line_what_it_does(name: str) -> None:
    summary = built_in(name).summary
    assert summary.endswith(".")
    assert (ROOT / "docs" / "policies" / f"{name}.md").read_text().startswith(f"# {name}\n\n{summary}\n")


@pytest.mark.parametrize("name", BUILTIN)
def test_a_policy_refuses_what_it_does_not_know_and_describes_what_it_does(name: str) -> None:
    for struct in structs(built_in(name).config):
        config: StructConfig = struct.__struct_config__
        assert config.forbid_unknown_fields, struct
        assert config.frozen, struct
        assert struct.__doc__, struct
    made = settings_schema(built_in(name).config)["$defs"]
    assert not [f"{struct}.{key}" for struct, each in made.items() for key, setting in each["properties"].items() if not setting.get("description")]


def test_pages_list_the_settings_as_they_are() -> None:
    stale = [path.name for path, text in pages(ROOT / "docs" / "policies").items() if not path.exists() or path.read_text() != text]
    assert not stale, "run: python -m gw.policy.reference"


def test_a_page_keeps_what_stands_around_its_settings(tmp_path: Path) -> None:
    for name in BUILTIN:
        (tmp_path / f"{name}.md").write_text("before\n\n<!-- settings -->\nstale\n<!-- /settings -->\nafter\n")
    made = pages(tmp_path)
    for name in BUILTIN:
        assert made[tmp_path / f"{name}.md"] == f"before\n\n<!-- settings -->\n{settings(built_in(name).config)}<!-- /settings -->\nafter\n"
        assert f"[{name}]({name}.md)" in made[tmp_path / "README.md"]


def test_a_page_without_markers_gets_its_settings_at_the_end(tmp_path: Path) -> None:
    for name in BUILTIN:
        (tmp_path / f"{name}.md").write_text("prose\n\n## Settings\n\nby hand\n")
    assert pages(tmp_path)[tmp_path / f"{BUILTIN[0]}.md"] == f"prose\n\n<!-- settings -->\n{settings(built_in(BUILTIN[0]).config)}<!-- /settings -->\n"
