"""Tokens in bulk, from software roots that the bench knows: hashes only, no quorum asked.

All tokens share one seed and one deal of it and differ in header, commitments, id, pads and corrections, which is
all that agents see. Rows are unsigned: a row's signature is looked at only to say whose fault a bad share is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator, Sequence

from bench.fleet import Agent

MATERIAL_SUITE = "hmac-sha256"


def th(label: str, *parts: bytes) -> bytes:
    """PROTOCOL §2."""
    name = b"evanesce/v1/" + label.encode()
    content = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(bytes([len(name)]) + name + content).digest()


def _times(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x11B
        b >>= 1
    return product


def _split(seed: bytes, threshold: int, seats: int) -> list[bytes]:
    coefficients = [seed] + [secrets.token_bytes(32) for _ in range(threshold - 1)]
    shares = []
    for x in range(1, seats + 1):
        share = bytearray(32)
        power = 1
        for coefficient in coefficients:
            for i in range(32):
                share[i] ^= _times(power, coefficient[i])
            power = _times(power, x)
        shares.append(bytes(share))
    return shares


def _head(major: int, value: int) -> bytes:
    for size, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if value < 24:
            return bytes([major << 5 | value])
        if value < 1 << (8 * size):
            return bytes([major << 5 | code]) + value.to_bytes(size, "big")
    raise ValueError(value)


def _bytes(value: bytes) -> bytes:
    return _head(2, len(value)) + value


def _text(value: str) -> bytes:
    return _head(3, len(value)) + value.encode()


def tokens(agents: Sequence[Agent], threshold: int, count: int) -> Iterator[bytes]:
    """`count` different tokens, each `threshold` of these agents, for hmac-sha256."""
    seed = secrets.token_bytes(32)
    shares = _split(seed, threshold, len(agents))
    seats = b"".join(b"\xa1" + _text("seat") + _text(agent.name) for agent in agents)
    quorum = b"\xa2" + _text("t") + _head(0, threshold) + _text("of") + _head(4, len(agents)) + seats
    created = _head(0, int(time.time()))
    public_hash, sealed_hash = th("public", b"\xa0"), th("sealed", b"\xf6")
    ids = [bytes.fromhex(agent.id) for agent in agents]
    for _ in range(count):
        unique = secrets.token_bytes(64)
        header = b"".join(
            [
                b"\xaa",
                _text("v"),
                b"\x01",
                _text("key"),
                _bytes(unique[:32]),
                _text("name"),
                _text("bench"),
                _text("nonce"),
                _bytes(unique[32:]),
                _text("policy"),
                _text(""),
                _text("quorum"),
                quorum,
                _text("suites"),
                b"\x81",
                _text(MATERIAL_SUITE),
                _text("created"),
                created,
                _text("expires"),
                b"\xf6",
                _text("replaces"),
                b"\xf6",
            ]
        )
        deal = th("deal", header)
        anchor = th("anchor", deal, seed)
        commitments = [th("share", deal, i.to_bytes(4, "big"), share) for i, share in enumerate(shares)]
        listed = _head(4, len(agents)) + b"".join(map(_bytes, commitments))
        token_id = th("token", deal, anchor, th("commitments", listed), public_hash, sealed_hash)
        rows = []
        for i, (agent, share) in enumerate(zip(agents, shares, strict=True)):
            y = hmac.digest(agent.root, th("contribution", token_id, i.to_bytes(4, "big")), "sha256")
            pad = hmac.digest(y, b"evanesce/v1/pad\x01", "sha256")
            correction = bytes(a ^ b for a, b in zip(share, pad, strict=True))
            rows.append(b"\x84" + _bytes(ids[i]) + b"\x00" + _bytes(correction) + _bytes(bytes(64)))
        yield b"".join(
            [
                b"\xa6",
                _text("rows"),
                _head(4, len(rows)),
                *rows,
                _text("anchor"),
                _bytes(anchor),
                _text("header"),
                _bytes(header),
                _text("public"),
                b"\xa0",
                _text("sealed"),
                b"\xf6",
                _text("commitments"),
                listed,
            ]
        )
