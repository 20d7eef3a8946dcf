"""The kernel against the `openssl` command, a peer that is not Python."""

from __future__ import annotations

import selectors
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from gw._fast.tls import EOF, ERROR, OK, WANT_READ, ClientContext, ServerContext, TlsSocket

PATIENCE = 10.0  # seconds


def wait(sock: socket.socket) -> None:
    with selectors.DefaultSelector() as ready:
        ready.register(sock, selectors.EVENT_READ)
        assert ready.select(PATIENCE), "the peer says nothing"


def shake(tls: TlsSocket, sock: socket.socket) -> int:
    while (state := tls.handshake()) == WANT_READ:
        wait(sock)
    return state


def drain(tls: TlsSocket, sock: socket.socket, until: bytes | None = None) -> bytes:
    """Everything up to the end, or to `until`."""
    got = b""
    while (data := tls.recv(4096)) not in (EOF, ERROR):
        if isinstance(data, bytes):
            got += data
            if until and got.endswith(until):
                break
        else:
            wait(sock)
    return got


def s_client(server: ServerContext, *args: str, feed: bytes = b"hello\n", hang_up: bool = False) -> str:
    """What `openssl s_client` prints when a server welcomes it and closes after one line, or when it hangs up after `feed`; then the server's error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}", *args]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            assert process.stdin
            process.stdin.write(feed)
            process.stdin.flush()
            if hang_up:
                process.stdin.close()
                process.stdin = None
            accepted, _ = listener.accept()
            with accepted:
                accepted.setblocking(False)
                tls = TlsSocket(accepted.fileno(), server)
                if shake(tls, accepted) == OK:
                    assert hang_up or tls.send(b"welcome\n") == 8
                    drain(tls, accepted, b"\n")
                    tls.shutdown()
                error = tls.error()
                del tls
            return process.communicate(timeout=PATIENCE)[0].decode("utf-8", "replace") + error


@pytest.mark.parametrize(("flag", "protocol"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_s_client(certs: SimpleNamespace, flag: str, protocol: str, ticket_keys: list[bytes]) -> None:
    server = ServerContext([certs.a.pair], ticket_keys=ticket_keys)
    output = s_client(server, flag, "-CAfile", str(certs.ca.cert), "-servername", "a.example", "-verify_hostname", "a.example", "-alpn", "h2,http/1.1")
    assert "Verify return code: 0 (ok)" in output
    assert "ALPN protocol: http/1.1" in output
    assert protocol in output
    assert "welcome" in output


def test_s_client_refuses_what_we_refuse(certs: SimpleNamespace) -> None:
    output = s_client(ServerContext([certs.a.pair]), "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in output


@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
def test_resumption_with_s_client(certs: SimpleNamespace, tmp_path: Path, flag: str, ticket_keys: list[bytes]) -> None:
    session = tmp_path / "session"
    s_client(ServerContext([certs.a.pair], ticket_keys=ticket_keys), flag, "-sess_out", str(session))
    assert "Reused, TLSv1" in s_client(ServerContext([certs.a.pair], ticket_keys=[bytes(80), *ticket_keys]), flag, "-sess_in", str(session))


def test_renegotiation_is_refused(certs: SimpleNamespace) -> None:
    assert "no renegotiation" in s_client(ServerContext([certs.a.pair]), "-tls1_2", feed=b"R\n", hang_up=True).lower()


def test_key_update(certs: SimpleNamespace) -> None:
    output = s_client(ServerContext([certs.a.pair]), "-tls1_3", feed=b"K\n", hang_up=True)
    assert "KEYUPDATE" in output
    assert output.endswith("no error")


@pytest.mark.parametrize(("flag", "protocol"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_s_server(certs: SimpleNamespace, flag: str, protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", flag, "-cert", certs.a.cert, "-key", certs.a.key, "-www", "-naccept", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout
        assert process.stdout.readline().startswith(b"ACCEPT") or process.stdout.readline().startswith(b"ACCEPT")
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.setblocking(False)
            tls = TlsSocket(sock.fileno(), ClientContext(ca=certs.ca.cert), "a.example")
            assert shake(tls, sock) == OK
            tls.send(b"GET / HTTP/1.0\r\n\r\n")
            assert b"HTTP/1.0 200 ok" in drain(tls, sock)
            assert tls.info().protocol == protocol
            del tls
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
