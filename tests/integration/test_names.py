"""Endpoints by name against a name server that changes its mind: in a mount namespace of its own, where /etc/resolv.conf is ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from tests.integration.conftest import Gateway, until

NAME = "origin.gw-test.example"
SERVER = "127.0.0.77"


class Zone:
    """A name server for NAME; `addresses` None is NXDOMAIN, `silent` no answer at all. TTL is one second."""

    def __init__(self) -> None:
        self.addresses: list[str] | None = []
        self.silent = False
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((SERVER, 53))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            data, peer = self.sock.recvfrom(4096)
            if data == b"stop":
                return
            if not self.silent:
                self.sock.sendto(self._answer(dns.message.from_wire(data)).to_wire(), peer)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        if self.addresses is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif self.addresses and query.question[0].rdtype == dns.rdatatype.A:
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 1, "IN", "A", *self.addresses))
        return reply

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop", (SERVER, 53))
        self.thread.join()
        self.sock.close()


@pytest.fixture
def zone() -> Iterator[Zone]:
    if os.geteuid() != 0 or shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root, to give gw a resolv.conf of its own")
    made = Zone()
    yield made
    made.stop()


class Origin:
    """Answers every request on one address with the address."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.sock = socket.create_server((host, port))
        self.port: int = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        body = self.host.encode()
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def stop(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.sock.close()


@pytest.fixture
def origins() -> Iterator[list[Origin]]:
    """Two, on one port of two addresses."""
    first = Origin("127.0.0.71", 0)
    made = [first, Origin("127.0.0.72", first.port)]
    yield made
    for each in made:
        each.stop()


def answers(gateway: Gateway, count: int = 12) -> set[bytes]:
    return {gateway.get()[1] for _ in range(count)}


def metric(gateway: Gateway, name: str) -> float:
    text = gateway.get("/metrics", gateway.admin)[1].decode()
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def test_a_name_that_flips_fails_and_falls_silent(gateway: Gateway, zone: Zone, origins: list[Origin], tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text(f"nameserver {SERVER}\noptions timeout:1\n")
    mount = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
    gateway.command = ["unshare", "-m", "sh", "-c", mount, "sh", *gateway.command]
    gateway.write(f"services: {{one: {{endpoints: ['{NAME}:{origins[0].port}']}}}}\nroutes: [{{path: /, service: one}}]")
    zone.addresses = None
    gateway.start()
    assert gateway.get()[0] >= 500

    zone.addresses = ["127.0.0.71"]
    until(lambda: gateway.get() == (200, b"127.0.0.71"), 10, "the name resolves")
    zone.addresses = ["127.0.0.72"]
    until(lambda: answers(gateway) == {b"127.0.0.72"}, 5, "all workers follow it")
    zone.addresses = ["127.0.0.71", "127.0.0.72"]
    until(lambda: answers(gateway) == {b"127.0.0.71", b"127.0.0.72"}, 5, "both addresses are used")

    zone.addresses = None
    until(lambda: gateway.said("dns-failed", host=NAME, addresses=["127.0.0.71", "127.0.0.72"]), 5, "dns-failed")
    assert {gateway.get()[0] for _ in range(20)} == {200}
    zone.silent = True
    until(lambda: gateway.said("dns-failed", host=NAME, reason="timeout"), 20, "a time-out is told too")
    assert {gateway.get()[0] for _ in range(20)} == {200}
    assert metric(gateway, "gw_dns_failing{") == 1
    assert metric(gateway, "gw_dns_failures_total{") >= 2
    assert len(gateway.said("dns-failed", reason="nxdomain", addresses=["127.0.0.71", "127.0.0.72"])) == 1

    zone.silent, zone.addresses = False, ["127.0.0.71"]
    until(lambda: answers(gateway) == {b"127.0.0.71"}, 40, "it recovers")
    assert metric(gateway, "gw_dns_failing{") == 0
