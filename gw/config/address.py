"""Addresses as an operator writes them: where to listen, and where a service is."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, NamedTuple

# sun_path of sockaddr_un is 108 bytes on Linux, the last one a NUL.
UNIX_PATH_MAX = 107
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?", re.ASCII)
_NUMERIC = re.compile(r"[0-9.]+", re.ASCII)


class Bind(NamedTuple):
    """An address to listen on. An empty host means all addresses of the machine, IPv6 and IPv4."""

    kind: Literal["tcp", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""


class Address(NamedTuple):
    """An address to connect to."""

    kind: Literal["tcp", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False


def parse_bind(text: str) -> Bind:
    """`host:port`, `[ipv6]:port`, `:port` or `unix:/path`; port 0 lets the kernel choose. Raises ValueError with the reason."""
    if text.startswith("unix:"):
        return Bind("unix", path=_unix_path(text[5:]))
    host, port = _host_port(text)
    return Bind("tcp", _checked_host(host) if host else "", _port(port, least=0))


def parse_endpoint(text: str) -> Address:
    """`host:port`, `[ipv6]:port`, `unix:/path`, `http://host[:port]` or `https://host[:port]`. Raises ValueError with the reason."""
    if text.startswith("unix:"):
        return Address("unix", path=_unix_path(text[5:]))
    if "://" in text:
        return _endpoint_of_url(text)
    host, port = _host_port(text)
    return Address("tcp", _checked_host(host), _port(port, least=1))


def _endpoint_of_url(text: str) -> Address:
    scheme, _, rest = text.partition("://")
    if scheme not in ("http", "https"):
        raise ValueError(f"scheme '{scheme}' is not http or https")
    authority = rest.removesuffix("/")
    if re.search(r"[/?#]", authority):
        raise ValueError("a path or query does not belong in an endpoint; use `rewrite` on the route")
    if "@" in authority:
        raise ValueError("user and password do not belong in an endpoint")
    host, port = _host_port(authority) if re.search(r":[^\]]*$", authority) else (authority, "443" if scheme == "https" else "80")
    return Address("tcp", _checked_host(host), _port(port, least=1), tls=scheme == "https")


def _host_port(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        raise ValueError("no port; expected host:port, such as 127.0.0.1:8080")
    if ":" in host and not host.startswith("["):
        raise ValueError(f"an IPv6 address needs brackets: [{host}]:{port}")
    return host, port


def _checked_host(host: str) -> str:
    """The host without brackets."""
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"'{host}' is not an IPv6 address") from None
    if not host:
        raise ValueError("no host; expected host:port, such as 127.0.0.1:8080")
    if _NUMERIC.fullmatch(host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f"'{host}' is not an IPv4 address") from None
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise ValueError(f"'{host}' is not a host name" + _ascii_advice(host))
    return host


def _ascii_advice(host: str) -> str:
    if host == "*":
        return "; leave the host out for all addresses, such as :8080"
    try:
        return "" if host.isascii() else f"; write its ASCII form {host.encode('idna').decode()}"
    except UnicodeError:
        return ""


def _port(text: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not least <= int(text) <= 65535:
        raise ValueError(f"port '{text}' is not a number from {least} to 65535")
    return int(text)


def _unix_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("a Unix socket needs an absolute path, such as unix:/run/gw.sock")
    if "\0" in path:
        raise ValueError("a path cannot hold a NUL byte")
    length = len(path.encode())
    if length > UNIX_PATH_MAX:
        raise ValueError(f"the path of a Unix socket may have {UNIX_PATH_MAX} bytes, this one has {length}")
    return path
