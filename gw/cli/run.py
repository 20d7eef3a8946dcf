"""`gw run`: the gateway in the foreground."""

from __future__ import annotations

from pathlib import Path

import typer
from msgspec.structs import replace

from gw.cli.locate import config_path
from gw.config import Config, from_url, parse_bind

DEFAULT_LISTEN = "127.0.0.1:8080"


def run(named: Path | None, to: str | None, listen: str | None, workers: int | None) -> None:
    """Serve until told to stop. Raises typer.Exit with the supervisor's exit code, and ConfigError."""
    from gw import admin, server

    if to is not None and named is not None:
        raise typer.BadParameter("a config file and --to exclude each other")
    if to is not None:
        code = server.run(_adjusted(from_url(to, listen or DEFAULT_LISTEN), None, workers), admin=admin.serve)
    else:
        if listen is not None:
            _valid_bind(listen)
        code = server.run(config_path(named), adjust=lambda config: _adjusted(config, listen, workers), admin=admin.serve)
    raise typer.Exit(code)


def _adjusted(config: Config, listen: str | None, workers: int | None) -> Config:
    """What the options say wins over the file; of several listeners the first one moves and the others stay away."""
    if listen is not None:
        config = replace(config, listeners=[replace(config.listeners[0], bind=listen)])
    if workers is not None:
        config = replace(config, process=replace(config.process, workers=workers))
    return config


def _valid_bind(listen: str) -> None:
    try:
        parse_bind(listen)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--listen") from None
