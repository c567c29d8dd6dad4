"""What is secret in a run: everything that gives away a seed, a share, a pad, a root or a key.

Identity keys too. Besides these themselves, whatever is as good as one of them: an element's answer (its pad is
one hash away), the extracted HKDF key (every suite's material is), scalars, expanded seeds, and the nonces of
deterministic signatures over messages that are known here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .conformance import Gate, Token, expand, hkdf, interpolate, regenerate, th

MATERIAL = {
    "ed25519": 32,
    "ecdsa-p256": 48,
    "ecdsa-p384": 72,
    "ecdsa-secp256k1": 48,
    "x25519": 32,
    "ml-dsa-44": 32,
    "ml-dsa-65": 32,
    "ml-dsa-87": 32,
    "ml-kem-768": 64,
    "ml-kem-1024": 64,
    "aes-256-gcm": 32,
    "xaes-256-gcm": 32,
    "hmac-sha256": 32,
    "hmac-sha512": 64,
    "aes-cmac": 32,
    "hkdf-sha256": 32,
}
"""PROTOCOL §7: suite → bytes of material. Every suite whose key is derived."""

ORDERS = {
    "ecdsa-p256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ecdsa-p384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    "ecdsa-secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}
_ED25519_ORDER = (1 << 252) + 27742317777372353535851937790883648493
_ML_DSA_SIZE = {"ml-dsa-44": (4, 4), "ml-dsa-65": (6, 5), "ml-dsa-87": (8, 7)}
_ML_KEM_RANK = {"ml-kem-768": 3, "ml-kem-1024": 4}


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a process keeps a secret of its own: places in which it is no leak."""

    holder: str
    """The process's name."""
    in_arena: int | None
    """How often in its locked memory; None for any number of times."""
    file: str | None
    """In this file, below the run's folder."""


@dataclass(frozen=True, slots=True)
class Canary:
    """One secret to look for."""

    label: str
    value: bytes
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class Deal:
    """A token with what it was dealt from."""

    name: str
    token: Token
    seed: bytes
    shares: Sequence[bytes]


def of_deal(deal: Deal, roots: Mapping[bytes, Mapping[int, bytes]], messages: Sequence[bytes]) -> Iterator[Canary]:
    """Everything secret about a token. `roots`: agent id → epoch → root. `messages`: those that are signed
    with it, as far as known."""

    def canary(label: str, value: bytes) -> Canary:
        return Canary(f"{deal.name}: {label}", value)

    token, seed = deal.token, deal.seed
    yield canary("seed", seed)
    for seat, share in enumerate(deal.shares):
        holder, epoch, _, _ = token.rows[seat]
        yield canary(f"share {seat}", share)
        held = roots.get(holder, {}).get(epoch)
        if held is not None:
            y = hmac.digest(held, th("contribution", token.id, seat.to_bytes(4, "big")), "sha256")
            yield canary(f"element's answer {seat}", y)
            yield canary(f"pad {seat}", expand(y, b"evanesce/v1/pad", 32))
    for path, value in _inner_values(token.quorum, iter(deal.shares)):
        yield canary(f"value of gate {path}", value)
    if token.sealed is not None:
        yield canary("import's extracted key", hmac.digest(token.deal, seed, "sha256"))
        yield canary("import's sealing key", hkdf(seed, token.deal, b"import", 32))
        return
    yield canary("extracted key", hmac.digest(token.header["key"], seed, "sha256"))
    for suite in token.header["suites"]:
        material = hkdf(seed, token.header["key"], b"key/" + suite.encode(), MATERIAL[suite])
        yield canary(f"{suite} material", material)
        for label, value in _consequences(suite, material, messages):
            yield canary(f"{suite} {label}", value)


def of_import(name: str, suite: str, material: bytes) -> Iterator[Canary]:
    """Of a key that is imported: the raw key, Ed25519 seed, or ECDSA scalar."""
    yield Canary(f"{name}: imported key", material)
    if suite == "ed25519":
        yield from (Canary(f"{name}: {label}", value) for label, value in _consequences(suite, material, ()))


