"""What an operator can write, once: names, types, defaults, units. The reference, the JSON Schema and the defaults table are generated from here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from gw.config.units import Bounds, Duration, Size

# No timer of gw is finer than a millisecond; a day is longer than any exchange.
WAIT = Bounds(0.001, 86400.0)


class Certificate(Struct, forbid_unknown_fields=True, frozen=True):
    """One certificate chain with its key; the names it serves come from the certificate itself."""

    cert: Annotated[str, Meta(description="PEM file with the chain, leaf first.")]
    key: Annotated[str, Meta(description="PEM file with the private key.")]


class ClientCertificates(Struct, forbid_unknown_fields=True, frozen=True):
    """mTLS on a listener."""

    ca: Annotated[str, Meta(description="PEM file with the authorities that may sign client certificates.")]
    mode: Annotated[Literal["require", "optional"], Meta(description="Whether a client without a certificate is refused in the handshake.")] = "require"


class ListenerTls(Struct, forbid_unknown_fields=True, frozen=True):
    """TLS termination."""

    certificates: Annotated[list[Certificate], Meta(min_length=1, description="Chosen by SNI; the first one also answers clients without SNI.")]
    min_version: Annotated[Literal["1.2", "1.3"], Meta(description="Oldest protocol version accepted.")] = "1.2"
    ciphers: Annotated[str | None, Meta(description="OpenSSL cipher list for TLS 1.2; unset means Mozilla intermediate.")] = None
    client_certificates: Annotated[ClientCertificates | None, Meta(description="Ask clients for a certificate.")] = None
    session_tickets: Annotated[bool, Meta(description="Session resumption; the ticket key is shared by all workers and rotated.")] = True
    alpn: Annotated[list[Literal["http/1.1"]], Meta(description="Protocols offered, in order of preference.")] = field(default_factory=lambda: ["http/1.1"])


class Listener(Struct, forbid_unknown_fields=True, frozen=True):
    """An address gw accepts connections on."""

    bind: Annotated[str, Meta(description="`host:port`, `[ipv6]:port`, `:port` (all addresses, IPv4 and IPv6) or `unix:/path`.")]
    tls: Annotated[ListenerTls | None, Meta(description="Terminate TLS here.")] = None
    proxy_protocol: Annotated[bool, Meta(description="Expect PROXY protocol v1 or v2 from peers in `trusted_proxies`; others are closed.")] = False
    backlog: Annotated[int, Meta(ge=1, le=65535, description="Connections the kernel queues per worker before they are accepted.")] = 4096
    max_connections: Annotated[int, Meta(ge=0, le=1_000_000, description="Open client connections per worker on this listener; 0 = as many as descriptors allow.")] = 0
    mode: Annotated[str | None, Meta(description="Octal file mode of a Unix socket, such as `0660`.")] = None


class OriginTls(Struct, forbid_unknown_fields=True, frozen=True):
    """TLS towards the endpoints of a service."""

    verify: Annotated[bool, Meta(description="Verify the chain and the name.")] = True
    ca: Annotated[str | None, Meta(description="PEM file with authorities; unset means the system's.")] = None
    name: Annotated[str | None, Meta(description="Name for SNI and verification; unset means the endpoint's host.")] = None
    certificate: Annotated[Certificate | None, Meta(description="Client certificate shown to the endpoint.")] = None


class Timeouts(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Time-outs of one exchange. A route's value wins over its service's, that over the gateway's."""

    connect: Annotated[Duration | None, WAIT, Meta(description="TCP connect and TLS handshake with an endpoint.")] = None
    answer: Annotated[Duration | None, WAIT, Meta(description="From the request's last byte sent to the head of the answer.")] = None
    idle: Annotated[Duration | None, WAIT, Meta(description="Between two reads or writes of a body, either side; also the idle limit of a tunnel when `tunnel` is unset.")] = None
    tunnel: Annotated[Duration | None, WAIT, Meta(description="Silence in both directions that closes an upgraded connection.")] = None


