"""`gw explain` with bodies: of the request, and of what the endpoint answers, as `curl -i` prints it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
listeners: [{bind: 127.0.0.1:8080}]
modules: [policies]
services: {users: {endpoints: [127.0.0.1:9001]}}
routes:
  - {path: /, service: users, policies: [sizes]}
"""
SIZES = """
from msgspec import Struct
from gw.policy import Hooks

class Config(Struct):
    pass

def build(config, tools):
    def up(request, body):
        return b"%d" % len(body)
    def down(request, body):
        return b"<%b>" % body
    return Hooks(request_body=up, response_body=down)
"""

Gw = Callable[..., Any]


@pytest.fixture(autouse=True)
def config(folder: Path) -> None:
    (folder / "policies").mkdir()
    (folder / "policies" / "sizes.py").write_text(SIZES)
    (folder / "gw.yaml").write_text(CONFIG)


def test_a_body_is_text_or_a_file(folder: Path, gw: Gw) -> None:
    (folder / "body").write_bytes(b"\xff" * 1000)
    for given, size in (("text", "4"), ("@body", "1000"), ("", "0")):
        said = gw("explain", "POST", "/", "--body", given, "--forwarded")
        assert said.code == 0
        assert "  sizes       request_body passes" in said.out
        assert said.out.rstrip().endswith(f"\n  {size}")
    missing = gw("explain", "POST", "/", "--body", "@none")
    assert (missing.code, "cannot read none: No such file or directory" in missing.err) == (1, True)


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 3\r\n\r\none", 200, "<one>"),
        (b"HTTP/2 404 \nx-a: b\n\ntwo\n\nthree", 404, "<two\n\nthree>"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\nfour", 200, "<four>"),
        (b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", 204, ""),
    ],
)
def test_what_the_client_gets(folder: Path, gw: Gw, text: bytes, status: int, body: str) -> None:
    (folder / "answer").write_bytes(text)
    said = gw("explain", "GET", "/", "--answer", "answer", "--json", "--forwarded")
    found = json.loads(said.out)
    head, _, rest = found["answer"].partition("\r\n\r\n")
    assert (said.code, found["status"], rest) == (0, status, body)
    assert "x-a: b" in head.lower()
    assert "Link" not in head


def test_what_is_no_answer(folder: Path, gw: Gw) -> None:
    (folder / "answer").write_text("<html>")
    said = gw("explain", "GET", "/", "--answer", "answer")
    assert said.code == 1
    assert "answer holds no answer: its first line is '<html>', expected one such as 'HTTP/1.1 200 OK'" in said.err
