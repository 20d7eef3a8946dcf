"""Which configuration is meant when none is named."""

from __future__ import annotations

from pathlib import Path

from gw.errors import GatewayError

CANDIDATES = ("gw.yaml", "gw.json", "gw.toml", "gw", "/etc/gw/gw.yaml")
SUFFIXES = (".yaml", ".yml", ".json", ".toml")


def config_path(named: Path | None) -> Path:
    """`named`, or the first of CANDIDATES that exists. Raises GatewayError in one sentence when there is none."""
    if named is not None:
        if not named.exists():
            raise GatewayError(f"{named} does not exist. Write one with: gw init {named}")
        return named
    for candidate in map(Path, CANDIDATES):
        if candidate.is_file() or _is_config_folder(candidate):
            return candidate
    raise GatewayError(
        f"no configuration found; looked for {', '.join(CANDIDATES)}. "
        "Write one with: gw init, or do without: gw run --to http://127.0.0.1:9001"
    )


def _is_config_folder(path: Path) -> bool:
    # A checkout of gw has a folder `gw` too: only one that holds configuration counts.
    return path.is_dir() and any(child.suffix in SUFFIXES for child in path.iterdir())
