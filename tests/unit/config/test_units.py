import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.config.units import LARGEST, LONGEST, Duration, Size

DURATIONS = [("250ms", 0.25), ("5s", 5), ("2m", 120), ("1h", 3600), ("1d", 86400), ("90", 90), ("1.5h", 5400), ("5 s", 5), ("100us", 0.0001), (7, 7), (0.5, 0.5), (0, 0)]
SIZES = [("512", 512), ("512B", 512), ("32KiB", 32768), ("1MiB", 2**20), ("1GiB", 2**30), ("1KB", 1000), ("2MB", 2 * 10**6), ("3GB", 3 * 10**9), ("1.5KiB", 1536), (7, 7)]
NOT_DURATIONS = ["", "s", "5x", "5S", "-1s", "1e3", "1_000", "٣s", "5s ", " 5s", "1h30m", "inf", "nan", ".5s"]
NOT_DURATIONS += [-1, float("inf"), float("nan"), LONGEST + 1, "1" * 19, "999999999999999999d"]
NOT_SIZES = ["", "KiB", "1kb", "1K", "1.3B", "-1", "1e6", "0x10", "1 0", -1, LARGEST + 1, "999999999999999999GiB", "5s"]


@pytest.mark.parametrize(("written", "seconds"), DURATIONS)
def test_duration(written, seconds):
    assert Duration.parse(written) == pytest.approx(seconds)


@pytest.mark.parametrize(("written", "count"), SIZES)
def test_size(written, count):
    assert Size.parse(written) == count


@pytest.mark.parametrize("written", NOT_DURATIONS)
def test_not_a_duration(written):
    with pytest.raises(ValueError):
        Duration.parse(written)


@pytest.mark.parametrize("written", NOT_SIZES)
def test_not_a_size(written):
    with pytest.raises(ValueError):
        Size.parse(written)


PRINTED = [(0, "0s"), (0.25, "250ms"), (0.001, "1ms"), (5, "5s"), (90, "90s"), (120, "2m"), (5400, "90m"), (3600, "1h"), (86400, "1d"), (1.5, "1.5s")]


@pytest.mark.parametrize(("seconds", "text"), PRINTED)
def test_a_duration_prints_as_it_is_written(seconds, text):
    assert str(Duration(seconds)) == text
    assert Duration.parse(text) == seconds


@given(st.integers(0, LARGEST))
def test_every_size_prints_as_it_is_read(count):
    assert Size.parse(str(Size(count))) == count


@given(st.integers(0, int(LONGEST)))
def test_every_whole_duration_prints_as_it_is_read(seconds):
    assert Duration.parse(str(Duration(seconds))) == seconds
