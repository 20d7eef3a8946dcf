"""`gw check` and `gw init`: is this configuration good, and one to start from."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from rich.markup import escape

from gw.cli.console import Exit, err, out, show_problems
from gw.cli.locate import config_path
from gw.cli.show import written_at
from gw.config import Loaded, load
from gw.errors import ConfigError, GatewayError, Problem


def check(named: Path | None, ports: bool) -> Exit:
    """Print every problem of the config; warnings alone leave the exit code at 0."""
    from gw.runtime import warnings as find_warnings

    path = config_path(named)
    loaded = load(path)
    problems = [*find_warnings(loaded), *compile_problems(loaded), *(port_problems(loaded) if ports else [])]
    if not any(problem.severity == "error" for problem in problems):
        problems += shadow_warnings(loaded, {problem.pointer for problem in problems})
    problems.sort(key=lambda problem: (problem.file, problem.line, problem.column))
    show_problems(problems)
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if errors:
        return Exit.PROBLEM
    config = loaded.config
    counts = [_count(len(config.routes), "route"), _count(len(config.services), "service"), _count(len(config.listeners), "listener")]
    out().print(f"[bold green]{escape(str(path))} is good[/]: {', '.join(counts)}" + (f"; [yellow]{_count(warnings, 'warning')}[/]" if warnings else ""))
    return Exit.OK


def compile_problems(loaded: Loaded) -> list[Problem]:
    """What only compiling finds: policies' own settings, certificates, regular expressions."""
    from gw.cli.snapshot import compiled

    try:
        compiled(loaded)
    except ConfigError as error:
        return error.problems
    return []


def shadow_warnings(loaded: Loaded, known: set[str]) -> list[Problem]:
    """One warning for each route whose requests another route always takes, except at the pointers that are `known`."""
    from gw.router import compile_routes, shadowed

    pairs = shadowed(compile_routes(loaded.config.routes, loaded.config.path))
    return [
        loaded.problem(f"$.routes[{loser}]", f"this route can never win: the route at {written_at(loaded, winner)} takes its requests", "`gw routes` shows the order", "warning")
        for loser, winner in pairs
        if f"$.routes[{loser}]" not in known
    ]


def port_problems(loaded: Loaded) -> list[Problem]:
    """Addresses that cannot be bound now."""
    from gw.server.sockets import Sockets, explain, open_single

    sockets = Sockets(1)
    problems: list[Problem] = []
    try:
        sockets.open(loaded.config.listeners)
    except ConfigError as error:
        problems += error.problems
    if loaded.config.admin is not None:
        from gw.config import parse_bind

        bind = loaded.config.admin.bind
        try:
            open_single(parse_bind(bind), 1).close()
        except OSError as error:
            problems.append(explain(bind, error, "$.admin.bind"))
    sockets.close_all()
    return [loaded.place(problem) for problem in problems]


def init(file: Path) -> None:
    """Write the starter file. Raises GatewayError rather than touch a file that exists."""
    text = files("gw.cli").joinpath("starter.yaml").read_text()
    if file.suffix not in (".yaml", ".yml"):
        raise GatewayError(f"{file}: the starter file is YAML; choose a name that ends in .yaml")
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise GatewayError(f"{file} exists and stays as it is. Choose another name: gw init other.yaml") from None
    except OSError as error:
        raise GatewayError(f"cannot write {file}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    where = "" if file == Path("gw.yaml") else f" {file}"
    err().print(f"Wrote {file}. Next: gw check{where}, then gw run{where}.", markup=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
