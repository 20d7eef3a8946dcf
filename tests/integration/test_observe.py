"""What a running gw says of itself: access log, metrics, health; figures that add up to what was sent."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.certs import make_ca, make_cert
from tests.integration.conftest import Gateway, _listening, until

ROUTES = """
services: {{one: {{endpoints: ['127.0.0.1:{port}']}}, gone: {{endpoints: ['127.0.0.1:{nobody}']}}}}
modules: [policies]
routes:
  - {{path: /own, name: own, respond: {{body: hello}}}}
  - {{path: /one, name: one, service: one, policies: [watch]}}
  - {{path: /gone, name: gone, service: gone}}
  - {{path: /get, name: get, methods: [GET], respond: {{status: 204}}}}
"""
WATCH = """
from msgspec import Struct
from gw.policy import Hooks, Request, Tools

class Config(Struct, forbid_unknown_fields=True):
    pass

def build(config: Config, tools: Tools) -> Hooks:
    def watch(request: Request) -> None:
        if request.path == "/one/fails":
            raise LookupError("on purpose")
    return Hooks(request=watch, done=lambda request: None)
"""


def send(port: int, data: bytes) -> bytes:
    """One connection: these bytes, then whatever is answered until it closes."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def ask(port: int, line: bytes, *fields: bytes, body: bytes = b"") -> int:
    """The status of one request on a connection of its own."""
    length = [b"Content-Length: %d" % len(body)] if body else []
    return int(send(port, b"\r\n".join([line, b"Host: h.test", b"Connection: close", *length, *fields, b"", body])).split()[1])


def lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a log, each one JSON object."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


