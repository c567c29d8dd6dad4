"""The quorum shapes, policies and kinds of key of which fresh vectors are made."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import rsa_key

DERIVED = (
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
    "aes-256-gcm",
    "xaes-256-gcm",
    "hmac-sha256",
    "hmac-sha512",
    "aes-cmac",
    "hkdf-sha256",
)
"""Every suite whose key comes from the seed (PROTOCOL §7)."""

AUDITOR, OPERATOR = "auditor", "ops"
"""Callers that policies below name."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A token to mint, and who is up when it is used."""

    name: str
    """Also the file's name."""
    quorum: str
    seats: Mapping[str, int]
    """Seat → number of the agent that sits there."""
    answering: Sequence[int]
    suites: Sequence[str]
    epochs: Sequence[int] = (1,)
    """Epochs of which every agent holds a root. Shapes with the same epochs share their agents."""
    policy: str = ""
    caller: str | None = None
    expires: int | None = None
    imported: Callable[[], bytes] | None = None
    """Makes the key to import: PKCS#8, or raw bytes, of which every one counts."""


def _flat(count: int) -> dict[str, int]:
    return {f"seat-{i}": i for i in range(count)}


def _ed25519_pkcs8() -> bytes:
    return bytes.fromhex("302e020100300506032b657004220420") + secrets.token_bytes(32)


SHAPES = (
    Shape("flat-2-of-3-every-suite", "2 of (seat-0, seat-1, seat-2)", _flat(3), [0, 2], DERIVED),
    Shape(
        "flat-3-of-5",
        "3 of (seat-0, seat-1, seat-2, seat-3, seat-4)",
        _flat(5),
        [1, 3, 4],
        ["ed25519", "hmac-sha256"],
        expires=int(time.time()) + 10 * 365 * 86400,
    ),
    Shape("one-of-one", "1 of (only)", {"only": 0}, [0], ["ecdsa-p256", "hkdf-sha256"], epochs=[0]),
    Shape(
        "all-of-four",
        "4 of (n, e, s, w)",
        {"n": 0, "e": 1, "s": 2, "w": 3},
        [0, 1, 2, 3],
        ["x25519", "ml-kem-768"],
        epochs=[7, 9, (1 << 53) - 1],
    ),
    Shape(
        "officers-and-board",
        "3 of (ceo, cfo, 2 of (board-1, board-2, board-3))",
        {"ceo": 0, "cfo": 1, "board-1": 2, "board-2": 3, "board-3": 4},
        [0, 1, 2, 4],
        ["ecdsa-p384", "ml-dsa-65", "aes-256-gcm"],
    ),
    Shape(
        "either-region",
        "1 of (2 of (eu-1, eu-2), 2 of (us-1, us-2, us-3))",
        {"eu-1": 0, "eu-2": 1, "us-1": 2, "us-2": 3, "us-3": 4},
        [0, 2, 4],
        ["ecdsa-secp256k1", "aes-cmac"],
    ),
    Shape(
        "weighted-one-agent-in-two-seats",
        "3 of (chair-1, chair-2, member-1, member-2)",
        {"chair-1": 0, "chair-2": 0, "member-1": 1, "member-2": 2},
        [0, 2],
        ["hmac-sha512", "xaes-256-gcm"],
    ),
    Shape(
        "eight-gates-deep",
        "1 of (2 of (a, 1 of (1 of (1 of (1 of (1 of (1 of (b))))))), c)",
        {"a": 0, "b": 1, "c": 2},
        [0, 1],
        ["ml-dsa-44", "hmac-sha256"],
    ),
    Shape(
        "with-policy",
        "2 of (seat-0, seat-1, seat-2)",
        _flat(3),
        [0, 1],
        ["ed25519", "hmac-sha256", "ml-dsa-87"],
        policy=f'permit(principal == Caller::"{OPERATOR}", action, resource);\n'
        f'forbid(principal == Caller::"{AUDITOR}", action, resource);',
        caller=OPERATOR,
    ),
    Shape(
        "imported-hmac",
        "2 of (seat-0, seat-1, seat-2)",
        _flat(3),
        [1, 2],
        ["hmac-sha256"],
        imported=lambda: secrets.token_bytes(19) + b"\n",
    ),
    Shape(
        "imported-ed25519",
        "2 of (2 of (a, b), c)",
        {"a": 0, "b": 1, "c": 2},
        [0, 1, 2],
        ["ed25519"],
        imported=_ed25519_pkcs8,
    ),
    Shape(
        "imported-rsa-signing",
        "2 of (seat-0, seat-1, seat-2)",
        _flat(3),
        [0, 2],
        ["rsa-pss-sha256", "rsa-pkcs1-sha256"],
        imported=rsa_key.generate,
    ),
    Shape(
        "imported-rsa-oaep",
        "2 of (seat-0, seat-1, seat-2)",
        _flat(3),
        [0, 1],
        ["rsa-oaep-sha256"],
        imported=rsa_key.generate,
    ),
)
