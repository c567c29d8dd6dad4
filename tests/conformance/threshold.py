"""The second kind of token a second time, from docs/protocol.md alone: its vectors, and a reader of them.

    threshold.py FILE      writes the vectors of `vectors/threshold.json`

For tests only. It shares no code with the product, nor with the libraries that the product uses: the two curves are
here as their RFCs and BIP-340 have them, in plain integers. Nothing here is constant-time or wiped.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cbor2
from independent import expand, th

Point = tuple[int, int]
"""Affine; the identity is None for secp256k1 and (0, 1) for Ed25519."""


class Curve(Protocol):
    """What a ciphersuite needs of its group."""

    name: str
    order: int
    generator: Point

    def add(self, one: Any, other: Any) -> Any: ...
    def encode(self, point: Any) -> bytes: ...
    def decode(self, data: bytes) -> Any: ...
    def scalar(self, value: int) -> bytes: ...
    def number(self, data: bytes) -> int: ...
    def public_key(self, point: Any) -> bytes: ...
    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool: ...
    def sign(self, secret: int, message: bytes) -> bytes: ...


class Ed25519:
    """RFC 8032 §5.1."""

    name = "frost-ed25519"
    p = 2**255 - 19
    order = 2**252 + 27742317777372353535851937790883648493
    d = -121665 * pow(121666, -1, p) % p
    generator = (
        15112221349535400772501151409588531511454012693041857206046113283949847762202,
        46316835694926478169428394003475163141307993866256225615783033603165251855960,
    )

    def add(self, one: Point, other: Point) -> Point:
        (x1, y1), (x2, y2), p = one, other, self.p
        product = self.d * x1 * x2 * y1 * y2
        x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, p) % p
        return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, p) % p

    def encode(self, point: Point) -> bytes:
        x, y = point
        return (y | (x & 1) << 255).to_bytes(32, "little")

    def decode(self, data: bytes) -> Point | None:
        """Of prime order and not the identity, in its one encoding."""
        whole = int.from_bytes(data, "little")
        y, sign = whole & (1 << 255) - 1, whole >> 255
        if len(data) != 32 or y >= self.p:
            return None
        square = (y * y - 1) * pow(self.d * y * y + 1, -1, self.p) % self.p
        x = pow(square, (self.p + 3) // 8, self.p)
        if x * x % self.p != square:
            x = x * pow(2, (self.p - 1) // 4, self.p) % self.p
        if x * x % self.p != square or (x == 0 and sign):
            return None
        point = (self.p - x if x & 1 != sign else x, y)
        return point if point != (0, 1) and times(self, point, self.order) == (0, 1) else None

    def scalar(self, value: int) -> bytes:
        return (value % self.order).to_bytes(32, "little")

    def number(self, data: bytes) -> int:
        return int.from_bytes(data, "little")

    def public_key(self, point: Point) -> bytes:
        return self.encode(point)

    def challenge(self, r: bytes, key: bytes, message: bytes) -> int:
        return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % self.order

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        key, r, z = self.decode(public_key), self.decode(signature[:32]), self.number(signature[32:])
        if key is None or r is None or z >= self.order:
            return False
        challenge = self.challenge(signature[:32], public_key, message)
        return times(self, self.generator, z) == self.add(r, times(self, key, challenge))

    def sign(self, secret: int, message: bytes) -> bytes:
        """With a nonce that is a hash of both."""
        nonce = drawn(self.order, "nonce", self.scalar(secret), message)
        r = self.encode(times(self, self.generator, nonce))
        key = self.encode(times(self, self.generator, secret))
        return r + self.scalar(nonce + self.challenge(r, key, message) * secret)


class Secp256k1:
    """SEC 2 and BIP-340."""

    name = "frost-secp256k1-tr"
    p = 2**256 - 2**32 - 977
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    generator = (
        0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
        0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
    )

    def add(self, one: Point | None, other: Point | None) -> Point | None:
        if one is None or other is None:
            return one or other
        (x1, y1), (x2, y2), p = one, other, self.p
        if x1 == x2:
            if (y1 + y2) % p == 0:
                return None
            slope = 3 * x1 * x1 * pow(2 * y1, -1, p)
        else:
            slope = (y2 - y1) * pow(x2 - x1, -1, p)
        x = (slope * slope - x1 - x2) % p
        return x, (slope * (x1 - x) - y1) % p

    def encode(self, point: Point) -> bytes:
        return bytes([2 + (point[1] & 1)]) + point[0].to_bytes(32, "big")

    def decode(self, data: bytes) -> Point | None:
        """A compressed point."""
        x = int.from_bytes(data[1:], "big")
        if len(data) != 33 or data[0] not in (2, 3) or x >= self.p:
            return None
        square = (x**3 + 7) % self.p
        y = pow(square, (self.p + 1) // 4, self.p)
        if y * y % self.p != square:
            return None
        return x, y if y & 1 == data[0] & 1 else self.p - y

    def scalar(self, value: int) -> bytes:
        return (value % self.order).to_bytes(32, "big")

    def number(self, data: bytes) -> int:
        return int.from_bytes(data, "big")

    def public_key(self, point: Point) -> bytes:
        return self.encode(point)[1:]

    def challenge(self, r: bytes, key: bytes, message: bytes) -> int:
        tag = hashlib.sha256(b"BIP0340/challenge").digest()
        return int.from_bytes(hashlib.sha256(tag + tag + r + key + message).digest(), "big") % self.order

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        key, r, z = self.decode(b"\2" + public_key), self.decode(b"\2" + signature[:32]), self.number(signature[32:])
        if key is None or r is None or z >= self.order:
            return False
        challenge = self.challenge(signature[:32], public_key, message)
        return times(self, self.generator, z) == self.add(r, times(self, key, challenge))

    def sign(self, secret: int, message: bytes) -> bytes:
        """With a nonce that is a hash of both; the key must be even."""
        nonce = drawn(self.order, "nonce", self.scalar(secret), message)
        if times(self, self.generator, nonce)[1] & 1:
            nonce = self.order - nonce
        r = self.encode(times(self, self.generator, nonce))[1:]
        key = self.encode(times(self, self.generator, secret))[1:]
        return r + self.scalar(nonce + self.challenge(r, key, message) * secret)


SUITES: Mapping[str, Curve] = {curve.name: curve for curve in (Ed25519(), Secp256k1())}


def times(curve: Curve, point: Any, scalar: int) -> Any:
    """Double and add. The point times 0 is the identity."""
    sum_: Any = (0, 1) if isinstance(curve, Ed25519) else None
    for bit in bin(scalar)[2:]:
        sum_ = curve.add(sum_, sum_)
        if bit == "1":
            sum_ = curve.add(sum_, point)
    return sum_


def drawn(order: int, *what: str | bytes) -> int:
    """A number that is the same each time."""
    data = b"".join(part.encode() if isinstance(part, str) else part for part in what)
    return int.from_bytes(hashlib.sha512(data).digest(), "big") % order


def cbor(value: Any) -> bytes:
    """§2's encoding."""
    return cbor2.dumps(value, canonical=True)


