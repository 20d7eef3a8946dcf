"""Requests that their callers sign: HTTP Message Signatures (RFC 9421), and the older form in Authorization."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from gw._fast.bucket import Limits
from gw._fast.hooks import Refusal, Request
from gw.config.units import Bounds, Duration, Size
from gw.errors import ConfigError, Problem
from gw.policy.base import Challenge, Hooks, Kind, Tools
from gw.policy.body_digest import digests_hold
from gw.policy.message_signature import DERIVED, Key, Malformed, Signed, authorization_signatures, implied, key_of, message_signatures

KIND: Kind = "authentication"
NAME = "hmac"
MICROSECONDS = 1_000_000


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Which signatures are accepted, what they must cover, and for how long. Keys are those of `consumers.*.secrets`."""

    accept: Annotated[
        list[Literal["message-signature", "authorization"]],
        Meta(min_length=1, description="`message-signature`: Signature and Signature-Input; `authorization`: Authorization with the scheme Signature or hmac."),
    ] = field(default_factory=lambda: ["message-signature"])
    required: Annotated[
        list[str],
        Meta(min_length=1, description="Components that must be covered. A wider one counts for those inside it; `@query` counts as covered where there is none."),
    ] = field(default_factory=lambda: ["@method", "@authority", "@path", "@query"])
    digest: Annotated[
        bool, Meta(description="Where a body is declared, `content-digest` (`digest` in the older form) must be covered, and be that of the body, which is read whole.")
    ] = True
    max_body: Annotated[Size, Bounds(1, 1 << 30), Meta(description="Longest body that is read for its digest; a longer one is answered with 413.")] = Size(1 << 20)
    max_age: Annotated[Duration, Bounds(1, 86400), Meta(description="How old a signature may be, by `created` or the signed date.")] = Duration(300)
    leeway: Annotated[Duration, Bounds(0, 600), Meta(description="By how much the signer's clock and ours may differ.")] = Duration(30)
    once: Annotated[
        Literal["nonce", "signature", "off"],
        Meta(description="What may be used once only, on all workers: a nonce where there is one, every signature, or nothing."),
    ] = "nonce"
    nonce: Annotated[Literal["required", "optional"], Meta(description="Whether a signature without a nonce is refused.")] = "optional"
    label: Annotated[str | None, Meta(description="Look at the signature with this label alone; unset = at the first four, one of which must be good.")] = None
    tag: Annotated[str | None, Meta(description="The signature's `tag` must be this.")] = None
    hide_credential: Annotated[bool, Meta(description="Keep the signature from the origin.")] = False


def build(config: Config, tools: Tools) -> Hooks:
    """Raises ConfigError for components that are not known, keys that are of no use, and no room to remember what was used."""
    problems = [
        Problem(message=f"'{name}' cannot be a required component", pointer=f"{tools.pointer}.required", hint=f"a field name in lower case, or one of {', '.join(DERIVED)}")
        for name in config.required
        if name not in DERIVED and (name.startswith("@") or name != name.lower())
    ]
    if problems:
        raise ConfigError(problems)
    signatures = Signatures(config, _keys(tools), _used(config, tools))
    return Hooks(request=signatures.request, request_body=signatures.request_body, body_limit=int(config.max_body)) if config.digest else Hooks(request=signatures.request)


def _keys(tools: Tools) -> dict[str, tuple[str, Key]]:
    """(name of the consumer, key) by key id."""
    keys = {}
    for name, consumer in tools.consumers.items():
        for index, secret in enumerate(consumer.secrets):
            try:
                keys[secret.id] = name, key_of(secret.secret)
            except ValueError as error:
                raise ConfigError([Problem(message=f"the secret '{secret.id}' cannot verify: {error}", pointer=f"$.consumers.{name}.secrets[{index}]")]) from None
    return keys


