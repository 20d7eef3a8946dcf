"""Rules that span several objects of a config. Every function yields problems with pointers; nothing here stops at the first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gw.config.model import Config
from gw.errors import Problem


def check_config(config: Config) -> Iterator[Problem]:
    yield from ()


def check_files(config: Config, base: Path) -> Iterator[Problem]:
    yield from ()


def tls_files(config: Config, base: Path) -> list[Path]:
    return []
