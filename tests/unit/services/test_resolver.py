"""Names to addresses: the hosts file, then a name server of our own on 127.0.0.1."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.services import resolver
from gw.services.resolver import Answer, Records, SystemResolver, merge, parse_hosts, reachable

Handler = Callable[[dns.message.Message], dns.message.Message | None]


class NameServer:
    """Answers UDP questions with whatever `answer` makes of them; None is silence."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.answer: Handler = dns.message.make_response
        self.asked: list[str] = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            data, peer = self.sock.recvfrom(4096)
            if data == b"stop":
                return
            query = dns.message.from_wire(data)
            self.asked.append(f"{query.question[0].name} {dns.rdatatype.to_text(query.question[0].rdtype)}")
            if answer := self.answer(query):
                self.sock.sendto(answer.to_wire(), peer)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop", ("127.0.0.1", self.port))
        self.thread.join()
        self.sock.close()


@pytest.fixture
def server() -> Iterator[NameServer]:
    made = NameServer()
    yield made
    made.stop()


@pytest.fixture
def resolve(server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Answer]:
    """Looks a name up with that server and an empty hosts file."""
    (tmp_path / "hosts").write_text("10.9.9.9 fixed.example\n")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\nsearch svc.cluster.local\noptions ndots:3\n")
    monkeypatch.setattr(resolver, "LIFETIME", 0.5)
    system = SystemResolver(tmp_path / "hosts", tmp_path / "resolv.conf")
    servers = system._servers()
    assert servers is not None
    servers.port = server.port
    return lambda host: asyncio.run(_call(system, host))


async def _call(system: SystemResolver, host: str) -> Answer:
    return await system(host)


def zone(records: dict[str, str], ttl: int = 60, rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> Handler:
    """A server that knows `records`, such as {"a.example. A": "10.0.0.1 10.0.0.2"}."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        reply = dns.message.make_response(query)
        kind = dns.rdatatype.to_text(question.rdtype)
        found = records.get(f"{question.name} {kind}")
        if found:
            reply.answer.append(dns.rrset.from_text(question.name, ttl, "IN", kind, *found.split()))
        elif not any(key.startswith(f"{question.name} ") for key in records):
            reply.set_rcode(rcode if rcode != dns.rcode.NOERROR else dns.rcode.NXDOMAIN)
        return reply

    return answer


def test_both_families_with_their_ttl(server: NameServer, resolve: Callable[[str], Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_has_route", lambda address: address.endswith("::1"))
    server.answer = zone({"api.example.com. A": "10.0.0.2 10.0.0.1", "api.example.com. AAAA": "2001:db8::1 2001:db8::2"}, ttl=42)
    answer = resolve("api.example.com")
    assert (set(answer.v4 or ()), answer.v6, answer.ttl) == ({"10.0.0.1", "10.0.0.2"}, ("2001:db8::1",), 42.0)


def test_no_such_name(server: NameServer, resolve: Callable[[str], Answer]) -> None:
    server.answer = zone({})
    assert resolve("api.example.com.") == Answer(failure="nxdomain")


def test_a_name_without_addresses(server: NameServer, resolve: Callable[[str], Answer]) -> None:
    assert resolve("api.example.com.") == Answer(failure="no-addresses")


def test_a_server_that_fails(server: NameServer, resolve: Callable[[str], Answer]) -> None:
    server.answer = zone({}, rcode=dns.rcode.SERVFAIL)
    assert resolve("api.example.com.") == Answer(failure="servfail")


def test_a_server_that_is_silent(server: NameServer, resolve: Callable[[str], Answer]) -> None:
    server.answer = silence
    assert resolve("api.example.com.") == Answer(failure="timeout")


def test_one_family_silent_is_unknown_not_empty(server: NameServer, resolve: Callable[[str], Answer]) -> None:
    known = zone({"api.example.com. A": "10.0.0.1"}, ttl=7)
    server.answer = lambda query: None if query.question[0].rdtype == dns.rdatatype.AAAA else known(query)
    assert resolve("api.example.com.") == Answer(("10.0.0.1",), None, 7.0)


def test_search_domains_of_a_cluster(server: NameServer, resolve: Callable[[str], Answer]) -> None:
    server.answer = zone({"users.svc.cluster.local. A": "10.96.0.7"}, ttl=5)
    assert resolve("users").v4 == ("10.96.0.7",)


def test_the_hosts_file_comes_first_and_is_read_again(server: NameServer, resolve: Callable[[str], Answer], tmp_path: Path) -> None:
    assert resolve("Fixed.Example.").v4 == ("10.9.9.9",)
    (tmp_path / "hosts").write_text("10.8.8.8 fixed.example\n")
    os.utime(tmp_path / "hosts", ns=(1, 1))
    assert resolve("fixed.example").v4 == ("10.8.8.8",)
    assert server.asked == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "api.localhost."])
def test_localhost_is_never_asked_for(server: NameServer, resolve: Callable[[str], Answer], host: str) -> None:
    assert resolve(host).v4 == ("127.0.0.1",)
    assert server.asked == []


def test_no_name_servers(tmp_path: Path) -> None:
    assert asyncio.run(_call(SystemResolver(tmp_path / "none", tmp_path / "none"), "api.example.com")) == Answer(failure="no-name-servers")


def silence(query: dns.message.Message) -> None:
    """No answer at all."""


FAMILY = st.builds(Records, st.sampled_from([(), ("10.0.0.1",)]), st.sampled_from([3.0, 9.0]), st.sampled_from([None, None, "timeout", "servfail"])).map(
    lambda records: Records((), 0.0, records.failure) if records.failure else records
)


@given(FAMILY, FAMILY)
def test_merging_loses_no_address_and_invents_none(v4: Records, v6: Records) -> None:
    answer = merge(v4, v6)
    known = v4.addresses or v6.addresses
    assert (answer.failure is None) == bool(known)
    if known:
        assert answer.v4 == (None if v4.failure else v4.addresses)
        assert (answer.v6 is None) == bool(v6.failure)
        assert answer.ttl in {records.ttl for records in (v4, v6) if records.addresses}


def test_hosts_lines() -> None:
    text = "127.0.0.1 localhost vm # here\n::1\tlocalhost ip6-localhost\n#10.0.0.1 no\n\nnonsense line\n10.0.0.2\n10.0.0.3 VM.\n"
    assert parse_hosts(text) == {"localhost": ["127.0.0.1", "::1"], "vm": ["127.0.0.1", "10.0.0.3"], "ip6-localhost": ["::1"]}


@given(st.text(max_size=100))
def test_any_hosts_file_can_be_read(text: str) -> None:
    assert all(parse_hosts(text).values())


def test_addresses_without_a_route_are_left_out() -> None:
    assert reachable(["::1"]) in [("::1",), ()]
    assert reachable(["not an address"]) == ()
