"""Bearer tokens, looped in compiled code: each round is TIMES calls, so divide the figures by TIMES (DEAR where a public key is at work).

`hit` goes round ENTRIES tokens in a cache, so that their memory is not always in the nearest one. OpenSSL's own figures: `openssl speed rsa2048 ecdsap256 ed25519`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gw._fast import jwt
from gw._fast.jwt import TokenRules
from gw._fast.token_cache import Cache
from tests.tokens import CLAIMS, NOW, key_set, token

TIMES, DEAR, ENTRIES = 100_000, 1_000, 1_000
RULES = TokenRules(issuers=[CLAIMS["iss"]], audiences=["api"], scopes=["read"], required=["sub"])


def test_check_secret(benchmark: Callable[..., Any]) -> None:
    good = token("HS256", {"kid": "k1"})
    assert 270 < len(good) < 330
    assert benchmark(jwt._repeat, key_set(("HS256", "k1")), RULES, good, NOW, TIMES) == TIMES


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "Ed25519"])
def test_check_public_key(benchmark: Callable[..., Any], alg: str) -> None:
    assert benchmark(jwt._repeat, key_set((alg, "k1")), RULES, token(alg, {"kid": "k1"}), NOW, DEAR) == DEAR


def test_refused_by_signature(benchmark: Callable[..., Any]) -> None:
    forged = token(sub="somebody-else").rpartition(b".")[0] + b"." + token().rpartition(b".")[2]
    assert benchmark(jwt._repeat, key_set(("HS256", None)), RULES, forged, NOW, TIMES) == 0


def test_hit(benchmark: Callable[..., Any]) -> None:
    cache, keys = Cache(ENTRIES, 1 << 24), key_set(("HS256", "k1"))
    texts = [token("HS256", {"kid": "k1"}, sub=f"user-{number}") for number in range(ENTRIES)]
    for text in texts:
        cache.check(keys, RULES, text, NOW)
    assert benchmark(cache._repeat, keys, RULES, texts, NOW, TIMES) == TIMES
    assert cache.misses == ENTRIES
