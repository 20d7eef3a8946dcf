import socket

import pytest

from gw.config import ports_in_use
from gw.config.model import Admin, Config, Listener


def flaws(*binds, admin=None):
    config = Config(listeners=[Listener(bind=bind) for bind in binds], admin=Admin(bind=admin) if admin else None)
    return [str(each) for each in ports_in_use(config)]


@pytest.fixture(params=["127.0.0.1", "::1"])
def taken(request):
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server((request.param, 0), family=family) as server:
        yield f"[{request.param}]:{server.getsockname()[1]}" if family == socket.AF_INET6 else f"{request.param}:{server.getsockname()[1]}"


def test_free_ports():
    assert flaws("127.0.0.1:0", ":0", "localhost:0", admin="127.0.0.1:0") == []


def test_a_port_in_use(taken):
    port = taken.rpartition(":")[2]
    assert flaws("127.0.0.1:0", taken) == [f"$.listeners[1].bind: cannot listen on {taken}: Address already in use\n  `ss -ltnp sport = :{port}` names the process that has it"]
    assert flaws(f":{port}") != []
    assert flaws("127.0.0.1:0", admin=taken)[0].startswith("$.admin.bind: cannot listen on")


def test_a_port_shared_by_so_reuseport_is_in_use_too():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert len(flaws(f"127.0.0.1:{server.getsockname()[1]}")) == 1


def test_connections_of_the_past_do_not_count():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    assert flaws(f"127.0.0.1:{port}") == []


def test_an_address_of_another_machine():
    assert "cannot listen on 192.0.2.1:0: Cannot assign requested address" in flaws("192.0.2.1:0")[0]


def test_a_name_without_address():
    assert "'nowhere.invalid' has no address" in flaws("nowhere.invalid:0")[0]


def test_unix_sockets(tmp_path):
    path = tmp_path / "gw.sock"
    assert flaws(f"unix:{path}") == []
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    assert "another process listens on it" in flaws(f"unix:{path}")[0]
    server.close()
    assert flaws(f"unix:{path}") == [], "a left over socket is replaced"
    path.unlink()
    path.write_text("")
    assert "a file that is not a socket is in its place" in flaws(f"unix:{path}")[0]
    assert "no such folder" in flaws(f"unix:{tmp_path}/gone/gw.sock")[0]
