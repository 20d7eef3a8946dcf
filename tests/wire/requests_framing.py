"""Request cases: Content-Length, Transfer-Encoding, chunks, smuggling payloads (RFC 9112 sections 6, 7 and 11)."""

from __future__ import annotations

from tests.wire.model import ERRORS, OK, Seen, Table, Want, head

POST = "POST / HTTP/1.1"
HELLO = Seen("POST", "/", b"hello")
EMPTY = Seen("POST", "/", b"")
SMUGGLED = head("GET /smuggled HTTP/1.1")
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


def sized(value: str, body: bytes = b"hello") -> bytes:
    return head(POST, f"Content-Length: {value}") + body


def coded(*values: str, body: bytes = CHUNKED, extra: tuple[str, ...] = ()) -> bytes:
    return head(POST, *extra, *(f"Transfer-Encoding: {value}" for value in values)) + body


def chunks(body: bytes) -> bytes:
    return head(POST, "Transfer-Encoding: chunked") + body


length = Table("Content-Length")
length.valid("five bytes", "9112 6.2", sized("5"), HELLO)
length.valid("zero", "9112 6.2", sized("0", b""), EMPTY)
length.valid("zero on GET", "9112 6.2", head("GET /x HTTP/1.1", "Content-Length: 0"), Seen("GET", "/x", b""))
length.valid("white space around the number", "9110 5.5", sized(" \t5 \t"), HELLO)
length.valid("name in lower case", "9110 5.1", head(POST, "content-length: 5") + b"hello", HELLO)
length.valid("leading zeros", "9110 8.6", sized("005"), HELLO, also=(400,))
length.valid("many leading zeros", "9110 8.6", sized("0" * 30 + "5"), HELLO, also=(400, 413))
length.valid("body with CR LF and NUL", "9112 6", sized("10", b"\r\n\r\n\x00\r\nab\n"), Seen("POST", "/", b"\r\n\r\n\x00\r\nab\n"))
length.valid("body that looks like a request", "9112 6", sized(str(len(SMUGGLED)), SMUGGLED), Seen("POST", "/", SMUGGLED))
length.valid("body of 100 KB", "9112 6", sized("100000", b"x" * 100000), Seen("POST", "/", b"x" * 100000))
length.valid("underscore form is no framing", "9110 8.6", head("GET /x HTTP/1.1", "Content_Length: 5"), Seen("GET", "/x", b""))
for text in ("+5", "-5", "-0", "0x5", "5 5", "5;", "5.0", "5e0", "1e1", "five", "5\x0b", "\x0b5", "5\xa0", "\u0665".encode().decode("latin-1"), "5_0", "0b101", "0o5", "5h", "'5'", '"5"', "5,", ",5", "5, 6", "6, 5", "5,5,6", "*", "NaN", "Infinity"):
    length.refuse(f"Content-Length {text!a}", "9112 6.3", sized(text), lax=HELLO if text in ("5,", ",5") else None)
