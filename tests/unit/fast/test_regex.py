"""gw._fast.regex against Python's re on patterns of the subset, and what the subset leaves out."""

from __future__ import annotations

import re
import time
from contextlib import suppress

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gw._fast.regex import Regex

LITERALS = st.sampled_from(["a", "b", "ab", "é", "-", "/", r"\.", r"\x61", r"\n", "]", "}", ","])
SETS = st.sampled_from([".", "[ab]", "[^a]", "[a-c]", r"\d", r"\W", r"\S", r"\s", r"[\d-]", "[]a]", "[^]a]", r"[\w.]", "[a-]", r"[^\s]"])
REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{,2}", "{1,3}", "{0}", "*?", "+?", "??", "{1,2}?"])


def grown(children: st.SearchStrategy[str], repeated: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(children, max_size=4).map("".join),
        st.lists(children, min_size=1, max_size=3).map(lambda branches: f"(?:{'|'.join(branches)})"),
        st.tuples(children if repeated is None else repeated, REPEATS).map(lambda pair: f"({pair[0]}){pair[1]}"),
    )


BODIES = st.recursive(st.one_of(LITERALS, SETS), grown, max_leaves=12)
# Of a repetition of what can match nothing, re and we keep another turn's groups; whether it matches is the same, which the first test says.
SOLID = st.recursive(st.one_of(LITERALS, SETS), lambda children: grown(children, children.filter(lambda body: not re.fullmatch(body, ""))), max_leaves=12)
TEXTS = st.text(alphabet="abcA1.é-/ \n]", max_size=9).map(str.encode)


@settings(max_examples=400, deadline=None)
@given(BODIES, st.booleans(), st.booleans(), st.lists(TEXTS, min_size=1, max_size=8))
def test_says_what_re_says(body: str, fold: bool, anchored: bool, texts: list[bytes]) -> None:
    # An anchor binds to one branch, so that only a pattern without outer branches can be anchored as a whole.
    pattern = ("(?i)" if fold else "") + (f"^(?:{body})$" if anchored else body)
    expected = re.compile(pattern.encode(), re.DOTALL)
    regex = Regex(pattern)
    for text in texts:
        assert regex.match(text) == regex.match_by_threads(text) == (expected.fullmatch(text) is not None)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(SOLID, st.booleans()), min_size=1, max_size=4), st.lists(TEXTS, min_size=1, max_size=8))
def test_groups_are_those_of_re(parts: list[tuple[str, bool]], texts: list[bytes]) -> None:
    pattern = "".join(f"(?P<g{number}>{body})" if named else f"(?:{body})" for number, (body, named) in enumerate(parts))
    expected = re.compile(pattern.encode(), re.DOTALL)
    regex = Regex(pattern)
    for text in texts:
        found = expected.fullmatch(text)
        assert regex.groups(text) == (None if found is None else {name: value or b"" for name, value in found.groupdict().items()})


