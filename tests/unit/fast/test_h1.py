"""Framing of messages: any split gives the same facts or the same fault, and what passes is what the RFCs' grammar takes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gw._fast import probe
from tests.reference import h1 as oracle

MAX = 1 << 20  # a limit that no case here reaches


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def text(alphabet: str, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=most)


cuts = st.lists(st.integers(0, 400), max_size=8)
TOKENS = "abzABZ09-_.!~"
names = st.one_of(
    text(TOKENS, 12),
    st.sampled_from(["Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "TE", "Content_Length", "X-Forwarded-For", "Trailer", "Keep-Alive"]),
)
values = st.one_of(
    text(' \t!",/:;=@\\abcxyz0123456789\xe9\xff', 20).map(lambda value: value.strip(" \t")),
    st.just(""),
    st.sampled_from(
        ["0", "5", "05", "+5", "5, 5", "chunked", "gzip, chunked", "chunked, chunked", "Chunked", ", chunked ,", "close", "keep-alive, x-a", "Upgrade", "websocket", "100-continue"]
    ),
)
space = st.sampled_from(["", " ", "\t", "  \t"])
fields = st.lists(st.tuples(names, space, values, space), max_size=8)
methods = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PURGE", "CONNECT", "m!", "get"])
targets = st.sampled_from(["/", "/a/b?c=d", "/%41;x", "http://h.example/x", "*", "h.example:443", "a", "/\xe9", "/a#b", "//"])


def lines(given_fields: list[tuple[str, str, str, str]]) -> str:
    return "".join(f"{name}:{before}{value}{behind}\r\n" for name, before, value, behind in given_fields)


@st.composite
def requests(draw: Any) -> bytes:
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1"]))
    host = draw(st.sampled_from(["Host: h\r\n", ""]))
    return f"{draw(methods)} {draw(targets)} {version}\r\n{host}{lines(draw(fields))}\r\n".encode("latin-1")


@st.composite
def mutated(draw: Any, whole: st.SearchStrategy[bytes]) -> bytes:
    """A message with a byte or two changed, taken out, or put in."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        piece = draw(st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b":", b"\x7f", b"\x80", b";", b'"', b"0", b"f", b"\\", b"x"]))
        data[at : at + draw(st.integers(0, 2))] = piece
    return bytes(data)


# Requests: the engine itself refuses most forms of an ambiguous length, as syntax