length.refuse("blank", "9112 6.3", head(POST, "Content-Length:"))
length.refuse("white space only", "9112 6.3", head(POST, "Content-Length: \t "))
length.refuse("list of two equal", "9112 6.3", sized("5, 5"), may=HELLO)
length.refuse("list of two equal, no space", "9112 6.3", sized("5,5"), may=HELLO)
length.refuse("two fields, equal", "9112 6.3", head(POST, "Content-Length: 5", "Content-Length: 5") + b"hello", may=HELLO)
length.refuse("two fields, equal, other case", "9112 6.3", head(POST, "Content-Length: 5", "content-length: 5") + b"hello", may=HELLO)
length.refuse("two fields, different", "9112 6.3", head(POST, "Content-Length: 5", "Content-Length: 6") + b"helloG")
length.refuse("two fields, zero and more", "9112 6.3", head(POST, "Content-Length: 0", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED)
length.refuse("two fields, more and zero", "9112 6.3", head(POST, f"Content-Length: {len(SMUGGLED)}", "Content-Length: 0") + SMUGGLED)
length.refuse("two fields, one blank", "9112 6.3", head(POST, "Content-Length: 5", "Content-Length:") + b"hello")
length.refuse("two fields, one with zeros", "9112 6.3", head(POST, "Content-Length: 5", "Content-Length: 05") + b"hello", lax=HELLO)
for text in ("18446744073709551621", "18446744073709551615", "18446744073709551616", "9223372036854775808", "4294967301", "36893488147419103237", "9" * 40):
    length.refuse(f"Content-Length {text[:22]}", "9112 6.3", sized(text), (400, 413))
length.refuse("Content-Length with NUL", "9110 5.5", sized("5\x00"))
length.refuse("space before the colon", "9112 5.1", head(POST, "Content-Length : 5") + b"hello")
length.refuse("bytes behind the body", "9112 6.3", sized("5") + b"GARBAGE\r\n\r\n", after=(HELLO,))
length.valid("CR LF behind the body", "9112 2.2", sized("5") + b"\r\n" + head("GET /next HTTP/1.1"), HELLO, Seen("GET", "/next"))
length.refuse("cut body", "9112 8", sized("10"), (400, 408), half_close=True)

coding = Table("Transfer-Encoding")
coding.valid("chunked", "9112 6.1", coded("chunked"), HELLO)
for text in ("Chunked", "CHUNKED", " chunked ", "\tchunked", "chunked\t", " \t chunked \t "):
    coding.valid(f"chunked as {text!a}", "9110 5.5", coded(text), HELLO)
coding.valid("name in capitals", "9110 5.1", head(POST, "TRANSFER-ENCODING: chunked") + CHUNKED, HELLO)
coding.valid("chunked without data", "9112 7.1", coded("chunked", body=b"0\r\n\r\n"), EMPTY)
coding.valid("chunked with an empty list element", "9110 5.6.1", coded("chunked,"), HELLO, also=(400, 501))
coding.valid("chunked behind an empty list element", "9110 5.6.1", coded(", chunked"), HELLO, also=(400, 501))
coding.refuse("chunked, chunked", "9112 6.1", coded("chunked, chunked"), (400, 501))
coding.refuse("chunked in two fields", "9112 6.1", coded("chunked", "chunked"), (400, 501))
coding.refuse("chunked, gzip", "9112 6.3", coded("chunked, gzip"), (400, 501))
coding.refuse("chunked, identity", "9112 6.3", coded("chunked, identity"), (400, 501))
coding.refuse("identity, chunked", "9112 6.1", coded("identity, chunked"), (400, 501), lax=HELLO)
coding.refuse("identity in a field, chunked in another", "9112 6.1", coded("identity", "chunked"), (400, 501), lax=HELLO)
coding.refuse("chunked in a field, identity in another", "9112 6.3", coded("chunked", "identity"), (400, 501))
coding.refuse("gzip, chunked", "9112 6.1", coded("gzip, chunked"), (501, 400))
coding.refuse("gzip in a field, chunked in another", "9112 6.1", coded("gzip", "chunked"), (501, 400))
coding.refuse("chunked in a field, gzip in another", "9112 6.3", coded("chunked", "gzip"), (501, 400))
for text in ("identity", "gzip", "xchunked", "chunkedx", "chunke", "cow", "chunked;q=1", "chunked; a=b", '"chunked"', "'chunked'", "chunked\x0b", "\x0bchunked", "chun ked", "chunked chunked", "chunked\xa0", "chunked;", "\x00chunked", "chunked\x00", "ch\xfcnked", "chunked/1", "identity\tchunked", "{chunked}", "x: chunked", "cow, chunked"):
    coding.refuse(f"Transfer-Encoding {text!a}", "9112 6.3", coded(text), (400, 501))
coding.refuse("blank", "9112 6.3", coded(""), (400, 501))
coding.refuse("blank beside Content-Length", "9112 6.3", head(POST, "Transfer-Encoding:", "Content-Length: 5") + b"hello", (400, 501), lax=HELLO)
coding.refuse("blank in a field, chunked in another", "9112 6.1", coded("", "chunked"), (400, 501), lax=HELLO)
coding.refuse("on HTTP/1.0", "9112 6.1", head("POST / HTTP/1.0", "Transfer-Encoding: chunked") + CHUNKED, (400, 501, 505), lax=HELLO)
coding.refuse("on HTTP/1.0 with keep-alive", "9112 6.1", head("POST / HTTP/1.0", "Connection: keep-alive", "Transfer-Encoding: chunked") + CHUNKED + SMUGGLED, (400, 501, 505), lax=HELLO)
coding.refuse("space before the colon", "9112 5.1", head(POST, "Transfer-Encoding : chunked") + CHUNKED)
coding.refuse("tab before the colon", "9112 5.1", head(POST, "Transfer-Encoding\t: chunked") + CHUNKED)
coding.refuse("bare LF ahead of it", "9112 2.2", head(POST, "X: y\nTransfer-Encoding: chunked") + CHUNKED, lax=HELLO)
coding.refuse("bare LF behind it", "9112 2.2", head(POST, "Transfer-Encoding: chunked\nX: y") + CHUNKED, lax=HELLO)
coding.refuse("with Content-Length", "9112 6.3", head(POST, "Content-Length: 5", "Transfer-Encoding: chunked") + CHUNKED, lax=HELLO)
coding.refuse("ahead of Content-Length", "9112 6.3", head(POST, "Transfer-Encoding: chunked", "Content-Length: 5") + CHUNKED, lax=HELLO)
coding.refuse("with Content-Length 0", "9112 6.3", head(POST, "Transfer-Encoding: chunked", "Content-Length: 0") + CHUNKED, lax=HELLO)
coding.refuse("with a blank Content-Length", "9112 6.3", head(POST, "Transfer-Encoding: chunked", "Content-Length:") + CHUNKED, lax=HELLO)
coding.refuse("with a bad Content-Length", "9112 6.3", head(POST, "Transfer-Encoding: chunked", "Content-Length: x") + CHUNKED, lax=HELLO)
coding.valid("underscore form is no framing", "9112 6.1", head("GET /x HTTP/1.1", "Transfer_Encoding: chunked"), Seen("GET", "/x", b""))
coding.valid("TE: trailers with its Connection", "9110 10.1.4", head("GET /x HTTP/1.1", "TE: trailers", "Connection: TE"), Seen("GET", "/x"))
coding.valid("TE: gzip is not passed on", "9110 10.1.4", head("GET /x HTTP/1.1", "TE: gzip", "Connection: TE"), Seen("GET", "/x", never=b"gzip"))
coding.valid("Trailer announces", "9110 6.6.2", head(POST, "Trailer: X-T", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", HELLO)

smuggle = Table("smuggling")
ONE = Seen("POST", "/")
smuggle.refuse("CL.TE", "9112 11.2", head(POST, f"Content-Length: {5 + len(SMUGGLED)}", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED, lax=EMPTY)
smuggle.refuse("TE.CL", "9112 11.2", head(POST, "Content-Length: 4", "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), lax=Seen("POST", "/", SMUGGLED))
smuggle.refuse("CL.TE, xchunked", "9112 11.2", head(POST, f"Content-Length: {5 + len(SMUGGLED)}", "Transfer-Encoding: xchunked") + b"0\r\n\r\n" + SMUGGLED, (400, 501))
smuggle.refuse("CL.TE, second coding", "9112 11.2", head(POST, f"Content-Length: {5 + len(SMUGGLED)}", "Transfer-Encoding: chunked", "Transfer-Encoding: x") + b"0\r\n\r\n" + SMUGGLED, (400, 501))
smuggle.refuse("CL.TE, coding folded away", "9112 11.2", head(POST, f"Content-Length: {5 + len(SMUGGLED)}", "X: y\r\n Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED, may=Seen("POST", "/", b"0\r\n\r\n" + SMUGGLED))
smuggle.refuse("CL.TE, coding behind NUL", "9112 11.2", head(POST, f"Content-Length: {5 + len(SMUGGLED)}", "Transfer-Encoding: \x00chunked") + b"0\r\n\r\n" + SMUGGLED)
smuggle.refuse("CL.TE, coding behind a bare CR", "9112 11.2", head(POST, f"Content-Length: {5 + len(SMUGGLED)}", "X: y\rTransfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED, lax=ONE)
smuggle.refuse("CL.0 on GET", "9112 11.2", head("GET / HTTP/1.1", f"Content-Length: {len(SMUGGLED)}, 0") + SMUGGLED)
smuggle.valid("Connection nominates Content-Length", "9110 7.6.1", head(POST, "Connection: Content-Length", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED, Seen("POST", "/", SMUGGLED), also=(400,))
smuggle.valid("Connection nominates Transfer-Encoding", "9110 7.6.1", head(POST, "Connection: Transfer-Encoding", "Transfer-Encoding: chunked") + CHUNKED, HELLO, also=(400,))
smuggle.valid("body to a path answered by the gateway", "9112 9.3", head("POST /admin HTTP/1.1", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED, also=(403,))
smuggle.custom("body to a path answered by the gateway, then a request", "9112 9.3", head("POST /admin HTTP/1.1", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED + head("GET /next HTTP/1.1"), [Want((frozenset({403}), OK), (Seen("GET", "/next"),)), Want((frozenset({403}),), (), True)], valid=True)
smuggle.custom("chunked body to a path answered by the gateway, then a request", "9112 9.3", head("POST /admin HTTP/1.1", "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED) + head("GET /next HTTP/1.1"), [Want((frozenset({403}), OK), (Seen("GET", "/next"),)), Want((frozenset({403}),), (), True)], valid=True)
smuggle.custom("bad chunks to a path answered by the gateway", "9112 9.3", head("POST /admin HTTP/1.1", "Transfer-Encoding: chunked") + b"zz\r\n" + SMUGGLED, [Want((frozenset({403, 400}),), (), True)], [Want((), (), True), Want((frozenset({403}), frozenset({400})), (), True)])
smuggle.custom("body larger than allowed that looks like a request", "9110 15.5.14", head("POST /small HTTP/1.1", f"Content-Length: {40 * len(SMUGGLED)}") + SMUGGLED * 40, [Want((frozenset({413}),))], [Want((), (), True)])

chunk = Table("chunks")
chunk.valid("three chunks", "9112 7.1", chunks(b"2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\n\r\n"), HELLO)
chunk.valid("size in capitals", "9112 7.1", chunks(b"A\r\nhelloworld\r\n0\r\n\r\n"), Seen("POST", "/", b"helloworld"))
chunk.valid("size in lower case", "9112 7.1", chunks(b"a\r\nhelloworld\r\n0\r\n\r\n"), Seen("POST", "/", b"helloworld"))
chunk.valid("leading zeros", "9112 7.1", chunks(b"0005\r\nhello\r\n0\r\n\r\n"), HELLO)
chunk.valid("last chunk 000", "9112 7.1", chunks(b"5\r\nhello\r\n000\r\n\r\n"), HELLO)
chunk.valid("data of CR LF", "9112 7.1", chunks(b"5\r\n\r\n0\r\n\r\n0\r\n\r\n"), Seen("POST", "/", b"\r\n0\r\n"))
chunk.valid("chunk of 70 KB", "9112 7.1", chunks(b"11170\r\n" + b"x" * 0x11170 + b"\r\n0\r\n\r\n"), Seen("POST", "/", b"x" * 0x11170))
for text in (";a", ";a=b", ";a=b;c=d", ';a="b"', ';a="b;c"', ';a="b\\"c"', ";a=b ;c", " ;a=b", "; a=b", ";a =b", ";a= b", " ; a = b", "\t;\ta=b", ";" + "a" * 200, ';a="\tb\xe9"', ";a-b!=c~"):
    chunk.valid(f"extension {text[:20]!a}", "9112 7.1.1", chunks(f"5{text}\r\nhello\r\n0\r\n\r\n".encode("latin-1")), HELLO)
chunk.valid("extension on the last chunk", "9112 7.1.1", chunks(b"5\r\nhello\r\n0;a=b\r\n\r\n"), HELLO)
for text in (" ", "\t", ";", "; ", ";;a", ";a=", ";a b", ';a="b', ';a=b"', ";=b", ";a=b=c", ";a,b", ";\xe9", ";a='b'"):
    chunk.refuse(f"extension {text!a}", "9112 7.1.1", chunks(f"5{text}\r\nhello\r\n0\r\n\r\n".encode("latin-1")), may=HELLO)
chunk.refuse("extension with NUL", "9112 7.1.1", chunks(b"5;a\x00\r\nhello\r\n0\r\n\r\n"), lax=HELLO)
chunk.refuse("extension with a control byte", "9112 7.1.1", chunks(b"5;a\x01\r\nhello\r\n0\r\n\r\n"), lax=HELLO)
chunk.refuse("extension with LF", "9112 7.1.1", chunks(b"5;a\nb\r\nhello\r\n0\r\n\r\n"))
chunk.refuse("extension ends with LF", "9112 7.1.1", chunks(b"5;a\nhello\r\n0\r\n\r\n"), lax=HELLO)
chunk.refuse("extension with CR", "9112 7.1.1", chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n"))
chunk.refuse("extension with quoted CR LF", "9112 7.1.1", chunks(b'5;a="\r\nhello\r\n0\r\n\r\n"\r\n0\r\n\r\n'), may=HELLO)
chunk.refuse("LF terminated extension that hides a request", "9112 7.1.1", chunks(b"2;\nxx\r\n%x\r\n0\r\n\r\n" % (len(SMUGGLED) + 5) + SMUGGLED + b"\r\n0\r\n\r\n"), lax=Seen("POST", "/", b"xx0\r\n\r\n" + SMUGGLED))
chunk.refuse("extension of 40 KB", "9112 7.1.1", chunks(b"5;" + b"a" * 40960 + b"\r\nhello\r\n0\r\n\r\n"), (400, 413, 431), lax=HELLO)
chunk.refuse("extensions of 200 KB on small chunks", "9112 7.1.1", chunks((b"1;" + b"a" * 2000 + b"\r\nx\r\n") * 100 + b"0\r\n\r\n"), (400, 413, 431), lax=Seen("POST", "/", b"x" * 100))
for text in ("g", "0x5", "0X5", "-5", "+5", " 5", "\t5", "5 5", "5,", "5h", "", "5_0", "\xb2", "5.", "5\x0b", "5\x00", "\x005", "\u0665".encode().decode("latin-1")):
    chunk.refuse(f"size {text!a}", "9112 7.1", chunks(f"{text}\r\nhello\r\n0\r\n\r\n".encode("latin-1")))
for text in ("FFFFFFFFFFFFFFFF", "10000000000000005", "8000000000000000", "100000000000000000000000000000005", "FFFFFFFFFFFFFFFB", "7FFFFFFFFFFFFFFF", "100000005"):
    chunk.refuse(f"size {text[:20]}", "9112 7.1", chunks(f"{text}\r\nhello\r\n0\r\n\r\n".encode()), (400, 413), half_close=True)
chunk.valid("size of 300 digits", "9112 7.1", chunks(b"0" * 300 + b"5\r\nhello\r\n0\r\n\r\n"), HELLO, also=(400, 413))
chunk.refuse("LF behind the size", "9112 7.1", chunks(b"5\nhello\r\n0\r\n\r\n"), lax=HELLO)
chunk.refuse("CR behind the size", "9112 7.1", chunks(b"5\rhello\r\n0\r\n\r\n"))
chunk.refuse("CR CR LF behind the size", "9112 7.1", chunks(b"5\r\r\nhello\r\n0\r\n\r\n"), lax=HELLO)
chunk.refuse("nothing behind the data", "9112 7.1", chunks(b"5\r\nhello0\r\n\r\n"))
chunk.refuse("LF behind the data", "9112 7.1", chunks(b"5\r\nhello\n0\r\n\r\n"), lax=HELLO)
chunk.refuse("CR behind the data", "9112 7.1", chunks(b"5\r\nhello\r0\r\n\r\n"))
chunk.refuse("LF CR behind the data", "9112 7.1", chunks(b"5\r\nhello\n\r0\r\n\r\n"))
chunk.refuse("two bytes that are no CR LF behind the data", "9112 7.1", chunks(b"5\r\nhelloXX0\r\n\r\n"))
chunk.refuse("data too long", "9112 7.1", chunks(b"5\r\nhello!\r\n0\r\n\r\n"))
chunk.refuse("data too short", "9112 7.1", chunks(b"6\r\nhello\r\n0\r\n\r\n"), lax=Seen("POST", "/", b"hello\r"))
chunk.refuse("LF ends the last chunk", "9112 7.1", chunks(b"5\r\nhello\r\n0\n\r\n"), lax=HELLO)
chunk.refuse("LF ends the body", "9112 7.1", chunks(b"5\r\nhello\r\n0\r\n\n"), lax=HELLO)
chunk.refuse("cut inside the data", "9112 8", chunks(b"5\r\nhel"), (400, 408), half_close=True)
chunk.refuse("cut before the last chunk", "9112 8", chunks(b"5\r\nhello\r\n"), (400, 408), half_close=True)
chunk.refuse("cut inside the last chunk", "9112 8", chunks(b"5\r\nhello\r\n0\r\n"), (400, 408), half_close=True)
chunk.refuse("bytes behind the body", "9112 7.1", chunks(CHUNKED + b"GARBAGE\r\n\r\n"), after=(HELLO,))
chunk.valid("a request behind the body", "9112 9.3.2", chunks(CHUNKED) + head("GET /next HTTP/1.1"), HELLO, Seen("GET", "/next"))


def trailer(lines: bytes) -> bytes:
    return chunks(b"5\r\nhello\r\n0\r\n" + lines + b"\r\n\r\n")


trailers = Table("trailers")
trailers.valid("one", "9112 7.1.2", trailer(b"X-T: 1"), HELLO)
trailers.valid("three", "9112 7.1.2", trailer(b"X-T: 1\r\nX-U: 2\r\nX-V:"), HELLO)
for name in ("Content-Length: 10", "Transfer-Encoding: chunked", "Host: evil.test", "Authorization: x", "X-Forwarded-For: 6.6.6.6", "Connection: close", "Content-Encoding: gzip"):
    never = name.split(": ", 1)[1].encode() if name[0] in "HXA" else None
    trailers.valid(f"forbidden {name.split(':')[0]}", "9110 6.5.1", trailer(name.encode()), Seen("POST", "/", b"hello", never=never if never != b"x" else None), also=(400,))
for text in ("garbage", "X-T : 1", " X-T: 1", "X-T: 1\r\n fold", ": x", "X T: 1", "X-T: a\x00b", "X-T: a\rb", "X-T: 1\nX-U: 2", "X\x01: 1", "GET /smuggled HTTP/1.1"):
    trailers.refuse(f"malformed {text!a}", "9112 5", trailer(text.encode("latin-1")), lax=HELLO)
trailers.refuse("40 KB", "9112 7.1.2", trailer(b"X-T: " + b"a" * 40960), (400, 413, 431), lax=HELLO)
trailers.refuse("1000 fields", "9112 7.1.2", trailer(b"\r\n".join(b"X-%d: 1" % i for i in range(1000))), (400, 413, 431), lax=HELLO)
trailers.refuse("without end", "9112 7.1.2", chunks(b"5\r\nhello\r\n0\r\n" + b"X-T: 1\r\n" * 20000), (400, 408, 413, 431), half_close=True)
trailers.custom("a trailer does not become a field of the next request", "9110 6.5.1", trailer(b"X-T: 6.6.6.6") + head("GET /next HTTP/1.1"), [Want((OK, OK), (HELLO, Seen("GET", "/next", lacks=("X-T",))))], [Want((ERRORS,), (), True)], valid=True)

CASES = length.cases + coding.cases + smuggle.cases + chunk.cases + trailers.cases
