"""Find out who calls by user name and password (HTTP Basic, RFC 7617)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Annotated, NamedTuple

import argon2
import bcrypt
from msgspec import Meta, Struct

from gw._fast.hooks import Refusal, Request
from gw.config.node import join
from gw.errors import ConfigError, Problem
from gw.policy.base import Challenge, Hooks, Kind, Tools

KIND: Kind = "authentication"
NAME = "basic"
THREADS = 2  # of a worker; a verification costs a core some 50 ms and argon2 64 MiB
WAITING_MAX = 64  # verifications under way or queued in a worker; more are refused, or guessing passwords would queue everyone else
REMEMBERED = 4096  # passwords found right, per worker
BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
BCRYPT_MAX = 72  # bytes that bcrypt reads; what lies behind them would not be checked


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Callers are the `consumers` with `passwords`."""

    hide_credential: Annotated[bool, Meta(description="Take `Authorization` out of what goes to the origin.")] = True
    realm: Annotated[str, Meta(pattern='^[ !#-\\[\\]-~]+$', description="What browsers show when they ask for the password.")] = "gw"


class User(NamedTuple):
    """Whose password it is, and what is kept of it."""

    consumer: str
    hash: str


def build(config: Config, tools: Tools) -> Hooks:
    """An asynchronous hook; raises ConfigError when no consumer has a password, or for hashes that cannot be read."""
    passwords = tools.once(NAME, lambda: Passwords(_users(tools)))
    asks = challenge(config)

    async def check(request: Request) -> Refusal | None:
        fields = request.headers.get_all("Authorization")
        given = next((field for field in fields if field[:6].lower() == "basic "), None)
        if given is None:
            return Refusal("no-credential", asks)
        request.presents()
        pair = credentials(given) if len(fields) == 1 else None
        verdict = await passwords.verify(*pair) if pair else False
        if verdict is None:
            return Refusal("decision-unavailable")
        if not pair or not verdict:
            return Refusal("invalid-credential", asks)
        request.identify(NAME, consumer=passwords.users[pair[0]].consumer, subject=pair[0], credential=pair[0])
        if config.hide_credential:
            del request.headers["Authorization"]
        return None

    return Hooks(request=check)


def challenge(config: Config) -> Challenge:
    """What a request without a credential is asked for."""
    return {"WWW-Authenticate": f'Basic realm="{config.realm}", charset="UTF-8"'}


def credentials(field: str) -> tuple[str, str] | None:
    """User and password of a field value `Basic ...`; None when it is not one (RFC 7617 section 2), with UTF-8 for both."""
    try:
        user, colon, password = base64.b64decode(field[6:].strip(" "), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon and not any(ord(each) < 32 or ord(each) == 127 for each in user + password) else None


def _users(tools: Tools) -> dict[str, User]:
    problems = [*_unreadable(tools)]
    users = {password.user: User(name, password.hash) for name, consumer in tools.consumers.items() for password in consumer.passwords}
    if not users:
        hint = "give one `passwords`; `gw keys password` prints what to write"
        problems = [Problem(message="no consumer has a password, so every request would be refused", pointer=tools.pointer, at_key=True, hint=hint)]
    if problems:
        raise ConfigError(problems)
    return users


def _unreadable(tools: Tools) -> Iterator[Problem]:
    for name, consumer in tools.consumers.items():
        for index, password in enumerate(consumer.passwords):
            if not _readable(password.hash):
                place = join(join("$.consumers", name) + ".passwords", index)
                yield Problem(message=f"the hash of '{password.user}' is cut or malformed", pointer=f"{place}.hash", hint="`gw keys password` prints one")


def _readable(kept: str) -> bool:
    """Without paying for a verification."""
    if not kept.startswith("$argon2"):
        return BCRYPT.fullmatch(kept) is not None
    try:
        argon2.extract_parameters(kept)
    except argon2.exceptions.InvalidHashError:
        return False
    return True


def matches(kept: str, password: str) -> bool:
    """Whether this is the password; takes as long as the hash asks for."""
    text = password.encode()
    if kept.startswith("$argon2"):
        try:
            return argon2.PasswordHasher().verify(kept, text)
        except argon2.exceptions.VerifyMismatchError:
            return False
    return bcrypt.checkpw(text[:BCRYPT_MAX], kept.encode()) and len(text) <= BCRYPT_MAX


class Passwords:
    """Verifies passwords in threads, and remembers those it has found right. One belongs to one worker and one snapshot."""

    def __init__(self, users: dict[str, User]) -> None:
        self.users = users
        self._hashes = [user.hash for user in users.values()]
        self._secret = os.urandom(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[bool]] = {}

    def __repr__(self) -> str:
        return f"<Passwords {len(self.users)} users, {len(self._right)} remembered, {len(self._asked)} under way>"

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Made when first needed: that is in the worker, while this object may have been made before its fork."""
        return ThreadPoolExecutor(THREADS, "basic")

    async def verify(self, user: str, password: str) -> bool | None:
        """Whether they belong together; None when too many are being verified to tell. An unknown user takes as long as a known one."""
        mark = hmac.digest(self._secret, f"{user}\0{password}".encode(), "sha256")
        if mark in self._right:
            self._right.move_to_end(mark)
            return True
        found = self._asked.get(mark)
        if found is None:
            if len(self._asked) >= WAITING_MAX:
                return None
            found = self._asked[mark] = asyncio.ensure_future(self._look(mark, user, password))
        return await asyncio.shield(found)

    async def _look(self, mark: bytes, user: str, password: str) -> bool:
        known = self.users.get(user)
        # An unknown user is verified against somebody else's hash, always the same one, so that the time tells nothing.
        kept = known.hash if known else self._hashes[int.from_bytes(hmac.digest(self._secret, user.encode(), "sha256")[:8]) % len(self._hashes)]
        try:
            right = await asyncio.get_running_loop().run_in_executor(self._threads, matches, kept, password)
        finally:
            del self._asked[mark]
        if right and known:
            self._right[mark] = None
            if len(self._right) > REMEMBERED:
                self._right.popitem(last=False)
        return right and known is not None
