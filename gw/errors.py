"""The one family of errors, and the closed list of reasons of the answers gw makes by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct


class GatewayError(Exception):
    """Anything gw reports to its operator in one clear sentence, without a traceback."""


class Problem(Struct, frozen=True, kw_only=True):
    """One thing wrong in a configuration.

    `line` and `column` count from 1; 0 means that the position is not known. `pointer` (`$.routes[0].path`) says the place
    inside the configuration, from which `Loaded.place` finds file, line and column; `at_key` means the key rather than its value, and
    `first` the pointer of an earlier place that this one repeats.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"
    pointer: str = ""
    at_key: bool = False
    first: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file or self.pointer
        message = _one_line(f"warning: {self.message}" if self.severity == "warning" else self.message)
        first = f"{_one_line(place)}: {message}" if place else message
        return f"{first}\n  {_one_line(self.hint)}" if self.hint else first


def _one_line(text: str) -> str:
    """Values of a file are quoted in messages; what they hold must not steer a terminal or fake a line."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class ConfigError(GatewayError):
    """A configuration that cannot be used; carries every problem found, one paragraph each in its text."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Reason(Struct, frozen=True):
    """Why gw ended an exchange by itself.

    `title` is the title of the problem document (RFC 9457), `error` the Proxy-Status error type (RFC 9209 section 2.3) or None
    where none fits, `by` who ended the exchange in the access log's sense: gw's own answers are the gateway's.
    """

    name: str
    status: int
    title: str
    error: str | None = None
    by: Literal["gateway", "origin", "client"] = "gateway"


