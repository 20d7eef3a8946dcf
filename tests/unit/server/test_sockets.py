"""Listening sockets: who may have an address, and what is said when it is not to be had."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gw.config import parse_bind
from gw.config.model import Listener
from gw.errors import ConfigError
from gw.server.sockets import Sockets, explain, open_single, owner

SLOTS = 3


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets(SLOTS)
    yield made
    made.close_all()


def port_of(sockets: Sockets, bind: str) -> int:
    return int(sockets.address(bind).rpartition(":")[2])


def connect(port: int, host: str = "127.0.0.1") -> None:
    socket.create_connection((host, port), 1).close()


def test_one_socket_per_slot_on_one_port(sockets: Sockets) -> None:
    assert sockets.open([Listener(bind="127.0.0.1:0")]) == ["127.0.0.1:0"]
    fds = [sockets.of("127.0.0.1:0", slot) for slot in range(SLOTS)]
    assert [len(each) for each in fds] == [1] * SLOTS
    assert len({fd for (fd,) in fds}) == SLOTS
    assert not any(os.get_inheritable(fd) or os.get_blocking(fd) for (fd,) in fds)
    connect(port_of(sockets, "127.0.0.1:0"))


def test_opening_again_opens_nothing(sockets: Sockets) -> None:
    sockets.open([Listener(bind="127.0.0.1:0")])
    before = sockets.descriptors()
    assert sockets.open([Listener(bind="127.0.0.1:0", backlog=7)]) == []
    assert sockets.descriptors() == before


def test_a_port_that_another_listens_on_is_refused_even_with_reuse_port(sockets: Sockets) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError) as caught:
            sockets.open([Listener(bind="127.0.0.1:0"), Listener(bind=bind)])
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"cannot listen on {bind}: the address is in use by ")
    assert f"(pid {os.getpid()})" in problem.message
    assert problem.pointer == "$.listeners[1].bind"
    assert sockets.descriptors() == {}


def test_every_wrong_listener_is_named(sockets: Sockets) -> None:
    with pytest.raises(ConfigError) as caught:
        sockets.open([Listener(bind="192.0.2.1:80"), Listener(bind="no-such-host.invalid:80"), Listener(bind="unix:/no/such/folder/s")])
    messages = [problem.message for problem in caught.value.problems]
    assert messages[0] == "cannot listen on 192.0.2.1:80: no interface of this machine has this address"
    assert messages[1].endswith("the host name has no address")
    assert messages[2].endswith("No such file or directory")


def test_another_address_of_our_own_port_can_be_bound(sockets: Sockets) -> None:
    sockets.open([Listener(bind="127.0.0.1:0")])
    wide = f"0.0.0.0:{port_of(sockets, '127.0.0.1:0')}"
    assert sockets.open([Listener(bind="127.0.0.1:0"), Listener(bind=wide)]) == [wide]


def test_low_ports_ask_for_the_capability() -> None:
    problem = explain("0.0.0.0:80", PermissionError(errno.EACCES, "Permission denied"), "$.listeners[0].bind")
    assert problem.message == "cannot listen on 0.0.0.0:80: ports below 1024 need the capability CAP_NET_BIND_SERVICE"
    assert "AmbientCapabilities" in str(problem.hint)


def test_no_host_takes_ipv4_and_ipv6(sockets: Sockets) -> None:
    sockets.open([Listener(bind=":0")])
    connect(port_of(sockets, ":0"))
    if sockets.address(":0").startswith("["):
        connect(port_of(sockets, ":0"), "::1")


def test_an_ipv6_address_takes_ipv6_alone(sockets: Sockets) -> None:
    sockets.open([Listener(bind="[::]:0")])
    connect(port_of(sockets, "[::]:0"), "::1")
    with pytest.raises(ConnectionRefusedError):
        connect(port_of(sockets, "[::]:0"))


def test_a_closed_group_frees_the_port(sockets: Sockets) -> None:
    sockets.open([Listener(bind="127.0.0.1:0")])
    port = port_of(sockets, "127.0.0.1:0")
    sockets.close(["127.0.0.1:0"])
    assert "127.0.0.1:0" not in sockets
    with pytest.raises(ConnectionRefusedError):
        connect(port)


def test_a_unix_socket_is_shared_and_goes_with_us(sockets: Sockets, tmp_path: Path) -> None:
    path = tmp_path / "s"
    bind = f"unix:{path}"
    sockets.open([Listener(bind=bind, mode="0660")])
    assert len({tuple(sockets.of(bind, slot)) for slot in range(SLOTS)}) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert sockets.address(bind) == bind
    sockets.open([Listener(bind=bind, mode="0600")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sockets.close_all()
    assert not path.exists()


def test_a_dead_unix_socket_is_replaced(sockets: Sockets, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    sockets.open([Listener(bind=f"unix:{tmp_path / 's'}")])
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))


@pytest.mark.parametrize("kind", ["live", "file"])
def test_what_is_somebody_elses_stays(sockets: Sockets, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        if kind == "live":
            other.bind(str(path))
            other.listen()
        else:
            path.write_text("mine")
        with pytest.raises(ConfigError) as caught:
            sockets.open([Listener(bind=f"unix:{path}")])
    assert path.exists()
    expected = {"live": "the address is in use", "file": "the path exists and is not a socket"}
    assert caught.value.problems[0].message.endswith(expected[kind])


def test_a_file_that_a_successor_replaced_is_not_removed(sockets: Sockets, tmp_path: Path) -> None:
    path = tmp_path / "s"
    sockets.open([Listener(bind=f"unix:{path}")])
    path.unlink()
    path.write_text("another's")
    sockets.close_all()
    assert path.exists()


def test_a_successor_adopts_and_orphans_no_socket(tmp_path: Path) -> None:
    old, new = Sockets(5), Sockets(2)
    listeners = [Listener(bind="127.0.0.1:0"), Listener(bind=f"unix:{tmp_path / 's'}")]
    old.open(listeners)
    copies = {bind: [os.dup(fd) for fd in fds] for bind, fds in old.descriptors().items()}
    for fds in copies.values():
        for fd in fds:
            os.set_inheritable(fd, True)
    new.adopt(copies)
    assert new.open(listeners) == []
    assert sorted(new.of("127.0.0.1:0", 0) + new.of("127.0.0.1:0", 1)) == sorted(copies["127.0.0.1:0"])
    assert not any(os.get_inheritable(fd) for fds in copies.values() for fd in fds)
    old.close_all(unlink=False)
    connect(port_of(new, "127.0.0.1:0"))
    assert (tmp_path / "s").exists()
    new.close_all()
    assert not (tmp_path / "s").exists()


def test_a_successor_with_more_slots_binds_the_rest() -> None:
    old, new = Sockets(1), Sockets(3)
    old.open([Listener(bind="127.0.0.1:0")])
    new.adopt({bind: [os.dup(fd) for fd in fds] for bind, fds in old.descriptors().items()})
    assert new.open([Listener(bind="127.0.0.1:0")]) == []
    assert [len(new.of("127.0.0.1:0", slot)) for slot in range(3)] == [1, 1, 1]
    old.close_all()
    new.close_all()


def test_the_admin_address_is_shared_with_nobody(tmp_path: Path) -> None:
    with open_single(parse_bind("127.0.0.1:0"), 5) as sock:
        bind = parse_bind(f"127.0.0.1:{sock.getsockname()[1]}")
        with pytest.raises(OSError, match="in use"):
            open_single(bind, 5)
    with open_single(parse_bind(f"unix:{tmp_path / 'a'}"), 5):
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_nobody_listens_there() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert owner(sock.getsockname()[1]) is None
