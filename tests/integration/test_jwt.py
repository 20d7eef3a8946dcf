"""Two workers that check tokens of an issuer whose keys change, vanish and cannot be had."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.integration.conftest import Gateway, until
from tests.jwks import Issuer, token_of


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer("k0")
    yield made
    made.close()


def begin(gateway: Gateway, issuer: Issuer, more: str = "") -> None:
    policy = f"jwt: {{jwks: '{issuer.url}/jwks', audience: api{more}}}"
    gateway.write(f"routes: [{{path: /, respond: {{body: hello}}, policies: [{policy}]}}]")
    gateway.start()


def ask(gateway: Gateway, token: str) -> int:
    """Status of a request on a fresh connection: either worker may take it."""
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


class Callers:
    """Threads that ask with a token of the key in force; `seen` counts what they are answered."""

    def __init__(self, gateway: Gateway, kid: str, count: int = 4) -> None:
        self.gateway = gateway
        self.kid = kid
        self.seen: Counter[int] = Counter()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]

    def __enter__(self) -> Callers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _run(self, number: int) -> None:
        while not self.over.wait(0.005):
            self.seen[ask(self.gateway, token_of(self.kid, sub=f"user-{number}"))] += 1


@pytest.mark.slow
def test_no_good_token_is_refused_while_keys_change(gateway: Gateway, issuer: Issuer) -> None:
    begin(gateway, issuer)
    with Callers(gateway, "k0") as callers:
        until(lambda: callers.seen[200] > 20, 10, "callers are served")
        for number in range(1, 9):
            issuer.rotate(*(f"k{each}" for each in range(number, -1, -1)))
            callers.kid = f"k{number}"
            served = callers.seen[200]
            due = time.monotonic() + 0.5
            until(lambda due=due, served=served: time.monotonic() >= due and callers.seen[200] > served + 20, 10, "callers are served with the new key")
    assert set(callers.seen) == {200}
    assert len(gateway.said("keys-fetched")) == 9


def test_known_keys_go_on_while_the_issuer_is_down(gateway: Gateway, issuer: Issuer) -> None:
    begin(gateway, issuer, ", refresh: 100ms")
    issuer.status = 500
    until(lambda: gateway.said("keys-failed"), 10, "the failure is said")
    assert {ask(gateway, token_of("k0", sub=f"u{number}")) for number in range(50)} == {200}
    issuer.status = 200
    until(lambda: len(gateway.said("keys-fetched")) == 2, 10, "the return is said")
    assert len(gateway.said("keys-failed")) == 1


def test_a_key_that_is_dropped_is_gone_in_every_worker(gateway: Gateway, issuer: Issuer) -> None:
    begin(gateway, issuer, ", refresh: 300ms")
    token = token_of("k0")
    assert {ask(gateway, token) for _ in range(20)} == {200}
    issuer.rotate("k1")
    dropped = time.monotonic()
    until(lambda: {ask(gateway, token) for _ in range(20)} == {401}, 10, "the token is refused")
    assert time.monotonic() - dropped < 1
    assert {ask(gateway, token_of("k1")) for _ in range(20)} == {200}


def test_a_reload_asks_nobody_for_keys_again(gateway: Gateway, issuer: Issuer) -> None:
    begin(gateway, issuer)
    assert ask(gateway, token_of("k0")) == 200
    asked = len(issuer.asked)
    policy = f"jwt: {{jwks: '{issuer.url}/jwks', audience: api, leeway: 5s}}"
    gateway.write(f"routes: [{{path: /, respond: {{body: hello}}, policies: [{policy}]}}]")
    gateway.call("reload")
    assert {ask(gateway, token_of("k0", sub=f"u{number}")) for number in range(20)} == {200}
    assert len(issuer.asked) == asked
