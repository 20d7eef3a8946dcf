"""gw._fast.keys: which keys are taken."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, x25519

from gw._fast.jwt import verify
from gw._fast.keys import NAMES, KeySet
from tests.reference.token import encode
from tests.tokens import ALGORITHMS, SECRET, key_set, material, public_der, rsa_key, sign


def refused(alg: Any, octets: Any, kid: Any = None) -> str:
    with pytest.raises(ValueError) as caught:
        KeySet([("HS256", None, SECRET), (alg, kid, octets)])
    return str(caught.value)


def test_what_it_says_of_itself() -> None:
    keys = key_set(("HS256", None), ("ES256", "k\u00e9"), ("Ed25519", ""))
    assert len(keys) == 3
    assert keys.names == [("HS256", None), ("ES256", "k\u00e9"), ("Ed25519", "")]
    assert repr(keys) == f"<KeySet {keys.generation}: HS256, ES256 'k\u00e9', Ed25519 ''>"
    assert repr(KeySet([])).endswith(": empty>")
    assert set(NAMES) == set(ALGORITHMS)


def test_generations_differ() -> None:
    assert len({KeySet([]).generation for _ in range(10)}) == 10


@pytest.mark.parametrize(("alg", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_as_long_as_the_hash(alg: str, size: int) -> None:
    assert len(KeySet([(alg, None, b"x" * size)])) == 1
    assert refused(alg, b"x" * (size - 1), "k") == f"key 2 ('k'): the secret has {size - 1} bytes, {alg} needs {size} or more (RFC 7518 section 3.2)"
    long = b"x" * 1000
    assert verify(KeySet([(alg, None, long)]), sign(f'{{"alg":"{alg}"}}', "x", alg, long)) == b"x"


@pytest.mark.parametrize("bits", [1024, 2047])
def test_rsa_keys_have_2048_bits(bits: int) -> None:
    assert refused("RS256", public_der(rsa_key(bits))) == f"key 2: the RSA key has {bits} bits, expected 2048 to 8192"


@pytest.mark.parametrize("bits", [2049, 2055, 3072])
@pytest.mark.parametrize("alg", ["RS256", "PS512"])
def test_rsa_keys_of_any_length(bits: int, alg: str) -> None:
    key = rsa_key(bits)
    assert verify(KeySet([(alg, None, public_der(key))]), sign(f'{{"alg":"{alg}"}}', "x", alg, key)) == b"x"


@pytest.mark.parametrize("alg", ["none", "", "HS", "hs256", "RSA-OAEP", "ES256K", "Ed25519\0"])
def test_unknown_algorithms(alg: str) -> None:
    assert refused(alg, SECRET).startswith(f"key 2: {alg!r} is not an algorithm that tokens may have; expected one of HS256, ")


def test_eddsa_needs_its_curve() -> None:
    assert refused("EdDSA", material("Ed25519")) == "key 2: EdDSA does not say which curve; expected Ed25519 or Ed448"


@pytest.mark.parametrize("alg", [name for name in ALGORITHMS if not name.startswith("HS")])
def test_a_key_is_of_its_algorithms_kind(alg: str) -> None:
    others = [other for other in ALGORITHMS if not other.startswith("HS") and material(other) != material(alg)]
    for other in others:
        assert "needs a key" in refused(alg, material(other))
    for key in (dsa.generate_private_key(1024), x25519.X25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())):
        assert "needs a key" in refused(alg, public_der(key))


@pytest.mark.parametrize("octets", [b"", b"x", b"-----BEGIN PUBLIC KEY-----", material("ES256")[:-1], material("ES256") + b"\0", SECRET])
def test_damaged_keys(octets: bytes) -> None:
    assert refused("ES256", octets).startswith("key 2: not a public key in DER: ")


def test_a_private_key_is_no_public_key() -> None:
    form = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert refused("Ed25519", ed25519.Ed25519PrivateKey.generate().private_bytes(*form)).startswith("key 2: not a public key in DER: ")


def test_a_point_is_on_its_curve() -> None:
    octets = bytearray(material("ES256"))
    octets[-1] ^= 1
    assert refused("ES256", bytes(octets)).startswith("key 2: not a public key in DER: ")
    infinity = octets[: -65 - 1] + b"\x02\x00\x00"
    infinity[1] = len(infinity) - 2
    assert refused("ES256", bytes(infinity)).startswith("key 2: not a")


@pytest.mark.parametrize("entry", [(1, None, SECRET), ("HS256", 1, SECRET), ("HS256", None, "text"), ("HS256", None), None])
def test_wrong_types(entry: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        KeySet([entry])


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("r", [0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, ORDER - 1, ORDER, 2**256 - 1])
def test_signatures_out_of_range(r: int, s: int) -> None:
    head = sign('{"alg":"ES256"}', "x", "ES256").rpartition(b".")[0]
    assert verify(key_set(("ES256", None)), head + b"." + encode(r.to_bytes(32) + s.to_bytes(32)).encode()) == "signature"


def test_signatures_with_small_numbers_are_good() -> None:
    """DER drops leading zeros and adds a sign: signatures until both were met."""
    keys, starts = key_set(("ES256", None), ("ES512", None)), set[int]()
    for number in range(20_000):
        text = sign('{"alg":"ES256"}', str(number), "ES256")
        octets = urlsafe_b64decode(text.rpartition(b".")[2] + b"==")
        starts |= {octets[0], octets[32]}
        assert verify(keys, text) == str(number).encode()
        if 0 in starts and max(starts) > 127 and len(starts) > 2:
            break
    assert 0 in starts
    assert verify(keys, sign('{"alg":"ES512"}', "x", "ES512")) == b"x"
