"""Cases of tests/golden/cli: a command, its files, and what it says. GOLDEN=write writes the last part anew.

    $ gw check gw.yaml
    == gw.yaml
    listeners: ...
    ----------
    exit 1
    (standard output, then standard error)
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CASES = sorted((Path(__file__).parent.parent.parent / "golden" / "cli").glob("*.case"))
BOX = ("╭", "╰")  # drawn around usage errors
SEPARATOR = "----------\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_case(case: Path, folder: Path, gw: Callable[..., Any]) -> None:
    given, _, expected = case.read_text().partition(SEPARATOR)
    command, *files = given.split("== ")
    for file in files:
        name, _, text = file.partition("\n")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    said = gw(*shlex.split(command.removeprefix("$ gw ")))
    lines = f"exit {said.code}\n{said.out}{said.err}".splitlines()
    found = "\n".join(line.strip("│").rstrip() for line in lines if line[:1] not in BOX) + "\n"
    if os.environ.get("GOLDEN") == "write":
        case.write_text(given + SEPARATOR + found)
    assert found == expected or os.environ.get("GOLDEN") == "write"