class ClientTimeouts(Struct, forbid_unknown_fields=True, frozen=True):
    """Time-outs on the client's side, which apply before a route is known."""

    head: Annotated[Duration, WAIT, Meta(description="From the first byte of a request to the end of its head; also the TLS handshake.")] = Duration(10)
    keep_alive: Annotated[Duration, WAIT, Meta(description="Idle time between two requests on a connection.")] = Duration(60)
    linger: Annotated[Duration, Bounds(0, 60), Meta(description="How long unread request bytes are drained after an early answer.")] = Duration(2)


class Limits(Struct, forbid_unknown_fields=True, frozen=True):
    """Sizes on the client's side, which apply before a route is known."""

    head: Annotated[Size, Bounds(256, 2**20), Meta(description="Request line and fields together; more answers 431.")] = Size(32 * 1024)
    request_line: Annotated[Size, Bounds(64, 2**20), Meta(description="Method, target and version; more answers 414.")] = Size(8 * 1024)
    fields: Annotated[int, Meta(ge=1, le=256, description="Number of header fields; more answers 431.")] = 100
    keep_alive_requests: Annotated[int, Meta(ge=0, le=2**31 - 1, description="Requests on one connection before it closes; 0 = no limit.")] = 0


class PathRules(Struct, forbid_unknown_fields=True, frozen=True):
    """What path normalisation does with forms that two servers could read in two ways."""

    encoded_slash: Annotated[Literal["refuse", "keep"], Meta(description="`%2F` and `%5C` in the path.")] = "refuse"
    parameters: Annotated[Literal["refuse", "keep"], Meta(description="`;` in the path, such as `/a;v=1/b`.")] = "refuse"
    merge_slashes: Annotated[bool, Meta(description="`//` becomes `/`.")] = True


class Forwarding(Struct, forbid_unknown_fields=True, frozen=True):
    """Fields gw adds to what it sends to origins. Inbound copies are removed unless the peer is a trusted proxy."""

    x_forwarded: Annotated[bool, Meta(description="`X-Forwarded-For`, `-Proto`, `-Host` and `X-Real-IP`.")] = True
    forwarded: Annotated[bool, Meta(description="`Forwarded` (RFC 7239).")] = True
    via: Annotated[bool, Meta(description="`Via: 1.1 gw` (RFC 9110 section 7.6.3).")] = True
    request_id: Annotated[str | None, Meta(description="Name of the field that carries the request id; null = none.")] = "X-Request-Id"


class Endpoint(Struct, forbid_unknown_fields=True, frozen=True):
    """One address of a service."""

    address: Annotated[str, Meta(description="`host:port`, `[ipv6]:port`, `unix:/path`, or a URL `http://host:port`, `https://host`.")]
    weight: Annotated[int, Meta(ge=0, le=1000, description="Share of the load; 0 = none.")] = 1


class PassiveHealth(Struct, forbid_unknown_fields=True, frozen=True):
    """When an endpoint that fails is left alone for a while."""

    fails: Annotated[int, Meta(ge=1, le=1_000_000, description="Failures in a row that mark an endpoint dead.")] = 1
    eject: Annotated[Duration, Bounds(0, 3600), Meta(description="How long it is left alone.")] = Duration(2)


class Service(Struct, forbid_unknown_fields=True, frozen=True):
    """A named set of endpoints."""

    endpoints: Annotated[list[str | Endpoint], Meta(min_length=1, description="Addresses, each as text or with a weight.")]
    balance: Annotated[Literal["round-robin", "least-request"], Meta(description="How an endpoint is chosen; weights count in both.")] = "round-robin"
    tls: Annotated[OriginTls | None, Meta(description="Speak TLS to the endpoints (implied by an `https://` endpoint).")] = None
    host: Annotated[str, Meta(description="`Host` sent to the endpoint: `preserve` the client's, `endpoint`, or a literal name.")] = "preserve"
    keep_alive: Annotated[int, Meta(ge=0, le=1_000_000, description="Idle connections kept per endpoint and worker.")] = 256
    keep_alive_timeout: Annotated[Duration, WAIT, Meta(description="How long an idle connection is kept.")] = Duration(55)
    max_connections: Annotated[int, Meta(ge=0, le=1_000_000, description="Connections per endpoint and worker; a request beyond it answers 503. 0 = no limit.")] = 0
    retries: Annotated[int, Meta(ge=0, le=10, description="Further endpoints tried for an idempotent request that got no byte of an answer.")] = 2
    passive: Annotated[PassiveHealth, Meta(description="Marking of dead endpoints.")] = field(default_factory=PassiveHealth)
    proxy_protocol: Annotated[Literal["off", "v1", "v2"], Meta(description="Send a PROXY protocol header on each new connection (switches reuse between clients off).")] = "off"
    timeouts: Annotated[Timeouts, Meta(description="Over the gateway's.")] = field(default_factory=Timeouts)
    policies: Annotated[list[Any], Meta(description="Policies of every route that uses this service.")] = field(default_factory=list)