class Scrape:
    """`/metrics` as prometheus_client's parser reads it."""

    def __init__(self, gateway: Gateway) -> None:
        status, text = gateway.get("/metrics", gateway.admin)
        assert status == 200
        self.samples = [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """Over all samples of this name with these labels."""
        return sum(sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items())


# Access log

HOSTILE = [
    (b"GET /own/%0d%0a%22%1b[31m%00 HTTP/1.1", []),
    (b'GET /own/"quoted"\\ HTTP/1.1', []),
    (b"GET /own/a?q=%0a%22&x='\"\\ HTTP/1.1", []),
    (b"GET /own/\x1b[31m HTTP/1.1", []),
    (b"GET /own/\xff\xfe\xc3\x28 HTTP/1.1", []),
    (b'G"E\x1bT /own HTTP/1.1', []),
    (b"G'T /own HTTP/1.1", []),
    (b"GET /own\r/x HTTP/1.1", []),
    (b"GET /own HTTP/1.1", [b'User-Agent: "quoted" \\ back\tslash', b"Referer: \xff\xc3\x28 \xe2\x80\xa8 </script>"]),
    (b"GET /own HTTP/1.1", [b"User-Agent: \x1b[31mred", b"Referer: x"]),
    (b"GET /own HTTP/1.1", [b"User-Agent: a\rb"]),
    (b"GET /own HTTP/1.1", [b"User-Agent: a\n b"]),
    (b"GET /own HTTP/1.1", [b"User-Agent: " + b'"' * 8000]),
    (b'GET http://"h\x1b".test/own HTTP/1.1', []),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", []),
    (b"GET /own HTTP/1.1", [b'X-Forwarded-For: "1\x0b2'] * 2),
]


def test_whatever_a_client_sends_stays_one_line_that_parses(gateway: Gateway) -> None:
    access = gateway.folder / "access.log"
    gateway.write("routes: [{path: /own, respond: {body: hello}}]", more=f"access_log: {{file: {access}, flush: 20ms}}")
    gateway.start()
    statuses = [ask(gateway.port, line, *fields) for line, fields in HOSTILE]
    until(lambda: access.read_bytes().count(b"\n") == len(HOSTILE), 5, "a line for each request")
    text = access.read_bytes()
    assert text.decode()
    assert not [byte for byte in text if byte < 32 and byte != 10]
    written = lines(access)
    assert Counter(each["status"] for each in written) == Counter(statuses)
    assert {200, 400} == set(statuses)
    assert all(each["reason"] for each in written if each["status"] == 400)
    agents = [each["user_agent"] for each in written if "user_agent" in each]
    assert '"quoted" \\ back\tslash' in agents
    assert '"' * 8000 in agents


def test_the_name_that_a_certificate_proves_stays_inside_its_line(gateway: Gateway) -> None:
    access = gateway.folder / "access.log"
    ca = make_ca(gateway.folder)
    server, eve = make_cert(gateway.folder, ["localhost"], ca), make_cert(gateway.folder, [], ca, label="eve", subject='/CN=eve","by":"nobody\r\n\x1b[31m')
    gateway.write("routes: [{path: /, respond: {body: hello}}]", more=f"access_log: {{file: {access}, flush: 20ms}}")
    tls = f"tls: {{certificates: [{{cert: {server.cert}, key: {server.key}}}], client_certificates: {{ca: {ca.cert}}}}}"
    gateway.config.write_text(gateway.config.read_text().replace(f"  - bind: 127.0.0.1:{gateway.port}", f"  - bind: 127.0.0.1:{gateway.port}\n    {tls}"))
    gateway.start()
    context = ssl.create_default_context(cafile=str(ca.cert))
    context.load_cert_chain(str(eve.cert), str(eve.key))
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert secure.recv(4096).startswith(b"HTTP/1.1 200")
    (line,) = until(lambda: lines(access), 5, "a line")
    assert line["by"] == "gateway"
    assert line["tls_client"].startswith("CN=eve")


def test_stdout_carries_every_line(gateway: Gateway) -> None:
    gateway.write("routes: [{path: /, respond: {body: hello}}]", more="access_log: {file: stdout, flush: 20ms}")
    gateway.start()
    for number in range(30):
        assert gateway.get(f"/{number}")[0] == 200
    seen = until(lambda: (found := [each["path"] for each in gateway.events() if "request_id" in each])[29:] and found, 5, "thirty lines")
    assert sorted(seen) == sorted(f"/{number}" for number in range(30))


def test_rotation_under_load_loses_no_line(gateway: Gateway) -> None:
    access = gateway.folder / "access.log"
    gateway.write("routes: [{path: /, respond: {body: hello}}]", more=f"access_log: {{file: {access}, flush: 5ms}}")
    gateway.start()
    over = threading.Event()
    sent = []

    def client() -> None:
        while not over.is_set():
            sent.append(gateway.get(f"/{len(sent)}")[0])

    thread = threading.Thread(target=client)
    thread.start()
    files = [access]
    for number in range(4):
        until(lambda number=number: len(sent) > 40 * (number + 1), 10, "some traffic")
        files.append(access.rename(gateway.folder / f"access.{number}"))
        gateway.hears(signal.SIGUSR1)
        until(access.exists, 5, "a new file")
    over.set()
    thread.join()
    assert set(sent) == {200}
    until(lambda: sum(file.read_bytes().count(b"\n") for file in files) == len(sent), 5, "every line is in one of the files")
    paths = [each["path"] for file in files for each in lines(file)]
    assert sorted(paths) == sorted(f"/{number}" for number in range(len(sent)))
    assert len([file for file in files if file.stat().st_size]) > 1


def test_a_full_disk_costs_lines_that_are_counted_and_nothing_else(gateway: Gateway) -> None:
    access = gateway.folder / "access.log"
    gateway.command = ["prlimit", "--fsize=30000:unlimited", "--", *gateway.command]
    gateway.write("routes: [{path: /, respond: {body: hello}}]", more=f"access_log: {{file: {access}, buffer: 4096, flush: 5ms}}")
    gateway.config.write_text(gateway.config.read_text().replace("workers: 2", "workers: 1"))  # two may cut each other where the disk ended
    gateway.start()
    sent = 200
    assert {gateway.get("/" + "x" * 1500)[0] for _ in range(sent)} == {200}
    seen = until(lambda: (found := Scrape(gateway)).sum("gw_log_lines_total") + found.sum("gw_log_lines_dropped_total") == sent and found, 5, "each line taken or dropped")
    dropped = seen.sum("gw_log_lines_dropped_total")
    assert 0 < dropped < sent
    assert access.stat().st_size == 30000
    for pid in gateway.workers():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: gateway.get("/after")[0] == 200 and b"/after" in access.read_bytes(), 5, "there is room again")
    assert len([each for each in lines(access) if each["path"] != "/after"]) == sent - dropped


# Metrics


