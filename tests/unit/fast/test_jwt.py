"""gw._fast.jwt against the RFCs' examples, a slow oracle, and what attackers send."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import jwt as pyjwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.jwt import REASONS, TokenRules, check, find, verify
from gw._fast.keys import KeySet
from gw.tls.jwk import read_keys
from tests import tokens
from tests.reference import token as reference
from tests.tokens import ALGORITHMS, CLAIMS, NOW, SECRET, key_set, raw, sign, token
from tests.unit.fast.jws_vectors import VECTORS

HEADER = '{"alg":"HS256"}'
RULES: dict[str, Any] = {"issuers": ["https://issuer.example/"], "audiences": ["api"], "scopes": ["read"], "required": ["sub"]}


@pytest.fixture(scope="module")
def keys() -> KeySet:
    return key_set(("HS256", None))


def judged(header: str | bytes, payload: str | bytes, **rules: Any) -> dict[str, Any] | str:
    return check(key_set(("HS256", None)), {"require_exp": False, **rules}, sign(header, payload), NOW)


@pytest.mark.parametrize(("name", "jwk", "text", "payload"), VECTORS, ids=[each[0] for each in VECTORS])
def test_examples_of_the_rfcs(name: str, jwk: dict[str, str], text: str, payload: str) -> None:
    keys = KeySet(read_keys(json.dumps(jwk).encode(), what=name).keys)
    assert verify(keys, text.encode()) == payload.encode()
    for at in (0, len(text) // 2, len(text) - 2):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        assert isinstance(verify(keys, changed.encode()), str)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_algorithm_takes_its_own_and_no_other(alg: str) -> None:
    good = token(alg)
    assert check(key_set((alg, None)), RULES, good, NOW) == CLAIMS
    others = key_set(*[(other, None) for other in ALGORITHMS if other != alg])
    assert check(others, RULES, good, NOW) == "algorithm"
    head, _, signature = good.rpartition(b".")
    octets = bytearray(urlsafe_b64decode(signature + b"=="))
    for at in (0, len(octets) // 2, len(octets) - 1):
        octets[at] ^= 1
        assert check(key_set((alg, None)), RULES, head + b"." + reference.encode(octets).encode(), NOW) == "signature"
        octets[at] ^= 1
    for cut in (octets[:-1], octets + b"\0", b"\0" + octets, b"", bytes(len(octets)), b"\1" * 2000):
        assert check(key_set((alg, None)), RULES, head + b"." + reference.encode(cut).encode(), NOW) == "signature"


@pytest.mark.parametrize("alg", ["Ed25519", "Ed448"])
def test_eddsa_is_the_old_name_of_both(alg: str) -> None:
    assert check(key_set((alg, None)), RULES, token(alg, {"alg": "EdDSA"}), NOW) == CLAIMS
    assert check(key_set(("HS256", None), ("ES256", None)), RULES, token(alg, {"alg": "EdDSA"}), NOW) == "algorithm"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS256 ", "hs256", "HS1", "RSA-OAEP", "ES256K", "HS256\0", "a" * 100])
def test_no_other_algorithm_is_taken(keys: KeySet, alg: str) -> None:
    unsigned = raw(json.dumps({"alg": alg}), json.dumps(CLAIMS), b"")
    assert check(keys, RULES, unsigned, NOW) == "algorithm"
    assert check(keys, RULES, sign(json.dumps({"alg": alg}), json.dumps(CLAIMS)), NOW) == "algorithm"


def test_an_algorithm_may_be_written_in_escapes(keys: KeySet) -> None:
    assert check(keys, RULES, sign(r'{"\u0061l\u0067":"\u0048\u0053\u0032\u0035\u0036"}', json.dumps(CLAIMS)), NOW) == CLAIMS
    assert check(keys, RULES, sign(r'{"alg":"\u0048\u0053\u0032\u0035\u0037"}', json.dumps(CLAIMS)), NOW) == "algorithm"


@pytest.mark.parametrize("alg", ["RS256", "ES256", "Ed25519"])
def test_a_public_key_is_no_secret(alg: str) -> None:
    der = tokens.material(alg)
    forged = sign('{"alg":"HS256","kid":"a"}', json.dumps(CLAIMS), key=der)
    assert check(key_set((alg, "a")), RULES, forged, NOW) == "algorithm"
    assert check(key_set((alg, "a"), ("HS256", "b")), RULES, forged, NOW) == "algorithm"


def test_keys_in_the_header_are_not_believed() -> None:
    stranger = json.loads(pyjwt.algorithms.RSAAlgorithm.to_jwk(tokens.rsa_key(2049).public_key()))
    for member in ({"jwk": stranger}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/c"}, {"x5c": ["MIIB"]}):
        header = json.dumps({"alg": "RS256", **member})
        assert check(key_set(("RS256", None)), RULES, sign(header, json.dumps(CLAIMS), "RS256", tokens.rsa_key(2049)), NOW) == "signature"
        assert check(key_set(("RS256", None)), RULES, sign(header, json.dumps(CLAIMS), "RS256"), NOW) == CLAIMS


# Which key.


def test_kid_chooses() -> None:
    keys = key_set(("HS256", "a"), ("RS256", "b"), ("HS512", None))
    assert check(keys, RULES, token("HS256", {"kid": "a"}), NOW) == CLAIMS
    assert check(keys, RULES, token("RS256", {"kid": "b"}), NOW) == CLAIMS
    assert check(keys, RULES, token("RS256"), NOW) == CLAIMS
    assert check(keys, RULES, token("HS512", {"kid": "anything"}), NOW) == CLAIMS
    assert check(keys, RULES, token("RS256", {"kid": "a"}), NOW) == "algorithm"
    assert check(keys, RULES, token("ES256"), NOW) == "algorithm"
    assert check(keys, RULES, token("ES256", {"kid": "new"}), NOW) == "unknown-kid"
    assert check(key_set(("HS256", None)), RULES, token("ES256", {"kid": "new"}), NOW) == "algorithm"
    assert check(key_set(("HS256", "a")), RULES, token("HS256", {"kid": "c"}), NOW) == "unknown-kid"
    assert check(KeySet([]), RULES, token(), NOW) == "unknown-kid"


@pytest.mark.parametrize("kid", ["../../dev/null", "a' OR '1'='1", "a\0", "\0a", "", "A", "a" * 5000, "\u00e9"])
def test_kid_is_only_compared(kid: str) -> None:
    assert check(key_set(("HS256", "a")), RULES, token("HS256", {"kid": kid}), NOW) == "unknown-kid"
    assert check(key_set(("HS256", kid)), RULES, token("HS256", {"kid": kid}), NOW) == CLAIMS


def test_keys_with_the_same_kid_are_all_tried() -> None:
    stale = [("HS256", "a", bytes([number]) * 32) for number in range(7)]
    assert check(KeySet([*stale, ("HS256", "a", SECRET)]), RULES, token("HS256", {"kid": "a"}), NOW) == CLAIMS
    assert check(KeySet(stale), RULES, token("HS256", {"kid": "a"}), NOW) == "signature"
    many = KeySet([*stale, ("HS256", "b", b"b" * 32), ("HS256", "c", SECRET)])
    assert check(many, RULES, token(), NOW) == "no-kid"
    assert check(many, RULES, token("HS256", {"kid": "c"}), NOW) == CLAIMS


# Form.


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", "malformed"),
        (b".", "malformed"),
        (b"a.b", "malformed"),
        (b"...", "malformed"),
        (b"a.b.c.d.e", "malformed"),
        (b'{"payload":"e30","signatures":[]}', "malformed"),
        (b"\0" * 100, "malformed"),
        (b"..", "header"),
        (b"a.b.c", "base64"),
        (b"e30.e30.e30", "algorithm"),
        (b"\xff" * 9 + b"..", "base64"),
    ],
)
def test_what_is_no_token(keys: KeySet, bad: bytes, reason: str) -> None:
    assert check(keys, RULES, bad, NOW) == reason


def test_base64url_has_one_spelling(keys: KeySet) -> None:
    good = token()
    assert check(keys, RULES, good, NOW) == CLAIMS
    parts = good.split(b".")
    for number, part in enumerate(parts):
        spellings = [part + b"=", part + b"==", b" " + part, part + b"\n", part[:4] + b"\r\n" + part[4:], part + b"A" * (5 - len(part) % 4), part[:-1] + b"+", b"/" + part[1:]]
        spellings += [part[:9] + bytes([octet]) + part[9:] for octet in (0, 0x20, 0x25, 0x3F, 0x7F, 0x80, 0xFF)]
        for spelling in spellings:
            changed = b".".join([*parts[:number], spelling, *parts[number + 1 :]])
            assert check(keys, RULES, changed, NOW) in ({"base64"} if number != 1 else {"base64", "signature"}), spelling


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_bits_behind_the_last_octet_must_be_zero(keys: KeySet, size: int) -> None:
    part = reference.encode(b"x" * size).encode()
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    ends = [last for last in alphabet if urlsafe_b64decode(part[:-1] + bytes([last]) + b"==").startswith(b"x" * size)]
    assert len(ends) == (16 if size % 3 == 1 else 4)
    for last in ends:
        changed = part[:-1] + bytes([last])
        unsigned = reference.encode(HEADER.encode()).encode() + b"." + changed
        signature = reference.encode(pyjwt.algorithms.get_default_algorithms()["HS256"].sign(unsigned, SECRET)).encode()
        assert verify(keys, unsigned + b"." + signature) == (b"x" * size if changed == part else "base64")


def test_every_octet_length_decodes(keys: KeySet) -> None:
    for size in range(40):
        assert verify(keys, sign(HEADER, bytes(range(size)))) == bytes(range(size))


def test_too_large(keys: KeySet) -> None:
    large = token(pad="x" * 100_000)
    assert check(keys, RULES, large, NOW) == "too-large"
    assert check(keys, {**RULES, "max_bytes": len(large)}, large, NOW) == {**CLAIMS, "pad": "x" * 100_000}
    assert check(keys, {**RULES, "max_bytes": len(large) - 1}, large, NOW) == "too-large"
    assert verify(keys, b"a" * (2 << 20)) == "too-large"


# JSON.

NOT_OBJECTS = ["", "null", "[]", '"a"', "1", "true"]
BAD_JSON = ["{", "}", "{}}", "{},", "{} x", '{"a"}', '{"a":}', '{"a":1,}', "{,}", "{a:1}", "{'a':1}", '{"a":1 "b":2}', '{"a":[1,]}', '{"a":[1 2]}', '{"a":[}']
BAD_JSON += ['{"a":"', '{"a":"\n"}', '{"a":"\x00"}', '{"a":"\x1f"}', r'{"a":"\x"}', r'{"a":"\u12"}', r'{"a":"\u12g4"}', r'{"a":"\u"}', '{"a":"\\', '{"a":"\\"}', "\ufeff{}"]
BAD_JSON += [f'{{"a":{value}}}' for value in ("tru", "True", "nul", "falsey", "NaN", "Infinity", "-Infinity", "undefined", "nullx")]
BAD_JSON += [f'{{"a":{number}}}' for number in ("01", "-", "+1", ".5", "1.", "1e", "1e+", "0x10", "1_0", "--1", "1.e5", "00", "-01", "1e1.5", "\u0661")]
GOOD_JSON = ["{}", " {\t}\r\n", '{"a":-0}', '{"a":1E+5}', '{"a":0.0e-0}', '{"a":[]}', '{"a": [ ] , "b": { } }', '{"a":"\x7f\u00e9\U0001f600"}', r'{"a":"\"\\\/\b\f\n\r\t\u0000"}']
GOOD_JSON += [r'{"a":"\ud83d\ude00\uFFFF"}', '{"":{"":{"":1}}}', '{"a":null,"A":true,"aa":false}', r'{"a":[{"b":1},{"b":2}],"b":{"a":1}}', '{"a":1e999,"b":' + "9" * 400 + "}"]
BAD_UTF8 = [b"\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf"]
BAD_UTF8 += [b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3\x28", b"\xe2\x28\xa1", b"\xf0\x9f\x28\x80"]
BAD_UTF8 += [rb"\ud800", rb"\udfff", rb"\ud800\u0041", rb"\ud800x", rb"\ud800\n", rb"\udc00\ud800", rb"\ud800\ud800"]
DUPLICATES = ['"a":1,"a":1', r'"a":1,"\u0061":2', r'"\/":1,"/":2', '"a":1,"b":2,"c":{},"a":[]', r'"\ud83d\ude00":1,"' + "\U0001f600" + '":2', r'"\u00e9":1,"' + "\u00e9" + '":1']
DUPLICATES += ['"x":{"a":1,"a":1}', '"x":[0,{"b":1},{"a":1,"b":2,"a":1}]']


@pytest.mark.parametrize("text", NOT_OBJECTS + BAD_JSON)
def test_json_is_strict(text: str) -> None:
    assert judged(HEADER, text) == "payload"
    assert judged(text, "{}") == "header"
    with pytest.raises(ValueError, match="not a JSON object"):
        find(text.encode(), "a")


@pytest.mark.parametrize("text", GOOD_JSON)
def test_good_json_is_taken(text: str) -> None:
    claims = judged(HEADER, text)
    assert isinstance(claims, dict)
    assert list(claims) == list(json.loads(text))


@pytest.mark.parametrize("octets", BAD_UTF8)
def test_text_is_utf8(octets: bytes) -> None:
    assert judged(HEADER, b'{"a":"' + octets + b'"}') == "utf-8"
    assert judged(HEADER, b'{"a' + octets + b'":1}') == "utf-8"
    assert judged(b'{"alg":"HS256","x":"' + octets + b'"}', "{}") == "utf-8"


@pytest.mark.parametrize("members", DUPLICATES)
def test_duplicate_members_are_refused_in_any_spelling_and_depth(members: str) -> None:
    assert judged(HEADER, "{" + members + "}") == "duplicate-member"
    assert judged('{"alg":"HS256",' + members + "}", "{}") == "duplicate-member"


def wide(count: int) -> str:
    return json.dumps({f"m{number}": number for number in range(count)})


def test_members_are_bounded_and_a_duplicate_cannot_hide_behind_many() -> None:
    assert judged(HEADER, wide(512), max_bytes=20_000) == json.loads(wide(512))
    assert judged(HEADER, wide(513), max_bytes=20_000) == "members"
    assert judged(HEADER, wide(511)[:-1] + ',"m0":1}', max_bytes=20_000) == "duplicate-member"
    assert judged(HEADER, '{"a":[' + ",".join(['{"b":1,"c":{}}'] * 700) + "]}", max_bytes=20_000) == {"a": [{"b": 1, "c": {}}] * 700}
    assert judged('{"alg":"HS256",' + wide(63)[1:], "{}") == {}
    assert judged('{"alg":"HS256",' + wide(64)[1:], "{}") == "members"


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_is_bounded(open_: str, close: str) -> None:
    levels = open_.count("[") + open_.count("{")
    for count in (1, 14 // levels, 15 // levels, 16 // levels, 17 // levels, 3000):
        verdict = judged(HEADER, '{"a":' + open_ * count + "1" + close * count + "}", max_bytes=100_000)
        assert isinstance(verdict, dict) if 1 + count * levels <= 16 else verdict == "depth"
    assert judged('{"alg":"HS256","x":' + open_ * 1500, "{}", max_bytes=20_000) == "depth"


# The header.


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ('"crit":["exp"]', "crit"),
        ('"crit":[]', "crit"),
        ('"crit":["b64"],"b64":false', "crit"),
        (r'"\u0063rit":["x"]', "crit"),
        ('"b64":false', "b64"),
        ('"b64":"true"', "b64"),
        ('"zip":"DEF"', "zip"),
        ('"zip":null', "zip"),
        ('"kid":1', "header"),
        ('"kid":null', "header"),
        ('"kid":["a"]', "header"),
        ('"typ":1', "header"),
    ],
)
def test_parameters_that_are_refused(member: str, reason: str) -> None:
    assert judged('{"alg":"HS256",' + member + "}", "{}") == reason
    assert judged("{" + member + ',"alg":"HS256"}', "{}") == reason


def test_alg_is_one_text() -> None:
    for header in ("{}", '{"Alg":"HS256"}', '{"typ":"JWT"}'):
        assert judged(header, "{}") == "algorithm"
    for value in ("1", "null", '["HS256"]', "true"):
        assert judged(f'{{"alg":{value}}}', "{}") == "header"


def test_what_is_not_critical_is_ignored() -> None:
    assert judged('{"alg":"HS256","b64":true,"cty":"x","x":[1,{"alg":"none"}],"crit2":1}', "{}") == {}


@pytest.mark.parametrize(("typ", "good"), [("at+jwt", True), ("AT+JWT", True), ("application/at+jwt", True), ("Application/At+Jwt", True), ("JWT", False), ("", False)])
def test_types(typ: str, good: bool) -> None:
    header = json.dumps({"alg": "HS256", "typ": typ})
    for wanted in ("at+jwt", "application/at+jwt", "AT+jwt"):
        assert judged(header, "{}", types=["x", wanted]) == ({} if good else "type")
    assert judged(header, "{}") == {}
    assert judged(json.dumps({"alg": "HS256", "typ": "a" * 5000}), "{}", types=["at+jwt"]) == "type"
    assert judged(HEADER, "{}", types=["at+jwt"]) == "type"


# Claims.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exp": NOW}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": None}, "claim-missing"),
        ({"nbf": NOW + 1}, "not-yet-valid"),
        ({"iat": NOW + 1}, "issued-later"),
        ({"iss": None}, "claim-missing"),
        ({"iss": "https://issuer.example"}, "issuer"),
        ({"iss": "https://issuer.example/\0"}, "issuer"),
        ({"iss": ""}, "issuer"),
        ({"aud": None}, "claim-missing"),
        ({"aud": "API"}, "audience"),
        ({"aud": "api web"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": ["web", "apis", "ap", ""]}, "audience"),
        ({"sub": None}, "claim-missing"),
        ({"scope": None}, "scope"),
        ({"scope": ""}, "scope"),
        ({"scope": "reads write:read READ"}, "scope"),
        ({"scope": "read\u00a0write"}, "scope"),
        ({"scope": ["read write"]}, "scope"),
        ({"scope": "", "scp": "read"}, "scope"),
        ({"scope": None, "scp": ["write"]}, "scope"),
    ],
)
def test_claims_that_are_not_met(keys: KeySet, change: dict[str, Any], reason: str) -> None:
    assert check(keys, RULES, token(**change), NOW) == reason


@pytest.mark.parametrize(
    "change",
    [
        {"exp": NOW + 1},
        {"nbf": NOW},
        {"iat": NOW},
        {"iat": None, "jti": None},
        {"aud": "api"},
        {"aud": ["api"]},
        {"scope": "read"},
        {"scope": " write  read "},
        {"scope": ["write", "read"]},
        {"scope": None, "scp": ["read"]},
        {"scope": None, "scp": "a read"},
        {"extra": {"deep": [1, 2.5, None, True, {"x": "\u00e9"}]}},
    ],
)
def test_claims_that_are_met(keys: KeySet, change: dict[str, Any]) -> None:
    assert check(keys, RULES, token(**change), NOW) == {name: value for name, value in {**CLAIMS, **change}.items() if value is not None}


WRONG_TYPES = ['"x"', f'"{NOW + 9}"', "true", "null", "[]", "{}", "-1", "-0", "-1.5", "1e400", "1E308", f"[{NOW}]", "9" * 309]


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", WRONG_TYPES)
def test_dates_are_numbers(claim: str, value: str) -> None:
    assert judged(HEADER, f'{{"{claim}":{value}}}') == "claim-type"


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "scope", "scp"])
@pytest.mark.parametrize("value", ["1", "true", "null", "{}", '{"a":"b"}', "[1]", '["a",null]', '[["a"]]'])
def test_names_are_texts(claim: str, value: str) -> None:
    assert judged(HEADER, f'{{"{claim}":{value}}}') == "claim-type"


@pytest.mark.parametrize(
    ("exp", "first_refused"),
    [
        ("1800000000", 1800000000),
        ("1800000000.0", 1800000000),
        ("1800000000.000", 1800000000),
        ("1800000000.5", 1800000001),
        ("1799999999.0000000000000000000001", 1800000000),
        ("1.8e9", 1800000000),
        ("1.8E+9", 1800000000),
        ("18000000000e-1", 1800000000),
        ("18000000001e-1", 1800000001),
        ("0.0000000018e18", 1800000000),
        ("180000000000000000000000000000e-20", 1800000000),
        ("1e-400", 1),
        ("0e999999999", 0),
        ("0", 0),
    ],
)
def test_a_date_may_be_fractional(keys: KeySet, exp: str, first_refused: int) -> None:
    expiring, starting = sign(HEADER, f'{{"exp":{exp}}}'), sign(HEADER, f'{{"nbf":{exp},"iat":{exp},"exp":1e99}}')
    assert isinstance(check(keys, {}, expiring, first_refused - 1), dict)
    assert check(keys, {}, expiring, first_refused) == "expired"
    assert check(keys, {"leeway": 60}, expiring, first_refused + 60) == "expired"
    assert isinstance(check(keys, {"leeway": 60}, expiring, first_refused + 59), dict)
    assert check(keys, {}, starting, first_refused - 1) == "not-yet-valid"
    assert isinstance(check(keys, {}, starting, first_refused), dict)
    assert isinstance(check(keys, {"leeway": 60}, starting, first_refused - 60), dict)


@pytest.mark.parametrize("exp", ["1e300", "9" * 300, "9223372036854775807", "9223372036854775808", "18446744073709551616", "576460752303423489"])
def test_a_date_far_away_does_not_wrap(exp: str) -> None:
    assert isinstance(judged(HEADER, f'{{"exp":{exp}}}', leeway=86400), dict)
    assert judged(HEADER, f'{{"nbf":{exp}}}', leeway=86400) == "not-yet-valid"


def test_required_claims_may_lie_deep() -> None:
    payload = json.dumps({"a": {"b": {"c": 1}}, "x.y": {"z": False}, "n": None, "https://e.example/r.o": [], "l": [{"m": 1}]})
    for path in ("a", "a.b", "a.b.c", "x.y", "x.y.z", "https://e.example/r.o", "l"):
        assert isinstance(judged(HEADER, payload, required=[path]), dict), path
    for path in ("b", "a.c", "a.b.c.d", "x", "n", "l.m", "a.", ".a", "a..b", "A"):
        assert judged(HEADER, payload, required=["a", path]) == "claim-missing", path


def test_find() -> None:
    payload = json.dumps({"s": "a\u00e9\U0001f600\n", "d": {"s.t": 1, "s": {"t": 2, "u": "in"}}, "n": None, "l": [1, "]}"], "o": {"x": '}"'}}).encode()
    found = {path: find(payload, path) for path in ("s", "d.s.t", "d.s.u", "n", "l", "o", "none", "d.none", "s.t")}
    assert found == {"s": "a\u00e9\U0001f600\n", "d.s.t": b"1", "d.s.u": "in", "n": b"null", "l": b'[1, "]}"]', "o": b'{"x": "}\\""}', "none": None, "d.none": None, "s.t": None}


def test_reasons_are_fit_for_a_header_field(keys: KeySet) -> None:
    assert all(0x20 <= ord(each) <= 0x7E and each not in '"\\' for text in REASONS.values() for each in text)
    assert len(set(REASONS.values())) == len(REASONS) == 26


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"leeway": -1}, "leeway: -1 s, expected 0 to 86400"),
        ({"leeway": 86401}, "leeway: 86401 s"),
        ({"max_bytes": 63}, "max_bytes: 63, expected 64 to 1048576"),
        ({"issuers": [""]}, "issuers: an empty text"),
        ({"scopes": ["read write"]}, "scopes: 'read write' has a character"),
        ({"scopes": ['a"']}, "scopes: 'a\"' has a character"),
    ],
)
def test_rules_name_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        TokenRules(**arguments)
    assert str(caught.value).startswith(message)


def test_rules_are_lists() -> None:
    with pytest.raises(TypeError, match="audiences: expected a list of texts, got one text"):
        TokenRules(audiences="api")


# Against the oracle.

names = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "scope", "scp", "x", "a.b", "\u00e9"])
dates = st.one_of(st.integers(NOW - 3, NOW + 3), st.integers(-2, 2**70), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([NOW + 0.5, NOW - 0.5, 1e308]))
words = st.sampled_from(["api", "web", "read", "read write", "https://issuer.example/", "", "\u00e9", "a\\b", 'q"'])
values = st.recursive(st.one_of(dates, words, st.booleans(), st.none()), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6)
likely = st.fixed_dictionaries({"exp": st.just(NOW + 9)}, optional={"iss": words, "aud": st.lists(words, max_size=3) | words, "scope": words, "nbf": dates, "sub": words})
claims = st.builds(lambda good, odd: {**good, **odd}, likely, st.dictionaries(names, values, max_size=2))
rules = st.fixed_dictionaries(
    {},
    optional={
        "issuers": st.just(["https://issuer.example/", "a\\b"]),
        "audiences": st.just(["api", "\u00e9"]),
        "scopes": st.just(["read"]),
        "required": st.lists(st.sampled_from(["sub", "a.b", "x.x", "x.a.b"]), max_size=2),
        "leeway": st.integers(0, 3),
        "require_exp": st.booleans(),
        "types": st.just(["at+jwt"]),
        "max_bytes": st.integers(150, 300),
    },
)
headers = st.fixed_dictionaries(
    {"alg": st.sampled_from(["HS256"] * 6 + ["HS512", "none", "RS256"])},
    optional={"typ": st.sampled_from(["JWT", "at+jwt", "Application/AT+JWT"]), "kid": st.sampled_from(["k", "k2"]), "crit": st.just(["x"]), "b64": st.booleans()},
)


def agree(raw_token: bytes, rule: dict[str, Any]) -> None:
    listed = [("HS256", "k", SECRET), ("HS512", None, SECRET)]
    verdict = check(KeySet(listed), rule, raw_token, NOW)
    expected = reference.reasons(listed, rule, raw_token, NOW)
    if isinstance(verdict, dict):
        assert expected == set()
    else:
        assert verdict in expected


@given(headers, claims, rules, st.booleans())
def test_verdicts_are_those_of_the_oracle(header: dict[str, Any], body: dict[str, Any], rule: dict[str, Any], ascii_only: bool) -> None:
    agree(sign(json.dumps(header), json.dumps(body, ensure_ascii=ascii_only)), rule)


pieces = st.sampled_from([*b'" \\ , { } [ ] : 0 - e5 . \\ud800'.split(), b"", b" ", b"\xc3", b"\x80"])


@given(st.data(), claims)
def test_damaged_json_is_judged_as_the_oracle_does(data: st.DataObject, body: dict[str, Any]) -> None:
    text = bytearray(json.dumps(body, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(pieces)
    agree(sign(HEADER, bytes(text)), {})


@given(st.integers(0, 2**64 - 1) | st.decimals("0", "1e320", allow_nan=False).map(str))
def test_dates_are_those_of_the_oracle(exp: int | str) -> None:
    for name in ("exp", "nbf"):
        agree(sign(HEADER, f'{{"{name}":{str(exp).lower()}}}'), {"require_exp": False})


@given(st.text(max_size=12), st.text(max_size=12), st.booleans())
def test_texts_compare_as_text(one: str, other: str, ascii_only: bool) -> None:
    payload = json.dumps({"iss": one}, ensure_ascii=ascii_only)
    for text in (one, other):
        if text:
            assert judged(HEADER, payload, issuers=[text]) == ({"iss": one} if text == one else "issuer")

