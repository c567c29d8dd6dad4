"""What software that knows nothing of quorums makes of a signature: OpenSSL, and an independent verifier of BIP-340."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from threshold import Secp256k1

from evanesce import Token


def accepts(token: Token, message: bytes, signature: bytes) -> bool:
    """Whether it is one over that message by the token's key (a FROST suite's)."""
    key = token.public_key(form="der")
    if token.suites == ("frost-secp256k1-tr",):
        return Secp256k1().verify(key[-32:], message, signature)
    try:
        Ed25519PublicKey.from_public_bytes(key[-32:]).verify(signature, message)
    except InvalidSignature:
        return False
    return True