@given(mutated(requests()), st.binary(max_size=20), cuts)
@example(b"GET / HTTP/1.1\r\nHost: h\r\na:\r\n\r\n", b"", [29])
@example(b"OPTIONS *x HTTP/1.1\r\nHost: h\r\n\r\n", b"", [9])
@example(b"OPTIONS *\0", b"", [9])
@example(b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", b"", [1])
def test_any_split_of_a_request_gives_the_same(data: bytes, behind: bytes, places: list[int]) -> None:
    whole = probe.request([data], max_head=MAX, max_line=MAX)
    assert probe.request(split(data, places), max_head=MAX, max_line=MAX) == whole
    assert probe.request(bytewise(data), max_head=MAX, max_line=MAX) == whole
    if isinstance(whole, dict):
        assert probe.request([data[: whole["head_len"]] + behind], max_head=MAX, max_line=MAX) == whole


@given(mutated(requests()))
@settings(max_examples=500)
def test_a_request_that_passes_is_one_by_the_grammar(data: bytes) -> None:
    facts = probe.request([data], max_head=MAX, max_line=MAX)
    if isinstance(facts, dict):
        head = oracle.request(data)
        assert head is not None
        assert (facts["method"], facts["target"], facts["minor"], facts["head_len"]) == (head.method, head.target, head.minor, head.length)
        assert [(name, value) for name, value, _, _ in facts["fields"]] == head.fields
        check_framing(facts, head)


def check_framing(facts: dict[str, Any], head: oracle.Head) -> None:
    """RFC 9112 section 6.3 for what passed: one way to read the length, and a Host."""
    found = {name: [value for key, value in head.fields if key.lower() == name] for name in (b"content-length", b"transfer-encoding", b"host")}
    lengths, codings = found[b"content-length"], found[b"transfer-encoding"]
    assert len(found[b"host"]) == 1 or (head.minor == 0 and not found[b"host"])
    assert len(lengths) + bool(codings) <= 1
    if codings:
        assert head.minor >= 1
        assert [each.strip(b" \t").lower() for each in b",".join(codings).split(b",") if each.strip(b" \t")] == [b"chunked"]
        assert facts["framing"] == "chunked"
    elif lengths:
        assert lengths[0].isdigit()
        assert facts["length"] == int(lengths[0])
        assert facts["framing"] == ("length" if facts["length"] else "none")
    else:
        assert facts["framing"] == "none"


@given(
    st.sampled_from(["GET", "POST", "PURGE", "m-search"]),
    st.sampled_from(["/", "/a?b=c&d", "/%C3%A9"]),
    st.lists(st.tuples(text(TOKENS, 12).map("x-".__add__), space, values, space), max_size=9),
)
def test_a_request_by_the_grammar_passes(method: str, target: str, given_fields: list[tuple[str, str, str, str]]) -> None:
    data = f"{method} {target} HTTP/1.1\r\nHost: h.example\r\n{lines(given_fields)}\r\n".encode("latin-1")
    facts = probe.request([data])
    assert isinstance(facts, dict)
    assert [(name, value) for name, value, _, _ in facts["fields"][1:]] == [(name.encode(), value.encode("latin-1")) for name, _, value, _ in given_fields]


HOST = b"Host: h\r\n"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "host-missing"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "host"),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", "version"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "syntax"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "syntax"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\n", "syntax"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000000000000\r\n\r\n", "length"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", "syntax"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", "coding-unknown"),
        (b"GET / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", "coding"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: 200-ok\r\n\r\n", "expect"),
        (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", "syntax"),
        (b"GET /\r\n", "syntax"),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "syntax"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n c\r\n\r\n", "syntax"),
        (b"GET / HTTP/1.1\nHost: h\n\n", "syntax"),
        (b"(/ HTTP/1.1\r\n", "syntax"),
        (b"GET *x HTTP/1.1\r\n", "target"),
        (b"\r\n" * 20 + b"GET / HTTP/1.1\r\n", "syntax"),
        (b"A" * 200, "syntax"),
    ],
)
def test_faults_of_requests(data: bytes, fault: str) -> None:
    assert probe.request([data]) == fault
    assert probe.request(bytewise(data)) == probe.request([data])


def test_limits_of_requests() -> None:
    line = b"GET /%b HTTP/1.1\r\n"
    assert isinstance(probe.request([line % (b"a" * 95) + HOST + b"\r\n"], max_line=100), dict)
    for pieces in ([line % (b"a" * 96)], bytewise(line % (b"a" * 96))):
        assert probe.request(pieces, max_line=100) == "line-size"
    many = line % b"" + HOST + b"a: b\r\n" * 9
    assert isinstance(probe.request([many, b"\r\n"], max_fields=10), dict)
    for pieces in ([many + b"c: d\r\n\r\n"], bytewise(many + b"c: d\r\n\r\n")):
        assert probe.request(pieces, max_fields=10) == "field-count"
    head = line % b"" + HOST + b"a: " + b"b" * 100 + b"\r\n\r\n"
    assert isinstance(probe.request([head], max_head=len(head)), dict)
    for pieces in ([head], bytewise(head)):
        assert probe.request(pieces, max_head=len(head) - 1) == "head-size"


