"""Require a JSON web token (RFC 7519) that an issuer's key, or one of your own, has signed."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import msgspec
from msgspec import Meta, Struct, field

from gw._fast.jwt import TokenRules
from gw._fast.jwt_step import JwtStep, KeySupply
from gw._fast.keys import KeySet
from gw.config.node import join
from gw.config.syntax import is_token
from gw.config.units import Bounds, Duration, Size
from gw.errors import ConfigError, Problem
from gw.policy.base import Challenge, Kind, Tools
from gw.store import source_key
from gw.store.jwks import DISCOVERY, JwksSource, Keys, issuer_of, plain_http_allowed
from gw.tls.jwk import VerifyKey, read_keys, secret_key

KIND: Kind = "authentication"
CLAIMS_MAX = 32
# Fields whose meaning is fixed: a claim must not become one.
FRAMING = {"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}

Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "Ed448", "EdDSA"]


class KeyGiven(Struct, forbid_unknown_fields=True, frozen=True):
    """One key of your own: exactly one of `file`, `pem`, `jwk`, `secret`."""

    file: Annotated[str | None, Meta(description="A file with a PEM public key or certificate, a JWK or a JWKS.")] = None
    pem: Annotated[str | None, Meta(description="A PEM public key or certificate.")] = None
    jwk: Annotated[str | None, Meta(description="A JWK or a JWKS, as JSON text.")] = None
    secret: Annotated[str | None, Meta(description="A secret of HS256, HS384 or HS512, at least as long as the hash: `${NAME}` or `file:`.")] = None
    alg: Annotated[Algorithm | None, Meta(description="The algorithm the key is for, where it does not say so itself: secrets and RSA keys.")] = None
    kid: Annotated[str | None, Meta(description="The key's name: tokens that name another key are not checked with it.")] = None


class Place(Struct, forbid_unknown_fields=True, frozen=True):
    """Where to look for the token: exactly one of them."""

    header: Annotated[str | None, Meta(description="A header field. `Authorization` has the scheme Bearer in front of the token, others hold the token alone.")] = None
    cookie: Annotated[str | None, Meta(description="A cookie.")] = None
    query: Annotated[str | None, Meta(description="A query parameter. Such tokens end up in histories and logs.")] = None


class Cache(Struct, forbid_unknown_fields=True, frozen=True):
    """Tokens found good are remembered, in each worker and for each route, until they expire."""

    bytes: Annotated[Size, Bounds(65536, 2**34), Meta(description="Most memory of one cache.")] = Size(16 << 20)
    entries: Annotated[int, Meta(description="Most tokens of one cache.", ge=1, le=1 << 20)] = 65536


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Keys come from exactly one of `jwks`, `discovery`, `keys`."""

    audience: Annotated[str | list[str], Meta(description="The token must be meant for one of these (claim `aud`). `any` has to be said: it takes tokens made for others.")]
    jwks: Annotated[str | None, Meta(description="URL of the issuer's keys (JWKS).")] = None
    discovery: Annotated[str | None, Meta(description="URL of the issuer, or of its OpenID Connect discovery document, which names the JWKS.")] = None
    keys: Annotated[list[KeyGiven], Meta(description="Keys of your own.")] = field(default_factory=list)
    issuer: Annotated[str | list[str], Meta(description="The token must be from one of these (claim `iss`). With `discovery` that issuer, unless said otherwise.")] = field(
        default_factory=list
    )
    algorithms: Annotated[list[Algorithm], Meta(description="The only algorithms to accept. Empty: whatever each key is for.")] = field(default_factory=list)
    leeway: Annotated[Duration, Bounds(0, 600), Meta(description="How much the issuer's clock and this one may differ.")] = Duration(30)
    required: Annotated[list[str], Meta(description="Claims that must be there; `a.b` is `b` inside `a`.")] = field(default_factory=list)
    require_exp: Annotated[bool, Meta(description="Refuse tokens that never expire.")] = True
    scopes: Annotated[list[str], Meta(description="The token must have all of these (claim `scope`, or `scp`); without: 403.")] = field(default_factory=list)
    types: Annotated[list[str], Meta(description="The token's `typ` must be one of these, such as `at+jwt` (RFC 9068). Empty: any.")] = field(default_factory=list)
    max_token: Annotated[Size, Bounds(64, 1 << 20), Meta(description="Longest token.")] = Size(8192)
    places: Annotated[list[Place], Meta(description="Where the token may be. A request with two is refused.")] = field(
        name="from", default_factory=lambda: [Place(header="Authorization")]
    )
    hide_credential: Annotated[bool, Meta(description="The origin does not get the token.")] = False
    claims_to_headers: Annotated[dict[str, str], Meta(description="Claim -> header field towards the origin. A client's own fields of these names are dropped.")] = field(
        default_factory=dict
    )
    groups_claim: Annotated[str | None, Meta(description="Claim with the caller's groups, a list or words, for the policy `acl`; `a.b` is `b` inside `a`.")] = None
    consumer_claim: Annotated[str, Meta(description="Claim that names the consumer, by `subjects` of `consumers`.")] = "sub"
    consumer_required: Annotated[bool, Meta(description="Refuse good tokens of callers who are no consumer.")] = False
    realm: Annotated[str, Meta(description="Named in WWW-Authenticate.", pattern=r'^[ !#-\[\]-~]*$')] = "gw"
    cache: Annotated[Cache | Literal["off"], Meta(description="Memory for tokens found good, or `off`.")] = field(default_factory=Cache)
    refresh: Annotated[Duration, Bounds(0.1, 86400), Meta(description="Longest time between two fetches of the issuer's keys; `Cache-Control` may shorten it.")] = Duration(300)
    refetch: Annotated[Duration, Bounds(0.1, 3600), Meta(description="Between two fetches because of tokens with unknown keys, when the last one found no new key.")] = Duration(10)
    timeout: Annotated[Duration, Bounds(0.1, 60), Meta(description="Of one fetch of the issuer's keys.")] = Duration(5)
    insecure: Annotated[bool, Meta(description="Fetch keys over plain HTTP from another machine: whoever is on the way can then make tokens.")] = False


