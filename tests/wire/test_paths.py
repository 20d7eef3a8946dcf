"""What was authorised is what the origin sees: spellings of a protected path, forwarding fields, and lines of the access log."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from tests.wire.conftest import Bench
from tests.wire.model import head
from tests.wire.origin import connect
from tests.wire.peers import TRUSTED, Gw, Job
from tests.wire.run import Reader

SPELLINGS = [
    "/admin", "/admin/", "/admin/x", "/admin?x", "/admin#x", "//admin", "///admin", "/./admin", "/.//admin", "/admin/.", "/admin//", "/admin/x/..", "/x/../admin", "/x//../admin", "/x/y/../../admin", "/../admin", "/x/../../admin",
    "/%61dmin", "/admi%6e", "/%61%64%6d%69%6e", "/%61dmin/x", "/%2e/admin", "/%2E/admin", "/%2e%2e/admin", "/x/%2e%2e/admin", "/x/.%2e/admin", "/x/%2E%2E/admin", "/x/..;/admin", "/x/..;a=b/admin", "/x/%2e%2e;/admin", "/admin;", "/admin;x=1", "/admin;/x", "/;/admin", "/;x=1/admin", "/.;/admin",
    "/admin%2f", "/admin%2fx", "/%2fadmin", "/%2Fadmin", "/x%2f..%2fadmin", "/x/..%2fadmin", "/x/%2e%2e%2fadmin", "/.%2fadmin", "/\\admin", "\\admin", "/x\\..\\admin", "/x/..\\admin", "/.\\admin", "/%5cadmin", "/%5Cadmin", "/x%5c..%5cadmin", "/x/..%5cadmin",
    "/admin%00", "/admin%00.html", "/%00/../admin", "/admin%3bx=1", "/admin%3b/x", "/x/..%3b/admin", "/%c0%ae%c0%ae/admin", "/x/%c0%ae%c0%ae/admin", "/x/%u002e%u002e/admin", "/%u0061dmin", "/x/%%32%65%%32%65/admin", "/\x00/../admin", "/admin\x00", "/admin\x09", "/x/..\x01/admin",
    "http://a.test/admin", "http://a.test//admin", "http://a.test/x/../admin", "http://A.TEST/admin", "http://a.test:80/admin", "HTTP://a.test/%61dmin", "http://b.test/admin", "http://a.test\\admin", "http://a.test/%2e%2e/admin", "http://a.test/\\admin",
]
DOUBLE = ["/%2561dmin", "/%252e%252e/admin", "/x/%252e%252e/admin", "/x%252f..%252fadmin", "/x/%25252e%25252e/admin", "/ADMIN", "/Admin", "/admin.", "/administrator", "/admin%20", "/x/.../admin", "/x/..%20/admin", "/x/admin"]
STRIPPED = ["/api/../admin", "/api/%2e%2e/admin", "/api/.%2e/admin", "/api/..;/admin", "/api/..%2fadmin", "/api/..%5cadmin", "/api/..\\admin", "/api%2f..%2fadmin", "/api/x/../../admin", "/api/./../admin", "/api;/../admin", "/api/..;x/admin", "/api%5c..%5cadmin", "/api/%c0%ae%c0%ae/admin", "/api/%2e%2e%3b/admin", "/api/..//admin", "/api/x/%2e%2e/%2e%2e/admin", "/ap%69/../admin", "/api/\x00/../../admin", "/api/%00/../../admin"]
HOSTS = ["a.test", "A.TEST", "a.test:80", "a.test.", "A.Test.:80", "strip.test", "STRIP.TEST:8080"]


def as_origin_reads(target: str) -> str:
    """The path a lenient origin would serve: percent decoded once, `\\` as `/`, parameters cut, empty and dot segments resolved."""
    raw = re.sub(r"^[A-Za-z]+://[^/?#]*", "", target).split("?")[0].split("#")[0]
    text = unquote_to_bytes(raw.encode("latin-1")).decode("latin-1").split("\x00")[0].replace("\\", "/")
    kept: list[str] = []
    for segment in text.split("/"):
        name = segment.split(";")[0]
        if name == "..":
            del kept[-1:]
        elif name not in ("", "."):
            kept.append(name)
    return "/" + "/".join(kept)


def protected(path: str) -> bool:
    return path == "/admin" or path.startswith("/admin/")


async def ask(bench, data: bytes, source: str | None = None):
    bench.origin.forget()
    wire = await connect(bench.peer.port, source=source)
    try:
        await wire.send(data)
        reader = Reader(wire)
        await reader.finals_or_end(1)
        await asyncio.sleep(0.002)
        return reader.finals[0].status if reader.finals else None, list(bench.origin.seen), list(bench.origin.faults)
    finally:
        wire.close()


def test_model() -> None:
    assert all(as_origin_reads(spelling) == "/admin" for spelling in ("/x/..;/admin", "/x%2f..%2fadmin", "//admin", "/x\\..\\admin", "/admin;x=1", "http://a.test/admin"))
    assert as_origin_reads("/%2561dmin") == "/%61dmin"


@pytest.mark.parametrize("spelling", SPELLINGS + DOUBLE)
def test_no_spelling_reaches_the_protected_path(bench, spelling: str) -> None:
    for host in HOSTS:
        status, seen, faults = bench.run(ask(bench, head(f"GET {spelling} HTTP/1.1", host=host)))
        assert not faults, host
        for request in seen:
            assert not protected(as_origin_reads(request.target)), f"{host}: the origin serves {request.target!r} as {as_origin_reads(request.target)}"
        assert seen or status is None or status >= 400, host
        if spelling in ("/admin", "/admin/x", "/%61dmin", "//admin", "/x/../admin", "http://a.test/admin"):
            assert status == 403, host


@pytest.mark.parametrize("spelling", STRIPPED)
def test_no_spelling_leaves_a_stripped_prefix(bench, spelling: str) -> None:
    _, seen, faults = bench.run(ask(bench, head(f"GET {spelling} HTTP/1.1", host="strip.test")))
    assert not faults
    for request in seen:
        assert not protected(as_origin_reads(request.target)), f"the origin serves {request.target!r}"


def guarded(spelling: str) -> str:
    """The same trick on `/guarded`."""
    return spelling.replace("admi%6e", "guarde%64").replace("%61%64%6d%69%6e", "%67%75%61%72%64%65%64").replace("%61dmin", "%67uarded").replace("u0061dmin", "u0067uarded").replace("admin", "guarded")


# Knows who says so; what a credential is worth is not the matter here.
CALLER = """
from msgspec import Struct

