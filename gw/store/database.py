"""The store's file: SQLite, readable and writable by gw's user alone, and by several processes at once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gw.errors import GatewayError

MODE = 0o600
BUSY = 5.0  # seconds to wait for another process that writes


def connect(file: Path) -> sqlite3.Connection:
    """Opened, or made if missing; every statement is a transaction of its own unless one is begun. Raises GatewayError."""
    with told(file):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE))  # SQLite would make it, and what lies beside it, readable by others
        connection = sqlite3.connect(file, timeout=BUSY, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


@contextmanager
def told(file: Path) -> Iterator[None]:
    """Failures of the file as one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise GatewayError(f"store {file}: {error}") from error
    except OSError as error:
        raise GatewayError(f"store {file}: {error.strerror}") from error
