"""Response cases: what the origin sends, and what the client may see of it (RFC 9110 sections 6, 7 and 15, RFC 9112 sections 4 to 9)."""

from __future__ import annotations

from collections.abc import Iterable

from tests.wire.model import OK, Got, ResponseCase, head, statuses

GET = head("GET /r HTTP/1.1")
HEAD = head("HEAD /r HTTP/1.1")
POST = head("POST /r HTTP/1.1", "Content-Length: 5") + b"hello"
OLD = head("GET /r HTTP/1.0")
BAD = Got(frozenset({502}))
CUT = Got(frozenset(range(200, 600)), cut=True)
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
HELLO = b"hello"
CASES: dict[str, ResponseCase] = {}


def reply(*lines: str, body: bytes = b"") -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def sized(*lines: str, body: bytes = HELLO) -> bytes:
    return reply("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *lines, body=body)


def chunked(body: bytes, *lines: str) -> bytes:
    return reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *lines, body=body)


class Group:
    def __init__(self, name: str) -> None:
        self.name = name

    def add(self, name: str, section: str, answer: bytes, ok: Iterable[Got], lax: Iterable[Got] = (), **more) -> None:
        key = f"{self.name}: {name}"
        if key in CASES:
            raise ValueError(f"two cases are called {key!r}")
        CASES[key] = ResponseCase(name, self.name, section, answer, tuple(ok), tuple(lax), **{"request": GET, **more})

    def passes(self, name: str, section: str, answer: bytes, status: int | Iterable[int] = 200, body: bytes | None = HELLO, *, then: str = "keep", also: Iterable[Got] = (), request: bytes = GET, **want) -> None:
        """The client gets this answer, whole."""
        self.add(name, section, answer, [Got(statuses(status), body, **want), *also], then=then, request=request, valid=not also)

    def bad(self, name: str, section: str, answer: bytes, *, lax: Got | None = None, may: Got | None = None, then: str = "close", request: bytes = GET, cut: bool = False, **more) -> None:
        """The client gets 502, or where the head was good (`cut`) an answer that is visibly cut."""
        self.add(name, section, answer, [BAD, *([CUT] if cut else []), *([may] if may else [])], [lax] if lax else [], then=then, request=request, **more)


PASS = Got(OK, HELLO)
line = Group("status line")
line.passes("plain", "9112 4", sized())
line.passes("no reason", "9112 4", reply("HTTP/1.1 200 ", "Content-Length: 5", body=HELLO))
line.passes("no reason, no space", "9112 4", reply("HTTP/1.1 200", "Content-Length: 5", body=HELLO), also=[BAD])
line.passes("reason of 500 bytes", "9112 4", reply("HTTP/1.1 200 " + "x" * 500, "Content-Length: 5", body=HELLO))
line.passes("obs-text in the reason", "9112 4", reply("HTTP/1.1 200 caf\xe9", "Content-Length: 5", body=HELLO))
for code in (201, 203, 206, 226, 299, 300, 301, 400, 404, 418, 451, 499, 500, 503, 599):
    line.passes(f"status {code}", "9110 15", reply(f"HTTP/1.1 {code} X", "Content-Length: 5", body=HELLO), code)
for text in ("HTTP/1.1 099 X", "HTTP/1.1 000 X", "HTTP/1.1 1000 X", "HTTP/1.1 20 X", "HTTP/1.1 2 X", "HTTP/1.1 2000 X", "HTTP/1.1 abc X", "HTTP/1.1 +200 OK", "HTTP/1.1 -200 OK", "HTTP/1.1 2x0 OK", "HTTP/1.1 2 00 OK", "HTTP/1.1 ", "HTTP/1.1", "HTTP/1.1 OK", "HTTP/1.1\t200 OK", "HTTP/1.1200 OK", " HTTP/1.1 200 OK",
             "HTTP/2.0 200 OK", "HTTP/2 200 OK", "HTTP/3.0 200 OK", "HTTP/0.9 200 OK", "http/1.1 200 OK", "HTP/1.1 200 OK", "HTTP/1.x 200 OK", "HTTP/11.1 200 OK", "200 OK", "ICY 200 OK", "GET / HTTP/1.1", "garbage", "HTTP/1.1 200 O\x00K", "HTTP/1.1 200 O\rK", "RTSP/1.0 200 OK"):
    line.bad(f"{text!a}", "9112 4", reply(text, "Content-Length: 5", body=HELLO))