class TokenKeys(JwksSource, frozen=True):
    """A JWKS that is only published when a token can be checked with it, or when it is empty: then no token is good."""

    algorithms: tuple[str, ...] = ()

    def judge(self, document: bytes) -> list[str]:
        """As JwksSource has it."""
        super().judge(document)
        return [] if _is_empty(document) else read_keys(document, what=self.url, algorithms=self.algorithms).notes


# Supplies of this process by source: routes and revisions that follow the same source share one, and those who wait on it.
SUPPLIES: WeakValueDictionary[str, KeySupply] = WeakValueDictionary()


def build(config: Config, tools: Tools) -> JwtStep:
    """A compiled step; raises ConfigError."""
    problems = [*_flaws(config, tools.pointer)]
    if problems:
        raise ConfigError(problems)
    cache = None if config.cache == "off" else config.cache
    return JwtStep(
        "jwt",
        _supply(config, tools),
        _rules(config, tools.pointer),
        sources=[_place(place) for place in config.places],
        claims=config.claims_to_headers,
        subjects={subject: index for index, consumer in enumerate(tools.consumers.values()) for subject in consumer.subjects},
        scopes=config.scopes,
        groups_claim=config.groups_claim or "",
        consumer_claim=config.consumer_claim,
        consumer_required=config.consumer_required,
        hide=config.hide_credential,
        realm=config.realm,
        cache_entries=cache.entries if cache else 0,
        cache_octets=cache.bytes if cache else 0,
    )


def challenge(config: Config) -> Challenge:
    """What a request without a credential is asked for."""
    return {"WWW-Authenticate": f'Bearer realm="{config.realm}"'}


def _supply(config: Config, tools: Tools) -> KeySupply:
    if config.keys:
        return KeySupply("", KeySet(_keys(config, tools)), 0)
    source = TokenKeys(
        url=_well_known(config.discovery) if config.discovery else config.jwks or "",
        discovery=config.discovery is not None,
        insecure=config.insecure,
        timeout=float(config.timeout),
        refresh=float(config.refresh),
        refetch=float(config.refetch),
        algorithms=tuple(config.algorithms),
    )
    key = source_key(source)
    supply = SUPPLIES.get(key) or KeySupply(key, None, round(config.refetch * 1e6))
    SUPPLIES[key] = supply

    def take(data: bytes) -> None:
        found = msgspec.json.decode(data, type=Keys)
        supply.take(_key_set(found.document, source.algorithms), round(found.began * 1e6), round(found.allowed * 1e6))

    tools.follow(source, take)
    return supply


@lru_cache(8)
def _key_set(document: str, algorithms: tuple[str, ...]) -> KeySet:
    """Equal documents are one set: what was checked with it stays checked."""
    data = document.encode()
    return KeySet([] if _is_empty(data) else read_keys(data, what="jwks", algorithms=algorithms).keys)


def _is_empty(document: bytes) -> bool:
    return not msgspec.json.decode(document)["keys"]


def _well_known(url: str) -> str:
    return url if DISCOVERY in url else url.rstrip("/") + DISCOVERY


def _rules(config: Config, pointer: str) -> TokenRules:
    issuer = [config.issuer] if isinstance(config.issuer, str) else config.issuer
    if config.discovery and not issuer:
        named = issuer_of(_well_known(config.discovery))
        issuer = [named, f"{named}/"]
    audience = [config.audience] if isinstance(config.audience, str) else config.audience
    try:
        return TokenRules(
            issuers=issuer,
            audiences=[] if audience == ["any"] else audience,
            required=config.required,
            scopes=config.scopes,
            types=config.types,
            leeway=round(config.leeway),
            require_exp=config.require_exp,
            max_bytes=config.max_token,
        )
    except ValueError as error:
        raise ConfigError([Problem(message=str(error), pointer=pointer)]) from None


