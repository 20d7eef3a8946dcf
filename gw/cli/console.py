"""What the operator sees: exit codes, and problems with the line they stand on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from gw.errors import Problem

WORD_ENDS = " \t\n,:]}#"


class Exit(IntEnum):
    """Exit codes of `gw`; sysexits(3) has 70."""

    OK = 0
    PROBLEM = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERNAL = 70


@cache
def out() -> Console:
    """Standard output; colours only on a terminal, and lines are never folded in a pipe."""
    from rich.console import Console

    console = Console(highlight=False)
    console.soft_wrap = not console.is_terminal
    return console


@cache
def err() -> Console:
    """Standard error, likewise."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line of result, exactly as it is."""
    out().print(text, markup=False, soft_wrap=True)


def say_json(value: Any) -> None:
    """A value as indented JSON."""
    import msgspec

    say(msgspec.json.format(msgspec.json.encode(value)).decode())


def complain(sentence: str) -> None:
    """One sentence about what went wrong, to standard error."""
    from rich.text import Text

    err().print(Text.assemble(("gw: ", "bold red"), sentence))


def show_problems(problems: Iterable[Problem]) -> None:
    """Every problem with its source line, to standard error."""
    for problem in problems:
        show_problem(problem)


def show_problem(problem: Problem) -> None:
    """`file:line:column: error: what`, then the line with a caret, then the hint."""
    from rich.text import Text

    style = "red" if problem.severity == "error" else "yellow"
    place = f"{short(problem.file)}:{problem.line}:{problem.column}: " if problem.line else f"{short(problem.file) or problem.pointer}: ".removeprefix(": ")
    err().print(Text.assemble((place, "bold"), (f"{problem.severity}: ", f"bold {style}"), problem.message))
    for line in excerpt(problem):
        err().print(Text(line, style="dim" if "^" not in line else style))
    if problem.hint:
        err().print(Text.assemble(("  hint: ", "bold cyan"), problem.hint))


def excerpt(problem: Problem) -> list[str]:
    """The source line and a caret under the word that is meant; empty when the place is unknown or the file is gone."""
    source = _line(problem.file, problem.line) if problem.line else ""
    if not source.strip():
        return []
    number = f"{problem.line:>5} | "
    margin = " " * (len(number) - 2) + "| "
    start = min(max(problem.column, 1) - 1, len(source))
    # Tabs stay tabs, so that the caret stands under its word at any tab width.
    indent = "".join("\t" if char == "\t" else " " for char in source[:start])
    return [number + source, margin + indent + "^" * _width(source, start)]


def _line(file: str, number: int) -> str:
    try:
        lines = Path(file).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[number - 1] if number <= len(lines) else ""


def _width(source: str, start: int) -> int:
    if source[start : start + 1] in ("'", '"'):
        end = source.find(source[start], start + 1)
        return end + 1 - start if end > 0 else 1
    end = start
    while end < len(source) and source[end] not in WORD_ENDS:
        end += 1
    return max(1, end - start)


def short(file: str) -> str:
    """The file as seen from the working directory."""
    try:
        return str(Path(file).relative_to(Path.cwd())) if file else ""
    except ValueError:
        return file
