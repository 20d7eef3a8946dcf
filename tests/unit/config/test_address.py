import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.config import Address, Bind, parse_bind, parse_endpoint

BINDS = [
    ("127.0.0.1:8080", Bind("tcp", "127.0.0.1", 8080)),
    ("0.0.0.0:0", Bind("tcp", "0.0.0.0", 0)),
    (":8080", Bind("tcp", "", 8080)),
    ("[::1]:80", Bind("tcp", "::1", 80)),
    ("[0:0:0:0:0:0:0:1]:80", Bind("tcp", "::1", 80)),
    ("[fe80::1%eth0]:80", Bind("tcp", "fe80::1%eth0", 80)),
    ("localhost:65535", Bind("tcp", "localhost", 65535)),
    ("unix:/run/gw.sock", Bind("unix", path="/run/gw.sock")),
    ("unix:/" + "x" * 106, Bind("unix", path="/" + "x" * 106)),
]
ENDPOINTS = [
    ("127.0.0.1:9001", Address("tcp", "127.0.0.1", 9001)),
    ("users.internal:80", Address("tcp", "users.internal", 80)),
    ("users_1:80", Address("tcp", "users_1", 80)),
    ("[::1]:80", Address("tcp", "::1", 80)),
    ("http://a", Address("tcp", "a", 80)),
    ("http://a/", Address("tcp", "a", 80)),
    ("https://a", Address("tcp", "a", 443, tls=True)),
    ("https://a:8443", Address("tcp", "a", 8443, tls=True)),
    ("https://[::1]", Address("tcp", "::1", 443, tls=True)),
    ("https://[::1]:8443", Address("tcp", "::1", 8443, tls=True)),
    ("unix:/run/app.sock", Address("unix", path="/run/app.sock")),
]
WRONG = [
    ("", "no port"),
    ("127.0.0.1", "no port"),
    ("[::1]", "no port"),
    ("::1:80", "needs brackets: [::1]:80"),
    ("a:b", "port 'b'"),
    ("a:65536", "port '65536'"),
    ("a:٨٠", "port '٨٠'"),
    ("a:+80", "port '+80'"),
    ("256.0.0.1:80", "not an IPv4 address"),
    ("1.2.3:80", "not an IPv4 address"),
    ("[::g]:80", "not an IPv6 address"),
    ("*:80", "leave the host out"),
    ("bücher.example:80", "xn--bcher-kva.example"),
    ("a b:80", "not a host name"),
    ("-a:80", "not a host name"),
    ("a..b:80", "not a host name"),
    ("x" * 64 + ":80", "not a host name"),
    ("a\r\n:80", "not a host name"),
    ("unix:relative", "absolute path"),
    ("unix:/a\0b", "NUL"),
    ("unix:/" + "x" * 107, "107 bytes, this one has 108"),
    ("unix:/" + "é" * 54, "has 109"),
]
WRONG_ENDPOINTS = [
    ("a:0", "from 1 to"),
    (":80", "no host"),
    ("ftp://a", "scheme 'ftp'"),
    ("http://", "no host"),
    ("http://a/x", "rewrite"),
    ("http://a?x", "query"),
    ("http://u@a", "user"),
    ("http://a:x", "port 'x'"),
]


@pytest.mark.parametrize(("text", "bind"), BINDS)
def test_bind(text, bind):
    assert parse_bind(text) == bind


@pytest.mark.parametrize(("text", "address"), ENDPOINTS)
def test_endpoint(text, address):
    assert parse_endpoint(text) == address


@pytest.mark.parametrize(("text", "why"), WRONG)
@pytest.mark.parametrize("parse", [parse_bind, parse_endpoint])
def test_wrong_in_both(parse, text, why):
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert why in str(caught.value)


@pytest.mark.parametrize(("text", "why"), WRONG_ENDPOINTS)
def test_wrong_endpoint(text, why):
    with pytest.raises(ValueError) as caught:
        parse_endpoint(text)
    assert why in str(caught.value)


@given(st.text())
@pytest.mark.parametrize("parse", [parse_bind, parse_endpoint])
@pytest.mark.parametrize("before", ["", "http://", "https://[", "unix:/", "a:", "["])
def test_any_text_is_an_address_or_a_value_error(parse, before, text):
    try:
        found = parse(before + text)
    except ValueError as error:
        assert str(error)
    else:
        assert 0 <= found.port <= 65535
