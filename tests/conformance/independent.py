"""PROTOCOL §2 to §6 a second time, from the text alone: decode a token and open it with given roots.

For tests only. It shares no code with the product (cbor2 and hashlib do the work), so that what the
product writes is read by something that never met it. Nothing here is constant-time or wiped.

`Token.decode` raises `Malformed`; `open_seed` raises `Unopened`. What a seed makes of inputs is in
`independent_suites`.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

ASYMMETRIC = {
    "ed25519",
    "ecdsa-p256",
    "ecdsa-p384",
    "ecdsa-secp256k1",
    "x25519",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
    "ml-kem-768",
    "ml-kem-1024",
    "rsa-pss-sha256",
    "rsa-pkcs1-sha256",
    "rsa-oaep-sha256",
}
IMPORTED_ONLY = {"rsa-pss-sha256", "rsa-pkcs1-sha256", "rsa-oaep-sha256"}
SUITES = ASYMMETRIC | {"aes-256-gcm", "xaes-256-gcm", "hmac-sha256", "hmac-sha512", "aes-cmac", "hkdf-sha256"}

Roots = Mapping[bytes, Mapping[int, bytes]]
"""Agent id → epoch → root, of the agents that answer."""


class Malformed(Exception):
    """Not a token."""


class Unopened(Exception):
    """The quorum is not met, or the deal is dishonest: `quorum-not-met` or `inconsistent`."""


def th(label: str, *parts: bytes) -> bytes:
    """§2: the tagged hash."""
    tag = b"evanesce/v1/" + label.encode()
    hashed = bytes([len(tag)]) + tag + b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(hashed).digest()


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand, RFC 5869 §2.3, with SHA-256."""
    out, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """§2: RFC 5869 with the protocol's prefix."""
    return expand(hmac.digest(salt, ikm, "sha256"), b"evanesce/v1/" + info, length)


@dataclass(frozen=True, slots=True)
class Gate:
    """A threshold over gates and seats."""

    t: int
    of: tuple[Gate | str, ...]

    def seats(self) -> Iterator[str]:
        """Depth-first."""
        for child in self.of:
            if isinstance(child, Gate):
                yield from child.seats()
            else:
                yield child


@dataclass(frozen=True)
class Token:
    """A token whose form is right."""

    header: dict[str, Any]
    header_bytes: bytes
    quorum: Gate
    anchor: bytes
    commitments: list[bytes]
    public: dict[str, bytes]
    sealed: bytes | None
    rows: list[tuple[bytes, int, bytes, bytes]]

    @functools.cached_property
    def deal(self) -> bytes:
        """§4."""
        return th("deal", self.header_bytes)

    @functools.cached_property
    def id(self) -> bytes:
        """§4."""
        parts = [("commitments", self.commitments), ("public", self.public), ("sealed", self.sealed)]
        hashes = [th(label, cbor2.dumps(value, canonical=True)) for label, value in parts]
        return th("token", self.deal, self.anchor, *hashes)

    @staticmethod
    def decode(data: bytes) -> Token:
        """Strictly, as §2, §3, §4 and §8 have it."""
        token = _cbor(data)
        _keys(token, {"header", "anchor", "commitments", "public", "sealed", "rows"})
        header = _cbor(_bytes(token["header"]))
        quorum = _header(header)
        seats = len(list(quorum.seats()))
        commitments = [_bytes(each, 32) for each in _list(token["commitments"])]
        rows = [_row(row) for row in _list(token["rows"])]
        _need(len(commitments) == len(rows) == seats)
        suites, sealed = set(header["suites"]), token["sealed"]
        public = token["public"]
        _keys(public, suites & ASYMMETRIC)
        for key in public.values():
            _bytes(key)
        if sealed is None:
            _need(not suites & IMPORTED_ONLY)
        else:
            _bytes(sealed)
            _need(len(suites) == 1 or suites == {"rsa-pss-sha256", "rsa-pkcs1-sha256"})
        anchor = _bytes(token["anchor"], 32)
        return Token(header, token["header"], quorum, anchor, commitments, public, sealed, rows)


def open_seed(token: Token, roots: Roots) -> bytes:
    """§5, §6: the seed, from what the agents with these roots regenerate. Raises `Unopened`."""
    shares = [regenerate(token, seat, roots) for seat in range(len(token.rows))]
    seed = _combine(token.quorum, iter(shares))
    if seed is None:
        raise Unopened("quorum-not-met")
    if th("anchor", token.deal, seed) != token.anchor:
        raise Unopened("inconsistent")
    return seed


