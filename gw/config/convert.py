"""Trees into the structs of the model, with every problem at once.

msgspec stops at its first error, so structs, lists and mappings are walked here and msgspec judges the leaves. A type becomes a reader
once; a reader returns the value, or BROKEN after it has reported why.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from gw.config.node import Node, Position, Unfilled, join, plain
from gw.config.units import Bounds, Duration, Size
from gw.config.yaml_source import scalar
from gw.errors import ConfigError, Problem

T = TypeVar("T", bound=Struct)


class _Broken:
    """In place of a value that could not be read, so that the rest can be checked in the same run."""

    def __repr__(self) -> str:
        return "BROKEN"


BROKEN: Any = _Broken()
Reader = Callable[[Node, str, list[Problem]], Any]


def whole(items: Any) -> Iterator[tuple[int, Any]]:
    """The items of a list that could be read, with their index."""
    return ((index, item) for index, item in enumerate(() if items is BROKEN else items) if item is not BROKEN)


def convert(raw: Any, kind: type[T], pointer: str = "$") -> T:
    """Plain values as a struct, such as the config of a policy. Raises ConfigError whose problems carry pointers that begin with `pointer`."""
    problems: list[Problem] = []
    value: T = read(_nodes(raw, Position("", 0, 0)), kind, pointer, problems)
    if problems:
        raise ConfigError(problems)
    return value


def read(node: Node, kind: Any, pointer: str, problems: list[Problem]) -> Any:
    """The tree as `kind`. Appends a problem for everything wrong; what is broken holds BROKEN, or the default where there is one."""
    return reader_of(kind)(node, pointer, problems)


def _nodes(raw: Any, at: Position) -> Node:
    if isinstance(raw, dict):
        return Node({str(key): _nodes(child, at) for key, child in raw.items()}, at)
    return Node([_nodes(child, at) for child in raw] if isinstance(raw, list) else raw, at, filled=isinstance(raw, str))


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word most like the one given, by letters; `-` and `_` count as the same."""
    known = {each.lower().replace("-", "_"): each for each in words}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    return known[found[0]] if found else None


def advise(word: str, words: Iterable[str], what: str = "") -> str | None:
    """The hint under an unknown word: the nearest one, or else all that there are."""
    known = list(words)
    near = nearest(word, known)
    if near is not None:
        return f"did you mean '{near}'?"
    return f"expected one of: {', '.join(known)}" if 0 < len(known) <= 40 else what or None


@cache
def reader_of(hint: Any) -> Reader:
    """How to read a value of this type."""
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if base is Any:
        return _read_anything
    if get_origin(base) in (Union, UnionType):
        return _union_reader(hint, base)
    if isinstance(base, type) and issubclass(base, Struct):
        return _struct_reader(base)
    if get_origin(base) is list:
        return _list_reader(hint, get_args(base)[0])
    if get_origin(base) is dict:
        return _dict_reader(hint, get_args(base)[1])
    return _leaf_reader(hint, [base])


