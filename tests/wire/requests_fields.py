"""Request cases: Host and field syntax (RFC 9110 section 5 and 7.2, RFC 9112 sections 3.2 and 5)."""

from __future__ import annotations

from tests.wire.model import ERRORS, OK, Seen, Table, Want, head

S = Seen("GET", "/")
GET = "GET / HTTP/1.1"


def with_field(field: str) -> bytes:
    return head(GET, field)


host = Table("Host")
host.refuse("no Host", "9112 3.2", head(GET, host=None))
host.refuse("no field at all", "9112 3.2", b"GET / HTTP/1.1\r\n\r\n")
host.refuse("two Hosts, the same", "9112 3.2", with_field("Host: a.test"))
host.refuse("two Hosts, different", "9112 3.2", with_field("Host: b.test"))
host.refuse("two Hosts, other case", "9112 3.2", with_field("hOST: b.test"))
host.refuse("two Hosts on HTTP/1.0", "9112 3.2", head("GET / HTTP/1.0", "Host: b.test"))
host.refuse("two Hosts, the second empty", "9112 3.2", with_field("Host:"))
host.refuse("empty Host", "9110 7.2", head(GET, host=""), lax=S, close=None)
for text in ("a.test:99999", "a.test:-1", "a.test:+80", "a.test:8x", "a.test:80:80", "a.test: 80", "a.test:80 80", ":80", ":"):
    host.refuse(f"Host {text!a}", "9110 7.2", head(GET, host=text), close=None, lax=S if text == "a.test:99999" else None)
for text in ("a test", "a\ttest", "a.test b.test", "u@a.test", "u:p@a.test", "a.test/x", "/a.test", "http://a.test", "a.test?x", "a.test#x", "a.test\\x", '"a.test"', "<a.test>", "a.test|b", "a^b", "{a}", "a\x01b", "a\x7fb", "a%zz", "a%"):
    host.refuse(f"Host {text!a}", "9110 7.2", head(GET, host=text), close=None)
host.refuse("NUL in Host", "9110 5.5", head(GET, host="a.test\x00"))
host.refuse("NUL and a name behind it in Host", "9110 5.5", head(GET, host="a.test\x00.evil"))
host.refuse("encoded NUL in Host", "3986 3.2.2", head(GET, host="a%00b"), close=None, lax=S)
host.refuse("encoded slash in Host", "3986 3.2.2", head(GET, host="a%2fb"), close=None, lax=S)
host.refuse("obs-text in Host", "3986 3.2.2", head(GET, host="caf\xe9.test"), close=None)
host.refuse("list in Host", "3986 3.2.2", head(GET, host="a.test, b.test"), close=None)
host.refuse("comma in Host", "3986 3.2.2", head(GET, host="a.test,b.test"), close=None, lax=S)
for text in ("[::1", "::1]", "[::1]x", "[zz]", "[]", "[::1]:8x", "[::1]]", "[[::1]]", "::1", "[1.2.3.4", "[::1%25eth0", "a[::1]"):
    host.refuse(f"Host {text!a}", "3986 3.2.2", head(GET, host=text), close=None)