class Redirect(Struct, forbid_unknown_fields=True, frozen=True):
    """Answer with a redirect."""

    to: Annotated[
        str,
        Meta(description="Absolute URL or path; `{name}` is a path parameter, `{scheme}`, `{host}`, `{path}`, `{query}`, `{rest}` (what follows the prefix) the request's own."),
    ]
    status: Annotated[Literal[301, 302, 303, 307, 308], Meta(description="Status of the answer.")] = 308


class Respond(Struct, forbid_unknown_fields=True, frozen=True):
    """Answer by itself, without a service."""

    status: Annotated[int, Meta(ge=200, le=599, description="Status of the answer.")] = 200
    body: Annotated[str, Meta(description="Body, sent as UTF-8.")] = ""
    headers: Annotated[dict[str, str], Meta(description="Fields of the answer.")] = field(default_factory=dict)


class Route(Struct, forbid_unknown_fields=True, frozen=True):
    """A match and what to do with it. Exactly one of `service`, `redirect`, `respond`."""

    name: Annotated[str | None, Meta(description="For logs and metrics; unset means the match itself.")] = None
    path: Annotated[str | None, Meta(description="Prefix by segment: `/user` takes `/user` and `/user/7`, not `/users`. `{id}` takes one segment. Unset means `/`.")] = None
    exact: Annotated[str | None, Meta(description="The whole path; may hold `{id}` segments.")] = None
    regex: Annotated[str | None, Meta(description="Linear-time regular expression over the whole path; named groups `(?P<name>...)` are path parameters.")] = None
    hosts: Annotated[list[str], Meta(description="`api.example.com`, `*.example.com` (any depth); empty means any.")] = field(default_factory=list)
    methods: Annotated[list[str], Meta(description="Empty means any.")] = field(default_factory=list)
    headers: Annotated[
        dict[str, str | bool],
        Meta(description="Every one must hold: a value, `~regex` over the whole value, `true` present, `false` absent."),
    ] = field(default_factory=dict)
    query: Annotated[dict[str, str | bool], Meta(description="As `headers`, on query parameters.")] = field(default_factory=dict)
    service: Annotated[str | None, Meta(description="Forward to this service.")] = None
    redirect: Annotated[Redirect | None, Meta(description="Answer with a redirect.")] = None
    respond: Annotated[Respond | None, Meta(description="Answer by itself.")] = None
    strip_prefix: Annotated[bool, Meta(description="Remove the matched prefix before forwarding.")] = False
    rewrite: Annotated[str | None, Meta(description="Path sent to the origin, with `{name}` of path parameters and `{rest}`; the query is kept.")] = None
    host: Annotated[str | None, Meta(description="As the service's `host`, for this route.")] = None
    max_body: Annotated[Size, Meta(description="Request body; more answers 413. 0 = no limit.")] = Size(1024 * 1024)
    upgrade: Annotated[list[str], Meta(description="Protocols a client may upgrade to.")] = field(default_factory=lambda: ["websocket"])
    timeouts: Annotated[Timeouts, Meta(description="Over the service's.")] = field(default_factory=Timeouts)
    policies: Annotated[list[Any], Meta(description="Policies of this route, run in the order written, after the gateway's and the service's.")] = field(default_factory=list)
    public: Annotated[bool, Meta(description="Anybody may call it, though `access` is `deny`.")] = False


