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
    limit: int = 0  # requests a second that each client address may make
    jwt: str = ""  # HS256 or RS256: requests need a token of 200 callers, see tokens.py
    cache: bool = True  # tokens found good are remembered, by the peers that can: gw and Envoy
    metrics: bool = False  # counted by route, and scraped; gw counts always
    keys: int = 0  # API keys, one of which a request needs
    blocks: int = 0  # address blocks, one of which a client must be in
    cors: bool = False  # pages of ORIGIN may read the answers
    workers: int = 1


@dataclass(frozen=True)
class Load:
    """What wrk sends."""

    connections: int = 64
    path: str = "/"
    fields: dict[str, str] = field(default_factory=dict)
    script: str = ""  # name of a file in lua/, without suffix
    credentials: str = ""  # `keys`, or tokens by their algorithm: each request has one, whether or not the proxy asks for it
    body: int = 0  # bytes expected in an answer, checked before measuring


@dataclass(frozen=True)
class Workload:
    """One line of the table, and what else is judged by its figures."""

    name: str
    title: str
    setup: Setup = field(default_factory=Setup)
    load: Load = field(default_factory=lambda: Load(body=SMALL))
    mark: float = 0.0  # 0 = none
    over: tuple[tuple[str, float], ...] = ()  # workloads that the same peer is compared with, and the most µs that it may need more; 0 = any
    second: tuple[str, float] | None = None  # a further peer, and the highest ratio to it
    peers: tuple[str, ...] = ("nginx", "gw")  # that are measured when nobody chose any
    group: str = ""  # workloads of one group are interleaved with each other, for ratios between them
    spread: bool = False  # origin and load run on both cores, beside the proxy


RIVALS = ("nginx", "haproxy", "envoy", "gw")
ALONE = ("gw",)
ORIGIN = "https://app.example"
KEYS = 100_000
ROUTED = "/team0/service-0/items/0"  # of the first route
LIMIT_RATE = 1_000_000  # requests a second, which nobody reaches
KEYED = Load(script="credentials", credentials="keys", body=SMALL)
HS256 = Load(script="credentials", credentials="HS256", body=SMALL)
RS256 = Load(script="credentials", credentials="RS256", body=SMALL)
FROM_PAGE = Load(fields={"Origin": ORIGIN}, body=SMALL)
FULL = Setup(routes=1000, log=True, limit=LIMIT_RATE, jwt="HS256", metrics=True)

WORKLOADS = [
    Workload("plain", "GET, 64 keep-alive connections, 200 B", mark=0.80, group="policies"),
    Workload("changing", "the same, each answer's head is another", load=Load(path="/changing", body=SMALL), over=(("plain", 0.0),), group="policies"),
    Workload("limit", "rate limit per client address, never reached", Setup(limit=LIMIT_RATE), mark=0.82, over=(("plain", 0.30),), peers=RIVALS, group="policies"),
    Workload("plain_key", "the requests of api_key, no policy", load=KEYED, peers=ALONE, group="policies"),
    Workload("api_key", "one of 100,000 API keys, all in use", Setup(keys=KEYS), KEYED, over=(("plain", 0.40), ("plain_key", 0.0)), peers=ALONE, group="policies"),
    Workload("ip_list", "10,000 address blocks allowed, the client's is the last", Setup(blocks=10_000), over=(("plain", 0.40),), peers=ALONE, group="policies"),
    Workload("plain_origin", "the requests of cors, no policy", load=FROM_PAGE, peers=ALONE, group="policies"),
    Workload("cors", "a page of an allowed origin asks", Setup(cors=True), FROM_PAGE, over=(("plain", 0.40), ("plain_origin", 0.0)), peers=ALONE, group="policies"),
    Workload("c512", "GET, 512 keep-alive connections, 200 B", load=Load(connections=512, body=SMALL), mark=0.75),
    Workload("headers", "12 request and 10 answer headers, 2 KB", load=Load(path="/headers", fields=BROWSER, body=2 * KIB), mark=0.75),
    Workload("routes1k", "1,000 prefix routes, 5,000 URLs", Setup(routes=1000), Load(path=ROUTED, script="routes", body=SMALL), mark=0.75, group="routes"),
    Workload("routes10k", "10,000 prefix routes, 5,000 URLs", Setup(routes=10_000), Load(path=ROUTED, script="routes", body=SMALL), mark=0.75, group="routes"),
    Workload("log", "JSON access log to a file", Setup(log=True), mark=0.85),
    Workload("tls", "TLS 1.3, ECDSA P-256, keep-alive", Setup(tls=True), mark=0.95),
    Workload("churn", "a connection per request", load=Load(fields={"Connection": "close"}, body=SMALL), mark=0.95),
    Workload("big", "1 MB answers, 16 connections", load=Load(connections=16, path="/big", body=KIB * KIB), mark=0.85),
    Workload("upload", "256 KB uploads, 16 connections", load=Load(connections=16, path="/upload", script="upload", body=2), mark=0.90),
    Workload("hook_sync", "hook reads a field, sets one (sync)", Setup(hook="sync"), Load(path="/stamp", fields={"X-Tenant": "acme"}, body=4), mark=1.0, group="hooks"),
    Workload("hook_async", "hook reads a field, sets one (async)", Setup(hook="async"), Load(path="/stamp", fields={"X-Tenant": "acme"}, body=4), mark=1.5, group="hooks"),
    Workload("jwt_hs256", "tokens of 200 callers, HS256", Setup(jwt="HS256"), HS256, mark=0.50, peers=RIVALS, group="jwt_hs256"),
    Workload("jwt_hs256_uncached", "the same, no cache", Setup(jwt="HS256", cache=False), HS256, mark=0.60, peers=RIVALS, group="jwt_hs256"),
    Workload("jwt_rs256", "tokens of 200 callers, RS256", Setup(jwt="RS256"), RS256, mark=0.25, peers=RIVALS, group="jwt_rs256"),
    Workload("jwt_rs256_uncached", "the same, no cache", Setup(jwt="RS256", cache=False), RS256, mark=0.80, peers=RIVALS, group="jwt_rs256"),
    Workload(
        "full",
        "1,000 routes, HS256, rate limit, JSON log, metrics",
        FULL,
        Load(path=ROUTED, script="routes", credentials="HS256", body=SMALL),
        mark=0.50,
        second=("haproxy", 0.60),
        peers=RIVALS,
    ),
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
NAMES = [*BY_NAME, IDLE, TAIL]


def route_prefix(index: int) -> str:
    """Prefix of route `index`, the same for every proxy and for lua/routes.lua."""
    return f"/team{index % 40}/service-{index}"