# What docs/protocol.md says of the second kind, formula by formula.


def token_id(header: bytes, transcript: bytes, vector: Sequence[bytes], *, kept: bool = False) -> bytes:
    """`kept`: of a key whose holders keep their shares."""
    deal, token = ("mpc-kept-deal", "mpc-kept-token") if kept else ("mpc-deal", "mpc-token")
    return th(token, th(deal, header), transcript, vector[0], th("mpc-vector", cbor(list(vector))))


def answer(root: bytes, id_: bytes, seat: int, *, kept: bool = False) -> bytes:
    """The element's, of which a seat's mask comes, or the key that seals its share where that is `kept`."""
    label = "mpc-share" if kept else "mpc-contribution"
    return hmac.digest(root, th(label, id_, seat.to_bytes(4, "big")), "sha256")


def wide_mask(curve: Curve, y: bytes) -> bytes:
    """From the element's answer, before it is reduced."""
    return expand(y, b"evanesce/v1/scalar/" + curve.name.encode(), 64)


def mask(curve: Curve, root: bytes, id_: bytes, seat: int) -> int:
    return int.from_bytes(wide_mask(curve, answer(root, id_, seat)), "big") % curve.order


def must_be(curve: Curve, vector: Sequence[bytes], seat: int) -> Any:
    """A seat's share, times the generator."""
    point = None
    for coefficient in reversed(vector):
        at = curve.decode(coefficient)
        point = at if point is None else curve.add(times(curve, point, seat + 1), at)
    return point


