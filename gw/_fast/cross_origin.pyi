"""Requests that one site makes to another: CORS (WHATWG Fetch section 3.3), and the check of unsafe requests against forgery."""

from typing import final

from gw._fast.step import Step

@final
class OriginSet:
    """Origins as `Origin` names them (RFC 6454 section 7): `https://a.example`, `https://*.example.com` for any subdomain, or `*` for any.

    Scheme, host and port in lower case, default ports left out; the caller checks that.
    """

    def __init__(self, origins: list[str]) -> None: ...
    def holds(self, origin: str) -> bool:
        """Whether an origin as a browser writes it is one of these."""

@final
class CorsStep(Step):
    """Answers preflights and tells browsers who may read an answer. Names of methods and fields are tokens, `["*"]` allows what is asked for.

    `max_age` are seconds, negative: not told. The caller refuses `*` among the origins together with `credentials`.
    """

    def __init__(
        self, origins: OriginSet, methods: list[str], headers: list[str], expose: list[str], max_age: int, credentials: bool, private_network: bool
    ) -> None: ...

@final
class CsrfStep(Step):
    """Refuses unsafe requests that a browser makes from an origin that is neither the request's own nor among `origins`.

    `missing`: what says nothing of where it comes from is let through.
    """

    def __init__(self, origins: OriginSet, missing: bool) -> None: ...
