"""Durations and sizes as an operator writes them."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_DURATION_UNITS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([A-Za-z]*)", re.ASCII)

LONGEST = 366 * 86400.0
LARGEST = 2**50


class Bounds(NamedTuple):
    """Least and most value of a Duration (seconds) or Size (bytes), inclusive; stands in an annotation beside Meta."""

    least: float
    most: float


class Duration(float):
    """Seconds. Written as `250ms`, `5s`, `2m`, `1h`, `1d` or a plain number of seconds."""

    __slots__ = ()

    @classmethod
    def parse(cls, written: str | float) -> Duration:
        """Raises ValueError."""
        if isinstance(written, str):
            number, factor = _quantity(written, _DURATION_UNITS)
            written = float(number) * factor
        if not math.isfinite(written) or not 0 <= written <= LONGEST:
            raise ValueError(written)
        return cls(written)

    def __str__(self) -> str:
        if self and self < 1:
            return f"{self * 1000:.12g}ms"
        unit, factor = next(((unit, factor) for unit, factor in (("d", 86400), ("h", 3600), ("m", 60)) if self and self % factor == 0), ("s", 1))
        return f"{self / factor:.12g}{unit}"


class Size(int):
    """Bytes. Written as `512`, `32KiB`, `1MiB`, `1GiB`; KB, MB and GB are decimal."""

    __slots__ = ()

    @classmethod
    def parse(cls, written: str | int) -> Size:
        """Raises ValueError."""
        if isinstance(written, str):
            number, factor = _quantity(written, _SIZE_UNITS)
            exact = float(number) * factor if "." in number else int(number) * factor
            written = int(exact)
            if written != exact:
                raise ValueError(written)
        if not 0 <= written <= LARGEST:
            raise ValueError(written)
        return cls(written)

    def __str__(self) -> str:
        unit, factor = next(((unit, factor) for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)) if self and self % factor == 0), ("B", 1))
        return f"{int(self) // factor}{unit}"


def _quantity(text: str, units: dict[str, float] | dict[str, int]) -> tuple[str, float]:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise ValueError(text)
    return match[1], units[match[2]]
