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

ROOT = Path(__file__).parent.parent
ROOM = {"__init__", "base", "registry"}  # the contract and the door, which are no policies
SHARED = {"cookies", "limit", "login", "message_signature", "provider", "remote", "session", "target"}  # what limits, and policies that ask others, are made of


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
    assert sorted(file.stem for file in (ROOT / "docs" / "policies").glob("*.md")) == sorted(BUILTIN)


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


@pytest.mark.parametrize("name", BUILTIN)
def test_a_page_lists_the_settings(name: str) -> None:
    made = settings(built_in(name).config)
    assert (ROOT / "docs" / "policies" / f"{name}.md").read_text().endswith(f"\n{made}"), f"the page ends with the output of gw.config.document.settings:\n{made}"
