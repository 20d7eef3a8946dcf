"""What an access-log line holds. `python -m gw.observe.access > docs/access-log.md` writes the page; gw._fast.record writes the lines."""

from __future__ import annotations

from msgspec import Struct


class Field(Struct, frozen=True):
    """A member of the JSON object. `present` says when it is there; `example` is JSON."""

    name: str
    example: str
    text: str
    present: str = "always"


FIELDS = (
    Field("time", '"2026-11-24T03:50:28.123Z"', "When the exchange ended, UTC (RFC 3339)."),
    Field("request_id", '"7c9e6679f3b94c0e"', "The id sent to the origin; the client's own if it is a trusted proxy. Empty when request ids are switched off."),
    Field("client", '"203.0.113.7"', "Address of the client; behind a trusted proxy the one that proxy names."),
    Field("method", '"GET"', "Method as sent."),
    Field("scheme", '"https"', "`http` or `https`, as the client's side of gw saw it."),
    Field("host", '"api.example.com"', "Host asked for, in lower case and without the port."),
    Field("path", '"/users/7"', "Normalised path, the one that was matched; as sent when it was refused."),
    Field("query", '"page=2"', "Query as sent, without `?`.", "the request has one"),
    Field("protocol", '"HTTP/1.1"', "Version the client speaks."),
    Field("status", "200", "Status sent to the client. 499: it closed the connection before there was one."),
    Field("by", '"origin"', "Who made the answer: `origin`, `gateway`, or `client` when it ended the exchange.", "somebody did"),
    Field("reason", '"connect-timeout"', "Why gw ended the exchange, from the closed list.", "gw did, or the exchange was cut short"),
    Field("dry_run", '"rate-limited"', "Why a policy with `dry_run` would have refused it.", "one would have"),
    Field("route", '"users"', "Name of the route.", "a route matched"),
    Field("service", '"users"', "Name of the service.", "the route forwards"),
    Field("endpoint", '"10.0.0.7:8080"', "Address of the endpoint tried last, as configured.", "an endpoint was chosen"),
    Field("bytes_in", "0", "Bytes of the request's body."),
    Field("bytes_out", "4711", "Bytes of the answer's body sent."),
    Field("duration_ms", "12.345", "From the first byte of the request to the end of the exchange; a tunnel's whole life."),
    Field("origin_ms", "11.201", "From the request's head sent to the head of the answer.", "the answer is the origin's"),
    Field("connect_ms", "0.402", "Time to connect to the endpoint, TLS included.", "a connection was opened"),
    Field("retries", "1", "Further endpoints tried.", "there were any"),
    Field("tls", '"TLSv1.3"', "TLS version of the client's connection.", "the client speaks TLS"),
    Field("tls_client", '"CN=alice,O=Example"', "Whom the client's certificate proves it to be: its subject, or else its alternative names.", "it showed one that passed"),
    Field("auth", '"jwt"', "Policy that found out who calls.", "one did"),
    Field("consumer", '"alice"', "Name of the consumer.", "the caller is one"),
    Field("subject", '"auth0|1234"', "What the credential names: a claim `sub`, a user, the name of a certificate.", "it names something"),
    Field("credential", '"gw_3f9a"', "Id of the credential, never the credential.", "it has one"),
    Field("user_agent", '"curl/8.5.0"', "`User-Agent`.", "the request has one"),
    Field("referer", '"https://example.com/"', "`Referer`.", "the request has one"),
)

INTRODUCTION = """\
# The access log

One JSON object a line and exchange, in the order of this table. Control characters, quotes and bytes that are not UTF-8 are escaped, so that
a line stays a line whatever a client sends. Times are in milliseconds with microseconds behind the point.

Switch it on with `access_log: {file: /var/log/gw/access.log}`; `stdout` writes to the standard output. After renaming the file send SIGUSR1
to the supervisor. A disk or pipe that takes nothing never slows an exchange: `buffer` bytes a worker are kept, then lines are dropped and
counted in `gw_log_lines_dropped_total`. Lines are never cut on a pipe unless they are longer than 4096 bytes.
"""


def page() -> str:
    """docs/access-log.md."""
    example = "{" + ",".join(f'"{field.name}":{field.example}' for field in FIELDS if field.name != "reason") + "}"
    rows = [f"| `{field.name}` | {field.text} | {field.present} |" for field in FIELDS]
    return "\n".join([INTRODUCTION, "| field | meaning | there when |", "|---|---|---|", *rows, "", "```json", example, "```", ""])


if __name__ == "__main__":
    print(page(), end="")
