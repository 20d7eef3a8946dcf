"""An HTTP service that policies ask: bounded in time, connections and bytes; and what it answered, kept for a while."""

from __future__ import annotations

import asyncio
import ssl
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlsplit

import httpx
from msgspec import Meta, Struct

from gw.config.units import Bounds, Duration
from gw.errors import ConfigError, GatewayError, Problem

T = TypeVar("T")

REPLY_MAX = 64 * 1024
IDLE = 30.0  # seconds a connection to the service is kept for the next question
PATIENCE = Bounds(0.001, 60.0)


class Unreachable(GatewayError):
    """The service gave no answer that can be used."""


class Reply(Struct, frozen=True):
    """A whole answer. Fields are in the order they came, octets as latin-1."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Values of every field of the name, given in lower case."""
        return [value for key, value in self.fields if key.lower() == name]


class Reach(Struct, forbid_unknown_fields=True, frozen=True):
    """How the service is reached."""

    timeout: Annotated[Duration, PATIENCE, Meta(description="For one question, from connecting to the last byte of the answer.")] = Duration(2)
    connections: Annotated[int, Meta(ge=1, le=10_000, description="At once, per worker; a question that finds none free within the time-out fails.")] = 64
    ca: Annotated[str | None, Meta(description="PEM file with authorities for https; unset means the system's.")] = None


class Remote:
    """The client of one policy in one worker. It is made on the loop that asks first, and closed when the policy goes."""

    def __init__(self, reach: Reach, base: Path, pointer: str) -> None:
        """Raises ConfigError for a `ca` that cannot be read."""
        self.reach = reach
        self._trust = _trust(reach, base, pointer)
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, method: str, url: str, fields: Iterable[tuple[str, str]] = (), content: bytes | None = None) -> Reply:
        """Raises Unreachable: no connection, no answer in time, one longer than 64 KiB or in a coding that was not asked for. Redirects are not followed."""
        client = self._here()
        sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]  # octets of a client's head go as they came
        try:
            async with asyncio.timeout(self.reach.timeout):
                async with client.stream(method, url, headers=[*sent, (b"Accept-Encoding", b"identity")], content=content) as answer:
                    found = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers.raw]
                    return Reply(answer.status_code, found, await _whole(answer))
        except TimeoutError as error:
            raise Unreachable(f"{url}: no answer within {self.reach.timeout}") from error
        except httpx.HTTPError as error:
            raise Unreachable(f"{url}: {type(error).__name__}: {error}") from error

    def _here(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            most = self.reach.connections
            limits = httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=IDLE)
            self._client = httpx.AsyncClient(
                headers={"User-Agent": "gw"}, verify=self._trust, trust_env=False, follow_redirects=False, timeout=float(self.reach.timeout), limits=limits
            )
            self._loop = loop
            weakref.finalize(self, _close, self._client, loop).atexit = False
        return self._client


def check_url(url: str, pointer: str) -> None:
    """Raises ConfigError for what is not an absolute http or https URL without user, query and fragment."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError([Problem(message=f"'{url}' is not a URL that can be asked", pointer=pointer, hint="http:// or https://, a host, a path; no user, query or fragment")])


def _trust(reach: Reach, base: Path, pointer: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(base / reach.ca) if reach.ca else None)
    except (OSError, ssl.SSLError) as error:
        message = f"{reach.ca} cannot be used as a file of authorities: {error}"
        raise ConfigError([Problem(message=message, pointer=pointer, hint="a PEM file with at least one certificate")]) from None


async def _whole(answer: httpx.Response) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise Unreachable(f"{answer.url}: the answer is coded as {answer.headers['content-encoding']}, which was not asked for")
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > REPLY_MAX:
            raise Unreachable(f"{answer.url}: the answer is longer than {REPLY_MAX} bytes")
    return bytes(body)


_closing: set[asyncio.Task[None]] = set()


def _close(client: httpx.AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
    """A policy may go on any thread, and after its loop."""

    def close() -> None:
        task = loop.create_task(client.aclose())
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    if not loop.is_closed():
        loop.call_soon_threadsafe(close)


class _Kept(Struct, Generic[T]):
    value: T
    fresh: float  # until when it stands for an answer, on the clock of Answers
    stale: float  # until when it stands for one that cannot be had


class Answers(Generic[T]):
    """Answers by key, at most `most` of them; the one unused for longest goes first. One question is in flight per key."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic, asking_max: int = 1000) -> None:
        self.clock = clock
        self._most = most
        self._asking_max = asking_max
        self._kept: dict[bytes, _Kept[T]] = {}
        self._asking: dict[bytes, asyncio.Task[T]] = {}

    async def ask(self, key: bytes, question: Callable[[], Awaitable[tuple[T, float]]], stale: float = 0.0, *, anew: bool = False) -> T:
        """What is known, or what the question brings: an answer and the seconds it may be kept. A caller that goes away does not end it for others.

        `anew`: ask whatever is known. Raises Unreachable as the question does, unless an answer is not older than it may be kept and `stale` seconds more.
        """
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._kept[key] = kept
            if self.clock() < kept.fresh and not anew:
                return kept.value
        try:
            return await asyncio.shield(self._asked(key, question, stale))
        except Unreachable:
            if kept is None or self.clock() >= kept.stale:
                raise
            return kept.value

    def _asked(self, key: bytes, question: Callable[[], Awaitable[tuple[T, float]]], stale: float) -> asyncio.Task[T]:
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= self._asking_max:
                raise Unreachable(f"{self._asking_max} questions are in flight")
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._answer(key, question, stale))
            task.add_done_callback(lambda done: self._done(key, done))
        return task

    def _done(self, key: bytes, task: asyncio.Task[T]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # seen, even when nobody waits for it any more

    async def _answer(self, key: bytes, question: Callable[[], Awaitable[tuple[T, float]]], stale: float) -> T:
        value, seconds = await question()
        if seconds > 0:
            while len(self._kept) >= self._most and key not in self._kept:
                del self._kept[next(iter(self._kept))]
            until = self.clock() + seconds
            self._kept[key] = _Kept(value, until, until + stale)
        return value