def _used(config: Config, tools: Tools) -> Limits | None:
    if config.once == "off" or tools.segment is None:
        return None
    try:
        return Limits(tools.segment, b"hmac")
    except ValueError:
        problem = Problem(message="there is no room to remember what was used once", pointer=tools.pointer, hint="set process.limit_cells, or once: off")
        raise ConfigError([problem]) from None


class Signatures:
    """The policy at work in one worker."""

    def __init__(
        self,
        config: Config,
        keys: dict[str, tuple[str, Key]],
        used: Limits | None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.wall = wall
        self.monotonic = monotonic
        self._keys = keys
        self._used = used
        self._asks = challenge(config)

    def request(self, request: Request) -> Refusal | None:
        """The hook."""
        try:
            found = message_signatures(request, self.config.label) if "message-signature" in self.config.accept else []
            if not found and "authorization" in self.config.accept:
                found = authorization_signatures(request)
        except Malformed:
            request.presents()
            return Refusal("invalid-credential", self._asks)
        if not found:
            return Refusal("no-credential", self._asks)
        reasons = [self._judged(request, signed) for signed in found]
        if "" not in reasons:
            request.presents()
            return Refusal(reasons[0], self._asks)
        return self._passes(request, found[reasons.index("")])

    def request_body(self, request: Request, body: bytes) -> Refusal | None:
        """The hook. The signature covers the digest: that it is the body's is what remains."""
        return None if digests_hold(request, body) else Refusal("invalid-credential", self._asks)

    def _judged(self, request: Request, signed: Signed) -> str:
        """Why it is refused; empty when it is good."""
        needed = set(self.config.required)
        if self.config.digest and _has_body(request):
            needed.add("content-digest")
        _, key = self._keys.get(signed.key, ("", None))
        if needed - implied(signed.covered if request.query else signed.covered | {"@query"}) or key is None or signed.algorithm not in (None, key.algorithm):
            return "invalid-credential"
        if (self.config.tag is not None and signed.tag != self.config.tag) or (self.config.nonce == "required" and not signed.nonce):
            return "invalid-credential"
        if not key.verify(signed.signature, signed.base):
            return "invalid-credential"
        return "" if self._in_time(signed) else "expired-credential"

    def _in_time(self, signed: Signed) -> bool:
        now, leeway = self.wall(), self.config.leeway
        if signed.expires is not None and now >= signed.expires + leeway:
            return False
        return signed.created is not None and -leeway <= now - signed.created <= self.config.max_age + leeway

    def _passes(self, request: Request, signed: Signed) -> Refusal | None:
        request.presents()
        verdict = self._first_use(signed)
        if verdict != "pass":
            return Refusal("limits-full") if verdict == "full" else Refusal("invalid-credential", self._asks)
        request.identify(NAME, consumer=self._keys[signed.key][0], subject=signed.key, credential=signed.key)
        if self.config.hide_credential:
            for name in signed.fields:
                del request.headers[name]
        return None

    def _first_use(self, signed: Signed) -> str:
        """A limit of one use for as long as the signature could be good, kept where all workers keep their limits."""
        used = signed.nonce.encode() if self.config.once == "nonce" else signed.base  # not the signature: of ECDSA there is a second one that is as good
        if self._used is None or not used:
            return "pass"
        key = hashlib.sha256(b"\0".join([signed.key.encode(), used])).digest()
        window = round((self.config.max_age + 2 * self.config.leeway) * MICROSECONDS)
        return self._used.take(key, 1, window, 1, 1, round(self.monotonic() * MICROSECONDS)).verdict


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or (request.headers.get("content-length") or "0").strip("0") != ""


def challenge(config: Config) -> Challenge:
    """What a refusal asks for (RFC 9421 section 5.1)."""
    fields: Challenge = {"WWW-Authenticate": "Signature"}
    if "message-signature" in config.accept:
        components = " ".join(f'"{name}"' for name in config.required)
        fields["Accept-Signature"] = f"sig1=({components});created;keyid{';nonce' if config.nonce == 'required' else ''}"
    return fields
