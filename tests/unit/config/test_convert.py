from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from gw.config import convert
from gw.config.model import Duration, Size
from gw.config.units import Bounds
from gw.errors import ConfigError


class Inner(Struct, forbid_unknown_fields=True):
    name: str
    weight: Annotated[int, Meta(ge=0, le=9)] = 1


class Settings(Struct, forbid_unknown_fields=True, rename="kebab"):
    """As a policy would have them."""

    audience: Annotated[str, Meta(description="Who the token is for.")]
    inner: Inner | None = None
    many: Annotated[list[Inner], Meta(min_length=1)] = []
    by_name: dict[str, Inner] = {}
    wait: Annotated[Duration, Bounds(1, 5)] = Duration(1)
    size: Size | None = None
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    mode: Literal["a", "b"] | None = None
    code: Literal[301, 302] = 301
    tags: set[str] = set()
    anything: Any = None
    word_or_switch: str | bool = ""
    how_long: Duration | Literal["forever"] = Duration(0)


class Ordered(Struct, forbid_unknown_fields=True):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


def flaws(raw, kind=Settings):
    with pytest.raises(ConfigError) as caught:
        convert(raw, kind, "$.routes[0].policies[0].jwt")
    return [(each.pointer.removeprefix("$.routes[0].policies[0].jwt"), each.message, each.hint) for each in caught.value.problems]


def test_reads_everything():
    raw = {
        "audience": "api",
        "inner": {"name": "x"},
        "many": [{"name": "y", "weight": 9}],
        "by-name": {"z.z": {"name": "z"}},
        "wait": "2s",
        "size": "1KiB",
        "share": 0.25,
        "mode": "b",
        "code": 302,
        "tags": ["p", "q"],
        "anything": {"deep": [1, None]},
        "word-or-switch": True,
        "how-long": "forever",
    }
    read = convert(raw, Settings)
    assert read == Settings(
        "api", Inner("x"), [Inner("y", 9)], {"z.z": Inner("z")}, Duration(2), Size(1024), 0.25, "b", 302, {"p", "q"}, {"deep": [1, None]}, True, "forever"
    )
    assert type(read.wait) is Duration and type(read.size) is Size


def test_text_of_a_variable_becomes_a_number_where_one_is_expected():
    assert convert({"audience": "5", "share": "0.25", "code": "302"}, Settings) == Settings("5", share=0.25, code=302)


def test_every_problem_at_once_with_its_pointer():
    raw = {"inner": {"weight": 10, "nmae": "x"}, "many": [], "by-name": {"a b": 5}, "wait": "6s", "size": -1, "share": 1, "mode": "c", "code": 303, "by_name": {}}
    assert flaws(raw) == [
        (".inner.weight", "expected a whole number from 0 to 9, got 10", None),
        (".inner.nmae", "unknown key 'nmae'", "did you mean 'name'?"),
        (".inner", "'name' is missing", "expected text"),
        (".many", "expected at least 1 item, got none", None),
        ('.by-name["a b"]', "expected a mapping, got 5", None),
        (".wait", "expected a duration (250ms, 5s, 2m, 1h) from 1s to 5s, got other text", None),
        (".size", "expected a size (512, 32KiB, 1MiB), got -1", None),
        (".share", "expected a number, more than 0 and less than 1, got 1", None),
        (".mode", 'expected one of "a", "b", got other text', None),
        (".code", "expected one of 301, 302, got 303", None),
        (".by_name", "unknown key 'by_name'", "did you mean 'by-name'?"),
        ("", "'audience' is missing", "expected text: Who the token is for."),
    ]


def test_a_number_is_not_text():
    assert flaws({"audience": 1.10}) == [(".audience", "expected text, got 1.1", "write it in quotes")]


def test_booleans_are_not_numbers():
    assert [each[0] for each in flaws({"audience": "a", "wait": True, "size": False, "share": True})] == [".wait", ".size", ".share"]


def test_a_rule_of_the_struct_itself_is_a_problem_too():
    assert flaws({"low": 2, "high": 1}, Ordered) == [("", "low is above high", None)]
    assert [each[0] for each in flaws({"low": "x", "high": 1}, Ordered)] == [".low"]
    assert convert({"low": 1, "high": 2}, Ordered) == Ordered(1, 2)


def test_not_a_mapping_at_all():
    assert flaws([1]) == [("", "expected a mapping, got a list", None)]
