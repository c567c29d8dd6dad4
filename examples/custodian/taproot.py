"""What everybody else does with a Taproot key: its address (BIP-341, BIP-350) and the verification of a signature
(BIP-340).

Written after the BIPs' reference code, with nothing of Evanesce: what it accepts, any wallet accepts.
"""

from __future__ import annotations

import hashlib

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
Point = tuple[int, int] | None

CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32M = 0x2BC830A3


def address(key: bytes, prefix: str = "bc") -> str:
    """The pay-to-Taproot address of an output key, 32 bytes."""
    data = [1, *_fives(key)]
    spread = [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix)]
    check = _polymod([*spread, *data, 0, 0, 0, 0, 0, 0]) ^ BECH32M
    data += [check >> 5 * (5 - place) & 31 for place in range(6)]
    return f"{prefix}1{''.join(CHARACTERS[five] for five in data)}"


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this is the key's signature over the message."""
    x, r, s = (int.from_bytes(part, "big") for part in (key, signature[:32], signature[32:]))
    square = (pow(x, 3, P) + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if len(signature) != 64 or x >= P or r >= P or s >= N or y * y % P != square:
        return False
    tag = hashlib.sha256(b"BIP0340/challenge").digest()
    challenge = hashlib.sha256(tag + tag + signature[:32] + key + message).digest()
    e = int.from_bytes(challenge, "big") % N
    found = _add(_times(s, G), _times(N - e, (x, y if y % 2 == 0 else P - y)))
    return found is not None and found[1] % 2 == 0 and found[0] == r


def _fives(data: bytes) -> list[int]:
    number, missing = int.from_bytes(data, "big"), -len(data) * 8 % 5
    count = (len(data) * 8 + missing) // 5
    return [number << missing >> 5 * (count - 1 - place) & 31 for place in range(count)]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check


def _add(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0] and a[1] != b[1]:
        return None
    slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def _times(scalar: int, point: Point) -> Point:
    total: Point = None
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point, scalar = _add(point, point), scalar >> 1
    return total