def regenerate(token: Token, seat: int, roots: Roots) -> bytes | None:
    """§5: the share of a seat, if its holder answers and what it regenerates matches the commitment."""
    holder, epoch, correction, _ = token.rows[seat]
    root = roots.get(holder, {}).get(epoch)
    if root is None:
        return None
    number = seat.to_bytes(4, "big")
    y = hmac.digest(root, th("contribution", token.id, number), "sha256")
    pad = expand(y, b"evanesce/v1/pad", 32)
    share = bytes(a ^ b for a, b in zip(correction, pad, strict=True))
    return share if th("share", token.deal, number, share) == token.commitments[seat] else None


def _combine(gate: Gate, shares: Iterator[bytes | None]) -> bytes | None:
    values: Sequence[bytes | None] = [
        _combine(child, shares) if isinstance(child, Gate) else next(shares) for child in gate.of
    ]
    points = [(x, value) for x, value in enumerate(values, 1) if value is not None][: gate.t]
    return None if len(points) < gate.t else interpolate(points, 0)


def interpolate(points: Sequence[tuple[int, bytes]], at: int) -> bytes:
    """The polynomial through these points, at `at`, byte by byte in GF(2^8)."""
    out = bytearray(32)
    for x, value in points:
        weight = 1
        for other, _ in points:
            if other != x:
                weight = times(weight, times(other ^ at, _inverse(other ^ x)))
        for place in range(32):
            out[place] ^= times(weight, value[place])
    return bytes(out)


@functools.cache
def times(a: int, b: int) -> int:
    """GF(2^8) modulo x^8+x^4+x^3+x+1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


@functools.cache
def _inverse(a: int) -> int:
    return next(b for b in range(1, 256) if times(a, b) == 1)


def _header(header: Any) -> Gate:
    _keys(
        header,
        {"v", "key", "nonce", "name", "suites", "quorum", "policy", "created", "expires", "replaces"},
    )
    _need(type(header["v"]) is int and header["v"] == 1)
    _bytes(header["key"], 32)
    _bytes(header["nonce"], 32)
    _text(header["name"], 255)
    suites = [_text(suite, 23) for suite in _list(header["suites"])]
    _need(suites and len(set(suites)) == len(suites) and set(suites) <= SUITES)
    _text(header["policy"], 32 * 1024)
    _uint(header["created"])
    if header["expires"] is not None:
        _uint(header["expires"])
    if header["replaces"] is not None:
        _bytes(header["replaces"], 32)
    quorum = _gate(header["quorum"], 1)
    names = list(quorum.seats())
    _need(len(names) <= 255 and len(set(names)) == len(names))
    return quorum


def _gate(node: Any, depth: int) -> Gate:
    _keys(node, {"t", "of"})
    t, of = _uint(node["t"]), _list(node["of"])
    _need(depth <= 8 and 1 <= t <= len(of) <= 255)
    return Gate(t, tuple(_node(child, depth + 1) for child in of))


def _node(node: Any, depth: int) -> Gate | str:
    if isinstance(node, dict) and set(node) == {"seat"}:
        name = _text(node["seat"], 64)
        _need(re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", name))
        return name
    return _gate(node, depth)


def _row(row: Any) -> tuple[bytes, int, bytes, bytes]:
    holder, epoch, correction, signature = _list(row, 4)
    return _bytes(holder, 32), _uint(epoch), _bytes(correction, 32), _bytes(signature)


def _cbor(data: bytes) -> Any:
    _need(len(data) <= 128 * 1024)
    try:
        value = cbor2.CBORDecoder(io.BytesIO(data)).decode()
        again = cbor2.dumps(value, canonical=True)
    except Exception as why:  # whatever the decoder dislikes is no token
        raise Malformed from why
    _need(again == data and _depth(value) <= 20)
    return value


def _depth(value: Any) -> int:
    match value:
        case dict():
            return 1 + max(map(_depth, value.values()), default=0)
        case list():
            return 1 + max(map(_depth, value), default=0)
    return 0


def _need(holds: Any) -> None:
    if not holds:
        raise Malformed


def _keys(value: Any, keys: set[str]) -> None:
    _need(isinstance(value, dict) and set(value) == keys)


def _list(value: Any, length: int | None = None) -> list[Any]:
    _need(isinstance(value, list) and (length is None or len(value) == length))
    return value  # type: ignore[no-any-return]


def _bytes(value: Any, length: int | None = None) -> bytes:
    _need(isinstance(value, bytes) and (length is None or len(value) == length))
    return value  # type: ignore[no-any-return]


def _text(value: Any, most: int) -> str:
    _need(isinstance(value, str) and len(value.encode()) <= most)
    return value  # type: ignore[no-any-return]


def _uint(value: Any) -> int:
    _need(type(value) is int and 0 <= value < 1 << 53)
    return value  # type: ignore[no-any-return]
