from __future__ import annotations

import codecs
import errno
import json
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gw._fast.logbuf import Log, decimal, escape, milliseconds

CAPACITY = 65536  # the least one
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def line(number: int, size: int = 100) -> bytes:
    return (b"%08d " % number).ljust(size - 1, b"x") + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def read_all(fd: int, most: int = 2**20) -> bytes:
    found = b""
    while len(found) < most:
        try:
            data = os.read(fd, most - len(found))
        except BlockingIOError:
            return found
        if not data:
            return found
        found += data
    return found


# whole lines


def test_lines_wait_until_they_are_flushed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = Log(fd)
    assert log.write(b"one\n") and log.write(b"two\n")
    assert (log.pending, log.lines, path.read_bytes()) == (8, 2, b"")
    assert repr(log) == f"<Log on {fd}: 8 of 65536 bytes wait, 2 lines, 0 dropped>"
    assert log.flush() == 0
    assert (log.pending, path.read_bytes()) == (0, b"one\ntwo\n")
    os.close(fd)


def test_a_full_buffer_is_flushed_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = Log(fd, CAPACITY)
    lines = [line(i) for i in range(2000)]
    assert all(log.write(each) for each in lines)
    assert log.flush() == 0
    assert path.read_bytes() == b"".join(lines)
    os.close(fd)


def test_a_full_disk_costs_lines_and_counts_them() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    log = Log(fd, CAPACITY)
    taken = [log.write(line(i)) for i in range(1000)]
    assert taken == [True] * 655 + [False] * 345
    assert log.flush() == errno.ENOSPC
    assert (log.pending, log.lines, log.dropped) == (65_500, 655, 345)
    os.close(fd)


