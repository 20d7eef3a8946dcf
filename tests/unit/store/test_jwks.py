"""Keys by URL: what is fetched, when, and what is kept when it cannot be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec
import pytest

from gw.errors import GatewayError
from gw.store.jwks import DOCUMENT_MAX, JwksSource, Keys, issuer_of
from tests.jwks import Issuer, jwks
from tests.unit.fast.rig import PATIENCE


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer("k1")
    yield made
    made.close()


class Following:
    """A source at work: what it published and said."""

    def __init__(self) -> None:
        self.published: list[Keys] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.wanted = asyncio.Event()

    def log(self, level: str, event: str, /, **fields: object) -> None:
        self.said.append((event, dict(fields)))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.said]

    async def until(self, done: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not done():
                await asyncio.sleep(0.002)


def follow(source: JwksSource, test: Callable[[Following], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        following = Following()
        task = asyncio.create_task(source.run(lambda data: following.published.append(msgspec.json.decode(data, type=Keys)), following.wanted, following.log))
        try:
            await test(following)
        finally:
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(main())


def once(source: JwksSource) -> Keys:
    return msgspec.json.decode(asyncio.run(source.once()), type=Keys)


def test_the_document_as_it_is(issuer: Issuer) -> None:
    assert once(JwksSource(f"{issuer.url}/jwks")).document.encode() == jwks("k1")


@pytest.mark.parametrize(
    ("status", "fields", "document", "why"),
    [
        (404, {}, b"", "the answer has status 404"),
        (302, {"Location": "https://elsewhere/"}, b"", "status 302 to https://elsewhere/, which is not followed"),
        (200, {}, b"<html>", "not JSON"),
        (200, {}, b"\xff", "not JSON"),
        (200, {}, b"[" * 200_000, "not JSON"),
        (200, {}, b"[]", "expected a JSON object"),
        (200, {}, b'{"keys": {}}', "it has no list `keys`"),
        (200, {"Content-Encoding": "gzip"}, b"", "the answer is compressed"),
        (200, {}, b" " * (DOCUMENT_MAX + 1), f"larger than {DOCUMENT_MAX} bytes"),
    ],
)
def test_what_cannot_be_used_is_refused(issuer: Issuer, status: int, fields: dict[str, str], document: bytes, why: str) -> None:
    issuer.status, issuer.fields, issuer.document = status, fields, document
    with pytest.raises(GatewayError, match=why):
        once(JwksSource(f"{issuer.url}/jwks"))


def test_a_silent_issuer_is_given_up(issuer: Issuer) -> None:
    issuer.gate.clear()
    with pytest.raises(GatewayError, match="Timeout"):
        once(JwksSource(f"{issuer.url}/jwks", timeout=0.05))


@pytest.mark.parametrize(
    ("discovery", "why"),
    [
        ({"issuer": "https://other", "jwks_uri": "x"}, "names the issuer 'https://other', expected"),
        ({"jwks_uri": "x"}, "names the issuer None"),
        ({"issuer": "{url}"}, "jwks_uri is None"),
        ({"issuer": "{url}", "jwks_uri": "file:///etc/passwd"}, "jwks_uri is 'file:///etc/passwd'"),
        ({"issuer": "{url}", "jwks_uri": "http://issuer.example/k"}, "is not https"),
    ],
)
def test_a_discovery_document_must_be_the_issuer_s(issuer: Issuer, discovery: dict[str, str], why: str) -> None:
    issuer.discovery = {name: text.replace("{url}", issuer.url) for name, text in discovery.items()}
    with pytest.raises(GatewayError, match=why):
        once(JwksSource(f"{issuer.url}/.well-known/openid-configuration", discovery=True))


def test_discovery_leads_to_the_keys(issuer: Issuer) -> None:
    assert once(JwksSource(f"{issuer.url}/.well-known/openid-configuration", discovery=True)).document.encode() == jwks("k1")
    assert issuer_of("https://i/x/.well-known/openid-configuration") == issuer_of("https://i/x/") == "https://i/x"


def test_an_unchanged_document_is_not_sent_again(issuer: Issuer) -> None:
    issuer.fields = {"ETag": '"v1"'}

    async def test(following: Following) -> None:
        await following.until(lambda: len(following.published) >= 3)
        assert [fields.get("If-None-Match") for _, fields in issuer.asked[:3]] == [None, '"v1"', '"v1"']
        assert {each.document for each in following.published} == {jwks("k1").decode()}

    follow(JwksSource(f"{issuer.url}/jwks", refresh=0.1), test)


def test_the_same_keys_written_differently_are_no_news(issuer: Issuer) -> None:
    issuer.rotate("k1", "k2")

    async def test(following: Following) -> None:
        await following.until(lambda: following.published)
        first = following.published[0].document
        issuer.document = json.dumps({"made": 1, "keys": json.loads(jwks("k2", "k1"))["keys"]}, indent=1).encode()
        await following.until(lambda: len(following.published) >= 3)
        assert {each.document for each in following.published} == {first}
        issuer.rotate("k2")
        await following.until(lambda: following.published[-1].document == jwks("k2").decode())
        assert following.events == ["keys-fetched", "keys-fetched"]
        assert following.said[-1][1]["kids"] == ["k2"]

    follow(JwksSource(f"{issuer.url}/jwks", refresh=0.1), test)


@pytest.mark.parametrize(
    ("control", "fetches"),
    [({}, 1), ({"Cache-Control": "max-age=0"}, 1), ({"Cache-Control": "public, max-age=86400"}, 1), ({"Cache-Control": "no-store"}, 1), ({"Cache-Control": "max-age=x"}, 1)],
)
def test_no_answer_makes_us_ask_without_pause(issuer: Issuer, control: dict[str, str], fetches: int) -> None:
    issuer.fields = control

    async def test(following: Following) -> None:
        await following.until(lambda: following.published)
        following.wanted.set()  # in vain: what comes behind it was not asked for by anybody
        await following.until(lambda: len(following.published) == 2)
        assert len(issuer.asked) == fetches + 1

    follow(JwksSource(f"{issuer.url}/jwks"), test)


def test_fetches_in_vain_are_limited_and_those_that_help_are_not(issuer: Issuer) -> None:
    async def test(following: Following) -> None:
        await following.until(lambda: following.published)
        for number in range(2, 7):
            issuer.rotate(f"k{number}")
            following.wanted.set()
            await following.until(lambda: following.published[-1].document == issuer.document.decode())
            assert following.published[-1].allowed == 0
        for vain in (1, 2):
            following.wanted.set()
            await following.until(lambda vain=vain: len(following.published) == 6 + vain)
        allowed = following.published[-1].allowed
        assert allowed > following.published[-1].began
        following.wanted.set()
        await following.until(lambda: len(following.published) == 9)
        assert following.published[-1].began >= allowed

    follow(JwksSource(f"{issuer.url}/jwks", refetch=0.5), test)


def test_the_last_keys_stay_while_the_issuer_is_down(issuer: Issuer) -> None:
    async def test(following: Following) -> None:
        await following.until(lambda: following.published)
        issuer.status = 503
        following.wanted.set()
        await following.until(lambda: len(following.published) >= 2)
        assert following.published[-1].document == jwks("k1").decode()
        assert following.published[-1].began == following.published[0].began
        issuer.status, issuer.document = 200, jwks("k2")
        await following.until(lambda: following.published[-1].document == jwks("k2").decode())
        assert following.events == ["keys-fetched", "keys-failed", "keys-fetched"]
        assert following.said[1][1]["kept"] is True

    follow(JwksSource(f"{issuer.url}/jwks", refresh=0.1), test)


def test_new_keys_give_the_allowance_back(issuer: Issuer) -> None:
    async def test(following: Following) -> None:
        await following.until(lambda: following.published)
        for vain in (1, 2):
            following.wanted.set()
            await following.until(lambda vain=vain: following.published[-1].allowed > 0 and len(following.published) > vain)
        issuer.rotate("k2")
        await following.until(lambda: following.published[-1].document == jwks("k2").decode())
        assert following.published[-1].allowed == 0

    follow(JwksSource(f"{issuer.url}/jwks", refresh=0.3, refetch=3600), test)
