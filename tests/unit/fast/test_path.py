"""gw._fast.path against docs/paths.md, an oracle, and the spellings by which proxies are fooled."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gw._fast.path import ENCODED_SLASH_KEEP, MERGE_SLASHES, PARAMETERS_KEEP, REASONS, normalise
from tests.documents import ROOT
from tests.reference import path as reference

KEEP_ALL = ENCODED_SLASH_KEEP | PARAMETERS_KEEP | MERGE_SLASHES
WORDS = reference.CODES

ACCEPTED = [
    # raw, flags, normal form
    (b"/", MERGE_SLASHES, b"/"),
    (b"/user/7", MERGE_SLASHES, b"/user/7"),
    (b"/user/7/", MERGE_SLASHES, b"/user/7/"),
    (b"/%61%2D%5f%7E%2e%30", MERGE_SLASHES, b"/a-_~.0"),
    (b"/%c3%a9", MERGE_SLASHES, b"/%C3%A9"),
    (b"/a%40b", MERGE_SLASHES, b"/a%40b"),
    (b"/a%3fb%23c", MERGE_SLASHES, b"/a%3Fb%23c"),
    (b"/100%25", MERGE_SLASHES, b"/100%25"),
    (b"/%2541", MERGE_SLASHES, b"/%2541"),
    (b"//a///b//", MERGE_SLASHES, b"/a/b/"),
    (b"//a//b", 0, b"//a//b"),
    (b"/a//../b", 0, b"/a/b"),
    (b"/a//../b", MERGE_SLASHES, b"/b"),
    (b"/a/b/../c/./d", MERGE_SLASHES, b"/a/c/d"),
    (b"/a/b/..", MERGE_SLASHES, b"/a/"),
    (b"/a/.", MERGE_SLASHES, b"/a/"),
    (b"/a/..", MERGE_SLASHES, b"/"),
    (b"/.", MERGE_SLASHES, b"/"),
    (b"/a/%2e%2E/b", MERGE_SLASHES, b"/b"),
    (b"/a/.../..b/.c", MERGE_SLASHES, b"/a/.../..b/.c"),
    (b"/\"<>^`{|}!$&'()*+,=:@", MERGE_SLASHES, b"/\"<>^`{|}!$&'()*+,=:@"),
    (b"/a%2fb%5Cc", KEEP_ALL, b"/a%2Fb%5Cc"),
    (b"/a;v=1/b%3bw", KEEP_ALL, b"/a;v=1/b%3Bw"),
    (b"/;x/a;..", KEEP_ALL, b"/;x/a;.."),
]

REFUSED = [
    (b"", "start"),
    (b"a/b", "start"),
    (b"*", "start"),
    (b"/%", "escape"),
    (b"/%4", "escape"),
    (b"/%4g", "escape"),
    (b"/%%34", "escape"),
    (b"/a\x00", "control"),
    (b"/a%00b", "control"),
    (b"/%0d%0aX: y", "control"),
    (b"/a\tb", "control"),
    (b"/a\x7f", "control"),
    (b"/a%7f", "control"),
    (b"/%1b[2J", "control"),
    (b"/caf\xc3\xa9", "byte"),
    (b"/a b", "space"),
    (b"/a#b", "delimiter"),
    (b"/a?b", "delimiter"),
    (b"/a\\b", "backslash"),
    (b"/a%2fb", "encoded-slash"),
    (b"/a%5cb", "encoded-slash"),
    (b"/a;b", "parameter"),
    (b"/a%3bb", "parameter"),
    (b"/..", "above-root"),
    (b"/a/../..", "above-root"),
    (b"/%2e%2e/a", "above-root"),
    (b"//../a", "above-root"),
    (b"/%252e", "double"),
    (b"/%252F", "double"),
    (b"/%255c", "double"),
    (b"/%2525", "double"),
    (b"/%253b", "double"),
    (b"/%2500", "double"),
    (b"/%25%32%65", "double"),
    (b"/%c0%ae", "overlong"),
    (b"/%C1%9C", "overlong"),
    (b"/%e0%80%af", "overlong"),
    (b"/%F0%80%80%AF", "overlong"),
]

REFUSED_EVEN_IF_KEPT = [b"/..;/a", b"/..%3b/a", b"/a/.;x", b"/..%2fa", b"/a%5c..", b"/a%2f.%2fb", b"/x%2f..;a=1%2fb", b"/a/..%5C..%2fb"]


@pytest.mark.parametrize(("raw", "flags", "normal"), ACCEPTED)
def test_accepted(raw: bytes, flags: int, normal: bytes) -> None:
    assert normalise(raw, flags) == normal


@pytest.mark.parametrize(("raw", "reason"), REFUSED)
def test_refused(raw: bytes, reason: str) -> None:
    code = normalise(raw)
    assert isinstance(code, int)
    assert WORDS[code] == reason


@pytest.mark.parametrize("raw", REFUSED_EVEN_IF_KEPT)
def test_hidden_dots_are_refused_even_where_their_cover_is_kept(raw: bytes) -> None:
    code = normalise(raw, KEEP_ALL)
    assert isinstance(code, int)
    assert WORDS[code] == "hidden-dots"


@pytest.mark.parametrize("position", range(40))
@pytest.mark.parametrize("octet", [0x00, 0x1F, 0x20, 0x23, 0x3F, 0x5C, 0x7F, 0x80, 0xFF])
def test_no_position_of_a_long_path_escapes_the_fast_check(position: int, octet: int) -> None:
    raw = bytearray(b"/" + b"a" * 40)
    raw[1 + position] = octet
    assert isinstance(normalise(bytes(raw)), int)


@pytest.mark.parametrize("position", range(2, 40))
def test_no_position_of_a_dot_segment_escapes_the_fast_check(position: int) -> None:
    raw = bytearray(b"/" + b"a" * 44)
    raw[position : position + 4] = b"/../"
    assert normalise(bytes(raw)) == b"/" + b"a" * (41 - position)


def test_every_refusal_has_words() -> None:
    assert set(REASONS) == set(reference.CODES)
    assert len(set(REASONS.values())) == len(REASONS)


PIECES = st.sampled_from(
    [*rb"/ / // . .. /../ /./ a Z ~ @ | ; %3b %2e %2E %2f %5C %25 % 2 e 5 c %61 %c0 %ae %E0 %80 %c3%a9 %f0 \ %00 %7f # %20 abcdefghijklmnopq".split(), b"\x00", b"\xc3", b" "]
)
PATHS = st.one_of(st.lists(PIECES, max_size=12).map(lambda pieces: b"/" + b"".join(pieces)), st.binary(max_size=40).map(lambda tail: b"/" + tail), st.binary(max_size=8))
FLAGS = st.integers(0, KEEP_ALL)


@settings(max_examples=1500, deadline=None)
@given(PATHS, FLAGS)
@example(b"/%25%32%65", MERGE_SLASHES)
def test_same_as_the_oracle(raw: bytes, flags: int) -> None:
    expected = reference.normalise(raw, keep_slash=bool(flags & ENCODED_SLASH_KEEP), keep_parameters=bool(flags & PARAMETERS_KEEP), merge=bool(flags & MERGE_SLASHES))
    actual = normalise(raw, flags)
    if isinstance(actual, int):
        assert isinstance(expected, set)
        assert WORDS[actual] in expected
    else:
        assert actual == expected


@settings(max_examples=1500, deadline=None)
@given(PATHS, FLAGS)
def test_normal_forms_stay_what_they_are(raw: bytes, flags: int) -> None:
    once = normalise(raw, flags)
    if isinstance(once, bytes):
        assert normalise(once, flags) == once
        assert len(once) <= len(raw)
        assert not {b".", b".."} & set(once.split(b"/"))


def origin_view(path: bytes) -> bytes:
    """What a careless origin makes of a path: decoded until nothing changes, backslashes as slashes, parameters cut, dots resolved."""
    while (once := unquote_to_bytes(path)) != path:
        path = once
    segments = [re.split(rb"[;\x00]", segment)[0] for segment in path.replace(b"\\", b"/").split(b"/")]
    return reference.resolve(segments[1:], merge=True) or b"/"


# Spellings of /admin and of /api/../admin; the second column tells whether they are refused with default rules (otherwise they are /admin or a path of their own).
SPELLINGS = [
    (b"/admin", False),
    (b"/admin/", False),
    (b"//admin", False),
    (b"///admin//x", False),
    (b"/./admin", False),
    (b"/%61dmin", False),
    (b"/%61%64%6d%69%6E", False),
    (b"/api/../admin", False),
    (b"/api/./../admin", False),
    (b"/api//../admin", False),
    (b"/api/%2e%2e/admin", False),
    (b"/api/%2E%2e/admin", False),
    (b"/api/.%2e/admin", False),
    (b"/api/%2e./admin", False),
    (b"/api/x/../../admin", False),
    (b"/ADMIN", False),
    (b"/Admin", False),
    (b"/admin.", False),
    (b"/admin%20", False),
    (b"/api/..../admin", False),
    (b"/api/..%20/admin", False),
    (b"/api/..;/admin", True),
    (b"/api/..;x=y/admin", True),
    (b"/api/;/../admin", True),
    (b"/api/.;/../admin", True),
    (b"/admin;x=1", True),
    (b"/;x/admin", True),
    (b"/api/..%2fadmin", True),
    (b"/api/..%2Fadmin", True),
    (b"/api%2f..%2fadmin", True),
    (b"/api/..%5cadmin", True),
    (b"/api/..\\admin", True),
    (b"/api\\..\\admin", True),
    (b"\\admin", True),
    (b"/admin%00", True),
    (b"/admin%00.html", True),
    (b"/adm\x00in", True),
    (b"/api/%252e%252e/admin", True),
    (b"/api/%252e%252e%252fadmin", True),
    (b"/api/..%252fadmin", True),
    (b"/api/..%255cadmin", True),
    (b"/api/%25%32%65%25%32%65/admin", True),
    (b"/api/%c0%ae%c0%ae/admin", True),
    (b"/api/%e0%80%ae%e0%80%ae/admin", True),
    (b"/../admin", True),
    (b"/api/../../admin", True),
    (b"/%2e%2e/admin", True),
    (b"/admin%0d%0a", True),
    (b"/admin#", True),
    (b"/api/%u002e%u002e/admin", True),
]


@pytest.mark.parametrize("flags", [MERGE_SLASHES, 0, KEEP_ALL, KEEP_ALL & ~MERGE_SLASHES])
@pytest.mark.parametrize(("raw", "refused"), SPELLINGS)
def test_no_spelling_reaches_admin_unseen(raw: bytes, refused: bool, flags: int) -> None:
    normal = normalise(raw, flags)
    if not flags & (ENCODED_SLASH_KEEP | PARAMETERS_KEEP):
        assert isinstance(normal, int) == refused
    if isinstance(normal, bytes) and not flags & (ENCODED_SLASH_KEEP | PARAMETERS_KEEP) and flags & MERGE_SLASHES:
        # What gw forwards is what it matched: an origin sees /admin only where gw did.
        assert (origin_view(normal).split(b"/")[1] == b"admin") == (normal.split(b"/")[1] == b"admin")
    if isinstance(normal, bytes):
        assert not {b".", b".."} & set(origin_view(normal).split(b"/"))


def test_the_documented_table_is_the_one_that_holds() -> None:
    rows = re.findall(r"^\| `(/[^`]*)` \| (?:`(/[^`]*)`|([^|`]+)) \|", (ROOT / "docs" / "paths.md").read_text(), re.MULTILINE)
    assert len(rows) >= 20
    for raw, normal, words in rows:
        expected = normal.encode() if normal else next(code for code, text in REASONS.items() if text == f"the path {words.strip()}")
        assert normalise(raw.encode()) == expected, raw