def test_flags_and_dropped_fields_of_requests() -> None:
    more = b"Connection: close, X-One, Host\r\nx_one: 1\r\nx-one: 2\r\nTE: trailers\r\nUpgrade: x\r\nKeep-Alive: 1\r\nHTTP2-Settings: x\r\nDate: d\r\n\r\n"
    facts = probe.request([b"GET / HTTP/1.1\r\n" + HOST + more])
    assert isinstance(facts, dict)
    assert facts["flags"] == {"close", "nominated"}
    assert [name for name, _, dropped, _ in facts["fields"] if dropped] == [b"Connection", b"x_one", b"x-one", b"TE", b"Upgrade", b"Keep-Alive", b"HTTP2-Settings"]
    assert flags(b"HTTP/1.0", b"") == set()
    assert flags(b"HTTP/1.0", b"Connection: keep-alive\r\n") == {"keep-alive"}
    assert flags(b"HTTP/1.0", b"Connection: keep-alive, close\r\n") == {"close"}
    assert flags(b"HTTP/1.0", b"Expect: 100-continue\r\n") == set()
    assert flags(b"HTTP/1.1", b"Expect: 100-Continue\r\n") == {"keep-alive", "expect"}
    assert flags(b"HTTP/1.1", b"Connection: upgrade\r\nUpgrade: a\r\n") == {"keep-alive", "upgrade"}
    assert flags(b"HTTP/1.1", b"Connection: upgrade\r\n") == {"keep-alive"}
    assert flags(b"HTTP/1.0", b"Connection: upgrade\r\nUpgrade: a\r\n") == set()


def flags(version: bytes, more: bytes) -> set[str]:
    facts = probe.request([b"GET / " + version + b"\r\nHost: h\r\n" + more + b"\r\n"])
    assert isinstance(facts, dict)
    return facts["flags"]


# Answers


@st.composite
def answers(draw: Any) -> bytes:
    status = draw(st.sampled_from(["100", "101", "200", "204", "304", "404", "599", "600", "099", "20", "2000"]))
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "ICY"]))
    reason = draw(st.sampled_from([" OK", " ", "", " Not \xe9", " a\tb"]))
    return f"{version} {status}{reason}\r\n{lines(draw(fields))}\r\n".encode("latin-1")


@given(mutated(answers()), cuts, st.booleans())
def test_any_split_of_an_answer_gives_the_same(data: bytes, places: list[int], to_head: bool) -> None:
    whole = probe.response([data], max_head=MAX, to_head=to_head)
    assert probe.response(split(data, places), max_head=MAX, to_head=to_head) == whole
    assert probe.response(bytewise(data), max_head=MAX, to_head=to_head) == whole


@pytest.mark.parametrize(
    ("head", "to_head", "framing", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", False, "length", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", True, "none", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", False, "none", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", False, "chunked", True),
        (b"HTTP/1.1 200 OK\r\n", False, "eof", False),
        (b"HTTP/1.1 200 OK\r\n", True, "none", True),
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n", False, "none", True),
        (b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n", False, "none", True),
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n", False, "none", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", False, "length", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n", False, "length", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n", False, "length", False),
    ],
)
def test_framing_of_answers(head: bytes, to_head: bool, framing: str, kept: bool) -> None:
    facts = probe.response([head + b"\r\n"], to_head=to_head)
    assert isinstance(facts, dict)
    assert (facts["framing"], "keep-alive" in facts["flags"]) == (framing, kept)


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (b"HTTP/1.1 099 x\r\n\r\n", "status"),
        (b"HTTP/1.1 600 x\r\n\r\n", "status"),
        (b"HTTP/2.0 200 x\r\n\r\n", "status"),
        (b"\r\nHTTP/1.1 200 x\r\n\r\n", "status"),
        (b"RTSP/1.0 200 x\r\n\r\n", "status"),
        (b"HTTP/1.1 200 a\0b\r\n\r\n", "status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "syntax"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "coding-unknown"),
        (b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "syntax"),
    ],
)
def test_faults_of_answers(head: bytes, fault: str) -> None:
    assert probe.response([head]) == fault
    assert probe.response(bytewise(head)) == probe.response([head])


# Chunked bodies

extension = st.sampled_from([b"", b";a", b" ; a = b", b';a="b\\"c;\xff"', b";a;b=c", b" ;\ta\t=\tb", b";a=", b";=", b" ", b"\t;", b";\x80", b';"', b"x"])
payloads = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
sections = st.sampled_from([b"", b"a: b\r\n", b"Date: x\r\nb:\r\n", b"no field\r\n", b"a: b\n", b"\rx"])