def test_what_waited_while_the_disk_was_full_is_written_later(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    log = Log(full)
    log.write(b"one\n")
    assert log.flush() == errno.ENOSPC
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    log.set_fd(fd)
    assert log.write(b"two\n")
    assert log.flush() == 0
    assert (path.read_bytes(), log.dropped) == (b"one\ntwo\n", 0)
    os.close(full)
    os.close(fd)


def test_a_reader_that_drains_slowly_gets_whole_lines_in_order(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = Log(writer, CAPACITY)
    sent, got = [], b""
    for i in range(5000):
        text = line(i, 50 + i % 300)
        if log.write(text):
            sent.append(text)
        if i % 10 == 0:
            log.flush()
            got += read_all(reader, 1000)
    while log.flush() == errno.EAGAIN:
        got += read_all(reader)
    got += read_all(reader)
    assert got == b"".join(sent)
    assert log.dropped == 5000 - len(sent) > 0


def test_two_writers_of_one_full_pipe_do_not_cut_each_other(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    logs = [Log(writer, CAPACITY), Log(writer, CAPACITY)]
    got = b""
    sent = 0
    for i in range(4000):
        for number, log in enumerate(logs):
            sent += log.write(b"%d " % number + line(i, 333))
        if i % 20 == 0:
            logs[i // 20 % 2].flush()
            got += read_all(reader, 3000)
    while any(log.flush() for log in logs):
        got += read_all(reader)
    got += read_all(reader)
    lines = got.splitlines()
    assert len(lines) == sent
    assert all(re.fullmatch(rb"[01] \d{8} x{323}", each) for each in lines)


def test_a_line_longer_than_the_pipe_takes_at_once_arrives_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = Log(writer, 4 * CAPACITY)
    lines = [line(0), line(1, 150_000), line(2)]
    assert all(log.write(each) for each in lines)
    got = b""
    while log.flush() == errno.EAGAIN:
        got += read_all(reader)
    assert got + read_all(reader) == b"".join(lines)


def test_rotation_never_begins_a_file_with_half_a_line(pipe: tuple[int, int], tmp_path: Path) -> None:
    reader, writer = pipe
    log = Log(writer, 4 * CAPACITY)
    lines = [line(0, 150_000), line(1), line(2)]
    for each in lines:
        log.write(each)
    assert log.flush() == errno.EAGAIN
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    log.set_fd(fd)
    assert log.flush() == 0
    assert path.read_bytes() == line(1) + line(2)
    assert log.dropped == 1
    assert lines[0].startswith(read_all(reader))
    os.close(fd)


def test_a_pipe_nobody_reads_any_more() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    os.close(reader)
    log = Log(writer)
    log.write(b"one\n")
    assert log.flush() == errno.EPIPE
    os.close(writer)


def test_a_line_larger_than_the_buffer_is_dropped(pipe: tuple[int, int]) -> None:
    log = Log(pipe[1], CAPACITY)
    assert not log.write(line(0, CAPACITY + 1))
    assert log.write(line(0, CAPACITY))
    assert log.dropped == 1


def test_without_a_descriptor_lines_wait() -> None:
    log = Log(-1)
    log.write(b"one\n")
    assert log.flush() == errno.EBADF
    assert (log.pending, log.fd) == (4, -1)


def test_a_line_ends_with_a_line_feed() -> None:
    with pytest.raises(ValueError, match="line feed"):
        Log(-1).write(b"one")


# pieces of a line


@given(st.text())
@example('plain ASCII, long enough for eight at a time, with "quotes" and \\ and \x00\x1f\x7f in it')
@example("\u0080\u009f\u00a0\ud7ff\ue000\uffff\U00010000\U0010ffff")
def test_text_comes_back_as_it_was(text: str) -> None:
    assert json.loads(b'"' + escape(text.encode()) + b'"') == text


@given(
    st.one_of(
        st.binary(),
        st.lists(st.sampled_from([b"\xc2", b"\xe0\x80", b"\xed\xa0\x80", b"\xf4\x90", b"\xf0\x9f\x98", b"\x85", b"abcdefgh", b'"', b"\\", b"\n", "é€😀".encode()])).map(b"".join),
    )
)
def test_any_bytes_give_one_line_of_json(data: bytes) -> None:
    out = escape(data)
    text = out.decode()
    assert len(out) <= 6 * len(data)
    assert not re.search("[\x00-\x1f\x7f-\x9f]", text)
    assert json.loads(f'"{text}"') == data.decode(errors="gw-latin")


@pytest.mark.parametrize("dirty", [b"\x00", b"\x1f", b'"', b"\\", b"\x7f", b"\x80", b"\xff"])
def test_one_byte_to_escape_at_every_place_of_texts_of_every_length(dirty: bytes) -> None:
    for length in range(40):
        clean = bytes(range(0x30, 0x30 + length))  # short of the backslash
        assert escape(clean) == clean
        for at in range(length):
            expected = clean[:at] + escape(dirty) + clean[at + 1 :]
            assert escape(clean[:at] + dirty + clean[at + 1 :]) == expected


def as_latin(error: UnicodeError) -> tuple[str, int]:
    """Python's decoder names a whole broken sequence; every byte of it is shown by itself."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("gw-latin", as_latin)


@given(st.integers(0, 2**64 - 1))
@example(0)
@example(99)
@example(100)
def test_numbers(value: int) -> None:
    assert decimal(value) == b"%d" % value
    assert milliseconds(value) == b"%d.%03d" % divmod(value, 1000)


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.integers(0, 999))
@example(datetime(2000, 2, 29, 23, 59, 59), 999)
@example(datetime(1900, 2, 28), 0)
@example(datetime(1969, 12, 31, 23, 59, 59), 1)
def test_times(moment: datetime, ms: int) -> None:
    moment = moment.replace(microsecond=ms * 1000, tzinfo=UTC)
    seconds = (moment - EPOCH) // timedelta(seconds=1)
    assert Log(-1).time_at(seconds, ms) == f"{moment.year:04}" + moment.strftime("-%m-%dT%H:%M:%S.") + f"{ms:03}Z"


def test_the_cached_second_is_replaced() -> None:
    log = Log(-1)
    assert [log.time_at(second, 5) for second in (0, 0, 1, 0)] == ["1970-01-01T00:00:00.005Z"] * 2 + ["1970-01-01T00:00:01.005Z", "1970-01-01T00:00:00.005Z"]


def test_now() -> None:
    before = time.time()
    told = datetime.fromisoformat(Log(-1).time()).timestamp()
    assert before - 0.001 <= told <= time.time()