def _read_anything(node: Node, pointer: str, problems: list[Problem]) -> Any:
    if isinstance(node.value, dict):
        return {key: _read_anything(child, join(pointer, key), problems) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [_read_anything(child, f"{pointer}[{index}]", problems) for index, child in enumerate(node.value)]
    return _mismatch(Any, node, pointer, problems) if isinstance(node.value, Unfilled) else node.value


def _struct_reader(kind: type[Struct]) -> Reader:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    required = [name for name, field in fields.items() if field.required]
    readers: dict[str, Reader] = {}
    has_rule = hasattr(kind, "__post_init__")

    def read_struct(node: Node, pointer: str, problems: list[Problem]) -> Any:
        if not isinstance(node.value, dict):
            return _mismatch(kind, node, pointer, problems)
        values, before = {}, len(problems)
        for key, child in node.value.items():
            field = fields.get(key)
            if field is None:
                problems.append(Problem(message=f"unknown key '{key}'", pointer=join(pointer, key), at_key=True, hint=advise(key, fields)))
                continue
            reader = readers.get(key) or readers.setdefault(key, reader_of(field.type))
            value = reader(child, f"{pointer}.{key}", problems)
            if value is not BROKEN or field.required:
                values[field.name] = value
        for name in required:
            if name not in node.value:
                problems.append(Problem(message=f"'{name}' is missing", pointer=pointer, hint=_purpose(fields[name].type)))
                values[fields[name].name] = BROKEN
        try:
            return BROKEN if has_rule and len(problems) > before else kind(**values)
        except ValueError as error:
            problems.append(Problem(message=str(error), pointer=pointer))
            return BROKEN

    return read_struct


def _purpose(hint: Any) -> str:
    description = next((meta.description for meta in _metas(hint) if meta.description), None)
    return f"expected {describe(hint)}" + (f": {description}" if description else "")


def _list_reader(hint: Any, item: Any) -> Reader:
    least = max((meta.min_length or 0 for meta in _metas(hint)), default=0)

    def read_list(node: Node, pointer: str, problems: list[Problem]) -> Any:
        if not isinstance(node.value, list):
            return _mismatch(hint, node, pointer, problems)
        if len(node.value) < least:
            problems.append(Problem(message=f"expected at least {least} item{'s' if least > 1 else ''}, got {len(node.value) or 'none'}", pointer=pointer))
        reader = reader_of(item)
        return [reader(child, f"{pointer}[{index}]", problems) for index, child in enumerate(node.value)]

    return read_list


def _dict_reader(hint: Any, item: Any) -> Reader:
    def read_dict(node: Node, pointer: str, problems: list[Problem]) -> Any:
        if not isinstance(node.value, dict):
            return _mismatch(hint, node, pointer, problems)
        reader = reader_of(item)
        return {key: reader(child, join(pointer, key), problems) for key, child in node.value.items()}

    return read_dict


def _union_reader(hint: Any, union: Any) -> Reader:
    """The kind of the value decides: null, mapping, list or scalar; a union has at most one member of the middle two."""
    members = [each for each in get_args(union) if each is not NoneType]
    optional = len(members) < len(get_args(union))
    by_shape: dict[type | None, Reader] = {shape: reader_of(member) for member in members if (shape := shape_of(member))}
    scalars = [each for each in members if shape_of(each) is None]
    if scalars:
        by_shape[None] = _leaf_reader(hint, scalars)

    def read_union(node: Node, pointer: str, problems: list[Problem]) -> Any:
        if node.value is None and optional:
            return None
        reader = by_shape.get(type(node.value) if isinstance(node.value, dict | list) else None)
        return reader(node, pointer, problems) if reader else _mismatch(hint, node, pointer, problems)

    return read_union


def shape_of(hint: Any) -> type | None:
    """list or dict (structs too) for what has members, None for a scalar."""
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(base) is list:
        return list
    return dict if get_origin(base) is dict or (isinstance(base, type) and issubclass(base, Struct)) else None


def _leaf_reader(hint: Any, members: list[Any]) -> Reader:
    """A scalar of one of these types; other types that msgspec knows (sets, tagged structs) go to it whole."""
    metas = tuple(get_args(hint)[1:]) if get_origin(hint) is Annotated else ()
    accepts = [_accept(Annotated[(member, *metas)] if metas else member) for member in members]

    def read_leaf(node: Node, pointer: str, problems: list[Problem]) -> Any:
        for value in _readings(node):
            for accept in accepts:
                try:
                    return accept(value)
                except ValueError:
                    continue
        return _mismatch(hint, node, pointer, problems)

    return read_leaf


def _accept(hint: Any) -> Callable[[Any], Any]:
    unit = next((each for each in (Duration, Size) if each in (hint, *get_args(hint))), None)
    return _unit_of(hint, unit) if unit else lambda value: msgspec.convert(value, hint, dec_hook=_unit)


def _unit(unit: type[Duration | Size], value: Any) -> Duration | Size:
    return unit.parse(value)


def _readings(node: Node) -> Iterable[Any]:
    """What a scalar may mean, best first: its value; its text, where it was not quoted; a number, where a variable was filled in."""
    yield plain(node)
    if node.text is not None and node.value is not None:
        yield node.text
    if node.filled and isinstance(node.value, str):
        yield scalar(node.value)


def _unit_of(hint: Any, unit: type[Duration | Size]) -> Callable[[Any], Duration | Size]:
    bounds = next((each for each in get_args(hint) if isinstance(each, Bounds)), None)

    def accept(value: Any) -> Duration | Size:
        known = (int, str, float) if unit is Duration else (int, str)
        quantity = unit.parse(value if type(value) in known else "")
        if bounds and not bounds.least <= quantity <= bounds.most:
            raise ValueError(value)
        return quantity

    return accept


def _mismatch(hint: Any, node: Node, pointer: str, problems: list[Problem]) -> Any:
    if isinstance(node.value, Unfilled):
        problems += [Problem(message=message, pointer=pointer, hint=advice) for message, advice in node.value.flaws]
    else:
        problems.append(Problem(message=f"expected {describe(hint)}, got {_shown(node)}", pointer=pointer, hint=_mismatch_hint(hint, node)))
    return BROKEN


def _mismatch_hint(hint: Any, node: Node) -> str | None:
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    choices = [str(each) for member in (base, *get_args(base)) if get_origin(member) is Literal for each in get_args(member)]
    if choices and isinstance(node.value, str):
        near = nearest(node.value, choices)
        return f"did you mean '{near}'?" if near else None
    if base is str and isinstance(node.value, int | float):
        return "write it in quotes"
    if get_origin(base) is list and isinstance(node.value, str | int):
        return "write it as a list: [...], or one `- ` line for each item"
    return None


def _shown(node: Node) -> str:
    value = node.value
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if node.filled:
        return "other text"
    written = node.text if node.text is not None and value is not None else "null" if value is None else f'"{value}"' if isinstance(value, str) else str(value)
    return written if len(written) <= 60 else f"{written[:57]}..."


def describe(hint: Any) -> str:
    """A type in words: what an error expects and what the reference lists. That a value may also be null goes without saying."""
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(base) in (Union, UnionType):
        members = [each for each in get_args(base) if each is not NoneType]
        return " or ".join(map(describe, members)) + _range_of(hint)
    if get_origin(base) is Literal:
        choices = [f'"{each}"' if isinstance(each, str) else str(each) for each in get_args(base)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if get_origin(base) is list:
        return f"a list of {_plural(get_args(base)[0])}"
    if get_origin(base) is dict:
        return f"a mapping of names to {_plural(get_args(base)[1])}"
    if isinstance(base, type) and issubclass(base, Struct):
        return "a mapping"
    return _WORDS.get(base, getattr(base, "__name__", str(base))) + _range_of(hint)


_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Any: "anything",
    Duration: "a duration (250ms, 5s, 2m, 1h)",
    Size: "a size (512, 32KiB, 1MiB)",
}
_PLURALS = {str: "texts", int: "whole numbers", Any: "items", bool: "true or false"}


def _plural(hint: Any) -> str:
    if shape_of(hint) is dict:
        return "mappings"
    members = [each for each in get_args(hint) if each is not NoneType] if get_origin(hint) in (Union, UnionType) else [hint]
    return " or ".join(_PLURALS.get(each) or ("mappings" if shape_of(each) is dict else describe(each)) for each in members)


def _range_of(hint: Any) -> str:
    least, most = limits_of(hint)
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return f", at least {least}" if least is not None else f", at most {most}" if most is not None else _open_range(hint)


def _open_range(hint: Any) -> str:
    words = [f"{word} {bound}" for meta in _metas(hint) for word, bound in (("more than", meta.gt), ("less than", meta.lt)) if bound is not None]
    return f", {' and '.join(words)}" if words else ""


def limits_of(hint: Any) -> tuple[Any, Any]:
    """Least and most value allowed, inclusive; None where there is no bound."""
    bounds = next((each for each in get_args(hint) if isinstance(each, Bounds)), None)
    if bounds:
        base = get_args(hint)[0]
        unit = Duration if Duration in (base, *get_args(base)) else Size
        return unit(bounds.least), unit(bounds.most)
    least = next((meta.ge for meta in _metas(hint) if meta.ge is not None), None)
    return least, next((meta.le for meta in _metas(hint) if meta.le is not None), None)


def _metas(hint: Any) -> list[Meta]:
    return [each for each in get_args(hint)[1:] if isinstance(each, Meta)] if get_origin(hint) is Annotated else []
