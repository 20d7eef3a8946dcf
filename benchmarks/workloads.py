"""What is measured: the table of workloads, as data. A mark is the highest ratio of gw's CPU per request to the reference peer's."""

from __future__ import annotations

from dataclasses import dataclass, field

KIB = 1024
SMALL = 200  # bytes of the plain answer
COOKIE = "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; _ga=GA1.2.1234567890.1700000000; consent=1"
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br",
    "Referer": "https://shop.example/catalogue/page/3?sort=price",
    "Cache-Control": "max-age=0",
    "DNT": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Cookie": COOKIE,
}  # with Host: 12 fields


@dataclass(frozen=True)
class Setup:
    """What the proxy is configured to do; everything that is not said here is at its default."""

    routes: int = 0  # prefix routes; 0 = the one route `/`
    log: bool = False  # JSON access log to a file
    tls: bool = False  # TLS 1.3, ECDSA P-256
    hook: str = ""  # `sync` or `async`: script code that reads one request field and sets another
    limit: bool = False  # a rate limit per client address that is never reached
    workers: int = 1


@dataclass(frozen=True)
class Load:
    """What wrk sends."""

    connections: int = 64
    path: str = "/"
    fields: dict[str, str] = field(default_factory=dict)
    script: str = ""  # name of a file in lua/, without suffix
    body: int = 0  # bytes expected in an answer, checked before measuring


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    setup: Setup = field(default_factory=Setup)
    load: Load = field(default_factory=lambda: Load(body=SMALL))
    mark: float = 0.0  # 0 = none
    group: str = ""  # workloads of one group are interleaved with each other, for ratios between them
    spread: bool = False  # origin and load run on both cores, beside the proxy


WORKLOADS = [
    Workload("plain", "GET, 64 keep-alive connections, 200 B", mark=0.80),
    Workload("c512", "GET, 512 keep-alive connections, 200 B", load=Load(connections=512, body=SMALL), mark=0.75),
    Workload("headers", "12 request and 10 answer headers, 2 KB", load=Load(path="/headers", fields=BROWSER, body=2 * KIB), mark=0.75),
    Workload("routes1k", "1,000 prefix routes, 5,000 URLs", Setup(routes=1000), Load(script="routes", body=SMALL), mark=0.75, group="routes"),
    Workload("routes10k", "10,000 prefix routes, 5,000 URLs", Setup(routes=10_000), Load(script="routes", body=SMALL), mark=0.75, group="routes"),
    Workload("log", "JSON access log to a file", Setup(log=True), mark=0.85),
    Workload("limit", "rate limit per client address, never reached", Setup(limit=True), mark=0.82),
    Workload("tls", "TLS 1.3, ECDSA P-256, keep-alive", Setup(tls=True), mark=0.95),
    Workload("churn", "a connection per request", load=Load(fields={"Connection": "close"}, body=SMALL), mark=0.95),
    Workload("big", "1 MB answers, 16 connections", load=Load(connections=16, path="/big", body=KIB * KIB), mark=0.85),
    Workload("upload", "256 KB uploads, 16 connections", load=Load(connections=16, path="/upload", script="upload", body=2), mark=0.90),
    Workload("hook_sync", "hook reads a field, sets one (sync)", Setup(hook="sync"), Load(path="/stamp", fields={"X-Tenant": "acme"}, body=4), mark=1.0, group="hooks"),
    Workload("hook_async", "hook reads a field, sets one (async)", Setup(hook="async"), Load(path="/stamp", fields={"X-Tenant": "acme"}, body=4), mark=1.5, group="hooks"),
    Workload("workers1", "one worker; origin and load on both cores", group="workers", spread=True),
    Workload("workers2", "two workers; origin and load on both cores", Setup(workers=2), group="workers", spread=True),
]
BY_NAME = {workload.name: workload for workload in WORKLOADS}

IDLE = "idle"
IDLE_CONNECTIONS = 5000
IDLE_MARK = 1.0  # KB per connection
TAIL = "tail"
TAIL_OF = ["plain", "headers"]
TAIL_LOADS = [0.4, 0.7]  # of what the reference peer carries in this rig
TAIL_MARK = 1.2  # p99 to the reference peer's
ROUTES_MARK = 1.10  # gw on 10,000 routes to gw on 1,000
WORKERS_MARK = 1.10  # gw with two workers to gw with one
INSTRUCTIONS_MARK = 12_000
LIMIT_RATE = 1_000_000  # requests a second
NAMES = [*BY_NAME, IDLE, TAIL]


def route_prefix(index: int) -> str:
    """Prefix of route `index`, the same for every proxy and for lua/routes.lua."""
    return f"/team{index % 40}/service-{index}"