@st.composite
def bodies(draw: Any) -> bytes:
    pieces = [(b"%x" if draw(st.booleans()) else b"00%X") % len(piece) + draw(extension) + b"\r\n" + piece + b"\r\n" for piece in draw(payloads)]
    return b"".join(pieces) + draw(st.sampled_from([b"0", b"000"])) + draw(extension) + b"\r\n" + draw(sections) + b"\r\n" + draw(st.sampled_from([b"", b"GET / HTTP/1.1\r\n"]))


@given(mutated(bodies()), cuts)
@settings(max_examples=1000)
@example(b"5;\xff\r\nhello\r\n0\r\n\r\n", [])
@example(b"0\r\n\r\n", [3])
def test_chunked_is_what_the_grammar_says_in_any_split(data: bytes, places: list[int]) -> None:
    expected = oracle.chunked(data, loose=True)
    for pieces in ([data], split(data, places), bytewise(data)):
        assert probe.chunked(pieces) == expected
    strict = oracle.chunked(data, loose=False)
    if isinstance(strict, oracle.Decoded):
        assert expected == strict


def test_limits_of_chunks() -> None:
    digits = b"0" * 254
    assert probe.chunked([digits + b"1\r\nx\r\n0\r\n\r\n"]) == (b"x", b"", 265)
    assert probe.chunked([digits + b"001\r\nx\r\n0\r\n\r\n"]) == "chunk"
    assert probe.chunked([b"7fffffffffffff\r\n"]) is None
    assert probe.chunked([b"8000000000000000\r\n"]) == "chunk"
    assert probe.chunked([b"fffffffffffffffffff\r\n"]) == "chunk"
    assert probe.chunked([b"1;" + b"a" * 4000]) is None
    assert probe.chunked([b"1;" + b"a" * 4200]) == "chunk"
    line = b"a: " + b"b" * 95 + b"\r\n"
    assert probe.chunked([b"0\r\n" + line * 81 + b"\r\n"]) == (b"", line * 81, 3 + 8100 + 2)
    assert probe.chunked([b"0\r\n" + line * 82 + b"\r\n"]) == "trailer"


# Trailers


@given(mutated(fields.map(lambda given_fields: lines(given_fields).encode("latin-1"))))
@settings(max_examples=500)
def test_trailers_that_may_pass(section: bytes) -> None:
    assert probe.trailers(section) == oracle.trailers(section)


@pytest.mark.parametrize("name", sorted(oracle.NO_TRAILERS))
def test_fields_that_are_no_trailers(name: str) -> None:
    for spelled in (name, name.upper(), name.title()):
        assert probe.trailers(f"{spelled}: x\r\nServer-Timing: y\r\n".encode()) == b"Server-Timing: y\r\n"


# Host

hosts = st.one_of(
    text("aZ09-._~!$&'()*+;=,:[]%@/ \t\xe9", 12),
    st.ip_addresses().map(lambda address: f"[{address}]" if address.version == 6 else str(address)),
    st.from_regex(r"[a-zA-Z0-9.-]{1,12}(:[0-9]{0,6})?", fullmatch=True),
    st.from_regex(r"\[[0-9a-f:.]{2,20}\](:[0-9]{0,5})?", fullmatch=True),
)


@given(hosts)
@settings(max_examples=1000)
@example("[1:2:3:4:5:6:7::]")
@example("[::2:3:4:5:6:7:8]")
@example("[::]:65536")
@example("a..")
@example(".")
@example(":80")
def test_a_host_is_one_by_the_grammar(written: str) -> None:
    text = written.encode("latin-1")
    expected = oracle.host(text)
    found = probe.host(text)
    if text.startswith(b"[") and expected is None and found is not None:
        # Between brackets gw looks at the alphabet and the number of colons: such a host matches no route but `*`.
        assert set(found) <= set(b"[]0123456789abcdef:.")
        return
    assert found == expected


