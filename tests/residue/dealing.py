"""Tokens dealt here, so that their seed and shares are known; honest ones and others."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cbor2

from .canaries import Deal
from .conformance import ASYMMETRIC, Gate, Token, expand, public, th, times


@dataclass(frozen=True, slots=True)
class Holder:
    """Who sits somewhere, with the root that pads the share."""

    id: bytes
    epoch: int
    root: bytes


def deal(
    name: str,
    gate: Gate,
    holders: Mapping[str, Holder],
    suites: Sequence[str],
    *,
    policy: str = "",
    expires: int | None = None,
) -> tuple[Deal, bytes]:
    """A token, and its bytes. `holders`: by seat. Its rows carry no signature: that is looked at only to say whose
    fault a bad share is."""
    seed = secrets.token_bytes(32)
    header = {
        "v": 1,
        "key": secrets.token_bytes(32),
        "nonce": secrets.token_bytes(32),
        "name": name,
        "suites": list(suites),
        "quorum": _tree(gate),
        "policy": policy,
        "created": int(time.time()) - 60,
        "expires": expires,
        "replaces": None,
    }
    header_bytes = cbor2.dumps(header, canonical=True)
    deal_hash = th("deal", header_bytes)
    shares = list(_split(seed, gate))
    token = Token(
        header=header,
        header_bytes=header_bytes,
        quorum=gate,
        anchor=th("anchor", deal_hash, seed),
        commitments=[th("share", deal_hash, _u32(seat), share) for seat, share in enumerate(shares)],
        public={},
        sealed=None,
        rows=[],
    )
    token = replace(token, public={suite: public(token, seed, suite) for suite in suites if suite in ASYMMETRIC})
    return _seated(Deal(name, token, seed, shares), [holders[seat] for seat in gate.seats()])


def dishonest(given: Deal, holders: Sequence[Holder]) -> tuple[Deal, bytes]:
    """The same deal with another anchor: it opens, and is then found inconsistent."""
    token = replace(given.token, anchor=secrets.token_bytes(32), rows=[])
    return _seated(replace(given, token=token), holders)


def altered(given: Deal, seats: Sequence[int]) -> bytes:
    """The token with a bit of these seats' corrections flipped: their holders cannot regenerate."""
    rows = list(given.token.rows)
    for seat in seats:
        holder, epoch, correction, signature = rows[seat]
        rows[seat] = (holder, epoch, bytes([correction[0] ^ 1]) + correction[1:], signature)
    return encode(replace(given.token, rows=rows))


def encode(token: Token) -> bytes:
    """PROTOCOL §4."""
    fields = {
        "header": token.header_bytes,
        "anchor": token.anchor,
        "commitments": token.commitments,
        "public": token.public,
        "sealed": token.sealed,
        "rows": [list(row) for row in token.rows],
    }
    return cbor2.dumps(fields, canonical=True)


def _seated(given: Deal, holders: Sequence[Holder]) -> tuple[Deal, bytes]:
    token = given.token
    rows = []
    for seat, (holder, share) in enumerate(zip(holders, given.shares, strict=True)):
        y = hmac.digest(holder.root, th("contribution", token.id, _u32(seat)), "sha256")
        pad = expand(y, b"evanesce/v1/pad", 32)
        correction = bytes(a ^ b for a, b in zip(share, pad, strict=True))
        rows.append((holder.id, holder.epoch, correction, bytes(64)))
    token = replace(token, rows=rows)
    return replace(given, token=token), encode(token)


def _split(value: bytes, gate: Gate) -> Iterator[bytes]:
    """The shares of all seats, depth-first."""
    coefficients = [value, *(secrets.token_bytes(32) for _ in range(gate.t - 1))]
    for x, child in enumerate(gate.of, 1):
        share = bytearray(32)
        power = 1
        for coefficient in coefficients:
            for i in range(32):
                share[i] ^= times(power, coefficient[i])
            power = times(power, x)
        if isinstance(child, Gate):
            yield from _split(bytes(share), child)
        else:
            yield bytes(share)


def _tree(gate: Gate) -> dict[str, object]:
    return {"t": gate.t, "of": [_tree(child) if isinstance(child, Gate) else {"seat": child} for child in gate.of]}


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "big")
