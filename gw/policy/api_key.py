"""Find out who calls by an API key: in a header field, the query or a cookie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

from gw._fast.api_keys import ApiKeys
from gw._fast.credential import PLACES, ApiKeyStep
from gw.config.convert import nearest
from gw.config.node import join
from gw.config.syntax import FRAMING_FIELDS, is_token
from gw.errors import ConfigError, Problem
from gw.policy.base import Challenge, Kind, Tools
from gw.store import KeysSource, PackedKeys, pack

KIND: Kind = "authentication"
NAME = "api-key"
FORMS = ", ".join(f"{kind}:NAME" for kind in PLACES)


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Callers are the `consumers` with `api_keys`, and those that `gw keys create` made keys for."""

    look_in: Annotated[
        list[str],
        Meta(
            min_length=1,
            max_length=8,
            description="Places in the order they are looked at: `header:NAME`, `authorization:SCHEME` such as `authorization:Bearer`, `query:NAME`, `cookie:NAME`.",
        ),
    ] = field(default_factory=lambda: ["header:X-API-Key"])
    hide_credential: Annotated[bool, Meta(description="Take the key out of what goes to the origin.")] = True
    realm: Annotated[str, Meta(pattern='^[ !#-\\[\\]-~]+$', description="Named in the `WWW-Authenticate` of a refusal (RFC 9110 section 11.5).")] = "gw"


def build(config: Config, tools: Tools) -> ApiKeyStep:
    """A compiled step; raises ConfigError for places that are none, or when there can be no key."""
    problems = [*_flaws(config.look_in, tools.pointer), *_keyless(tools)]
    if problems:
        raise ConfigError(problems)
    places = [(kind, name) for kind, _, name in (text.partition(":") for text in config.look_in)]
    lines = "".join(f"WWW-Authenticate: {value}\r\n" for value in _asked(config))
    return ApiKeyStep(NAME, places, tools.once(NAME, lambda: _keys(tools)), lines.encode(), hide=config.hide_credential)


def challenge(config: Config) -> Challenge:
    """What a request without a credential is asked for."""
    return {"WWW-Authenticate": _asked(config)}


def _asked(config: Config) -> list[str]:
    schemes = dict.fromkeys(name if kind == "authorization" else "ApiKey" for kind, _, name in (text.partition(":") for text in config.look_in))
    return [f'{scheme} realm="{config.realm}"' for scheme in schemes]


def _keys(tools: Tools) -> ApiKeys:
    numbers = {name: index for index, name in enumerate(tools.consumers)}
    written = _part(pack((key.id, name, key.hash, None) for name, consumer in tools.consumers.items() for key in consumer.api_keys), numbers)
    keys = ApiKeys()
    keys.fill([written], whole=tools.store is None)
    if tools.store is not None:
        tools.follow(KeysSource(str(tools.store)), lambda data: keys.fill([written, _part(msgspec.msgpack.decode(data, type=PackedKeys), numbers)], whole=True))
    return keys


def _part(packed: PackedKeys, numbers: dict[str, int]) -> tuple[bytes, bytes, list[int | None]]:
    return packed.records, packed.ids, [numbers.get(name) for name in packed.consumers]


def _flaws(places: list[str], pointer: str) -> Iterator[Problem]:
    for index, text in enumerate(places):
        kind, _, name = text.partition(":")
        place = join(f"{pointer}.look_in", index)
        if kind not in PLACES or not name:
            close = nearest(kind, PLACES)
            yield Problem(message=f"'{text}' is no place for a key", pointer=place, hint=f"did you mean '{close}:{name or 'NAME'}'?" if close else f"expected {FORMS}")
        elif kind != "query" and not is_token(name):
            yield Problem(message=f"'{name}' cannot be the name of a {kind}", pointer=place, hint="letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 section 5.6.2)")
        elif kind == "header" and name.lower() in FRAMING_FIELDS | {"host", "authorization", "cookie"}:
            yield Problem(message=f"field '{name}' cannot carry a key", pointer=place, hint="`authorization:SCHEME` and `cookie:NAME` look into those fields")


def _keyless(tools: Tools) -> Iterator[Problem]:
    if tools.store is None and not any(consumer.api_keys for consumer in tools.consumers.values()):
        hint = "give one `api_keys` (`gw keys hash` prints what to write), or set `store` and run `gw keys create`"
        yield Problem(message="no consumer has an API key, so every request would be refused", pointer=tools.pointer, at_key=True, hint=hint)
