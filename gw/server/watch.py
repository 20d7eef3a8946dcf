"""Notice that a file the config was made from has changed.

Polling, not inotify: it sees renames, symlink swaps (how Kubernetes mounts a ConfigMap) and network file systems alike, and a
pass over ten files costs some 20 us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from gw.config import Loaded

POLL = 1.0  # seconds between two looks
SETTLE = 0.2  # seconds without a further change, so that a half-written file is not read

Signature = dict[Path, tuple[int, int, int] | None]


def signature(paths: Iterable[Path]) -> Signature:
    """What would differ if one of the files were another: (mtime in ns, size, inode), None for a missing one."""
    return {path: _stamp(path) for path in paths}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def watched(loaded: Loaded, path: Path) -> list[Path]:
    """Everything the snapshot depends on: config files and their folder, certificates, modules of the operator's own policies."""
    modules = [loaded.base / folder for folder in loaded.config.modules]
    sources = [source for folder in modules for source in sorted(folder.glob("**/*.py"))]
    return sorted({path, *loaded.files, *modules, *sources})


class Watch:
    """Calls `changed(paths)` once per burst of changes. `sleep` is injected by tests."""

    def __init__(self, changed: Callable[[list[Path]], None], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._changed = changed
        self._sleep = sleep
        self._known: Signature = {}

    def follow(self, paths: Iterable[Path]) -> None:
        """Watch these from now on; what they are at this moment is the state of rest."""
        self._known = signature(paths)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._sleep(POLL)
            known = self._known
            now = signature(known)
            if now == known:
                continue
            while (later := await self._settled(known)) != now:
                now = later
            if self._known is known:  # not re-aimed by a reload meanwhile
                self._known = now
                self._changed([path for path in now if now[path] != known[path]])

    async def _settled(self, paths: Iterable[Path]) -> Signature:
        await self._sleep(SETTLE)
        return signature(paths)