def regenerate(curve: Curve, token: Mapping[str, Any], id_: bytes, seat: int, root: bytes) -> int | None:
    """A seat's share, if the row and the root give it."""
    correction = curve.number(token["rows"][seat][2])
    if correction >= curve.order:
        return None
    share = (correction + mask(curve, root, id_, seat)) % curve.order
    return share if times(curve, curve.generator, share) == must_be(curve, token["vector"], seat) else None


def weight(curve: Curve, seats: Iterable[int], seat: int) -> int:
    """What a seat's share counts for in the key, where those of these seats make it."""
    product = 1
    for other in seats:
        if other != seat:
            product = product * (other + 1) * pow(other - seat, -1, curve.order)
    return product % curve.order


def key_of(curve: Curve, shares: Mapping[int, int]) -> int:
    """The key, put together as no product ever does: from t shares, by seat."""
    return sum(share * weight(curve, shares, seat) for seat, share in shares.items()) % curve.order


@dataclass(frozen=True)
class Agent:
    """An agent of a vector: all that it is follows from its name."""

    name: str

    @property
    def identity(self) -> bytes:
        return hashlib.sha256(b"identity of " + self.name.encode()).digest()

    @property
    def secret(self) -> int:
        low = bytearray(hashlib.sha512(self.identity).digest()[:32])
        low[0] &= 248
        low[31] = low[31] & 127 | 64
        return int.from_bytes(low, "little")

    @property
    def public(self) -> bytes:
        curve = Ed25519()
        return curve.encode(times(curve, curve.generator, self.secret))

    @property
    def id(self) -> bytes:
        return th("agent", bytes.fromhex("302a300506032b6570032100") + self.public)

    def root(self, epoch: int) -> bytes:
        return hashlib.sha256(f"root {epoch} of {self.name}".encode()).digest()

    def sign(self, message: bytes) -> bytes:
        """RFC 8032 §5.1.6."""
        curve, prefix = Ed25519(), hashlib.sha512(self.identity).digest()[32:]
        nonce = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % curve.order
        r = curve.encode(times(curve, curve.generator, nonce))
        return r + curve.scalar(nonce + curve.challenge(r, self.public, message) * self.secret)

    def written(self, epochs: Sequence[int]) -> dict[str, Any]:
        roots = {str(epoch): self.root(epoch).hex() for epoch in epochs}
        return {"name": self.name, "identity": self.identity.hex(), "id": self.id.hex(), "roots": roots}


def header_of(name: str, suite: str, t: int, seats: int, **changed: Any) -> dict[str, Any]:
    """A header of a flat quorum."""
    return {
        "v": 1,
        "kind": "regen-mpc",
        "key": hashlib.sha256(b"key of " + name.encode()).digest(),
        "nonce": hashlib.sha256(b"nonce of " + name.encode()).digest(),
        "name": name,
        "suite": suite,
        "quorum": {"t": t, "of": [{"seat": f"seat-{seat}"} for seat in range(seats)]},
        "policy": "",
        "created": 1_780_000_000,
        "expires": None,
        "replaces": None,
    } | changed


