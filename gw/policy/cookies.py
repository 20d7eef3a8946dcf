"""Cookies of a request, read and taken away, and the field that sets one (RFC 6265)."""

from __future__ import annotations

from collections.abc import Callable

from gw._fast.hooks import Headers


def read(headers: Headers) -> list[tuple[str, str]]:
    """(name, value) of every cookie, in the order they came; names may repeat."""
    return [pair for field in headers.get_all("cookie") for pair in pairs(field)]


def pairs(field: str) -> list[tuple[str, str]]:
    """Of one Cookie field."""
    pieces = (piece.partition("=") for piece in field.split(";"))
    return [(name.strip(" \t"), value.strip(" \t")) for name, equals, value in pieces if equals]


def take_away(headers: Headers, ours: Callable[[str], bool]) -> None:
    """The origin gets every cookie but those whose name is ours."""
    cookies = read(headers)
    rest = [f"{name}={value}" for name, value in cookies if not ours(name)]
    if len(rest) == len(cookies):
        return
    if rest:
        headers["Cookie"] = "; ".join(rest)
    else:
        del headers["Cookie"]


def set_cookie(name: str, value: str, *, seconds: int, path: str, domain: str | None, secure: bool, same_site: str) -> str:
    """The value of a Set-Cookie field; 0 seconds takes the cookie away."""
    parts = [f"{name}={value}", f"Path={path}", f"Max-Age={seconds}", "HttpOnly", f"SameSite={same_site}"]
    return "; ".join([*parts, *([f"Domain={domain}"] if domain else []), *(["Secure"] if secure else [])])
