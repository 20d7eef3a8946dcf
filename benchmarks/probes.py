"""Before a peer is measured: does it do what the workload says, and refuse what it must? Every check raises RuntimeError when it does not."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import time
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import NamedTuple, TypeVar

from benchmarks import callers, tokens
from benchmarks import workloads as table
from benchmarks.servers import METRICS, Server
from benchmarks.workloads import Setup, Workload

LOG = "access.log"
UPLOAD = 256 * table.KIB
SUBJECT_PATH = f"{table.route_prefix(0)}/subject"  # where the origin says who calls
LOW_RATE = 5  # requests a second
MANY = 40  # requests at once, which no limit of LOW_RATE lets through
COUNTED = 20  # requests that metrics must count
WAIT_SECONDS = 10.0  # until 100,000 keys are read, a log is flushed, metrics are added up
STRANGER = "127.0.0.2"
T = TypeVar("T")


class Answer(NamedTuple):
    status: int
    body: bytes
    fields: Message
    tls: str | None


def ask(port: int, path: str, fields: dict[str, str], *, method: str = "GET", body: bytes | None = None, tls: bool = False, client: str = "127.0.0.1") -> Answer:
    """One request on a connection of its own, from the address `client`."""
    if tls:
        context = ssl._create_unverified_context()  # the certificate was made a moment ago
        connection: http.client.HTTPConnection = http.client.HTTPSConnection("127.0.0.1", port, context=context, source_address=(client, 0))
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, source_address=(client, 0))
    with contextlib.closing(connection):
        connection.request(method, path, body, fields)
        version = connection.sock.version() if isinstance(connection.sock, ssl.SSLSocket) else None
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), answer.headers, version)


def check(server: Server, workload: Workload) -> None:
    """All that `workload` asks for."""
    setup = workload.setup
    _answers(server, workload)
    if setup.routes:
        _routes(server, workload)
    if setup.jwt:
        _tokens(server, setup)
    if setup.keys:
        _refuses(server, 401, {}, "no key")
        _refuses(server, 401, {"X-API-Key": "gw_000000000000_" + "a" * 36}, "an unknown key")
    if setup.blocks:
        _refuses(server, 403, {}, "an address that is on no list", client=STRANGER)
    if setup.cors:
        _origins(server)
    if setup.log:
        _log(server, workload)
    if setup.metrics:
        _metrics(server, workload)


def check_limit(server: Server, workload: Workload) -> None:
    """At LOW_RATE a client that asks too often is refused, and another one is not."""
    path, fields = workload.load.path, good_fields(workload)
    statuses = [ask(server.port, path, fields).status for _ in range(MANY)]
    other = ask(server.port, path, fields, client=STRANGER).status
    if statuses[0] != 200 or set(statuses) != {200, 429} or statuses.count(429) < MANY // 2 or other != 200:
        raise RuntimeError(f"{server.name}: {MANY} requests at once against a limit of {LOW_RATE}/s got {statuses}, another client {other}")


def good_fields(workload: Workload) -> dict[str, str]:
    """The fields of the load's first request."""
    kind = workload.load.credentials
    return workload.load.fields | (dict([callers.fields(kind)[0].split(": ")]) if kind else {})


def scraped(text: str, name: str) -> float:
    """The sum over all series of the metric `name` in the Prometheus text format."""
    return sum(map(float, re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)", text, re.MULTILINE)))


def _answers(server: Server, workload: Workload) -> None:
    """A good request is answered as the workload says."""
    setup, fields = workload.setup, good_fields(workload)
    method, body = ("POST", b"u" * UPLOAD) if workload.load.script == "upload" else ("GET", None)

    def good() -> Answer | None:
        answer = ask(server.port, workload.load.path, fields, method=method, body=body, tls=setup.tls)
        return None if answer.status == 503 and setup.keys else answer  # 503: gw has not read its keys yet

    answer = _waited(good)
    if answer is None or answer.status != 200 or len(answer.body) != workload.load.body:
        raise RuntimeError(f"{server.name}: a good request got {answer}")
    if setup.hook and answer.body != b"acme":
        raise RuntimeError(f"{server.name}: the hook did not set the field, the origin saw {answer.body!r}")
    if setup.tls and answer.tls != "TLSv1.3":
        raise RuntimeError(f"{server.name}: {answer.tls}, not TLSv1.3")


def _routes(server: Server, workload: Workload) -> None:
    """The last route is there, and nothing beside the routes."""
    setup, fields = workload.setup, good_fields(workload)
    last = ask(server.port, f"{table.route_prefix(setup.routes - 1)}/items/1", fields).status
    beside = ask(server.port, f"{table.route_prefix(setup.routes)}/items/1", fields).status
    if (last, beside) != (200, 404):
        raise RuntimeError(f"{server.name}: the last route answers {last}, a path beside the routes {beside}")


def _tokens(server: Server, setup: Setup) -> None:
    """Bad tokens are refused, and the origin is told who sent a good one."""
    issued = tokens.issue(setup.jwt)
    _refuses(server, 401, {}, "no token", SUBJECT_PATH)
    for what, token in issued.refused.items():
        _refuses(server, 401, {"Authorization": f"Bearer {token}"}, f"a token that is {what}", SUBJECT_PATH)
    for _ in range(2):  # the second time from memory, where the peer has one
        body = ask(server.port, SUBJECT_PATH, {"Authorization": f"Bearer {issued.tokens[-1]}"}).body
        if body != tokens.subject(tokens.COUNT - 1).encode():
            raise RuntimeError(f"{server.name}: the origin was not told who calls, but {body!r}")


def _refuses(server: Server, status: int, fields: dict[str, str], what: str, path: str = "/", client: str = "127.0.0.1") -> None:
    """With `status`, or with 403: peers differ in how they call a token that was made for somebody else."""
    got = ask(server.port, path, fields, client=client).status
    if got not in (status, 403):
        raise RuntimeError(f"{server.name}: {got} for {what}, not {status}")


def _origins(server: Server) -> None:
    """The page of an allowed origin may read the answer, another one's may not."""
    seen = [ask(server.port, "/", {"Origin": origin}).fields["Access-Control-Allow-Origin"] for origin in (table.ORIGIN, "https://evil.example")]
    if seen != [table.ORIGIN, None]:
        raise RuntimeError(f"{server.name}: Access-Control-Allow-Origin is {seen} for an allowed origin and another one")


def _log(server: Server, workload: Workload) -> None:
    """A request leaves a line, and the line is JSON."""
    path = f"{workload.load.path}of-the-log"
    ask(server.port, path, good_fields(workload))

    def line() -> dict[str, object] | None:
        lines = (server.folder / LOG).read_text().splitlines()
        return next((each for each in map(json.loads, lines) if each["path"] == path), None)

    found = _waited(line)
    if found is None or str(found.get("status")) != "200":
        raise RuntimeError(f"{server.name}: no line of the log for {path}, or a wrong one: {found}")


def _metrics(server: Server, workload: Workload) -> None:
    """Requests are counted one by one."""
    url, name = (server.folder / METRICS).read_text().split()

    def count() -> float:
        with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer:
            return scraped(answer.read().decode(), name)

    before = count()
    for _ in range(COUNTED):
        ask(server.port, workload.load.path, good_fields(workload))
    _waited(lambda: count() >= before + COUNTED or None)
    if count() != before + COUNTED:
        raise RuntimeError(f"{server.name}: {COUNTED} requests raised {name} at {url} from {before:g} to {count():g}")


def _waited(look: Callable[[], T | None]) -> T | None:
    """What `look` finds, asked again and again until it is something."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
