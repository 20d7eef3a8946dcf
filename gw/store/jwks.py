"""Keys of tokens by URL: a JWKS (RFC 7517 section 5), or the discovery document that names it (OpenID Connect Discovery 1.0).

What was good stays good: while the issuer is down or answers with what cannot be used, the last keys go on being published.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
import re
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from msgspec import Struct

from gw.errors import GatewayError
from gw.store.source import Log, Publish, Source

DOCUMENT_MAX = 1 << 20  # bytes; issuers publish a few KiB
AGE_MIN = 30.0  # seconds; a max-age of 0 must not make us ask without pause
RETRY_MIN = 1.0  # seconds after a failure; doubles
RETRY_MAX = 30.0  # seconds
PAUSE = 0.1  # seconds between two fetches, whoever wants them
BURST = 2  # fetches in vain that may follow each other at once: the second is for who came while the first was on its way
EARLY = (0.8, 0.95)  # part of the age after which it is fetched again: ahead of time, and not with everybody else
DISCOVERY = "/.well-known/openid-configuration"
MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,10})", re.IGNORECASE)


class Keys(Struct, frozen=True):
    """What is published: the document, when it was asked for, and from when on a worker may want a fresher one (seconds of the monotonic clock)."""

    document: str
    began: float
    allowed: float


class JwksSource(Source, frozen=True):
    """Follow the JWKS at `url`, or the one that the discovery document there names. Times in seconds."""

    url: str
    discovery: bool = False
    insecure: bool = False  # plain HTTP beyond this machine
    timeout: float = 5.0  # of one fetch, discovery included
    refresh: float = 300.0  # longest time between two fetches
    refetch: float = 10.0  # between two fetches that workers want, and that find no new keys

    def judge(self, document: bytes) -> list[str]:
        """Notes on what was left out. Raises ValueError when the document holds no keys that can be used."""
        _listed(document, self.url)
        return []

    async def once(self) -> bytes:
        """The keys now. Raises GatewayError."""
        async with self._client() as client:
            try:
                document = await _Fetcher(self, client).fetch()
                self.judge(document)
            except (httpx.HTTPError, ValueError, TimeoutError) as error:
                raise GatewayError(f"{self.url}: {_words(error)}") from None
        return _published(document, 0.0, 0.0)

    async def run(self, publish: Publish, wanted: asyncio.Event, log: Log) -> None:
        """Publish `Keys` after every fetch, and keep on."""
        async with self._client() as client:
            await _Follower(self, client, publish, wanted, log).run()

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "gw"}, timeout=self.timeout)


def plain_http_allowed(url: str) -> bool:
    """Whether the URL stays on this machine, so that nobody can exchange keys on the way."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def issuer_of(url: str) -> str:
    """The issuer that a discovery document at this URL must name, without the slash that may end it."""
    return url.removesuffix(DISCOVERY).rstrip("/")


class _Fetcher:
    """Fetches the document; remembers its ETag, so that an unchanged one is not sent again."""

    def __init__(self, source: JwksSource, client: httpx.AsyncClient) -> None:
        self.source = source
        self.client = client
        self.etag = ""
        self.document = b""
        self.age: float | None = None  # seconds that the last answer may be used

    async def fetch(self) -> bytes:
        """Raises httpx.HTTPError, ValueError, TimeoutError."""
        async with asyncio.timeout(self.source.timeout):
            url = await self._discovered() if self.source.discovery else self.source.url
            status, headers, body = await self._get(url, {"If-None-Match": self.etag} if self.etag else {})
        if status == 304 and self.document:
            body = self.document
        elif status != 200:
            raise ValueError(_status(status, headers))
        else:
            self.etag = headers.get("ETag", "")
        self.age = _age(headers)
        self.document = body
        return body

    async def _discovered(self) -> str:
        url = self.source.url
        status, headers, body = await self._get(url, {})
        if status != 200:
            raise ValueError(f"discovery: {_status(status, headers)}")
        found = _object(body, "discovery")
        issuer, uri = found.get("issuer"), found.get("jwks_uri")
        if not isinstance(issuer, str) or issuer.rstrip("/") != issuer_of(url):
            raise ValueError(f"discovery: names the issuer {issuer!r}, expected {issuer_of(url)!r}")
        if not isinstance(uri, str) or urlsplit(uri).scheme not in ("https", "http"):
            raise ValueError(f"discovery: jwks_uri is {uri!r}, expected a URL")
        if urlsplit(uri).scheme == "http" and not (self.source.insecure or plain_http_allowed(uri)):
            raise ValueError(f"discovery: jwks_uri {uri} is not https")
        return uri

    async def _get(self, url: str, headers: dict[str, str]) -> tuple[int, httpx.Headers, bytes]:
        async with self.client.stream("GET", url, headers=headers) as answer:
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise ValueError("the answer is compressed, which was not asked for")
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > DOCUMENT_MAX:
                    raise ValueError(f"the answer is larger than {DOCUMENT_MAX} bytes")
            return answer.status_code, answer.headers, bytes(body)


