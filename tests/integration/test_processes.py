"""Supervisor and workers as an operator meets them: signals, reloads, deaths, upgrades. See docs/operate/processes.md."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from gw.errors import GatewayError
from tests.certs import make_ca, make_cert
from tests.integration.conftest import Gateway, Load, _listening, until

HELLO = "routes: [{path: /, respond: {body: hello}}]"
SECOND = "routes: [{path: /, respond: {body: second}}]"


def to_origin(port: int | str) -> str:
    return f"services: {{one: {{endpoints: ['{port}']}}}}\nroutes: [{{path: /, service: one}}]"


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def health(gateway: Gateway, path: str) -> tuple[int, dict[str, object]]:
    status, body = gateway.get(path, gateway.admin)
    return status, json.loads(body)


# Serving


def test_it_serves_and_tells_how_it_is(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    assert gateway.get() == (200, b"hello")
    status = gateway.call("status")
    assert status["pid"] == gateway.pid == gateway.process.pid
    assert (status["revision"], status["ready"], status["draining"]) == (1, True, False)
    assert [each["slot"] for each in status["workers"]] == [0, 1]
    assert status["listeners"] == [{"bind": f"127.0.0.1:{gateway.port}", "address": f"127.0.0.1:{gateway.port}", "tls": False}]
    until(lambda: _listening(gateway.admin), 10, "the admin address is open")
    assert health(gateway, "/healthz") == (200, {"status": "ok"})
    assert health(gateway, "/readyz") == (200, {"status": "ready"})
    code, text = gateway.get("/metrics", gateway.admin)
    assert code == 200
    assert b"gw_" in text
    assert gateway.get("/nothing", gateway.admin)[0] == 404


def test_workers_hold_only_what_is_theirs(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    first, second = gateway.workers()
    os.kill(first, signal.SIGKILL)
    (third,) = until(lambda: set(filter(None, gateway.workers())) - {first, second}, 5, "a new worker")
    gateway.get()
    for pid in (second, third):  # a listener, the channel, uvloop's self-pipe; a client's connection has been closed soon
        until(lambda pid=pid: len(sockets_of(pid)) <= 4, 5, f"worker {pid} holds only what is its own")
        assert Path(f"/proc/{pid}/comm").read_text().startswith("gw: worker ")


def sockets_of(pid: int) -> set[str]:
    return {name for link in Path(f"/proc/{pid}/fd").iterdir() if (name := os.readlink(link)).startswith("socket:")}


def test_ipv6_unix_and_all_addresses(gateway: Gateway, free_port: object) -> None:
    other = free_port()
    path = gateway.folder / "s"
    gateway.write(HELLO, listeners=f"  - bind: ':{other}'\n  - {{bind: 'unix:{path}', mode: '0600'}}")
    gateway.start()
    assert gateway.get("/", other) == (200, b"hello")
    if Path("/proc/net/if_inet6").exists():
        with socket.create_connection(("::1", other), 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    gateway.hears(signal.SIGTERM)
    gateway.ends()
    assert not path.exists()


def test_a_port_in_use_is_one_clear_sentence(gateway: Gateway) -> None:
    gateway.write(HELLO)
    with socket.create_server(("127.0.0.1", gateway.port)):
        gateway.start(wait=False)
        gateway.ends(1)
    text = " ".join(gateway.log.read_text().split())
    assert f"cannot listen on 127.0.0.1:{gateway.port}: the address is in use by" in text
    assert f"(pid {os.getpid()})" in text
    assert "Traceback" not in text


def test_pinned_workers_have_a_core_each(gateway: Gateway) -> None:
    gateway.write(HELLO, process="  pin: true")
    gateway.start()
    cores = [os.sched_getaffinity(pid) for pid in gateway.workers()]
    assert [len(each) for each in cores] == [1, 1]
    assert len(os.sched_getaffinity(0)) == 1 or cores[0] != cores[1]


def test_systemd_hears_ready_and_stopping(gateway: Gateway) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(gateway.folder / "notify"))
        listener.settimeout(10)
        gateway.environ = {"NOTIFY_SOCKET": str(gateway.folder / "notify"), "WATCHDOG_USEC": "200000"}
        gateway.write(HELLO)
        gateway.start()
        assert listener.recv(1000) == f"READY=1\nMAINPID={gateway.pid}".encode()
        assert listener.recv(1000) == b"WATCHDOG=1"
        gateway.hears(signal.SIGTERM)
        heard = [listener.recv(1000)]
        while heard[-1] == b"WATCHDOG=1":
            heard.append(listener.recv(1000))
        assert heard[-1] == b"STOPPING=1"


# Deaths


def test_a_killed_worker_is_replaced_within_200_ms_and_only_requests_in_flight_are_lost(gateway: Gateway, load: type[Load]) -> None:
    gateway.write(HELLO)
    gateway.start()
    with load(gateway.port, 200, fresh=True) as client:
        for _ in range(3):
            time.sleep(0.5)
            victim = gateway.workers()[0]
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            until(lambda known=victim: known not in gateway.workers() and gateway.call("status")["ready"], 2, "a new worker serves")
            assert time.monotonic() - killed < 0.2
        time.sleep(0.5)
    assert len(client.failures) <= 3, client.failures
    assert client.sent > 300
    assert len(gateway.said("worker-exited", signal="SIGKILL")) == 3
    assert gateway.restarts() == 3


def test_a_frozen_worker_is_named_and_shows_its_stack(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    victim = gateway.workers()[1]
    os.kill(victim, signal.SIGSTOP)
    until(lambda: gateway.said("worker-stuck", worker_pid=victim), 10, "worker-stuck")
    os.kill(victim, signal.SIGCONT)
    until(lambda: "most recent call first" in gateway.log.read_text(), 5, "the stack")
    assert alive(victim)


def test_workers_do_not_outlive_a_killed_supervisor(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    workers = gateway.workers()
    gateway.process.kill()
    gateway.process.wait()
    until(lambda: not any(map(alive, workers)), 5, "the workers are gone")
    assert not _listening(gateway.port)
    (gateway.folder / "error.log").unlink()
    gateway.start()
    assert gateway.get() == (200, b"hello")


def test_signals_to_a_worker_change_nothing(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    before = gateway.workers()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(before[0], number)
    time.sleep(0.3)
    assert gateway.workers() == before
    assert gateway.get() == (200, b"hello")


# Reload


def test_reload_by_signal(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    workers = gateway.workers()
    gateway.write(SECOND)
    gateway.hears(signal.SIGHUP)
    until(lambda: gateway.said("reloaded", revision=2), 5, "reloaded")
    assert {gateway.get() for _ in range(20)} == {(200, b"second")}
    assert gateway.workers() == workers
    assert [each["revision"] for each in gateway.call("status")["workers"]] == [2, 2]


def test_reload_by_request_tells_every_problem_and_keeps_the_old(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    gateway.write("routes: [{path: /, service: nowhere}, {path: relative, respond: {}}]")
    outcome = gateway.call("reload")
    assert not outcome["ok"]
    assert outcome["revision"] == 1
    assert len(outcome["problems"]) >= 2
    assert all(problem["line"] for problem in outcome["problems"])
    assert gateway.get() == (200, b"hello")
    status = gateway.call("status")
    assert (status["revision"], status["reload_failures"], status["reload"]["ok"]) == (1, 1, False)
    gateway.write(SECOND)
    assert gateway.call("reload")["ok"]
    assert gateway.get() == (200, b"second")


def test_reload_by_a_change_of_the_file(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.config.write_text(gateway.config.read_text().replace("  watch: false\n", ""))
    gateway.start()
    gateway.config.write_text(gateway.config.read_text().replace("hello", "changed"))
    until(lambda: gateway.said("reloaded"), 5, "reloaded")
    assert gateway.get() == (200, b"changed")


def test_five_reloads_in_four_seconds_lose_nothing(gateway: Gateway, load: type[Load], nginx: int) -> None:
    gateway.write(to_origin(f"127.0.0.1:{nginx}"))
    gateway.start()
    with load(gateway.port, 100, fresh=True) as fresh, load(gateway.port, 100, fresh=False) as kept:
        for number in range(2, 7):
            time.sleep(0.7)
            gateway.hears(signal.SIGHUP)
            until(lambda number=number: gateway.said("reloaded", revision=number), 5, f"revision {number}")
    assert fresh.failures + kept.failures == []
    assert fresh.sent + kept.sent > 500


def test_listeners_come_and_go(gateway: Gateway, free_port: object, load: type[Load]) -> None:
    other = free_port()
    path = gateway.folder / "s"
    gateway.write(HELLO)
    gateway.start()
    with load(gateway.port, 100, fresh=True) as client:
        gateway.write(HELLO, listeners=f"  - bind: 127.0.0.1:{other}\n  - bind: unix:{path}")
        assert gateway.call("reload")["ok"]
        assert {gateway.get("/", other) for _ in range(20)} == {(200, b"hello")}
        assert path.exists()
        gateway.write(SECOND)
        assert gateway.call("reload")["ok"]
        assert not _listening(other)
        assert not path.exists()
    assert client.failures == []


def test_a_listener_that_cannot_be_bound_changes_nothing(gateway: Gateway, free_port: object) -> None:
    good, bad = free_port(), free_port()
    gateway.write(HELLO)
    gateway.start()
    with socket.create_server(("127.0.0.1", bad)):
        gateway.write(SECOND, listeners=f"  - bind: 127.0.0.1:{good}\n  - bind: 127.0.0.1:{bad}")
        outcome = gateway.call("reload")
    assert [problem["message"].partition(" by ")[0] for problem in outcome["problems"]] == [f"cannot listen on 127.0.0.1:{bad}: the address is in use"]
    assert outcome["problems"][0]["line"]
    assert gateway.get() == (200, b"hello")
    assert not _listening(good)


def test_a_worker_that_is_born_after_a_reload_has_the_new_revision(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    gateway.write(SECOND)
    gateway.call("reload")
    for pid in gateway.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: [each["revision"] for each in gateway.call("status")["workers"]] == [2, 2], 5, "new workers")
    assert {gateway.get() for _ in range(10)} == {(200, b"second")}


def test_workers_killed_during_reloads_do_not_stop_them(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    for number in range(2, 8):
        until(lambda: all(gateway.workers()), 5, "a full crew")
        os.kill(gateway.pid, signal.SIGHUP)
        os.kill(gateway.workers()[number % 2], signal.SIGKILL)
        until(lambda number=number: gateway.said("reloaded", revision=number), 5, f"revision {number}")
    until(lambda: gateway.call("status")["ready"], 5, "all workers on the last revision")


def test_what_needs_a_restart_is_named(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    gateway.write(SECOND, process="  pin: true")
    gateway.config.write_text(gateway.config.read_text().replace("workers: 2", "workers: 3"))
    outcome = gateway.call("reload")
    assert outcome["ok"]
    assert outcome["restart"] == ["process.workers", "process.pin"]
    assert gateway.get() == (200, b"second")


# Stop


def test_drain_lets_slow_answers_finish(gateway: Gateway, slow_origin: int) -> None:
    gateway.write(to_origin(f"127.0.0.1:{slow_origin}"))
    gateway.start()
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as slow, socket.create_connection(("127.0.0.1", gateway.port), 10) as idle:
        slow.sendall(b"GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        greeting = b""
        while not greeting.endswith(b"slow origin: /"):
            greeting += idle.recv(1000)
        time.sleep(0.2)
        began = time.monotonic()
        gateway.hears(signal.SIGTERM)
        assert idle.recv(1000) == b""
        until(lambda: not _listening(gateway.port), 0.5, "no new connections")
        answer = b""
        while data := slow.recv(4096):
            answer += data
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"slow origin: /1.0")
        assert b"connection: close" in answer.lower()
        gateway.ends(0)
        assert 0.5 < time.monotonic() - began < 4
    assert not (gateway.folder / "gw.pid").exists()


def test_the_deadline_of_a_drain_cuts(gateway: Gateway, slow_origin: int) -> None:
    gateway.write(to_origin(f"127.0.0.1:{slow_origin}"))
    gateway.start()
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as slow:
        slow.sendall(b"GET /3.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.2)
        began = time.monotonic()
        gateway.call("stop", seconds=0.5)
        gateway.ends(0)
        assert time.monotonic() - began < 2
        with contextlib.suppress(ConnectionError):
            assert slow.recv(4096) == b""
    assert gateway.said("drain-cut")


def test_a_second_signal_stops_at_once(gateway: Gateway, slow_origin: int) -> None:
    gateway.write(to_origin(f"127.0.0.1:{slow_origin}"))
    gateway.start()
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as slow:
        slow.sendall(b"GET /3.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.2)
        gateway.hears(signal.SIGTERM)
        time.sleep(0.2)
        began = time.monotonic()
        gateway.hears(signal.SIGTERM)
        gateway.ends(0)
        assert time.monotonic() - began < 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_other_signals_that_stop(gateway: Gateway, number: signal.Signals) -> None:
    gateway.write(HELLO)
    gateway.start()
    gateway.hears(number)
    gateway.ends(0)
    with pytest.raises(GatewayError, match="no gw is running"):
        gateway.call("status")


# Logs


def test_logs_are_reopened(gateway: Gateway) -> None:
    access = gateway.folder / "access.log"
    gateway.write(HELLO, more=f"access_log: {{file: {access}, flush: 50ms}}")
    gateway.start()
    gateway.get("/before")
    until(lambda: "/before" in access.read_text(), 5, "a line")
    access.rename(gateway.folder / "old.log")
    gateway.hears(signal.SIGUSR1)
    until(access.exists, 5, "a new file")
    time.sleep(0.2)
    for _ in range(8):
        gateway.get("/after")
    until(lambda: access.read_text().count("/after") == 8, 5, "all lines in the new file")
    assert "/after" not in (gateway.folder / "old.log").read_text()


def test_relative_files_start_from_the_folder_of_the_config(gateway: Gateway) -> None:
    gateway.write(HELLO, more="access_log: {file: logs/access.log, flush: 50ms}\nerror_log: {file: logs/error.log}")
    (gateway.folder / "logs").mkdir()
    gateway.start(wait=False)
    until(lambda: _listening(gateway.port), 10, "it listens")
    gateway.get("/here")
    until(lambda: "/here" in (gateway.folder / "logs" / "access.log").read_text(), 5, "a line")
    assert '"serving"' in (gateway.folder / "logs" / "error.log").read_text()


# Tunnels and TLS


def echo_after_upgrade(server: socket.socket) -> None:
    """An origin that switches protocols and sends back what it gets."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := connection.recv(4096):
                connection.sendall(data)