line.bad("two spaces before the code", "9112 4", reply("HTTP/1.1  200 OK", "Content-Length: 5", body=HELLO), lax=PASS)
line.bad("status 600", "9110 15", reply("HTTP/1.1 600 X", "Content-Length: 5", body=HELLO), lax=Got(frozenset({600, 500}), HELLO))
line.bad("status 999", "9110 15", reply("HTTP/1.1 999 X", "Content-Length: 5", body=HELLO), lax=Got(frozenset({999, 500}), HELLO))
line.bad("version 1.2", "9110 2.5", reply("HTTP/1.2 200 OK", "Content-Length: 5", body=HELLO), may=PASS)
line.bad("CRLF ahead", "9112 4", b"\r\n" + sized(), lax=PASS)
line.bad("LF ends every line", "9112 2.2", sized().replace(b"\r\n", b"\n"), lax=PASS)
line.bad("no head at all", "9112 4", b"<html>hello</html>")
line.bad("binary", "9112 4", bytes(range(256)))
line.bad("nothing", "9112 9.6", b"")
line.bad("nothing, for a POST", "9112 9.6", b"", request=POST)
line.bad("reset at once, for a POST", "9112 9.6", b"", request=POST, then="reset")
line.bad("half a status line", "9112 4", b"HTTP/1.1 20")
line.bad("half a head", "9112 4", b"HTTP/1.1 200 OK\r\nContent-Le")
line.bad("head without its last line", "9112 4", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
line.bad("half a head, reset", "9112 4", b"HTTP/1.1 200 OK\r\nContent-Le", then="reset")

body = Group("body framing")
body.passes("length", "9112 6.3", sized())
body.passes("length 0", "9112 6.3", sized(body=b""), body=b"")
body.passes("length, the origin closes", "9112 6.3", sized("Connection: close"), then="close", close=False)
body.passes("length, the origin closes unannounced", "9112 6.3", sized(), then="close")
body.passes("length, 300 KB", "9112 6.3", sized(body=b"x" * 300000), body=b"x" * 300000)
body.passes("length with zeros", "9110 8.6", reply("HTTP/1.1 200 OK", "Content-Length: 005", body=HELLO), also=[BAD])
body.passes("chunks", "9112 7.1", chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"))
body.passes("no chunk", "9112 7.1", chunked(b"0\r\n\r\n"), body=b"")
body.passes("chunks of 300 KB", "9112 7.1", chunked((b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 300 + b"0\r\n\r\n"), body=b"x" * 300000)
body.passes("chunk extensions", "9112 7.1.1", chunked(b'2;a=b\r\nhe\r\n3;c="d e"\r\nllo\r\n0;x\r\n\r\n'))
body.passes("chunk extension with white space", "9112 7.1.1", chunked(b"5 ; a = b\r\nhello\r\n0\r\n\r\n"))
body.passes("trailers", "9112 7.1.2", chunked(b"5\r\nhello\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n", "Trailer: X-T, X-U"))
body.passes("Chunked", "9112 7", reply("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked", body=b"5\r\nhello\r\n0\r\n\r\n"))
body.passes("TAB before chunked", "9110 5.5", reply("HTTP/1.1 200 OK", "Transfer-Encoding:\tchunked", body=b"5\r\nhello\r\n0\r\n\r\n"))
body.passes("chunks, the origin closes", "9112 7.1", chunked(b"5\r\nhello\r\n0\r\n\r\n", "Connection: close"), then="close", close=False)
body.passes("chunks to an HTTP/1.0 client", "9112 7.1", chunked(b"5\r\nhello\r\n0\r\n\r\n"), request=OLD, lacks=("Transfer-Encoding",), close=True)
body.passes("chunks to an HTTP/1.0 client that keeps alive", "9112 7.1", chunked(b"5\r\nhello\r\n0\r\n\r\n"), request=head("GET /r HTTP/1.0", "Connection: keep-alive"), lacks=("Transfer-Encoding",))
body.passes("length to an HTTP/1.0 client", "9112 6.3", sized(), request=OLD, close=True)
body.passes("up to the end", "9112 6.3", reply("HTTP/1.1 200 OK", body=HELLO), then="close")
body.passes("up to the end, announced", "9112 6.3", reply("HTTP/1.1 200 OK", "Connection: close", body=HELLO), then="close")
body.passes("up to the end, empty", "9112 6.3", reply("HTTP/1.1 200 OK"), body=b"", then="close")
body.passes("up to the end, 300 KB", "9112 6.3", reply("HTTP/1.1 200 OK", body=b"x" * 300000), body=b"x" * 300000, then="close")
body.passes("up to the end, to an HTTP/1.0 client", "9112 6.3", reply("HTTP/1.1 200 OK", body=HELLO), then="close", request=OLD, lacks=("Transfer-Encoding",), close=True)
body.passes("HTTP/1.0 origin, length", "9112 9.3", reply("HTTP/1.0 200 OK", "Content-Length: 5", body=HELLO), then="close")
body.passes("HTTP/1.0 origin, up to the end", "9112 6.3", reply("HTTP/1.0 200 OK", body=HELLO), then="close")
body.passes("HTTP/1.0 origin, keep-alive", "9112 9.3", reply("HTTP/1.0 200 OK", "Connection: keep-alive", "Content-Length: 5", body=HELLO))
body.passes("HTTP/1.0 origin without keep-alive stays open", "9112 9.3", reply("HTTP/1.0 200 OK", "Content-Length: 5", body=HELLO))
body.bad("HTTP/1.0 origin, chunked", "9112 6.1", reply("HTTP/1.0 200 OK", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), lax=PASS)
body.add("cut length", "9112 8", reply("HTTP/1.1 200 OK", "Content-Length: 10", body=HELLO), [CUT, BAD], then="close")
body.add("cut length, reset", "9112 8", reply("HTTP/1.1 200 OK", "Content-Length: 10", body=HELLO), [CUT, BAD], then="reset")
body.add("cut length, no byte", "9112 8", reply("HTTP/1.1 200 OK", "Content-Length: 10"), [CUT, BAD], then="close")
body.add("cut length, to an HTTP/1.0 client", "9112 8", reply("HTTP/1.1 200 OK", "Content-Length: 10", body=HELLO), [CUT, BAD], then="close", request=OLD)
for name, data in {"in the data": b"5\r\nhel", "behind the data": b"5\r\nhello", "before a size": b"5\r\nhello\r\n", "in a size": b"5\r\nhello\r\n1", "in the last chunk": b"5\r\nhello\r\n0", "behind the last chunk": b"5\r\nhello\r\n0\r\n", "in a trailer": b"5\r\nhello\r\n0\r\nX-T: 1\r\n", "before any chunk": b""}.items():
    body.add(f"chunks cut {name}", "9112 8", chunked(data), [CUT, BAD], then="close")
body.add("chunks cut in the data, reset", "9112 8", chunked(b"5\r\nhel"), [CUT, BAD], then="reset")
body.add("chunks cut, to an HTTP/1.0 client", "9112 8", chunked(b"5\r\nhel"), [CUT, BAD], [Got(OK, b"hel")], then="close", request=OLD)
for name, data in {"size g": b"g\r\nhello\r\n0\r\n\r\n", "size -5": b"-5\r\nhello\r\n0\r\n\r\n", "size 0x5": b"0x5\r\nhello\r\n0\r\n\r\n", "size overflow": b"10000000000000005\r\nhello\r\n0\r\n\r\n", "no size": b"\r\nhello\r\n0\r\n\r\n", "no CR LF behind the data": b"5\r\nhello0\r\n\r\n", "extension with a bare CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n"}.items():
    body.add(f"bad chunks: {name}", "9112 7.1", chunked(data), [CUT, BAD], then="close")
body.add("bad chunk later", "9112 7.1", chunked(b"5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n"), [CUT, BAD], then="close")
body.add("chunk size ends with LF", "9112 2.2", chunked(b"5\nhello\r\n0\r\n\r\n"), [CUT, BAD], [PASS], then="close")
body.bad("malformed trailer", "9112 7.1.2", chunked(b"5\r\nhello\r\n0\r\nX T: 1\r\n\r\n"), cut=True, lax=PASS)
body.bad("trailers of 200 KB", "9112 7.1.2", chunked(b"5\r\nhello\r\n0\r\n" + b"X-T: 1\r\n" * 25000 + b"\r\n"), cut=True, lax=PASS)
body.bad("two equal lengths", "9112 6.3", reply("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5", body=HELLO), may=PASS)
body.bad("two different lengths", "9112 6.3", reply("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6", body=b"hello!"))
body.bad("list of equal lengths", "9112 6.3", reply("HTTP/1.1 200 OK", "Content-Length: 5, 5", body=HELLO), may=PASS)
for text in ("+5", "-5", "0x5", "5 5", "5, 6", "", "five", "5.0", "18446744073709551621", "9" * 30):
    body.bad(f"length {text!a}", "9112 6.3", reply("HTTP/1.1 200 OK", f"Content-Length: {text}", body=HELLO))
body.bad("length beside chunked", "9112 6.3", reply("HTTP/1.1 200 OK", "Content-Length: 3", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), lax=PASS, then="keep")
for text in ("chunked, chunked", "xchunked", "chunked, gzip", "identity", "gzip", "gzip, chunked", "chunked;a=b", ""):
    body.bad(f"coding {text!a}", "9112 6.3", reply("HTTP/1.1 200 OK", f"Transfer-Encoding: {text}", body=b"5\r\nhello\r\n0\r\n\r\n"), lax=Got(OK) if text in ("identity", "gzip", "gzip, chunked", "") else None)

empty = Group("no body")
for code in (204, 304):
    empty.passes(f"{code}", "9110 15", reply(f"HTTP/1.1 {code} X"), code, b"")
    empty.passes(f"{code}, bytes behind it", "9112 6.3", reply(f"HTTP/1.1 {code} X", body=POISON), code, b"")
    empty.passes(f"{code} with a length and bytes", "9112 6.3", reply(f"HTTP/1.1 {code} X", "Content-Length: 5", body=HELLO), code, b"", also=[BAD])
    empty.passes(f"{code} with chunks", "9112 6.3", reply(f"HTTP/1.1 {code} X", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), code, b"", also=[BAD])
empty.passes("304 with a length", "9110 15.4.5", reply("HTTP/1.1 304 X", "Content-Length: 500", 'ETag: "a"'), 304, b"", has=(("ETag", '"a"'),))
empty.passes("205 with length 0", "9110 15.3.6", reply("HTTP/1.1 205 X", "Content-Length: 0"), 205, b"")
empty.passes("HEAD with a length", "9110 9.3.2", reply("HTTP/1.1 200 OK", "Content-Length: 500"), body=b"", request=HEAD, has=(("Content-Length", "500"),))
empty.passes("HEAD without a length", "9110 9.3.2", reply("HTTP/1.1 200 OK"), body=b"", request=HEAD)
empty.passes("HEAD with chunked", "9110 9.3.2", reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), body=b"", request=HEAD)
empty.passes("HEAD, 404 with a length", "9110 9.3.2", reply("HTTP/1.1 404 X", "Content-Length: 500"), 404, b"", request=HEAD)
empty.passes("HEAD with a body", "9110 9.3.2", sized(), body=b"", request=HEAD)
empty.passes("HEAD with an answer as body", "9110 9.3.2", sized(body=POISON), body=b"", request=HEAD)
empty.passes("HEAD, the origin closes", "9110 9.3.2", reply("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 500"), body=b"", request=HEAD, then="close")

interim = Group("interim")
interim.passes("100", "9110 15.2.1", reply("HTTP/1.1 100 Continue") + sized())
interim.passes("102", "9110 15.2", reply("HTTP/1.1 102 Processing") + sized())
interim.passes("103 with links", "8297", reply("HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload") + sized())
interim.passes("199", "9110 15.2", reply("HTTP/1.1 199 X") + sized())
interim.passes("100, 102, 103", "9110 15.2", reply("HTTP/1.1 100 X") + reply("HTTP/1.1 102 X") + reply("HTTP/1.1 103 X", "Link: <a>") + sized())
interim.passes("twenty", "9110 15.2", reply("HTTP/1.1 103 X", "Link: <a>") * 20 + sized())
interim.passes("with a length that counts for nothing", "9112 6.3", reply("HTTP/1.1 103 X", "Content-Length: 5") + sized(), also=[BAD])
interim.passes("with chunked that counts for nothing", "9112 6.3", reply("HTTP/1.1 103 X", "Transfer-Encoding: chunked") + sized(), also=[BAD])
interim.passes("before a HEAD's answer", "9110 15.2", reply("HTTP/1.1 103 X", "Link: <a>") + reply("HTTP/1.1 200 OK", "Content-Length: 500"), body=b"", request=HEAD)
interim.passes("before 204", "9110 15.2", reply("HTTP/1.1 103 X") + reply("HTTP/1.1 204 X"), 204, b"")
interim.passes("not to an HTTP/1.0 client", "9110 15.2", reply("HTTP/1.1 103 X", "Link: <a>") + sized(), request=OLD, interims=(), close=True)
interim.passes("Connection nominates in 103", "9110 7.6.1", reply("HTTP/1.1 103 X", "Connection: X-Foo", "X-Foo: 1") + sized())
interim.bad("and nothing final", "9110 15.2", reply("HTTP/1.1 103 X"), cut=True)
interim.bad("a thousand, and nothing final", "9110 15.2", reply("HTTP/1.1 103 X") * 1000, cut=True)
interim.bad("101 nobody asked for", "9110 15.2.2", reply("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"), then="keep")
interim.bad("101 nobody asked for, answer behind it", "9110 15.2.2", reply("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket") + POISON, then="keep")
interim.bad("101 to a POST", "9110 15.2.2", reply("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"), request=POST, then="keep")
interim.bad("101 of another protocol", "9110 15.2.2", reply("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: h2c"), request=head("GET /r HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c"), then="keep")

fields = Group("fields")
fields.passes("end-to-end fields pass", "9110 7.6", sized("ETag: \"a\"", "X-A: b", "Server: t/1", "Vary: Accept"), has=(("ETag", '"a"'), ("X-A", "b"), ("Vary", "Accept")))
fields.passes("Date is added", "9110 6.6.1", sized(), has=(("Date", None),))
fields.passes("Date is kept", "9110 6.6.1", sized("Date: Sun, 06 Nov 1994 08:49:37 GMT"), has=(("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),))
fields.passes("cookies stay apart", "6265 3", sized(*(f"Set-Cookie: c{i}={i}" for i in range(40))), has=tuple(("Set-Cookie", f"c{i}={i}") for i in range(40)))
fields.passes("Connection nominates", "9110 7.6.1", sized("Connection: X-Foo", "X-Foo: 1"), lacks=("X-Foo",))
fields.passes("Connection: close and a name", "9110 7.6.1", sized("Connection: close, X-Foo", "X-Foo: 1"), then="close", lacks=("X-Foo",))
fields.passes("Connection nominates Content-Length", "9110 7.6.1", sized("Connection: Content-Length"), also=[BAD])
fields.passes("Connection nominates Transfer-Encoding", "9110 7.6.1", chunked(b"5\r\nhello\r\n0\r\n\r\n", "Connection: Transfer-Encoding"), also=[BAD])
fields.passes("Keep-Alive stays here", "9110 7.6.1", sized("Keep-Alive: timeout=77"), never=b"timeout=77")
fields.passes("Proxy-Connection stays here", "9112 C.2.2", sized("Proxy-Connection: keep-alive"), lacks=("Proxy-Connection",))
fields.passes("426 names its protocol", "9110 15.5.22", reply("HTTP/1.1 426 X", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5", body=HELLO), 426)
fields.passes("obs-text in a value", "9110 5.5", sized("X-A: caf\xe9"), has=(("X-A", "caf\xe9"),))
fields.passes("empty value", "9110 5.5", sized("X-A:"), has=(("X-A", ""),))
fields.passes("white space around a value", "9110 5.5", sized("X-A: \t b \t"), has=(("X-A", "b"),))
fields.passes("value of 7 KB", "9110 5.4", sized("X-A: " + "a" * 7000), has=(("X-A", "a" * 7000),))
fields.passes("eighty fields", "9110 5.4", sized(*(f"X-{i}: {i}" for i in range(80))), has=(("X-79", "79"),))
fields.passes("space before the colon is removed", "9112 5.1", sized("X-A : b"), also=[BAD])
fields.passes("fold becomes a space", "9112 5.2", sized("X-A: b\r\n c"), also=[BAD])
fields.bad("NUL in a value", "9110 5.5", sized("X-A: b\x00c"), lax=Got(OK, HELLO, never=b"\x00"), then="keep")
fields.bad("bare CR in a value", "9110 5.5", sized("X-A: b\rc"), lax=Got(OK, HELLO, never=b"b\rc"), then="keep")
fields.bad("bare LF in a value", "9112 2.2", sized("X-A: b\nX-B: c"), lax=PASS, then="keep")
fields.bad("control byte in a value", "9110 5.5", sized("X-A: b\x01c"), lax=Got(OK, HELLO, never=b"\x01"), then="keep")
fields.bad("no colon", "9112 5", sized("garbage"), lax=Got(OK, HELLO, never=b"garbage"), then="keep")
fields.bad("empty name", "9110 5.1", sized(": b"), lax=Got(OK, HELLO, never=b"\r\n: b"), then="keep")
fields.bad("space in a name", "9110 5.1", sized("X A: b"), lax=Got(OK, HELLO, lacks=("X A",)), then="keep")
fields.bad("control byte in a name", "9110 5.1", sized("X\x01A: b"), lax=Got(OK, HELLO, never=b"X\x01A"), then="keep")
fields.bad("fold on the first line", "9112 2.2", reply("HTTP/1.1 200 OK", " X: y", "Content-Length: 5", body=HELLO), lax=PASS, then="keep")
fields.bad("head of 400 KB", "9110 5.4", sized(*(f"X-{i}: {'a' * 4000}" for i in range(100))), then="keep")
fields.bad("field without end", "9110 5.4", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 400000)
fields.bad("5000 fields", "9110 5.4", sized(*(f"X-{i}: 1" for i in range(5000))), may=PASS, then="keep")

reuse = Group("reuse")
reuse.passes("answer behind the answer", "9112 9.3", sized() + POISON)
reuse.passes("bytes behind the answer", "9112 9.3", sized() + b"junk")
reuse.passes("CR LF behind the answer", "9112 9.3", sized() + b"\r\n")
reuse.passes("answer behind the last chunk", "9112 9.3", chunked(b"5\r\nhello\r\n0\r\n\r\n") + POISON)
reuse.passes("bytes behind the last chunk", "9112 9.3", chunked(b"5\r\nhello\r\n0\r\n\r\n") + b"junk")
reuse.add("answer on the idle connection", "9112 9.3", sized(), [PASS], late=POISON, valid=True)
reuse.add("bytes on the idle connection", "9112 9.3", sized(), [PASS], late=b"junk", valid=True)
reuse.add("408 on the idle connection", "9110 15.5.9", sized(), [PASS], late=reply("HTTP/1.1 408 X", "Connection: close", "Content-Length: 0"), valid=True)
reuse.add("answer before the request", "9112 9.3", sized(), [Got(OK), BAD], greeting=POISON)
reuse.passes("100 behind the answer", "9112 9.3", sized() + reply("HTTP/1.1 100 Continue"))
LONG = head("POST /r HTTP/1.1", "Content-Length: 600000")
reuse.add("early answer, the origin closes", "9112 9.5", sized("Connection: close"), [PASS, BAD, CUT], request=LONG + b"x" * 600000, early=True, then="close")  # bytes it leaves unread become a reset that may overtake its answer
reuse.add("early answer, the origin reads on", "9112 9.5", sized(), [PASS], request=LONG + b"x" * 600000, early=True, valid=True)
reuse.add("early refusal of a body that never comes", "9112 9.5", reply("HTTP/1.1 401 X", "Content-Length: 5", body=HELLO), [Got(frozenset({401}), HELLO)], request=LONG, early=True, valid=True)
reuse.add("early refusal of an announced body", "9110 10.1.1", reply("HTTP/1.1 401 X", "Content-Length: 5", body=HELLO), [Got(frozenset({401}), HELLO)], request=head("POST /r HTTP/1.1", "Expect: 100-continue", "Content-Length: 5"), early=True, valid=True)