long_values = st.builds(
    lambda parts, size: "".join(parts) * size,
    st.lists(st.one_of(text("abc =;,./\xe9\xff", 20), st.sampled_from(["\t", " ", "\x7f", "\0", "\x1f", "\n", "\r", "\r\n ", "\r\n\t", "\r\nX: y"])), min_size=1, max_size=6),
    st.integers(1, 12),
)
long_names = st.sampled_from(
    ["Authorization", "Cookie", "X", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "Proxy-Connection", "User-Agent", "Expect", "Host", "TE"]
)


@given(st.lists(st.tuples(long_names, space, long_values, space), min_size=1, max_size=4), st.binary(max_size=20), cuts)
@example([("Authorization", " ", "Bearer " + "a" * 300, " ")], b"", [60])
@example([("Authorization", " ", "Bearer " + "a" * 39, "")], b"", [])
@example([("Connection", "", "a" * 60 + ", close", "")], b"", [])
@example([("Cookie", " ", "a" * 44 + "\r\n folded", "")], b"", [])
@example([("Cookie", " ", "a" * 43, "")], b"", [])
def test_long_values_are_read_as_the_engine_reads_them(given_fields: list[tuple[str, str, str, str]], behind: bytes, places: list[int]) -> None:
    """Byte by byte the engine is shown everything; in one piece it is not shown long values."""
    data = f"GET / HTTP/1.1\r\nHost: h\r\n{lines(given_fields)}\r\n".encode("latin-1") + behind
    expected = probe.request(bytewise(data), max_head=MAX, max_line=MAX)
    assert probe.request([data], max_head=MAX, max_line=MAX) == expected
    assert probe.request(split(data, places), max_head=MAX, max_line=MAX) == expected


@given(st.binary(min_size=16, max_size=80))
@example(bytes(range(32, 127)) + b"\t" + bytes(range(128, 256)) + bytes(16))
def test_the_end_of_a_value_is_its_first_control_character(data: bytes) -> None:
    first = next((at for at, byte in enumerate(data) if (byte < 32 and byte != 9) or byte == 127), len(data))
    assert probe.field_text(data) == first


@given(st.lists(answers(), min_size=1, max_size=6), st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_a_head_that_comes_again_is_read_as_the_first_time(heads: list[bytes], order: list[int]) -> None:
    turns = [heads[each % len(heads)] for each in order]
    found = probe.responses(turns, max_head=MAX)
    assert [outcome for outcome, _ in found] == [probe.response([head], max_head=MAX) for head in turns]


def test_what_repeats_is_read_once_and_what_does_not_is_kept_seldom() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: %d\r\n\r\n"
    assert [again for _, again in probe.responses([head % 1] * 5)] == [False, True, True, True, True]
    assert [again for _, again in probe.responses([head % 1 + b"body", head % 1 + b"ydob", head % 1 + b"b"])] == [False, True, False]  # of one size, whatever follows
    assert not any(again for _, again in probe.responses([b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 3))
    long = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1024 + b"\r\n\r\n"
    assert not any(again for _, again in probe.responses([long] * 3))
    assert not any(again for _, again in probe.responses([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 25 + b"\r\n"] * 2))
    found = [again for _, again in probe.responses([head % (10 + each // 2) for each in range(180)])]
    assert found[1:16:2] == [True] * 8  # each came twice
    unique = [head % (1000 + each) for each in range(100)]
    assert sum(again for _, again in probe.responses([each for head in unique for each in (head, head)])) == 100  # a hit ends a row of misses
    lost = [head % (1000 + each) for each in range(40)] + [head % 9000] * 40
    assert [again for _, again in probe.responses(lost)][-8:] == [True] * 8  # after a row of misses it takes a while


@pytest.mark.parametrize("limits", [{"max_head": 40}, {"max_fields": 1}])
def test_what_was_kept_is_held_to_the_limits_of_who_asks(limits: dict[str, int]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n\r\n"
    assert isinstance(probe.responses([head, head], **limits)[1][0], str)