def of_rsa(name: str, d: int, p: int, q: int) -> Iterator[Canary]:
    """Of an imported RSA key. Its other parts follow from d, p and q, and share windows with public ones."""
    for label, value in (("d", d), ("p", p), ("q", q)):
        yield Canary(f"{name}: {label}", value.to_bytes((value.bit_length() + 7) // 8, "big"))


def regenerated(name: str, data: bytes, roots: Mapping[bytes, Mapping[int, bytes]]) -> Deal:
    """A token that the product minted, opened with roots."""
    token = Token.decode(data)
    shares = [regenerate(token, seat, roots) for seat in range(len(token.rows))]
    known = [share for share in shares if share is not None]
    if len(known) != len(shares):
        raise ValueError(f"{name}: only {len(known)} of {len(shares)} shares can be regenerated")
    seed = _combined(token.quorum, iter(known))
    if th("anchor", token.deal, seed) != token.anchor:
        raise ValueError(f"{name}: the shares do not make the seed of the anchor")
    return Deal(name, token, seed, known)


def _combined(gate: Gate, shares: Iterator[bytes]) -> bytes:
    return list(_values(gate, shares, ""))[-1][1]


def _inner_values(gate: Gate, shares: Iterator[bytes]) -> list[tuple[str, bytes]]:
    """What the gates below the outermost one share."""
    return list(_values(gate, shares, ""))[:-1]


def _values(gate: Gate, shares: Iterator[bytes], path: str) -> Iterator[tuple[str, bytes]]:
    """The value of each gate, the outermost last."""
    points: list[bytes] = []
    for x, child in enumerate(gate.of, 1):
        if isinstance(child, Gate):
            inner = list(_values(child, shares, f"{path}/{x}"))
            yield from inner
            points.append(inner[-1][1])
        else:
            points.append(next(shares))
    yield path or "/", interpolate(list(enumerate(points, 1))[: gate.t], 0)


def _consequences(suite: str, material: bytes, messages: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """What follows from a suite's material and is as good as the key."""
    if suite == "ed25519":
        expanded = hashlib.sha512(material).digest()
        yield "scalar", expanded[:32]
        yield "prefix", expanded[32:]
        for number, message in enumerate(messages):
            nonce = hashlib.sha512(expanded[32:] + message).digest()
            yield f"nonce {number}", nonce
            yield f"reduced nonce {number}", (int.from_bytes(nonce, "little") % _ED25519_ORDER).to_bytes(32, "little")
    elif suite in ORDERS:
        order = ORDERS[suite]
        size = (order.bit_length() + 7) // 8
        d = (int.from_bytes(material, "big") % (order - 1) + 1).to_bytes(size, "big")
        yield "scalar", d
        name = "sha384" if suite == "ecdsa-p384" else "sha256"
        for number, message in enumerate(messages):
            yield f"nonce {number}", _rfc6979(order, d, hashlib.new(name, message).digest(), name)
    elif suite in _ML_DSA_SIZE:
        expanded = hashlib.shake_256(material + bytes(_ML_DSA_SIZE[suite])).digest(128)
        yield "rho prime", expanded[32:96]
        yield "K", expanded[96:]
    elif suite in _ML_KEM_RANK:
        yield "sigma", hashlib.sha3_512(material[:32] + bytes([_ML_KEM_RANK[suite]])).digest()[32:]


def _rfc6979(order: int, d: bytes, digest: bytes, name: str) -> bytes:
    """RFC 6979 §3.2, where the digest is as long as the order."""
    size = len(d)
    seed = d + (int.from_bytes(digest, "big") % order).to_bytes(size, "big")
    k, v = bytes(len(digest)), b"\x01" * len(digest)
    for step in (b"\x00", b"\x01"):
        k = hmac.digest(k, v + step + seed, name)
        v = hmac.digest(k, v, name)
    while True:
        v = hmac.digest(k, v, name)
        if 0 < int.from_bytes(v, "big") < order:
            return v
        k = hmac.digest(k, v + b"\x00", name)
        v = hmac.digest(k, v, name)
