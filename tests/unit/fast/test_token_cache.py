"""gw._fast.token_cache: what is found was checked, is in time, and takes no more room than allowed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gw._fast.jwt import TokenRules, check
from gw._fast.keys import KeySet
from gw._fast.token_cache import Cache, Entry
from tests.tokens import CLAIMS, NOW, SECRET, key_set, sign, token

RULES = TokenRules(audiences=["api"])


@pytest.fixture(scope="module")
def keys() -> KeySet:
    return key_set(("HS256", None), ("HS512", None))


def claims_of(found: Entry | str) -> dict[str, Any]:
    assert isinstance(found, Entry), found
    return found.claims


def counts(cache: Cache) -> tuple[int, int, int]:
    return cache.hits, cache.misses, len(cache)


def test_the_second_time_it_is_found(keys: KeySet) -> None:
    cache, good = Cache(8, 1 << 20), token()
    for number in range(3):
        assert claims_of(cache.check(keys, RULES, good, NOW)) == CLAIMS
        assert counts(cache) == (number, 1, 1)
    assert claims_of(cache.check(keys, RULES, token(sub="other"), NOW))["sub"] == "other"
    assert counts(cache) == (2, 2, 2)


def test_what_was_refused_is_checked_again(keys: KeySet) -> None:
    cache = Cache(8, 1 << 20)
    for _ in range(2):
        assert cache.check(keys, RULES, token()[:-1] + b"!", NOW) == "base64"
        assert cache.check(keys, RULES, token(aud="x"), NOW) == "audience"
        assert cache.check(keys, RULES, token(exp=NOW), NOW) == "expired"
    assert counts(cache) == (0, 6, 0)


@pytest.mark.parametrize("leeway", [0, 30])
def test_time_is_looked_at_every_time(keys: KeySet, leeway: int) -> None:
    rules, cache = TokenRules(leeway=leeway), Cache(8, 1 << 20)
    good = token(exp=NOW + 100, nbf=NOW, iat=NOW)
    assert isinstance(cache.check(keys, rules, good, NOW), Entry)
    assert isinstance(cache.check(keys, rules, good, NOW + leeway + 99), Entry)
    assert cache.check(keys, rules, good, NOW - leeway - 1) == "not-yet-valid"
    assert counts(cache) == (1, 1, 1)
    assert cache.check(keys, rules, good, NOW + leeway + 100) == "expired"
    assert counts(cache) == (1, 1, 0)
    assert cache.octets == 0


def test_every_octet_of_a_token_counts(keys: KeySet) -> None:
    cache, good = Cache(8, 1 << 20), token("HS512")
    assert isinstance(cache.check(keys, RULES, good, NOW), Entry)
    for at in range(len(good)):
        if good[at] != ord("."):
            changed = good[:at] + (b"A" if good[at] != ord("A") else b"B") + good[at + 1 :]
            assert isinstance(cache.check(keys, RULES, changed, NOW), str), at
    assert isinstance(cache.check(keys, RULES, good[:-1], NOW), str)
    assert isinstance(cache.check(keys, RULES, good + b"A", NOW), str)
    assert counts(cache)[0] == 0


def test_short_tokens_are_kept_too() -> None:
    cache, rules = Cache(8, 1 << 20), TokenRules(require_exp=False)
    keys, short = KeySet([("HS256", None, SECRET)]), sign('{"alg":"HS256"}', "{}")
    assert len(short) < 80
    for _ in range(2):
        assert claims_of(cache.check(keys, rules, short, NOW)) == {}
    assert counts(cache) == (1, 1, 1)


def test_other_keys_or_rules_begin_anew(keys: KeySet) -> None:
    cache, good = Cache(8, 1 << 20), token()
    held = cache.check(keys, RULES, good, NOW)
    rotated = KeySet([("HS256", None, b"n" * 32)])
    assert cache.check(rotated, RULES, good, NOW) == "signature"
    assert counts(cache) == (0, 2, 0)
    assert claims_of(held) == CLAIMS
    assert isinstance(cache.check(keys, RULES, good, NOW), Entry)
    assert cache.check(keys, TokenRules(audiences=["other"]), good, NOW) == "audience"
    assert counts(cache) == (0, 4, 0)
    same = key_set(("HS256", None), ("HS512", None))
    assert same.generation != keys.generation
    assert isinstance(cache.check(same, RULES, good, NOW), Entry)
    assert counts(cache) == (0, 5, 1)


def test_an_entry_outlives_its_cache(keys: KeySet) -> None:
    cache = Cache(1, 1 << 20)
    held = [cache.check(keys, RULES, token(sub=f"user-{number}"), NOW) for number in range(5)]
    held += [cache.check(keys, RULES, token(sub="user-4"), NOW)]
    assert counts(cache) == (1, 5, 1)
    del cache
    assert [claims_of(each)["sub"] for each in held] == ["user-0", "user-1", "user-2", "user-3", "user-4", "user-4"]


def test_what_is_used_stays(keys: KeySet) -> None:
    cache = Cache(4, 1 << 20)
    used = token(sub="used")
    for number in range(50):
        assert isinstance(cache.check(keys, RULES, used, NOW), Entry)
        assert isinstance(cache.check(keys, RULES, token(sub=f"once-{number}"), NOW), Entry)
    assert cache.hits == 49
    assert len(cache) == 4
    assert cache.evictions == 47


def test_what_has_expired_goes_first(keys: KeySet) -> None:
    cache = Cache(2, 1 << 20)
    old, new = token(exp=NOW + 1), token(exp=NOW + 100)
    for _ in range(2):
        assert isinstance(cache.check(keys, RULES, new, NOW), Entry)
        assert isinstance(cache.check(keys, RULES, old, NOW), Entry)
    assert isinstance(cache.check(keys, RULES, token(sub="third"), NOW + 1), Entry)
    assert isinstance(cache.check(keys, RULES, new, NOW + 1), Entry)
    assert cache.hits == 3


def test_memory_is_bounded(keys: KeySet) -> None:
    cache = Cache(1000, 20_000)
    for number in range(200):
        assert isinstance(cache.check(keys, RULES, token(sub=f"user-{number}", pad="x" * (number % 50) * 20), NOW), Entry)
        assert cache.octets <= 20_000
    assert 5 < len(cache) < 30


def test_what_is_larger_than_the_cache_pushes_nobody_out(keys: KeySet) -> None:
    small, huge = token(), token(pad="x" * 5000)
    cache = Cache(1000, 2 * len(huge))
    assert isinstance(cache.check(keys, RULES, small, NOW), Entry)
    assert isinstance(cache.check(keys, RULES, huge, NOW), Entry)
    assert isinstance(cache.check(keys, RULES, small, NOW), Entry)
    assert counts(cache) == (1, 2, 1)


@pytest.mark.parametrize("limits", [(0, 1 << 20), (8, 0)])
def test_it_can_be_switched_off(keys: KeySet, limits: tuple[int, int]) -> None:
    cache = Cache(*limits)
    for _ in range(2):
        assert claims_of(cache.check(keys, RULES, token(), NOW)) == CLAIMS
    assert counts(cache) == (0, 2, 0)


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="entries: -1, expected 0 to 16777216"):
        Cache(-1, 0)


TOKENS = [(sub, exp) for sub in ("a", "b", "c", "d") for exp in (3, 6, 12)]
calls = st.lists(st.tuples(st.sampled_from(TOKENS), st.integers(0, 15), st.booleans()), max_size=60)


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(0, 5000), calls)
def test_verdicts_do_not_depend_on_the_cache(entries: int, octets: int, sequence: list[tuple[tuple[str, int], int, bool]]) -> None:
    cache, held = Cache(entries, octets), []
    keys = [key_set(("HS256", None)), KeySet([("HS256", None, b"n" * 32)])]
    rules = TokenRules(leeway=1)
    for (sub, exp), now, other in sequence:
        text = sign('{"alg":"HS256"}', json.dumps({"sub": sub, "exp": exp, "nbf": 1}))
        found = cache.check(keys[other], rules, text, now)
        expected = check(keys[other], {"leeway": 1}, text, now)
        if isinstance(found, Entry):
            held.append((found, expected))
        assert (found.claims if isinstance(found, Entry) else found) == expected
        assert len(cache) <= entries
        assert cache.octets <= octets
    assert all(found.claims == expected for found, expected in held)
