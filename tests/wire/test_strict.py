"""The strict reader itself: what it takes, what it refuses, and that it never needs to see the future."""

from __future__ import annotations

import pytest

from tests.wire.strict import Malformed, take_request, take_response

GOOD = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    (b"POST /x?y HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    (b"POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\n", b"abc"),
    (b"GET / HTTP/1.0\r\n\r\n", b""),
]
BAD = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n fold\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nHost: b\r\n\r\n",
]


@pytest.mark.parametrize(("data", "body"), GOOD)
def test_good_request(data: bytes, body: bytes) -> None:
    request, end = take_request(data + b"GET /next")
    assert (end, request.body, request.raw) == (len(data), body, data)
    assert all(take_request(data[:cut]) is None for cut in range(len(data)))


@pytest.mark.parametrize("data", BAD)
def test_bad_request(data: bytes) -> None:
    with pytest.raises(Malformed):
        take_request(data)


def test_response_framings() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    sized, end = take_response(data + b"HTTP", "GET")
    assert (sized.body, sized.framing, end) == (b"hi", "length", len(data))
    head, _ = take_response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD")
    assert (head.body, head.framing) == (b"", "none")
    cut, _ = take_response(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "GET", eof=True)
    assert not cut.complete
    assert take_response(b"HTTP/1.1 200 OK\r\n\r\nhi", "GET") is None
    until_end, _ = take_response(b"HTTP/1.1 200 OK\r\n\r\nhi", "GET", eof=True)
    assert (until_end.body, until_end.framing) == (b"hi", "close")
