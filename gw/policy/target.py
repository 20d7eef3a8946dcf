"""What a request asks for, as its caller would write it."""

from __future__ import annotations

from gw._fast.hooks import Request


def authority(request: Request) -> str:
    """Host and port in lower case, without the port that goes without saying."""
    written = (request.headers.get("host") or request.host).lower()
    return written.removesuffix(":443" if request.scheme == "https" else ":80")


def target(request: Request) -> str:
    """Path and query; the path is the normalised one, which is the one that is routed and forwarded."""
    return f"{request.path}?{request.query}" if request.query else request.path