class _Follower:
    """Fetches when the keys grow old, and when workers want fresher ones; those fetches are limited, for anyone can send a token that needs one."""

    def __init__(self, source: JwksSource, client: httpx.AsyncClient, publish: Publish, wanted: asyncio.Event, log: Log) -> None:
        self.source = source
        self.fetcher = _Fetcher(source, client)
        self.publish = publish
        self.wanted = wanted
        self.log = log
        self.document = b""  # the last good one
        self.began = 0.0  # when it was asked for
        self.full = 0.0  # when nothing will be left of the fetches in vain
        self.failures = 0

    @property
    def allowed(self) -> float:
        """From when on a fetch may be wanted."""
        return self.full - (BURST - 1) * self.source.refetch

    async def run(self) -> None:
        asked = False
        while True:
            began = time.monotonic()
            self.wanted.clear()
            fresh = await self._fetch(began)
            if asked and not fresh:
                self.full = max(self.full, began) + self.source.refetch
            if self.document:
                self.publish(_published(self.document, self.began, max(self.allowed, 0.0)))
            await asyncio.sleep(PAUSE)
            asked = await self._pause(began + self._delay())

    async def _fetch(self, began: float) -> bool:
        """Whether there are other keys than before."""
        try:
            document = await self.fetcher.fetch()
            notes = self.source.judge(document)
        except (httpx.HTTPError, ValueError, TimeoutError) as error:
            self.fetcher.etag = ""
            self.failures += 1
            if self.failures == 1:
                self.log("warning", "keys-failed", url=self.source.url, reason=_words(error), kept=bool(self.document))
            return False
        fresh = not self.document or _listed(document, "") != _listed(self.document, "")
        self.began = began
        if fresh:
            self.document = document
            self.full = 0.0  # whoever wanted it was right; those who still want it from before are no reason to be slow next time
        if fresh or self.failures:
            self.log("info", "keys-fetched", url=self.source.url, kids=_kids(document), notes=notes)
        self.failures = 0
        return fresh

    def _delay(self) -> float:
        """Seconds from one fetch to the next that nobody asked for."""
        if self.failures:
            return min(RETRY_MAX, RETRY_MIN * 2.0 ** min(self.failures - 1, 10)) * random.uniform(*EARLY)
        age = self.source.refresh if self.fetcher.age is None else max(self.fetcher.age, AGE_MIN)
        return min(age, self.source.refresh) * random.uniform(*EARLY)

    async def _pause(self, due: float) -> bool:
        """Wait until `due`, or until a fetch is wanted and allowed: True then."""
        while (now := time.monotonic()) < due:
            if not self.wanted.is_set():
                try:
                    await asyncio.wait_for(self.wanted.wait(), due - now)
                except TimeoutError:
                    return False
            elif now >= self.allowed:
                return True
            else:
                await asyncio.sleep(min(self.allowed, due) - now)
        return False


def _published(document: bytes, began: float, allowed: float) -> bytes:
    return msgspec.json.encode(Keys(document.decode(), began, allowed))


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _status(status: int, headers: httpx.Headers) -> str:
    where = f" to {headers['Location']}, which is not followed" if "Location" in headers else ""
    return f"the answer has status {status}{where}"


def _age(headers: httpx.Headers) -> float | None:
    """Seconds by Cache-Control less Age (RFC 9111 section 4.2); None where it says nothing."""
    control = headers.get("Cache-Control", "")
    if re.search(r"no-(store|cache)", control, re.IGNORECASE):
        return 0.0
    found = MAX_AGE.search(control)
    passed = headers.get("Age", "0")
    return max(0.0, float(found[1]) - (float(passed) if passed.isascii() and passed.isdigit() else 0.0)) if found else None


def _object(document: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(document.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{what}: expected a JSON object")
    return found


def _listed(document: bytes, what: str) -> list[str]:
    """The keys in an order of their own, so that a JWKS that is only written differently is the same one."""
    keys = _object(document, what).get("keys")
    if not isinstance(keys, list):
        raise ValueError(f"{what}: not a JWKS: it has no list `keys`")
    return sorted(json.dumps(key, sort_keys=True) for key in keys)


def _kids(document: bytes) -> list[Any]:
    return [key.get("kid") for key in _object(document, "")["keys"] if isinstance(key, dict)]