def _place(place: Place) -> tuple[str, str]:
    if place.header is not None:
        return ("authorization" if place.header.lower() == "authorization" else "header", place.header)
    return ("cookie", place.cookie) if place.cookie is not None else ("query", place.query or "")


# Keys of the operator's own.


def _keys(config: Config, tools: Tools) -> list[VerifyKey]:
    keys: list[VerifyKey] = []
    for index, given in enumerate(config.keys):
        pointer = join(f"{tools.pointer}.keys", index)
        try:
            keys += _key(given, config, tools)
        except (ValueError, OSError) as error:
            raise ConfigError([Problem(message=str(error), pointer=pointer)]) from None
    return keys


def _key(given: KeyGiven, config: Config, tools: Tools) -> list[VerifyKey]:
    algorithms = [given.alg] if given.alg else list(config.algorithms)
    if given.secret is not None:
        if given.alg is None:
            raise ValueError("a secret needs `alg`: HS256, HS384 or HS512")
        return [secret_key(given.secret.encode(), what="secret", algorithm=given.alg, kid=given.kid)]
    if given.file is not None:
        return read_keys((tools.base / given.file).read_bytes(), what=given.file, algorithms=algorithms, kid=given.kid).keys
    what, text = ("pem", given.pem) if given.pem is not None else ("jwk", given.jwk or "")
    return read_keys(text.encode(), what=what, algorithms=algorithms, kid=given.kid).keys


# What cannot work.


def _flaws(config: Config, pointer: str) -> list[Problem]:
    named = [name for name in ("jwks", "discovery", "keys") if getattr(config, name)]
    flaws = []
    if len(named) != 1:
        text = f"keys come from one place, not from {' and '.join(named)}" if named else "no keys to check tokens with"
        flaws.append(Problem(message=text, pointer=pointer, hint="say one of `jwks: URL`, `discovery: URL`, `keys: [...]`"))
    for name in ("jwks", "discovery"):
        flaws += _url_flaws(getattr(config, name), config.insecure, f"{pointer}.{name}")
    for index, given in enumerate(config.keys):
        flaws += _one_of(given, ("file", "pem", "jwk", "secret"), join(f"{pointer}.keys", index))
    for index, place in enumerate(config.places):
        flaws += _one_of(place, ("header", "cookie", "query"), join(f"{pointer}.from", index))
        flaws += _name_flaws(place, join(f"{pointer}.from", index))
    return [*flaws, *_list_flaws(config, pointer), *_claim_flaws(config.claims_to_headers, f"{pointer}.claims_to_headers")]


def _url_flaws(url: str | None, insecure: bool, pointer: str) -> list[Problem]:
    if url is None:
        return []
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return [Problem(message=f"'{url}' is not a URL", pointer=pointer, hint="https://issuer.example/...")]
    if parts.scheme == "http" and not insecure and not plain_http_allowed(url):
        return [Problem(message="keys over plain HTTP can be exchanged on the way", pointer=pointer, hint="use https, or say `insecure: true` if the network is trusted")]
    return []


def _one_of(given: Struct, names: tuple[str, ...], pointer: str) -> list[Problem]:
    named = [name for name in names if getattr(given, name) is not None]
    if len(named) == 1:
        return []
    surplus = f", not {' and '.join(named)}" if named else ""
    return [Problem(message=f"expected one of {', '.join(names)}{surplus}", pointer=pointer)]


def _name_flaws(place: Place, pointer: str) -> list[Problem]:
    name = place.header or place.cookie or place.query or ""
    good = is_token(name) if place.query is None else name.isascii() and name.isprintable() and not set(name) & set(" &=#%+")
    what = "parameter" if place.query is not None else "field or a cookie"
    return [] if good else [Problem(message=f"'{name}' is not the name of a {what}", pointer=pointer)]


def _list_flaws(config: Config, pointer: str) -> list[Problem]:
    flaws = []
    if not config.places:
        flaws.append(Problem(message="no place to look for the token", pointer=f"{pointer}.from"))
    audience = [config.audience] if isinstance(config.audience, str) else config.audience
    if not audience or (len(audience) > 1 and "any" in audience):
        flaws.append(Problem(message="expected an audience, a list of audiences, or `any` alone", pointer=f"{pointer}.audience"))
    return flaws


def _claim_flaws(claims: dict[str, str], pointer: str) -> list[Problem]:
    flaws = []
    for claim, name in claims.items():
        if not is_token(name) or name.lower().replace("_", "-") in FRAMING:
            hint = "letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 section 5.1), and none that frames or routes the message"
            flaws.append(Problem(message=f"'{name}' cannot be a field that tells a claim", pointer=join(pointer, claim), hint=hint))
    if len(claims) > CLAIMS_MAX:
        flaws.append(Problem(message=f"{len(claims)} claims to tell, expected at most {CLAIMS_MAX}", pointer=pointer))
    return flaws
