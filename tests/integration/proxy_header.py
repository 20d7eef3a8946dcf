"""The PROXY protocol as its text has it (haproxy's doc/proxy-protocol.txt), for both ends of tests."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, TCP6 = 0x00, 0x11, 0x21


@dataclass
class Source:
    """What a header says."""

    version: int
    family: str
    client: str = ""
    port: int = 0
    ours: str = ""
    our_port: int = 0


def v1(family: str, client: str, ours: str, port: int = 40000, our_port: int = 443) -> bytes:
    return f"PROXY {family} {client} {ours} {port} {our_port}\r\n".encode()


def v2(client: str, ours: str, port: int = 40000, our_port: int = 443, *, tlvs: bytes = b"", command: int = PROXY) -> bytes:
    packed = ipaddress.ip_address(client).packed + ipaddress.ip_address(ours).packed + struct.pack("!HH", port, our_port)
    return v2_raw(command, TCP6 if ":" in client else TCP4, packed + tlvs)


def v2_raw(command: int, family: int, rest: bytes, size: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest) if size is None else size) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def read_header(recv: Callable[[int], bytes]) -> Source:
    """Read exactly one header. Raises EOFError or ValueError."""
    start = _exactly(recv, 12)
    return _read_v2(recv) if start == SIGNATURE else _read_v1(recv, start)


def _exactly(recv: Callable[[int], bytes], n: int) -> bytes:
    got = b""
    while len(got) < n:
        piece = recv(n - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got


def _read_v1(recv: Callable[[int], bytes], line: bytes) -> Source:
    while not line.endswith(b"\r\n"):
        line += _exactly(recv, 1)
    word, family, *rest = line.decode("ascii").split()
    if word != "PROXY":
        raise ValueError(line)
    if family == "UNKNOWN":
        return Source(1, family)
    client, ours, port, our_port = rest
    version = {"TCP4": 4, "TCP6": 6}[family]
    if {ipaddress.ip_address(client).version, ipaddress.ip_address(ours).version} != {version}:
        raise ValueError(line)
    return Source(1, family, client, int(port), ours, int(our_port))


def _read_v2(recv: Callable[[int], bytes]) -> Source:
    command, family, size = struct.unpack("!BBH", _exactly(recv, 4))
    rest = _exactly(recv, size)
    if command == LOCAL:
        return Source(2, "LOCAL")
    if command != PROXY:
        raise ValueError(command)
    if family not in (TCP4, TCP6):
        return Source(2, "UNSPEC")
    half = 4 if family == TCP4 else 16
    kind = socket.AF_INET if family == TCP4 else socket.AF_INET6
    port, our_port = struct.unpack("!HH", rest[2 * half : 2 * half + 4])
    return Source(2, "TCP4" if family == TCP4 else "TCP6", socket.inet_ntop(kind, rest[:half]), port, socket.inet_ntop(kind, rest[half : 2 * half]), our_port)
