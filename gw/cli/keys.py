"""`gw keys`: API keys in the store of a config, and hashes to write into one."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gw.cli.console import err, out, say, say_json
from gw.cli.locate import config_path
from gw.config import load
from gw.config.convert import nearest
from gw.config.units import Duration
from gw.errors import GatewayError
from gw.store import Keys, StoredKey, hashed

if TYPE_CHECKING:
    from gw.config.model import Config


def create(consumer: str, expires: str | None, named: Path | None) -> None:
    """Make a key and show it, this once. Raises GatewayError without a store, and for a consumer that is not in the config."""
    config, store = _opened(named)
    with closing(store):
        if consumer not in config.consumers:
            close = nearest(consumer, config.consumers)
            raise GatewayError(f"unknown consumer '{consumer}'. {f'Did you mean {close}?' if close else 'Name it under `consumers` first.'}")
        _show_new(*store.create(consumer, None if expires is None else _duration(expires, "--expires")))


def list_all(as_json: bool, named: Path | None) -> None:
    """Print every key of the store; none of them is secret."""
    _, store = _opened(named)
    with closing(store):
        keys = store.all()
    now = time.time()
    if as_json:
        say_json([{"id": key.id, "consumer": key.consumer, "state": key.state(now), "created": key.created, "expires": key.expires, "revoked": key.revoked} for key in keys])
        return
    from rich.table import Table

    table = Table("id", "consumer", "state", "created", "expires", box=None, header_style="bold")
    for key in keys:
        table.add_row(key.id, key.consumer, key.state(now), _day(key.created), _day(key.expires))
    out().print(table)


def revoke(key: str, named: Path | None) -> None:
    """Have a key refused. Raises GatewayError when there is none of this id."""
    _, store = _opened(named)
    with closing(store):
        revoked = store.revoke(key)
    out().print(f"Key {revoked.id} of {revoked.consumer} is revoked: a running gw refuses it within a second.", markup=False)


def rotate(key: str, overlap: str, named: Path | None) -> None:
    """Make a new key for the consumer of an old one and show it, this once."""
    _, store = _opened(named)
    with closing(store):
        _show_new(*store.rotate(key, _duration(overlap, "--overlap")))
    err().print(f"Key {key} goes on for {overlap} at most.", markup=False)


def hash_key() -> None:
    """Print what a config holds of the key on standard input."""
    say(hashed(_secret("Key", twice=False)))


def hash_password() -> None:
    """Print what a config holds of the password on standard input."""
    from argon2 import PasswordHasher

    say(PasswordHasher().hash(_secret("Password", twice=True)))


def _opened(named: Path | None) -> tuple[Config, Keys]:
    loaded = load(config_path(named))
    store = loaded.config.store
    if store is None or store.file is None:
        raise GatewayError("this config has no store to keep keys in. Add `store: {file: gw.db}`, or write hashes (gw keys hash) under a consumer's `api_keys`.")
    return loaded.config, Keys(loaded.base / store.file)


def _show_new(key: StoredKey, text: str) -> None:
    """The key alone on standard output, for scripts."""
    say(text)
    lasting = "until it is revoked" if key.expires is None else f"until {_day(key.expires)}"
    err().print(f"Key {key.id} of {key.consumer}, good {lasting}. It is shown this once: gw keeps only its hash.", markup=False)


def _duration(text: str, option: str) -> float:
    try:
        return Duration.parse(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a duration such as 12h or 90d, at most 366d", param_hint=option) from None


def _day(seconds: int | None) -> str:
    return "-" if seconds is None else datetime.fromtimestamp(seconds).isoformat(" ", "minutes")


def _secret(what: str, twice: bool) -> str:
    """Asked for without showing it on a terminal, otherwise the first line of standard input."""
    text = str(typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise GatewayError(f"no {what.lower()} on standard input")
    return text
