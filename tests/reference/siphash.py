"""SipHash-1-3 with 128 bits, from its definition (Aumasson and Bernstein, 2012)."""

from __future__ import annotations

MASK = 2**64 - 1


def rotated(x: int, bits: int) -> int:
    return (x << bits | x >> (64 - bits)) & MASK


class State:
    def __init__(self, seed: bytes) -> None:
        k0, k1 = (int.from_bytes(half, "little") for half in (seed[:8], seed[8:]))
        text = [int.from_bytes(b"somepseudorandomlygeneratedbytes"[i : i + 8], "big") for i in range(0, 32, 8)]
        self.v = [k0 ^ text[0], k1 ^ text[1] ^ 0xEE, k0 ^ text[2], k1 ^ text[3]]

    def rounds(self, n: int) -> None:
        a, b, c, d = self.v
        for _ in range(n):
            a, c = (a + b) & MASK, (c + d) & MASK
            b, d = rotated(b, 13) ^ a, rotated(d, 16) ^ c
            a = rotated(a, 32)
            c, a = (c + b) & MASK, (a + d) & MASK
            b, d = rotated(b, 17) ^ c, rotated(d, 21) ^ a
            c = rotated(c, 32)
        self.v = [a, b, c, d]

    def absorb(self, word: int) -> None:
        self.v[3] ^= word
        self.rounds(1)
        self.v[0] ^= word

    def squeeze(self, mark: int, index: int) -> bytes:
        self.v[index] ^= mark
        self.rounds(3)
        return (self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]).to_bytes(8, "little")


def digest(key: bytes, seed: bytes) -> bytes:
    state = State(seed)
    whole = len(key) // 8 * 8
    for i in range(0, whole, 8):
        state.absorb(int.from_bytes(key[i : i + 8], "little"))
    state.absorb(int.from_bytes(key[whole:], "little") | (len(key) & 255) << 56)
    return state.squeeze(0xEE, 2) + state.squeeze(0xDD, 1)
