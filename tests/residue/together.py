"""What is secret about keys that are never put together (docs/protocol.md §11): every share, what masks or seals it,
and the key itself, which is nowhere, ever.

Computed from agents' roots and what is public, or (of kept shares) what lay in agents' folders before it was removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .canaries import Canary, Kept
from .conformance import expand, th
from .conformance import together as plain
from .household import Agent

Roots = Mapping[bytes, Mapping[int, bytes]]
"""Agent id → epoch → root."""

KEPT = "mpc"


def of_token(name: str, data: bytes, roots: Roots, kept: Mapping[bytes, bytes]) -> Iterator[Canary]:
    """`data`: the token. `kept`: agent id → the file of its share, where shares are kept. Raises `ValueError` where
    what comes out is not the key of the token: what is searched for would be nothing."""
    token = cbor2.loads(data)
    header = cbor2.loads(token["header"])
    curve, seats = plain.SUITES[header["suite"]], token["rows"]
    id_ = _id(token)
    shares = {}
    for seat, (holder, epoch, correction, _) in enumerate(seats):
        root = roots[holder][epoch]
        y = plain.answer(root, id_, seat, kept=header["kind"] == KEPT)
        yield Canary(f"{name}: element's answer {seat}", y)
        if header["kind"] == KEPT:
            sealing = expand(y, b"evanesce/v1/mpc-share/" + curve.name.encode(), 32)
            yield Canary(f"{name}: sealing key {seat}", sealing)
            at_rest = cbor2.loads(kept[holder])
            aad = th("mpc-share-kept", id_, seat.to_bytes(4, "big"), at_rest["epoch"].to_bytes(8, "big"))
            shares[seat] = curve.number(AESGCM(sealing).decrypt(at_rest["nonce"], at_rest["sealed"], aad))
        else:
            yield Canary(f"{name}: wide mask {seat}", plain.wide_mask(curve, y))
            mask = plain.mask(curve, root, id_, seat)
            yield Canary(f"{name}: mask {seat}", curve.scalar(mask))
            shares[seat] = (curve.number(correction) + mask) % curve.order
        yield Canary(f"{name}: share {seat}", curve.scalar(shares[seat]))
    t = header["quorum"]["t"]
    for some in (range(t), range(len(seats) - t, len(seats))):
        key = plain.key_of(curve, {seat: shares[seat] for seat in some})
        if curve.encode(plain.times(curve, curve.generator, key)) != token["vector"][0]:
            raise ValueError(f"{name}: the shares do not make the token's key")
    yield Canary(f"{name}: key", curve.scalar(key))


def _id(token: Mapping[str, Any]) -> bytes:
    kept = cbor2.loads(token["header"])["kind"] == KEPT
    return plain.token_id(token["header"], token["transcript"], token["vector"], kept=kept)


def kept_by(agents: list[Agent], id_: bytes) -> dict[bytes, bytes]:
    """What agents have in the files of their shares of a token."""
    files = {agent.id: agent.folder / _place(id_) for agent in agents}
    return {holder: path.read_bytes() for holder, path in files.items() if path.exists()}


def at_rest(name: str, agents: list[Agent], id_: bytes) -> Iterator[Canary]:
    """The sealed shares that agents keep of a token: in a file each, and nowhere else."""
    kept = kept_by(agents, id_)
    for agent in agents:
        if agent.id in kept:
            place = Kept(agent.name, 0, f"{agent.name}/{_place(id_)}")
            yield Canary(f"{name}: the share that {agent.name} keeps", cbor2.loads(kept[agent.id])["sealed"], place)


def _place(id_: bytes) -> str:
    return f"shares/{id_.hex()}"


def load(path: Path) -> tuple[bytes, bytes]:
    """A token's bytes and its id."""
    data = path.read_bytes()
    return data, _id(cbor2.loads(data))