def test_a_tunnel_lives_through_reloads_and_keeps_a_drain_waiting(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=echo_after_upgrade, args=[server])
        thread.start()
        gateway.write(to_origin(f"127.0.0.1:{server.getsockname()[1]}"))
        gateway.start()
        with socket.create_connection(("127.0.0.1", gateway.port), 10) as tunnel:
            tunnel.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert tunnel.recv(4096).startswith(b"HTTP/1.1 101")
            for number in range(3):
                gateway.write(SECOND)
                assert gateway.call("reload")["ok"]
                tunnel.sendall(b"still there %d" % number)
                assert tunnel.recv(4096) == b"still there %d" % number
            gateway.hears(signal.SIGTERM)
            time.sleep(0.5)
            tunnel.sendall(b"and now")
            assert tunnel.recv(4096) == b"and now"
        gateway.ends(0)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def handshake(context: ssl.SSLContext, port: int, session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession, bool]:
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname="localhost", session=session) as secure:
        certificate = secure.getpeercert(binary_form=True)
        assert certificate
        assert secure.session
        return certificate, secure.session, bool(secure.session_reused)


def test_a_certificate_is_changed_under_way_and_sessions_are_resumed_by_any_worker(gateway: Gateway) -> None:
    ca = make_ca(gateway.folder)
    first = make_cert(gateway.folder, ["localhost"], ca)
    gateway.write(HELLO)
    text = gateway.config.read_text().replace("  watch: false\n", "")
    gateway.config.write_text(
        text.replace(f"  - bind: 127.0.0.1:{gateway.port}", f"  - bind: 127.0.0.1:{gateway.port}\n    tls: {{certificates: [{{cert: {first.cert}, key: {first.key}}}]}}")
    )
    gateway.start()
    context = ssl.create_default_context(cafile=str(ca.cert))
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its ticket comes inside the handshake
    old, session, _ = handshake(context, gateway.port, None)
    assert all(handshake(context, gateway.port, session)[2] for _ in range(10))
    os.kill(gateway.workers()[0], signal.SIGKILL)
    until(lambda: gateway.call("status")["ready"], 5, "a new worker")
    assert all(handshake(context, gateway.port, session)[2] for _ in range(10))

    second = make_cert(gateway.folder, ["localhost"], ca, label="second")
    second.key.replace(first.key)
    second.cert.replace(first.cert)
    until(lambda: gateway.said("reloaded"), 5, "reloaded")
    new, _, _ = handshake(context, gateway.port, None)
    assert new != old