class AccessLog(Struct, forbid_unknown_fields=True, frozen=True):
    """One JSON line per exchange."""

    file: Annotated[str, Meta(description="Path, or `stdout`.")] = "stdout"
    buffer: Annotated[Size, Bounds(4096, 2**30), Meta(description="Held per worker before lines are dropped and counted.")] = Size(1024 * 1024)
    flush: Annotated[Duration, Bounds(0.001, 60), Meta(description="Longest time a line waits in the buffer.")] = Duration(1)


class ErrorLog(Struct, forbid_unknown_fields=True, frozen=True):
    """What gw says about itself, one JSON line an event (plain text on a terminal)."""

    file: Annotated[str, Meta(description="Path, or `stderr`.")] = "stderr"
    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least severity written.")] = "info"


class Admin(Struct, forbid_unknown_fields=True, frozen=True):
    """The operator's address: `/metrics`, `/healthz`, `/readyz`."""

    bind: Annotated[str, Meta(description="As a listener's `bind`.")] = "127.0.0.1:9901"


class HookBudget(Struct, forbid_unknown_fields=True, frozen=True):
    """How long the Python hooks of a policy may hold a worker up, counted in each worker."""

    time: Annotated[Duration, WAIT, Meta(description="A call, or a turn of an asynchronous hook, that takes longer is over the budget.")] = Duration(0.005)
    window: Annotated[int, Meta(ge=1, le=1_000_000, description="Calls that are looked at together.")] = 1000
    over: Annotated[float, Meta(ge=0, le=1, description="Share of a window's calls that may be over; 0.01 is one in a hundred.")] = 0.01
    action: Annotated[
        Literal["warn", "quarantine"], Meta(description="Name the policy in the error log, or also set it aside, in that worker, until the next reload that takes effect.")
    ] = "warn"
    quarantined: Annotated[
        Literal["refuse", "skip"] | None,
        Meta(description="Requests meanwhile: answer 503 `decision-unavailable`, or go on without the policy. Unset means `refuse` for policies that authenticate or authorise."),
    ] = None


class Process(Struct, forbid_unknown_fields=True, frozen=True):
    """Processes."""

    workers: Annotated[int, Meta(ge=0, le=1024, description="0 = one per core this process may use.")] = 0
    pin: Annotated[bool, Meta(description="Pin each worker to one core.")] = False
    drain: Annotated[Duration, Bounds(0, 86400), Meta(description="How long exchanges may go on after SIGTERM.")] = Duration(30)
    pid_file: Annotated[str | None, Meta(description="Where the supervisor writes its process id.")] = None
    watch: Annotated[bool, Meta(description="Reload when a config file or certificate changes.")] = True
    routes_max: Annotated[int, Meta(ge=1, le=2**20, description="Distinct routes the metrics can hold over the life of the process group.")] = 16384
    endpoints_max: Annotated[int, Meta(ge=1, le=2**20, description="Distinct endpoints whose state can be held.")] = 4096
    limit_cells: Annotated[
        int, Meta(ge=0, le=2**24, description="Cells of 16 bytes in which limits count: at least two for each key that is not idle. Rounded up to a power of two; 0 = none.")
    ] = 65536
    hook_warn: Annotated[Duration, WAIT, Meta(description="A Python hook that blocks longer is named in the error log.")] = Duration(0.05)
    hook_timeout: Annotated[Duration, WAIT, Meta(description="An asynchronous Python hook that waits longer is cancelled; the request answers 504 `hook-timeout`.")] = Duration(30)
    hook_budget: Annotated[HookBudget | None, Meta(description="Budget of every policy with Python hooks; unset means none.")] = None


class ApiKey(Struct, forbid_unknown_fields=True, frozen=True):
    """A key of a consumer. gw keeps only its hash."""

    id: Annotated[str, Meta(min_length=1, description="Names the key in logs; not secret.")]
    hash: Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$", description="`sha256:` and the hash in hex, as `gw keys hash` prints it.")]


