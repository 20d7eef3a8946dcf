"""The file that says which process is the supervisor."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path) -> None:
    """Put our process id there in one step, whoever stood there before. Raises OSError."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(f"{os.getpid()}\n")
    fresh.replace(path)


def read(path: Path) -> int | None:
    """The process id in the file, or None when there is none to read."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None


def remove(path: Path) -> None:
    """Remove the file if it still holds our id; after an upgrade it is somebody else's."""
    if read(path) == os.getpid():
        path.unlink(missing_ok=True)