@pytest.fixture
def crowded(slow_origin: int, gateway: Gateway, free_port: Callable[[], int]) -> Gateway:
    """A gateway with a route of each kind, a policy in Python, and an access log."""
    (gateway.folder / "policies").mkdir()
    (gateway.folder / "policies" / "watch.py").write_text(WATCH)
    gateway.write(ROUTES.format(port=slow_origin, nobody=free_port()), more=f"access_log: {{file: {gateway.folder}/access.log, flush: 20ms}}")
    gateway.start()
    until(lambda: _listening(gateway.admin), 10, "the admin address is open")
    return gateway


def test_metrics_add_up_to_the_traffic_sent(crowded: Gateway) -> None:
    port = crowded.port
    before = Scrape(crowded)
    sent = Counter(
        {
            ("own", 200): 7,
            ("one", 200): 11,
            ("one", 500): 3,
            ("gone", 502): 2,
            ("get", 204): 5,
            ("(no route)", 404): 4,
            ("(no route)", 405): 1,
            ("(no route)", 400): 2,
        }
    )
    requests = {
        ("own", 200): b"GET /own HTTP/1.1",
        ("one", 200): b"GET /one HTTP/1.1",
        ("one", 500): b"GET /one/fails HTTP/1.1",
        ("gone", 502): b"GET /gone HTTP/1.1",
        ("get", 204): b"GET /get HTTP/1.1",
        ("(no route)", 404): b"GET /nowhere HTTP/1.1",
        ("(no route)", 405): b"POST /get HTTP/1.1",
        ("(no route)", 400): b"GET /\x01 HTTP/1.1",
    }
    for (route, status), count in sent.items():
        body = b"0123456789" if route == "own" else b""
        assert [ask(port, requests[route, status], body=body) for _ in range(count)] == [status] * count
    total = sum(sent.values())
    seen = until(lambda: (found := Scrape(crowded)).sum("gw_requests_total") - before.sum("gw_requests_total") == total and found, 5, "every request is counted")
    for route in {route for route, _ in sent}:
        for status_class in range(1, 6):
            expected = sum(count for (name, status), count in sent.items() if name == route and status // 100 == status_class)
            assert seen.sum("gw_requests_total", route=route, status_class=f"{status_class}xx") == expected, (route, status_class)
        assert seen.sum("gw_request_duration_seconds_count", route=route) == sum(count for (name, _), count in sent.items() if name == route)
        assert seen.sum("gw_request_duration_seconds_bucket", route=route, le="+Inf") == seen.sum("gw_request_duration_seconds_count", route=route)
    reasons = {"hook-failed": 3, "connect-refused": 2, "no-route": 4, "method-not-allowed": 1}
    assert {reason: seen.sum("gw_responses_by_gateway_total", reason=reason) for reason in reasons} == reasons
    assert seen.sum("gw_responses_by_gateway_total") == sum(reasons.values()) + 2
    assert seen.sum("gw_request_body_bytes_total", route="own") == 7 * 10
    assert seen.sum("gw_response_body_bytes_total", route="own") == 7 * len("hello")
    assert seen.sum("gw_response_body_bytes_total", route="one") > 11 * len("slow origin: /one")
    assert seen.sum("gw_origin_duration_seconds_count", route="one") == 11
    assert seen.sum("gw_endpoint_requests_total", service="one") == 11
    assert seen.sum("gw_endpoint_failures_total", service="gone") == 2
    assert seen.sum("gw_endpoint_inflight") == 0
    assert seen.sum("gw_hook_errors_total") == 3
    assert seen.sum("gw_hook_calls_total") == 2 * (11 + 3)
    assert seen.sum("gw_parse_errors_total") == 2
    assert seen.sum("gw_connections_accepted_total") - before.sum("gw_connections_accepted_total") == total
    assert seen.sum("gw_log_lines_total") - before.sum("gw_log_lines_total") == total
    events = crowded.said("hook-failed")
    assert [(each["policy"], each["error"]) for each in events] == [("watch", "LookupError('on purpose')")] * 3
    assert all("watch.py" in each["traceback"] for each in events)
    written = until(lambda: (found := lines(crowded.folder / "access.log"))[total - 1 :] and found, 5, "every line is written")
    assert Counter((each.get("route", "(no route)"), each["status"]) for each in written) == sent
    assert {each["request_id"] for each in events} == {each["request_id"] for each in written if each.get("reason") == "hook-failed"}


def test_counters_outlive_a_worker_and_a_reload(crowded: Gateway) -> None:
    for _ in range(10):
        assert ask(crowded.port, b"GET /own HTTP/1.1") == 200
    for pid in crowded.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: crowded.call("status")["ready"], 5, "new workers")
    assert crowded.call("reload")["ok"]
    for _ in range(10):
        assert ask(crowded.port, b"GET /own HTTP/1.1") == 200
    seen = until(lambda: (found := Scrape(crowded)).sum("gw_requests_total", route="own") == 20 and found, 5, "every request is counted")
    assert seen.sum("gw_worker_restarts_total") == 2
    assert seen.sum("gw_reloads_total") == 1
    assert seen.sum("gw_revision") == 2
    assert {sample.value for sample in seen.samples if sample.name == "gw_worker_revision"} == {2}