# Upgrade


def test_upgrade_under_load_loses_nothing(gateway: Gateway, load: type[Load], nginx: int) -> None:
    gateway.write(to_origin(f"127.0.0.1:{nginx}"))
    gateway.start()
    old = gateway.pid
    gateway.config.write_text(gateway.config.read_text().replace("workers: 2", "workers: 1"))
    with load(gateway.port, 100, fresh=True) as fresh, load(gateway.port, 100, fresh=False) as kept:
        time.sleep(0.3)
        gateway.hears(signal.SIGUSR2)
        gateway.ends(0)
        time.sleep(0.5)
    assert fresh.failures + kept.failures == []
    assert gateway.said("upgraded")
    assert gateway.pid != old
    status = gateway.call("status")
    assert status["pid"] == gateway.pid
    assert len(status["workers"]) == 1
    until(lambda: health(gateway, "/readyz")[0] == 200, 5, "the admin address answers")
    gateway.hears(signal.SIGTERM)
    until(lambda: not _listening(gateway.port), 5, "the successor stops")
    until(lambda: not (gateway.folder / "gw.pid").exists(), 5, "it takes its pid file along")


def test_a_failed_upgrade_changes_nothing(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    pid, workers = gateway.pid, gateway.workers()
    gateway.config.write_text("listeners: nonsense")
    gateway.hears(signal.SIGUSR2)
    until(lambda: gateway.said("upgrade-failed"), 10, "upgrade-failed")
    assert (gateway.pid, gateway.workers()) == (pid, workers)
    assert gateway.get() == (200, b"hello")


def test_a_stop_in_the_middle_of_an_upgrade_stops_both(gateway: Gateway) -> None:
    gateway.write(HELLO)
    gateway.start()
    gateway.hears(signal.SIGUSR2)
    (started,) = until(lambda: gateway.said("upgrade-started"), 5, "upgrade-started")
    gateway.hears(signal.SIGTERM)
    gateway.ends(0)
    until(lambda: not alive(started["successor"]), 5, "the successor is gone")
    assert not _listening(gateway.port)


# Names


def test_endpoints_by_name(gateway: Gateway, nginx: int) -> None:
    gateway.write(to_origin(f"localhost:{nginx}"))
    gateway.start()
    assert gateway.get()[0] == 200
    assert gateway.call("status")["names"]["localhost"]["failure"] is None


def test_a_name_that_does_not_resolve_is_no_reason_not_to_start(gateway: Gateway) -> None:
    gateway.write(to_origin("no-such-name.invalid:80"))
    gateway.start()
    status, body = gateway.get()
    assert status >= 500
    assert b"dns-failed" in body
    assert gateway.call("status")["names"]["no-such-name.invalid"]["addresses"] == []