host.refuse("Host folded", "9112 5.2", b"GET / HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n", may=S)
host.refuse("space before the colon of Host", "9112 5.1", b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n")
host.refuse("bare CR behind Host", "9112 2.2", b"GET / HTTP/1.1\r\nHost: a.test\rX: y\r\n\r\n")
for text in ("A.TEST", "a.test:80", "a.test:8080", "a.test:0", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80", "[2001:DB8::1]", "localhost", "a_b.test", "xn--caf-dma.test", "a-b.test", "a"):
    host.valid(f"Host {text}", "9110 7.2", head(GET, host=text), S)
host.valid("Host with a trailing dot", "3986 3.2.2", head(GET, host="a.test."), S)
host.valid("Host with an empty port", "3986 3.2.3", head(GET, host="a.test:"), S, also=(400,))
host.valid("Host with a zone", "6874", head(GET, host="[fe80::1%25eth0]"), Seen(), also=(400,))
host.valid("Host with empty labels", "3986 3.2.2", head(GET, host="a..test"), S, also=(400,))
host.valid("Host *", "3986 3.2.2", head(GET, host="*"), S, also=(400,))
host.valid("Host percent-encoded", "3986 3.2.2", head(GET, host="%61.test"), S, also=(400,))
host.valid("Host of 255 bytes", "9110 7.2", head(GET, host=".".join(["a" * 50] * 5)), S, also=(400,))
host.valid("white space around Host", "9110 5.5", b"GET / HTTP/1.1\r\nHost: \t a.test \t\r\n\r\n", Seen("GET", "/", has=(("Host", "a.test"),)))
host.valid("no space before Host's value", "9110 5.5", b"GET / HTTP/1.1\r\nHost:a.test\r\n\r\n", S)
host.valid("Host in capitals", "9110 5.1", b"GET / HTTP/1.1\r\nHOST: a.test\r\n\r\n", S)
host.valid("Host last", "9110 5.3", b"GET / HTTP/1.1\r\nX: y\r\nHost: a.test\r\n\r\n", S)
host.refuse("Host of 5000 bytes", "9110 7.2", head(GET, host="a" * 5000), (400, 414, 431), may=S, close=None)
for size in (300, 5000, 30_000):
    host.refuse(f"Host of {size} bytes beside an absolute-form target", "9112 3.2.2", head("GET http://a.test/ HTTP/1.1", host="a" * size), (400, 414, 431), may=S, close=None)

fields = Table("field syntax")
fields.refuse("space before the colon", "9112 5.1", with_field("X : y"))
fields.refuse("tab before the colon", "9112 5.1", with_field("X\t: y"))
fields.refuse("space inside the name", "9112 5.1", with_field("X Y: z"))
fields.refuse("space before the first name", "9112 2.2", b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n")
fields.refuse("space before the first name, Host below", "9112 2.2", b"GET / HTTP/1.1\r\n X: y\r\nHost: a.test\r\n\r\n", lax=Seen("GET", "/", lacks=("X",)))
fields.refuse("tab before the first name, Host below", "9112 2.2", b"GET / HTTP/1.1\r\n\tX: y\r\nHost: a.test\r\n\r\n", lax=Seen("GET", "/", lacks=("X",)))
fields.refuse("fold by a space", "9112 5.2", with_field("X: a\r\n b"), may=S)
fields.refuse("fold by a tab", "9112 5.2", with_field("X: a\r\n\tb"), may=S)
fields.refuse("fold to an empty line", "9112 5.2", with_field("X: a\r\n "), may=S)
fields.refuse("fold hides a field", "9112 5.2", with_field("X: a\r\n Transfer-Encoding: chunked"), may=S)
fields.refuse("fold after an LF", "9112 5.2", with_field("X: a\n b"), lax=S)
fields.refuse("fold of Content-Length", "9112 5.2", head("POST / HTTP/1.1", "Content-Length:\r\n 5") + b"hello", may=Seen("POST", "/", b"hello"))
fields.refuse("fold inside Content-Length", "9112 5.2", head("POST / HTTP/1.1", "Content-Length: 1\r\n 0") + b"helloworld")
fields.refuse("fold of Transfer-Encoding", "9112 5.2", head("POST / HTTP/1.1", "Transfer-Encoding:\r\n chunked") + b"5\r\nhello\r\n0\r\n\r\n", may=Seen("POST", "/", b"hello"))
fields.refuse("LF ends a field", "9112 2.2", b"GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n", lax=S)
fields.refuse("LF ends the head", "9112 2.2", b"GET / HTTP/1.1\r\nHost: a.test\r\n\n", lax=S)
fields.refuse("LF LF ends the head", "9112 2.2", b"GET / HTTP/1.1\r\nHost: a.test\n\n", lax=S)
fields.refuse("CR CR LF ends a field", "9112 2.2", b"GET / HTTP/1.1\r\nHost: a.test\r\r\nX: y\r\n\r\n", lax=S)
fields.refuse("CR CR LF ends the head", "9112 2.2", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\r\n", (400, 408), lax=S)
fields.refuse("bare CR in a value", "9112 2.2", with_field("X: a\rb"), lax=Seen("GET", "/", never=b"a\rb"))
fields.refuse("bare CR hides a field", "9112 2.2", with_field("X: a\rTransfer-Encoding: chunked"), lax=Seen("GET", "/", lacks=("Transfer-Encoding",)))
fields.refuse("bare CR at the end of a value", "9112 2.2", with_field("X: a\r"), lax=Seen("GET", "/", never=b"a\r\r"))
fields.refuse("bare CR in a name", "9112 2.2", with_field("X\rY: a"))
fields.refuse("NUL in a value", "9110 5.5", with_field("X: a\x00b"), lax=Seen("GET", "/", never=b"\x00"))
fields.refuse("NUL ends a value", "9110 5.5", with_field("X: a\x00"), lax=Seen("GET", "/", never=b"\x00"))
for code in (0x01, 0x08, 0x0B, 0x1B, 0x1F, 0x7F):
    fields.refuse(f"control byte {code:#04x} in a value", "9110 5.5", with_field(f"X: a{chr(code)}b"), lax=Seen("GET", "/", never=bytes([code])))
fields.refuse("empty name", "9110 5.1", with_field(": y"))
fields.refuse("no colon", "9112 5", with_field("garbage"))
fields.refuse("no colon, first line", "9112 5", b"GET / HTTP/1.1\r\ngarbage\r\nHost: a.test\r\n\r\n")
fields.refuse("colon alone", "9112 5", with_field(":"))
fields.refuse("request line as a field", "9112 5", with_field("GET /smuggled HTTP/1.1"))
for name in ("X(Y)", "X@Y", 'X"Y', "X/Y", "X[Y", "X{Y", "X=Y", "X;Y", "X,Y", "X\\Y", "X<Y", "X?Y", "X\x01Y", "X\x7fY", "X\xe9Y", "X\x00Y"):
    fields.refuse(f"name {name!a}", "9110 5.6.2", with_field(f"{name}: z"))
fields.valid("every token character in a name", "9110 5.6.2", with_field("X!#$%&'*+-.^_`|~09aZ: y"), S)
fields.valid("underscore in a name", "9110 5.6.2", with_field("X_Y: z"), S)
fields.valid("empty value", "9110 5.5", with_field("X-Empty:"), Seen("GET", "/", has=(("X-Empty", ""),)))
fields.valid("value of white space", "9110 5.5", with_field("X-Empty:  \t "), Seen("GET", "/", has=(("X-Empty", ""),)))
fields.valid("white space around a value", "9110 5.5", with_field("X-A: \t b \t"), Seen("GET", "/", has=(("X-A", "b"),)))
fields.valid("tab inside a value", "9110 5.5", with_field("X-A: b\tc"), Seen("GET", "/", has=(("X-A", "b\tc"),)))
fields.valid("obs-text in a value", "9110 5.5", with_field("X-A: caf\xe9"), Seen("GET", "/", has=(("X-A", "caf\xe9"),)))
fields.valid("UTF-8 in a value", "9110 5.5", with_field("X-A: caf\xc3\xa9"), Seen("GET", "/", has=(("X-A", "caf\xc3\xa9"),)))
fields.valid("colons in a value", "9110 5.5", with_field("X-A: b:c::d"), Seen("GET", "/", has=(("X-A", "b:c::d"),)))
fields.valid("quotes in a value", "9110 5.6.4", with_field('X-A: "b \\" c"'), Seen("GET", "/", has=(("X-A", '"b \\" c"'),)))
fields.valid("name of 500 bytes", "9110 5.4", with_field("X" * 500 + ": y"), S)
fields.valid("value of 7000 bytes", "9110 5.4", with_field("X-A: " + "y" * 7000), S)
fields.valid("ninety fields", "9110 5.4", head(GET, *(f"X-{i}: {i}" for i in range(90))), Seen("GET", "/", has=(("X-89", "89"),)))
fields.valid("one name, twice, in order", "9110 5.3", head(GET, "X-A: 1", "X-A: 2"), Seen("GET", "/", has=(("X-A", "1"), ("X-A", "2"))))
fields.valid("two cookies", "6265 5.4", head(GET, "Cookie: a=1", "Cookie: b=2"), Seen("GET", "/", has=(("Cookie", None),)))
fields.valid("usual end-to-end fields pass", "9110 7.6", head(GET, "User-Agent: t/1", "Accept: */*", "Authorization: Basic eDp5", "If-None-Match: \"x\"", "Range: bytes=0-1"), Seen("GET", "/", has=(("User-Agent", "t/1"), ("Accept", "*/*"), ("Authorization", "Basic eDp5"), ("If-None-Match", '"x"'), ("Range", "bytes=0-1"))))

SPOOF = "6.6.6.6"
spoof = Table("spoofed forwarding")
CLEAN = Seen("GET", "/", never=SPOOF.encode())
for name in ("X-Forwarded-For", "x-forwarded-for", "X_Forwarded_For", "X-Forwarded_For", "X_FORWARDED-FOR", "X-Real-IP", "X_Real_IP", "X-Real_IP", "Forwarded", "X-Forwarded-Host", "X_Forwarded_Host", "X-Forwarded-Proto", "X_Forwarded-Proto", "X-Request-Id", "X_Request_Id"):
    value = f"for={SPOOF}" if name == "Forwarded" else SPOOF
    own = Want((OK,), (CLEAN,), False)
    tolerable = [Want((OK,), (S,))] if name.replace("_", "-").lower() == "x-request-id" else []
    spoof.custom(f"{name} from a stranger", "7239 8.1", with_field(f"{name}: {value}"), [own], tolerable, valid=True)
for name in ("X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Scheme"):
    spoof.custom(f"{name} from a stranger", "7239 8.1", with_field(f"{name}: {SPOOF}"), [Want((OK,), (CLEAN,), False)], [Want((OK,), (S,))], valid=True)
spoof.custom("X-Forwarded-For twice", "7239 8.1", head(GET, f"X-Forwarded-For: {SPOOF}", f"X-Forwarded-For: {SPOOF}"), [Want((OK,), (CLEAN,), False)], valid=True)
spoof.custom("X-Forwarded-For in a list", "7239 8.1", with_field(f"X-Forwarded-For: 1.1.1.1, {SPOOF}, 2.2.2.2"), [Want((OK,), (CLEAN,), False)], valid=True)
spoof.custom("X-Forwarded-For is ours", "7239 4", head(GET), [Want((OK,), (Seen("GET", "/", has=(("X-Forwarded-For", "127.0.0.1"),)),), False)], valid=True)
spoof.custom("X-Forwarded-For folded", "9112 5.2", with_field(f"X-Forwarded-For:\r\n {SPOOF}"), [Want((OK,), (CLEAN,)), Want((ERRORS,), (), True)])
for name in ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Request-Id", "Via"):
    must = name if name in ("X-Forwarded-For", "X-Real-IP") else None
    keeps = Seen("GET", "/", has=((must, None),)) if must else S
    spoof.custom(f"Connection nominates {name}", "9110 7.6.1", head(GET, f"Connection: {name}"), [Want((OK,), (keeps,), False)], valid=True)
spoof.custom("Connection nominates a spoofed field", "9110 7.6.1", head(GET, "Connection: X-Forwarded-For", f"X-Forwarded-For: {SPOOF}"), [Want((OK,), (Seen("GET", "/", has=(("X-Forwarded-For", "127.0.0.1"),), never=SPOOF.encode()),), False)], valid=True)

CASES = host.cases + fields.cases + spoof.cases