def test_what_load_shed_has_learnt_is_shown_for_each_service(slow_origin: int, gateway: Gateway) -> None:
    """Two workers learn each by itself, from 20 on or from `most`; what a killed worker knew and held goes with it."""
    shed = "load-shed: {most: 8}"
    routes = f"[{{path: /, service: one, policies: [{shed}]}}, {{path: /a, service: one, policies: [{shed}]}}, {{path: /b, service: two}}, {{path: /c, service: three}}]"
    services = f"one: {{endpoints: ['127.0.0.1:{slow_origin}']}}, two: {{endpoints: ['127.0.0.1:1'], policies: [load-shed]}}, three: {{endpoints: ['127.0.0.1:1']}}"
    gateway.write(f"services: {{{services}}}\nroutes: {routes}")
    gateway.start()
    until(lambda: _listening(gateway.admin), 10, "the admin address is open")

    def shown(name: str) -> list[tuple[str, str, float]]:
        return [(each.labels["service"], each.labels["most"], each.value) for each in Scrape(gateway).samples if each.name == name]

    assert shown("gw_load_shed_limit") == [("one", "8", 16), ("two", "1000", 40)]
    assert shown("gw_load_shed_inflight") == [("one", "8", 0), ("two", "1000", 0)]
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as first, socket.create_connection(("127.0.0.1", gateway.port), 10) as second:
        first.sendall(b"GET /30 HTTP/1.1\r\nHost: h\r\n\r\n")
        second.sendall(b"GET /a/30 HTTP/1.1\r\nHost: h\r\n\r\n")
        until(lambda: shown("gw_load_shed_inflight")[0] == ("one", "8", 2), 5, "both count, whichever worker they are in")
        assert gateway.call("reload")["ok"]
        assert shown("gw_load_shed_inflight")[0] == ("one", "8", 2)
        for pid in gateway.workers():
            os.kill(pid, signal.SIGKILL)
        until(lambda: shown("gw_load_shed_inflight")[0] == ("one", "8", 0), 5, "nothing is in flight in dead workers")
    until(lambda: shown("gw_load_shed_limit") == [("one", "8", 16), ("two", "1000", 40)], 5, "new workers begin anew")


# Health


def test_health_while_draining(slow_origin: int, gateway: Gateway) -> None:
    gateway.write(f"services: {{one: {{endpoints: ['127.0.0.1:{slow_origin}']}}}}\nroutes: [{{path: /, service: one}}]")
    gateway.start()
    until(lambda: _listening(gateway.admin), 10, "the admin address is open")

    def health(path: str) -> tuple[int, dict[str, Any]]:
        status, body = gateway.get(path, gateway.admin)
        return status, json.loads(body)

    assert health("/readyz") == (200, {"status": "ready"})
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as slow:
        slow.sendall(b"GET /1.0 HTTP/1.1\r\nHost: h\r\n\r\n")
        until(lambda: Scrape(gateway).sum("gw_worker_exchanges") == 1, 5, "it is in flight")
        gateway.hears(signal.SIGTERM)
        assert until(lambda: (found := health("/readyz"))[0] == 503 and found, 5, "a drain is no readiness") == (503, {"status": "unready", "reason": "draining"})
        assert health("/healthz") == (200, {"status": "ok"})
        assert slow.recv(4096).startswith(b"HTTP/1.1 200")
    gateway.ends(0)