# The data plane and the counters in shared memory use the index: append, never reorder. Status 499 and reasons by the origin or the
# client appear in the access log only.
REASONS: tuple[Reason, ...] = (
    # The request's head (RFC 9112, RFC 9110).
    Reason("bad-request", 400, "The request is not valid HTTP/1.1", "http_request_error"),
    Reason("malformed-head", 400, "The request line or a header field is malformed", "http_request_error"),
    Reason("missing-host", 400, "The request has no Host field", "http_request_error"),
    Reason("invalid-host", 400, "The Host field is not one valid host", "http_request_error"),
    Reason("invalid-path", 400, "The path is not valid", "http_request_error"),
    Reason("ambiguous-path", 400, "The path could be read in two ways", "http_request_error"),
    Reason("ambiguous-length", 400, "The length of the request body could be read in two ways", "http_request_error"),
    Reason("malformed-body", 400, "The chunked request body is malformed", "http_request_error"),
    Reason("request-line-too-long", 414, "The request line is too long", "http_request_error"),
    Reason("head-too-large", 431, "The request head is too large", "http_request_error"),
    Reason("too-many-fields", 431, "The request has too many header fields", "http_request_error"),
    Reason("trailers-too-large", 431, "The request's trailer fields are too large", "http_request_error"),
    Reason("body-too-large", 413, "The request body is larger than this route accepts", "http_request_error"),
    Reason("expectation-failed", 417, "The Expect field holds something other than 100-continue", "http_request_error"),
    Reason("unsupported-version", 505, "This version of HTTP is not spoken here", "http_request_error"),
    Reason("unsupported-transfer-coding", 501, "Only the transfer coding chunked is understood", "http_request_error"),
    Reason("head-timeout", 408, "The request head did not arrive in time", "http_request_error"),
    Reason("body-timeout", 408, "The request body did not arrive in time", "http_request_error"),
    # The decision.
    Reason("no-route", 404, "No route matches this request", "http_request_denied"),
    Reason("method-not-allowed", 405, "A route matches this path, but not with this method", "http_request_denied"),
    Reason("connect-not-allowed", 405, "CONNECT is not allowed here", "http_request_denied"),
    Reason("trace-not-allowed", 405, "TRACE is not allowed here", "http_request_denied"),
    Reason("upgrade-not-allowed", 400, "This route does not allow an upgrade to that protocol", "http_request_denied"),
    Reason("denied", 403, "A policy of this gateway refuses the request", "http_request_denied"),
    # The origin.
    Reason("no-endpoint", 503, "The service has no endpoint", "destination_unavailable"),
    Reason("pool-full", 503, "Every connection to the service is in use", "connection_limit_reached"),
    Reason("dns-timeout", 504, "The endpoint's name was not resolved in time", "dns_timeout"),
    Reason("dns-failed", 502, "The endpoint's name could not be resolved", "dns_error"),
    Reason("connect-refused", 502, "The endpoint refused the connection", "connection_refused"),
    Reason("connect-timeout", 504, "The endpoint did not accept the connection in time", "connection_timeout"),
    Reason("connect-failed", 502, "The endpoint could not be reached", "destination_ip_unroutable"),
    Reason("tls-failed", 502, "The TLS handshake with the endpoint failed", "tls_protocol_error"),
    Reason("tls-certificate", 502, "The endpoint's certificate could not be verified", "tls_certificate_error"),
    Reason("origin-closed", 502, "The endpoint closed the connection before it answered", "connection_terminated"),
    Reason("origin-malformed", 502, "The endpoint's answer is not valid HTTP/1.1", "http_protocol_error"),
    Reason("origin-head-too-large", 502, "The head of the endpoint's answer is too large", "http_response_header_section_size"),
    Reason("origin-timeout", 504, "The endpoint did not answer in time", "http_response_timeout"),
    Reason("unexpected-upgrade", 502, "The endpoint switched protocols without being asked", "http_upgrade_failed"),
    Reason("origin-cut", 502, "The endpoint closed the connection inside its answer", "http_response_incomplete", by="origin"),
    Reason("origin-idle", 504, "The endpoint stopped inside its answer", "connection_read_timeout", by="origin"),
    Reason("origin-body-malformed", 502, "The body of the endpoint's answer is malformed", "http_response_transfer_coding", by="origin"),
    # The gateway itself.
    Reason("hook-failed", 500, "A policy of this gateway failed", "proxy_internal_error"),
    Reason("hook-timeout", 504, "A policy of this gateway did not finish in time", "proxy_internal_error"),
    Reason("draining", 503, "This gateway is shutting down", "destination_unavailable"),
    Reason("overloaded", 503, "This gateway has no room for another request", "connection_limit_reached"),
    Reason("internal", 500, "This gateway failed", "proxy_internal_error"),
    # The client.
    Reason("client-closed", 499, "The client closed the connection before the end of the answer", by="client"),
    Reason("client-idle", 499, "The client stopped reading the answer", "connection_write_timeout", by="client"),
    # Who may call, and how often.
    Reason("no-credential", 401, "The request carries no credential", "http_request_denied"),
    Reason("invalid-credential", 401, "The credential is not valid", "http_request_denied"),
    Reason("expired-credential", 401, "The credential has expired or is not valid yet", "http_request_denied"),
    Reason("scope-missing", 403, "The credential lacks a scope that this route needs", "http_request_denied"),
    Reason("not-permitted", 403, "The caller may not use this route", "http_request_denied"),
    Reason("address-denied", 403, "This address may not use this route", "http_request_denied"),
    Reason("rate-limited", 429, "Too many requests: a rate limit is reached", "http_request_denied"),
    Reason("quota-exceeded", 429, "The quota for this period is used up", "http_request_denied"),
    Reason("too-many-in-flight", 429, "Too many requests are in flight", "http_request_denied"),
    Reason("shed", 503, "The service behind this gateway is overloaded", "connection_limit_reached"),
    Reason("cross-origin", 403, "The request comes from another origin", "http_request_denied"),
    Reason("limits-full", 503, "The table of limits is full", "proxy_internal_error"),
    Reason("decision-unavailable", 503, "What decides about this request cannot be asked", "proxy_internal_error"),
    Reason("limits-away", 503, "What counts this limit cannot be asked", "proxy_internal_error"),
    Reason("answer-too-large", 502, "The endpoint's answer is larger than a policy of this gateway takes", "http_response_body_size"),
)

REASON_INDEX: dict[str, int] = {reason.name: index for index, reason in enumerate(REASONS)}
