"""What a snapshot would do with a request: the engine of live traffic, asked offline, with its reasons."""

from __future__ import annotations

from urllib.parse import urlsplit

from msgspec import Struct

from gw._fast.explain import explain
from gw._fast.snapshot import Snapshot


class Loser(Struct, frozen=True):
    """A route that was considered and lost."""

    route: int  # index in the config
    why: str


class Decision(Struct, frozen=True):
    """The outcome for one request. `route` is the index in the config, -1 when none took it; `reason` then says why it is refused."""

    method: str
    host: str
    path: str  # normalised: what was routed and what would be forwarded
    client: str
    route: int
    won: str  # why the winner won
    losers: list[Loser]
    params: list[str]
    steps: list[str]  # policies in the order they would run
    reason: str = ""
    status: int = 0
    detail: str = ""


def decide(snapshot: Snapshot, method: str, url: str, headers: list[tuple[str, str]] | None = None, client: str = "127.0.0.1") -> Decision:
    """Ask the snapshot. `url` is absolute, or a path that goes with a Host among `headers`. Raises ValueError for what is no head at all."""
    considered: list[tuple[int, str]] = []
    found = explain(snapshot, _head(method, url, headers or []), client, url.startswith("https://"), lambda route, text: considered.append((route, text)))
    route = found["route"]
    won = next((text for index, text in reversed(considered) if index == route), "")
    return Decision(
        method=method,
        host=found["host"],
        path=found["path"],
        client=found["client"],
        route=max(route, -1),
        won=won,
        losers=[Loser(index, text) for index, text in considered if index != route],
        params=found["params"],
        steps=[step.name for step in snapshot.plans[route]["steps"]] if route >= 0 else [],
        reason=found["reason"],
        status=found["status"],
        detail=found["detail"],
    )


def _head(method: str, url: str, headers: list[tuple[str, str]]) -> bytes:
    parts = urlsplit(url)
    host = [] if any(name.lower() == "host" for name, _ in headers) else [("Host", parts.netloc or "localhost")]
    target = url[len(f"{parts.scheme}://{parts.netloc}") :].partition("#")[0] or "/" if parts.scheme else url
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in [*host, *headers])]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header or the URL holds a line break")
    return "\r\n".join([*lines, "", ""]).encode("utf-8")