@pytest.mark.parametrize(
    ("pattern", "text", "groups"),
    [
        (r"/user/(?P<id>\d+)", b"/user/42", {"id": b"42"}),
        (r"/(?P<a>[^/]*)/(?P<b>.*)", b"/x/y/z", {"a": b"x", "b": b"y/z"}),
        (r"(?P<a>a+?)(?P<b>a*)", b"aaa", {"a": b"a", "b": b"aa"}),
        (r"(?P<a>a)|(?P<b>b)", b"b", {"a": b"", "b": b"b"}),
        (r"(?:(?P<last>\d),?)+", b"1,2,3", {"last": b"3"}),
        (r"(?i)/CAF(?P<x>é)", "/cafÉ".encode(), None),
        (r"(?i)/CAF(?P<x>é)", "/café".encode(), {"x": "é".encode()}),
    ],
)
def test_groups(pattern: str, text: bytes, groups: dict[str, bytes] | None) -> None:
    assert Regex(pattern).groups(text) == groups


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a(?=b)", "look-ahead is not supported, it cannot be matched in linear time at offset 1"),
        ("(?!b)", "look-ahead is not supported"),
        ("x(?<=b)", "look-behind is not supported"),
        ("x(?<!b)", "look-behind is not supported"),
        (r"(a)\1", "back-references are not supported, they cannot be matched in linear time at offset 3"),
        ("(?P<a>x)(?P=a)", "back-references are not supported"),
        ("(?<a>x)", "only (?:...), (?P<name>...) and a leading (?i) are supported at offset 0"),
        ("a(?i)b", "only (?:...), (?P<name>...) and a leading (?i) are supported at offset 1"),
        ("(?>a)", "only (?:...)"),
        ("a++", "possessive repeats are not supported at offset 2"),
        ("a**", "a repeat of a repeat needs a group at offset 2"),
        ("*a", "nothing to repeat at offset 0"),
        ("a|+", "nothing to repeat at offset 2"),
        ("(", "missing ')' of the group at offset 0"),
        ("a)", "unbalanced ')' at offset 1"),
        ("[a", "missing ']' of the class at offset 0"),
        ("[b-a]", "bad range in a class at offset 1"),
        (r"[a-\d]", "bad range in a class"),
        ("[[:alpha:]]", "POSIX classes are not supported at offset 1"),
        ("[é]", "a class holds bytes, this character is more than one at offset 1"),
        (r"\b", "'\\b' is not supported at offset 0"),
        (r"\Z", "'\\Z' is not supported"),
        ("\\", "the expression ends too early"),
        (r"\x1", "'\\x' needs two hex digits at offset 0"),
        ("a^b", "'^' is only supported at the start of the expression at offset 1"),
        ("a$b", "'$' is only supported at the end of the expression at offset 1"),
        ("(a$)", "'$' is only supported at the end"),
        ("a{", "'{' stands for itself only as '\\{' at offset 1"),
        ("a{,}", "'{' stands for itself only"),
        ("{a}", "'{' stands for itself only"),
        ("a{3,2}", "the bounds of the repeat are in the wrong order at offset 1"),
        ("a{1001}", "a repeat is limited to 1000 at offset 1"),
        ("(a{100}){100}", "the expression needs more than 4000 states"),
        ("(?P<1>a)", "bad group name at offset 4"),
        ("(?P<a", "bad group name"),
        ("(?P<a>x)(?P<a>y)", "group name 'a' is used twice at offset 12"),
        ("".join(f"(?P<a{i}>x)" for i in range(17)), "more than 16 named groups"),
        ("(" * 101 + ")" * 101, "more than 100 groups inside each other"),
    ],
)
def test_outside_the_subset(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Regex(pattern)


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet=r"ab(?P<x>=!:i)[]^-\d{1,2}*+?|$." + "é", max_size=14))
def test_what_compiles_means_what_it_means_in_re(pattern: str) -> None:
    try:
        regex = Regex(pattern)
    except ValueError:
        return
    try:
        expected = re.compile(pattern.replace("é", "z").encode(), re.DOTALL)  # re repeats the last byte of an é; neither letter is in a text
    except (re.error, FutureWarning):
        assume(False)
    for text in (b"", b"a", b"ab", b"-", b"{", b"aab1"):
        assert regex.match(text) == (expected.fullmatch(text) is not None)


def test_catastrophic_patterns_take_linear_time() -> None:
    for pattern in (r"(a*)*b", r"(a|a)*b", r"(a+)+b", r"(?:a?){30}a{30}", r"(.*)(.*)(.*)(.*)(.*)b"):
        regex = Regex(pattern)
        start = time.process_time()
        assert not regex.match(b"a" * 20_000)
        assert not regex.match_by_threads(b"a" * 20_000)
        assert time.process_time() - start < 2


def test_a_dfa_that_grows_too_large_is_done_without() -> None:
    regex = Regex(r"(.*a.{12})*x?")
    assert not regex.has_dfa
    assert regex.match(b"a" + b"b" * 12 + b"x")
    assert not regex.match(b"b" * 13)


def test_building_is_bounded() -> None:
    start = time.process_time()
    for pattern in (r"((a{0,30}){0,30}b?){0,3}", r"(.{0,1000}){0,3}", r"((((()*)*){1000}){1000}){1000}", r"(a|b|[^c]|.{3}){0,300}"):
        with suppress(ValueError):
            Regex(pattern)
    assert time.process_time() - start < 5


def test_it_describes_itself() -> None:
    regex = Regex(r"/x/(?P<id>\d)")
    assert repr(regex) == "<Regex '/x/(?P<id>\\\\d)', 7 instructions, DFA>"
    assert (regex.pattern, regex.names) == (r"/x/(?P<id>\d)", ("id",))
