from __future__ import annotations

import json
import re
from pathlib import Path

from gw.observe.access import FIELDS, page

ROOT = Path(__file__).parents[3]


def names(source: str) -> list[str]:
    """Members that literals of this Cython code write, `protocol` once although it has two."""
    literals = re.findall(r"b'([^']*)'", source)
    return list(dict.fromkeys(name for literal in literals for name in re.findall(r'"(\w+)":', literal)))


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "access-log.md").read_text() == page(), "python -m gw.observe.access > docs/access-log.md"


def test_the_table_names_the_fields_that_are_written_in_their_order() -> None:
    source = (ROOT / "gw" / "_fast" / "record.pyx").read_text()
    head, tail = source.split("p = _outcome(x, p)")  # what it and _numbers write stands below
    first, *called = names(head), *map(names, tail.split("\ncdef "))
    last, *middle = called
    assert [*first, *(name for part in middle for name in part), *last] == [field.name for field in FIELDS]


def test_the_example_is_a_line_of_json() -> None:
    example = page().split("```json\n")[1].split("\n```")[0]
    line = json.loads(example)
    assert list(line) == [field.name for field in FIELDS if field.name != "reason"]