from gw.policy import Hooks, Request, Tools

KIND = "authentication"


class Config(Struct):
    pass


def build(config: Config, tools: Tools) -> Hooks:
    def know(request: Request) -> None:
        if name := request.headers.get("X-Caller"):
            request.identify("caller", consumer=name)
    return Hooks(request=know)
"""


@pytest.fixture(scope="module")
def guard(bench):
    """A gw that lets `ann` alone to `/guarded`, and anybody to all else."""
    policies = ["caller", {"acl": {"allow": {"consumers": ["ann"]}}}]
    routes = [{"path": "/guarded", "policies": policies}, {"path": "/api", "strip_prefix": True, "hosts": ["strip.test"]}, {"path": "/"}]
    peer = Gw(Job([bench.origin.port], extra={"consumers": {"ann": {}, "eve": {}}, "modules": ["policies"], "routes": [{**each, "service": "origin"} for each in routes]}))
    (peer.folder / "policies").mkdir()
    (peer.folder / "policies" / "caller.py").write_text(CALLER)
    bench.run(asyncio.to_thread(peer.start))
    yield Bench(bench.runner, peer, bench.origin)
    peer.remove()


@pytest.mark.parametrize("spelling", [guarded(each) for each in SPELLINGS + DOUBLE + STRIPPED if guarded(each) != each])
def test_no_spelling_passes_by_a_policy(guard, spelling: str) -> None:
    for host in HOSTS:
        for caller, refused in (("", 401), ("X-Caller: eve", 403), ("X-Caller: ann", 0)):
            status, seen, faults = guard.run(ask(guard, head(f"GET {spelling} HTTP/1.1", *filter(None, [caller]), host=host)))
            assert not faults, host
            for request in seen:
                path = as_origin_reads(request.target)
                assert not refused or not re.match(r"/guarded(/|$)", path), f"{host}: {caller or 'nobody'} reaches {request.target!r}"
            if spelling in ("/guarded", "/guarded/x", "/%67uarded", "//guarded", "/x/../guarded", "http://a.test/guarded"):
                assert status == (refused or 200), host


@pytest.mark.parametrize("spelling", SPELLINGS + DOUBLE + STRIPPED)
def test_forwarded_path_is_in_normal_form(bench, spelling: str) -> None:
    _, seen, _ = bench.run(ask(bench, head(f"GET /public{spelling} HTTP/1.1" if spelling.startswith("/") else f"GET {spelling} HTTP/1.1")))
    for request in seen:
        path = request.target.split("?")[0]
        assert not re.search(r"//|/\.\.?(/|$)|%2e(?!2e)|[\x00-\x20\x7f\\]", path.replace("%252e", ""), re.IGNORECASE), path


def test_stripping_leaves_one_slash_ahead(bench) -> None:
    for target in ("/api", "/api/", "/api//evil.test/x", "/api///x"):
        _, seen, _ = bench.run(ask(bench, head(f"GET {target} HTTP/1.1", host="strip.test")))
        assert all(re.match(r"/(?!/)", request.target) for request in seen), target


CLAIMS = ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: front.test"]


def test_forwarding_fields_of_a_trusted_peer_are_kept(bench) -> None:
    _, seen, _ = bench.run(ask(bench, head("GET /x HTTP/1.1", *CLAIMS), source=TRUSTED))
    assert seen[0].all("X-Forwarded-For") == [f"1.2.3.4, {TRUSTED}".encode()]
    assert seen[0].all("X-Forwarded-Proto") == [b"https"]
    assert seen[0].all("X-Forwarded-Host") == [b"front.test"]
    assert seen[0].all("X-Real-IP") == [b"1.2.3.4"]


def test_forwarding_fields_of_a_stranger_are_replaced(bench) -> None:
    _, seen, _ = bench.run(ask(bench, head("GET /x HTTP/1.1", *CLAIMS, "Forwarded: for=1.2.3.4;proto=https")))
    assert seen[0].all("X-Forwarded-For") == [b"127.0.0.1"]
    assert seen[0].all("X-Forwarded-Proto") == [b"http"]
    assert seen[0].all("X-Forwarded-Host") == [b"a.test"]
    assert b"1.2.3.4" not in seen[0].raw


INJECTIONS = [
    head('GET /log/"quoted"\\n HTTP/1.1'), head("GET /log/%0d%0a%7b%22fake%22:1%7d HTTP/1.1"), head("GET /log?%0a%1b[31mred HTTP/1.1"), head("GET /log/\x1b[31m HTTP/1.1"), head('GET /log HTTP/1.1', 'User-Agent: "}\\u000a{"fake": 1'),
    head("GET /log HTTP/1.1", "User-Agent: caf\xe9 \xff\xfe"), head("GET /log HTTP/1.1", "Referer: a\tb"), head("GET /log HTTP/1.1", "X-Request-Id: a\"b\\c"), head("GET /log/\xe2\x80\xa8 HTTP/1.1"), head("GE\"T /log HTTP/1.1"), b"GET /log\nfake HTTP/1.1\r\nHost: a.test\r\n\r\n",
    head("GET /log HTTP/1.1", host='a"b'), head("GET /log HTTP/1.1", "User-Agent: a\rb"), head("GET /log HTTP/1.1", "User-Agent: " + "\\" * 3000), head("GET /" + "%22" * 2000 + " HTTP/1.1"), b"\x00\xff\"\n\r\n\r\n",
]


def test_each_line_of_the_access_log_is_one_json_object(bench) -> None:
    log = Path(bench.peer.folder, "access.log")
    if not log.exists():
        pytest.skip("this proxy writes no JSON log")
    for data in INJECTIONS:
        bench.run(ask(bench, data))
    bench.run(ask(bench, head("GET /last-of-the-injections HTTP/1.1")))
    end = time.monotonic() + 5
    while b"last-of-the-injections" not in log.read_bytes() and time.monotonic() < end:
        time.sleep(0.02)
    text = log.read_bytes()
    assert b"last-of-the-injections" in text
    lines = text.split(b"\n")
    assert lines.pop() == b""
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", text)