class Password(Struct, forbid_unknown_fields=True, frozen=True):
    """A user name and password for the policy `basic`."""

    user: Annotated[str, Meta(min_length=1, pattern="^[^:]+$", description="User name, without a colon (RFC 7617).")]
    hash: Annotated[str, Meta(pattern="^\\$(argon2id|argon2i|2[aby])\\$", description="argon2 or bcrypt hash, as `gw keys password` prints it.")]


class Secret(Struct, forbid_unknown_fields=True, frozen=True):
    """A shared secret or a public key for the policy `hmac`."""

    id: Annotated[str, Meta(min_length=1, description="The `keyid` of signatures.")]
    secret: Annotated[str, Meta(min_length=16, description="The shared secret: `${ENV}` or `file:`.")]


class Consumer(Struct, forbid_unknown_fields=True, frozen=True):
    """A known caller: what it proves itself with, and what holds for it alone."""

    groups: Annotated[list[str], Meta(description="For the policy `acl`; letters, digits, `.`, `_`, `-`.")] = field(default_factory=list)
    api_keys: Annotated[list[ApiKey], Meta(description="For the policy `api-key`.")] = field(default_factory=list)
    passwords: Annotated[list[Password], Meta(description="For the policy `basic`.")] = field(default_factory=list)
    secrets: Annotated[list[Secret], Meta(description="For the policy `hmac`.")] = field(default_factory=list)
    subjects: Annotated[list[str], Meta(description="Values of a token's claim `sub` that are this consumer, for `jwt`, `oidc` and `oauth2-introspection`.")] = field(
        default_factory=list
    )
    certificates: Annotated[
        list[str], Meta(description="Names a client certificate may prove, for `mtls`: `CN=...`, `DNS:...`, `URI:...`, `email:...`, or `sha256:` and a fingerprint.")
    ] = field(default_factory=list)
    policies: Annotated[list[Any], Meta(description="Policies of this consumer, run behind the route's once it is known.")] = field(default_factory=list)


class IdentityFields(Struct, forbid_unknown_fields=True, frozen=True):
    """Header fields that tell origins who calls. A client's own copies are removed. null = not told."""

    consumer: Annotated[str | None, Meta(description="Name of the consumer.")] = "X-Consumer"
    groups: Annotated[str | None, Meta(description="Its groups, comma-separated.")] = "X-Consumer-Groups"
    subject: Annotated[str | None, Meta(description="What the credential names: the claim `sub`, a user, the name of a certificate.")] = "X-Subject"
    credential: Annotated[str | None, Meta(description="Id of the credential.")] = "X-Credential"
    scopes: Annotated[str | None, Meta(description="Scopes of the token, space-separated.")] = None
    method: Annotated[str | None, Meta(description="Policy that proved it.")] = None


class RedisTls(Struct, forbid_unknown_fields=True, frozen=True):
    """TLS towards a Redis."""

    verify: Annotated[bool, Meta(description="Verify the chain and the name.")] = True
    ca: Annotated[str | None, Meta(description="PEM file with authorities; unset means the system's.")] = None
    certificate: Annotated[Certificate | None, Meta(description="Client certificate shown to the Redis.")] = None


class Redis(Struct, forbid_unknown_fields=True, frozen=True):
    """A Redis or Valkey in which several nodes count together."""

    url: Annotated[
        str,
        Meta(description="`redis://host:port`, `rediss://host:port` (TLS) or `unix:///path`; `user:password@` before the host, `/3` behind it for database 3."),
    ]
    password: Annotated[Annotated[str, Meta(min_length=1)] | None, Meta(description="Instead of one in `url`, as it is: `${ENV}` or `file:`.")] = None
    database: Annotated[Annotated[int, Meta(ge=0, le=16383)] | None, Meta(description="Number of the database; unset means what `url` says, or 0.")] = None
    tls: Annotated[RedisTls | None, Meta(description="How `rediss://` is verified; unset means by the system's authorities.")] = None
    prefix: Annotated[str, Meta(min_length=1, description="Begins the names of all keys. Nodes of one prefix count together.")] = "gw"
    timeout: Annotated[Duration, Bounds(0.005, 5), Meta(description="Longest wait for an answer, connecting included.")] = Duration(0.2)
    lease: Annotated[
        Duration, Bounds(0.05, 10), Meta(description="Longest life of units that a node was granted. Shorter is more exact, longer asks Redis less often.")
    ] = Duration(0.5)

    def __repr__(self) -> str:
        """Without the URL and the password."""
        return f"Redis(prefix={self.prefix!r}, timeout={self.timeout}, lease={self.lease})"