def case_of(
    name: str,
    suite: str,
    t: int,
    seats: int,
    *,
    epochs: Sequence[int] = (1,),
    spoil: Callable[[dict[str, Any]], None] | None = None,
    faulty: Sequence[str] = (),
    error: str | None = None,
    header_suite: str | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """A case: a key that is shared among agents, masked by their roots, and then spoiled."""
    curve = SUITES[suite]
    polynomial = [drawn(curve.order, name, str(k)) for k in range(t)]
    if isinstance(curve, Secp256k1) and times(curve, curve.generator, polynomial[0])[1] & 1:
        polynomial = [-coefficient % curve.order for coefficient in polynomial]
    vector = [curve.encode(times(curve, curve.generator, coefficient)) for coefficient in polynomial]
    header = cbor(header_of(name, header_suite or suite, t, seats, **changed))
    transcript = hashlib.sha256(b"transcript of " + name.encode()).digest()
    id_ = token_id(header, transcript, vector)
    rows = []
    for seat in range(seats):
        agent, epoch = Agent(f"agent-{seat}"), epochs[seat % len(epochs)]
        share = sum(coefficient * (seat + 1) ** k for k, coefficient in enumerate(polynomial))
        correction = curve.scalar(share - mask(curve, agent.root(epoch), id_, seat))
        number = seat.to_bytes(4, "big")
        signature = agent.sign(th("mpc-row", id_, number, epoch.to_bytes(8, "big"), correction))
        rows.append([agent.id, epoch, correction, signature])
    token: dict[str, Any] = {"header": header, "vector": vector, "transcript": transcript, "rows": rows}
    if spoil is not None:
        spoil(token)
    case: dict[str, Any] = {
        "name": name,
        "token": cbor(token).hex(),
        "agents": [Agent(f"agent-{seat}").written(epochs) for seat in range(seats)],
    }
    if error is not None:
        return case | {"error": error}
    message = f"signed with {name}".encode()
    return case | {
        "token_id": token_id(token["header"], token["transcript"], token["vector"]).hex(),
        "suite": suite,
        "public_key": curve.public_key(curve.decode(vector[0])).hex(),
        "message": message.hex(),
        "signature": curve.sign(polynomial[0], message).hex(),
        "faulty": list(faulty),
    }


def hash_for_proofs(curve: Curve, data: bytes) -> int:
    """The hash of a proof of possession, under the suite's context and `dkg`."""
    if isinstance(curve, Ed25519):
        return int.from_bytes(hashlib.sha512(b"FROST-ED25519-SHA512-v1dkg" + data).digest(), "little") % curve.order
    # RFC 9380 §5: expand_message_xmd with SHA-256 to 48 bytes, modulo the order
    tag = b"FROST-secp256k1-SHA256-TR-v1dkg"
    tag += bytes([len(tag)])
    first = hashlib.sha256(bytes(64) + data + b"\0\x30\0" + tag).digest()
    blocks = [hashlib.sha256(first + b"\1" + tag).digest()]
    mixed = bytes(a ^ b for a, b in zip(first, blocks[0], strict=True))
    blocks.append(hashlib.sha256(mixed + b"\2" + tag).digest())
    return int.from_bytes(b"".join(blocks)[:48], "big") % curve.order


def published(curve: Curve, polynomial: Sequence[int]) -> list[int]:
    """The polynomial of the published vector: Taproot's is tweaked (BIP-341, a key without scripts) and even."""
    if isinstance(curve, Ed25519):
        return list(polynomial)

    def even(of: Sequence[int]) -> list[int]:
        odd = times(curve, curve.generator, of[0])[1] & 1
        return [-coefficient % curve.order if odd else coefficient for coefficient in of]

    first, *others = even(polynomial)
    tag = hashlib.sha256(b"TapTweak").digest()
    x = curve.encode(times(curve, curve.generator, first))[1:]
    tweak = int.from_bytes(hashlib.sha256(tag + tag + x).digest(), "big")
    return even([(first + tweak) % curve.order, *others])


def ceremony_of(name: str, suite: str, t: int, seats: int) -> dict[str, Any]:
    """A key that is made: what every agent draws, announces and sends, and what comes of it."""
    curve = SUITES[suite]
    header = cbor(header_of(name, suite, t, seats))
    agents = [Agent(f"agent-{seat}").id for seat in range(seats)]
    drawn_ = [[drawn(curve.order, name, str(seat), str(k)) for k in range(t)] for seat in range(seats)]
    vectors, proofs = [], []
    for seat, polynomial in enumerate(drawn_):
        vector = [curve.encode(times(curve, curve.generator, coefficient)) for coefficient in polynomial]
        nonce = drawn(curve.order, name, "proof", str(seat))
        r = times(curve, curve.generator, nonce)
        if isinstance(curve, Secp256k1) and r[1] & 1:
            nonce = curve.order - nonce
        r = curve.encode(times(curve, curve.generator, nonce))
        challenge = hash_for_proofs(curve, curve.scalar(seat + 1) + vector[0] + r)
        vectors.append(vector)
        proofs.append(r[-32:] + curve.scalar(nonce + polynomial[0] * challenge))
    announcements = [cbor({"proof": p, "vector": v}) for p, v in zip(proofs, vectors, strict=True)]
    made = published(curve, [sum(of[k] for of in drawn_) % curve.order for k in range(t)])
    return {
        "name": name,
        "suite": suite,
        "header": header.hex(),
        "agents": [agent.hex() for agent in agents],
        "polynomials": [[curve.scalar(coefficient).hex() for coefficient in of] for of in drawn_],
        "announcements": [announcement.hex() for announcement in announcements],
        "digests": [th("mpc-announcement", announcement).hex() for announcement in announcements],
        "transcript": th("mpc-transcript", header, cbor(agents), cbor(vectors), cbor(proofs)).hex(),
        "vector": [curve.encode(times(curve, curve.generator, coefficient)).hex() for coefficient in made],
        "shares": [
            curve.scalar(sum(coefficient * (seat + 1) ** k for k, coefficient in enumerate(made))).hex()
            for seat in range(seats)
        ],
    }


def reshare_of(
    name: str, suite: str, old: tuple[int, int], new: tuple[int, int], givers: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """A key that is given to another quorum (t, seats) by `givers`, new seat and old: what every agent draws and
    announces, and what comes of it."""
    curve, (t, seats) = SUITES[suite], new
    before = published(curve, [drawn(curve.order, name, "old", str(k)) for k in range(old[0])])
    had = [sum(coefficient * (seat + 1) ** k for k, coefficient in enumerate(before)) for seat in range(old[1])]
    from_old = dict(givers)
    header = cbor(header_of(name, suite, t, seats, replaces=hashlib.sha256(name.encode()).digest()))
    agents = [Agent(f"agent-{from_old.get(seat, old[1] + seat)}").id for seat in range(seats)]
    drawn_ = [[drawn(curve.order, name, str(seat), str(k)) for k in range(1, t)] for seat in range(seats)]
    given = [
        had[from_old[seat]] * weight(curve, from_old.values(), from_old[seat]) if seat in from_old else 0
        for seat in range(seats)
    ]
    vectors = [[curve.encode(times(curve, curve.generator, c)) for c in of] for of in drawn_]
    announcements = [cbor({"proof": None, "vector": vector}) for vector in vectors]
    old_vector = [curve.encode(times(curve, curve.generator, c)) for c in before]
    made = [sum(of) % curve.order for of in zip(*([g, *of] for g, of in zip(given, drawn_, strict=True)), strict=True)]
    return {
        "name": name,
        "suite": suite,
        "header": header.hex(),
        "agents": [agent.hex() for agent in agents],
        "old_vector": [point.hex() for point in old_vector],
        "old_shares": [curve.scalar(share).hex() for share in had],
        "givers": [list(pair) for pair in givers],
        "polynomials": [[curve.scalar(coefficient).hex() for coefficient in of] for of in drawn_],
        "announcements": [announcement.hex() for announcement in announcements],
        "digests": [th("mpc-announcement", announcement).hex() for announcement in announcements],
        "transcript": th(
            "mpc-reshare-transcript", header, cbor(agents), cbor(vectors), cbor(old_vector), cbor(list(givers))
        ).hex(),
        "vector": [curve.encode(times(curve, curve.generator, coefficient)).hex() for coefficient in made],
        "shares": [
            curve.scalar(sum(coefficient * (seat + 1) ** k for k, coefficient in enumerate(made))).hex()
            for seat in range(seats)
        ],
    }


def generate() -> dict[str, Any]:
    """The file."""
    ed, tr = "frost-ed25519", "frost-secp256k1-tr"

    def flip(seat: int, field: int) -> Callable[[dict[str, Any]], None]:
        def spoil(token: dict[str, Any]) -> None:
            row = token["rows"][seat]
            row[field] = bytes([row[field][0] ^ 1]) + row[field][1:]

        return spoil

    def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
        return lambda token: token.update({name: value})

    def point(i: int, value: bytes) -> Callable[[dict[str, Any]], None]:
        def spoil(token: dict[str, Any]) -> None:
            token["vector"][i] = value

        return spoil

    def swap(token: dict[str, Any]) -> None:
        token["rows"][0][2], token["rows"][1][2] = token["rows"][1][2], token["rows"][0][2]

    def beyond(token: dict[str, Any]) -> None:
        row = token["rows"][2]
        row[2] = (int.from_bytes(row[2], "little") + Ed25519.order).to_bytes(32, "little")

    def odd(token: dict[str, Any]) -> None:
        token["vector"][0] = b"\3" + token["vector"][0][1:]

    everyone = ["seat-0", "seat-1", "seat-2"]
    nested = {"t": 2, "of": [{"seat": "a"}, {"t": 1, "of": [{"seat": "b"}]}]}
    policy = 'permit(principal == Caller::"treasury", action, resource);'
    cases = [
        case_of("2 of 3", ed, 2, 3),
        case_of("2 of 3, Taproot", tr, 2, 3),
        case_of(
            "3 of 5, epochs mixed, a policy and an expiry", ed, 3, 5, epochs=(1, 2, 7), policy=policy, expires=2**40
        ),
        case_of("3 of 5, Taproot, replaces another", tr, 3, 5, replaces=bytes(32)),
        case_of("2 of 2", ed, 2, 2),
        case_of("4 of 4, Taproot", tr, 4, 4),
        case_of("a correction altered", ed, 2, 3, spoil=flip(1, 2), faulty=["seat-1"]),
        case_of("a row's signature altered", tr, 2, 3, spoil=flip(1, 3)),
        case_of("two corrections exchanged", tr, 2, 3, spoil=swap, faulty=["seat-0", "seat-1"]),
        case_of("a correction beyond the order", ed, 2, 3, spoil=beyond, faulty=["seat-2"]),
        case_of("another transcript", ed, 2, 3, spoil=put("transcript", bytes(32)), faulty=everyone),
        case_of("another policy", tr, 2, 3, spoil=put("header", cbor(header_of("b", tr, 2, 3))), faulty=everyone),
        case_of(
            "a vector of t+1 points", ed, 2, 3, spoil=lambda t: t["vector"].append(t["vector"][0]), error="malformed"
        ),
        case_of("points of another length", ed, 2, 3, spoil=point(1, b"\2" + bytes(32)), error="malformed"),
        case_of("a row too many", ed, 2, 3, spoil=lambda t: t["rows"].append(t["rows"][0]), error="malformed"),
        case_of("an anchor, as the first kind has", ed, 2, 3, spoil=put("anchor", bytes(32)), error="malformed"),
        case_of("another kind", ed, 2, 3, kind="regen", error="malformed"),
        case_of("version 2", ed, 2, 3, v=2, error="malformed"),
        case_of("1 of 2", ed, 2, 2, quorum={"t": 1, "of": [{"seat": "a"}, {"seat": "b"}]}, error="malformed"),
        case_of("a gate inside the gate", ed, 2, 2, quorum=nested, error="malformed"),
        case_of("a suite of the first kind", ed, 2, 3, header_suite="ed25519", error="malformed"),
        case_of("the identity in the vector", ed, 2, 3, spoil=point(1, b"\1" + bytes(31)), error="unfit"),
        case_of("a point of small order", ed, 2, 3, spoil=point(0, bytes(32)), error="unfit"),
        case_of("a point that is none", tr, 2, 3, spoil=point(1, b"\2" + b"\xff" * 32), error="unfit"),
        case_of("a compact point", tr, 2, 3, spoil=lambda t: point(1, b"\5" + t["vector"][1][1:])(t), error="unfit"),
        case_of("an odd key", tr, 2, 3, spoil=odd, error="unfit"),
    ]
    ceremonies = [
        ceremony_of("2 of 3 make a key", ed, 2, 3),
        ceremony_of("3 of 4 make a key", ed, 3, 4),
        # between them, keys that come out odd and even, before the tweak and after it
        *(ceremony_of(f"2 of 3 make a Taproot key, {n}", tr, 2, 3) for n in range(6)),
        ceremony_of("4 of 4 make a Taproot key", tr, 4, 4),
    ]
    reshares = [
        reshare_of("a member of 2 of 3 is removed", ed, (2, 3), (2, 2), [(0, 0), (1, 2)]),
        reshare_of("3 of 5 becomes 2 of 4, with one that is new", tr, (3, 5), (2, 4), [(0, 4), (1, 0), (3, 3)]),
        reshare_of("2 of 3 becomes 3 of 5", ed, (2, 3), (3, 5), [(1, 2), (4, 0)]),
        reshare_of("2 of 2 becomes 4 of 4", tr, (2, 2), (4, 4), [(2, 0), (3, 1)]),
    ]
    return {
        "protocol": "evanesce/v1",
        "kind": "regen-mpc",
        "cases": cases,
        "ceremonies": ceremonies,
        "reshares": reshares,
    }


def main() -> None:
    """Writes the vectors."""
    Path(sys.argv[1]).write_text(json.dumps(generate(), indent=1) + "\n")


if __name__ == "__main__":
    main()