class Store(Struct, forbid_unknown_fields=True, frozen=True):
    """Where gw keeps what is made at run time: keys, usage of quotas."""

    file: Annotated[Annotated[str, Meta(min_length=1)] | None, Meta(description="SQLite file; relative to the config file. null = none.")] = "gw.db"
    redis: Annotated[Redis | None, Meta(description="Counts limits that are `shared` by several nodes.")] = None


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Everything an operator can say."""

    listeners: Annotated[list[Listener], Meta(min_length=1, description="Addresses to accept on.")]
    routes: Annotated[list[Route], Meta(description="Matches and what to do with them.")] = field(default_factory=list)
    services: Annotated[dict[str, Service], Meta(description="By name.")] = field(default_factory=dict)
    policies: Annotated[list[Any], Meta(description="Policies of every route, run first.")] = field(default_factory=list)
    access: Annotated[
        Literal["open", "deny"], Meta(description="With `deny`, a route that no policy of authentication or authorisation guards is an error unless it is `public`.")
    ] = "open"
    modules: Annotated[list[str], Meta(description="Folders, relative to the config file, in which policies of your own are looked up.")] = field(default_factory=list)
    budgets: Annotated[dict[str, HookBudget], Meta(description="Budgets of single policies by their name, instead of `process.hook_budget`.")] = field(default_factory=dict)
    consumers: Annotated[dict[str, Consumer], Meta(description="Known callers, by name.")] = field(default_factory=dict)
    identity: Annotated[IdentityFields, Meta(description="How origins are told who calls.")] = field(default_factory=IdentityFields)
    store: Annotated[Store | None, Meta(description="What is made at run time; unset means that nothing is.")] = None
    trusted_proxies: Annotated[list[str], Meta(description="Addresses and CIDR blocks whose forwarding fields are believed.")] = field(default_factory=list)
    limits: Annotated[Limits, Meta(description="Sizes on the client's side.")] = field(default_factory=Limits)
    client_timeouts: Annotated[ClientTimeouts, Meta(description="Time-outs on the client's side.")] = field(default_factory=ClientTimeouts)
    timeouts: Annotated[Timeouts, Meta(description="Time-outs of an exchange.")] = field(
        default_factory=lambda: Timeouts(connect=Duration(5), answer=Duration(15), idle=Duration(30), tunnel=Duration(3600))
    )
    path: Annotated[PathRules, Meta(description="Forms of a path that are refused or kept.")] = field(default_factory=PathRules)
    forwarding: Annotated[Forwarding, Meta(description="Fields added on the way to origins.")] = field(default_factory=Forwarding)
    access_log: Annotated[AccessLog | None, Meta(description="Unset means no access log.")] = None
    error_log: Annotated[ErrorLog, Meta(description="What gw says about itself.")] = field(default_factory=ErrorLog)
    admin: Annotated[Admin | None, Meta(description="null switches it off.")] = field(default_factory=Admin)
    process: Annotated[Process, Meta(description="Workers, drain, reload.")] = field(default_factory=Process)


def encode(config: Config) -> bytes:
    """The resolved config as MessagePack, as the supervisor hands it to workers; `decode` is its inverse."""
    return msgspec.msgpack.encode(config, enc_hook=plain)


def decode(data: bytes) -> Config:
    """The config that `encode` was given."""
    return msgspec.msgpack.decode(data, type=Config, dec_hook=lambda unit, number: unit(number))


def plain(value: Any) -> int | float:
    """A Duration or Size as the number that it is; an enc_hook for msgspec."""
    if isinstance(value, Size):
        return int(value)
    if isinstance(value, Duration):
        return float(value)
    raise NotImplementedError(type(value))
