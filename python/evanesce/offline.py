"""What needs no quorum: verifying, encrypting to a public key, encapsulating.

All three work on the token alone, and mean nothing with the wrong token; so they refuse one that is not
pinned (docs/decisions/trust-and-pins.md). The first two take a key of another model as well (`Client.custody`).
"""

from __future__ import annotations

import time

from typing_extensions import Buffer

from evanesce import _core
from evanesce.custody import Key
from evanesce.errors import error, translate
from evanesce.results import Encapsulation, Secret, Signature
from evanesce.tokens import Token


def verify(
    key: Token | Key,
    message: Buffer,
    signature: Signature | Buffer,
    suite: str | None = None,
    *,
    trust_token: bool = False,
) -> None:
    """Returns if the signature is the key's over this message; else raises `invalid-signature`.
    Works with an expired token too: expiry ends use, not what was signed before. Raises `unpinned`."""
    key.require_pinned("believe a signature by", trust_token)
    if isinstance(signature, Signature):
        suite = suite or signature.suite
        signature = signature.value
    try:
        if isinstance(key, Key):
            chosen = suite or key.suite_for("verify")
            _core.verify_under(key.public_key(chosen, form="der"), chosen, message, signature)
        else:
            _core.verify(key.core, suite or key.suite_for("verify"), message, signature)
    except _core.CoreError as e:
        raise translate(e) from None


def encrypt_to(key: Token | Key, plaintext: Buffer, suite: str | None = None, *, trust_token: bool = False) -> bytes:
    """Encrypts to the key's RSA-OAEP public key (RFC 8017; at most the modulus less 66 bytes). Raises
    `unpinned`, `expired`."""
    key.require_pinned("encrypt to", trust_token)
    try:
        if isinstance(key, Key):
            chosen = suite or key.suite_for("encrypt-to")
            return _core.encrypt_under(key.public_key(chosen, form="der"), chosen, plaintext)
        _require_alive(key)
        return _core.encrypt_to(key.core, suite or key.suite_for("encrypt-to"), plaintext)
    except _core.CoreError as e:
        raise translate(e) from None


def encapsulate(token: Token, suite: str | None = None, *, trust_token: bool = False) -> Encapsulation:
    """A fresh 32-byte shared secret under the token's ML-KEM public key (FIPS 203). Raises `unpinned`,
    `expired`."""
    token.require_pinned("encapsulate to", trust_token)
    _require_alive(token)
    chosen = suite or token.suite_for("encapsulate")
    try:
        ciphertext, secret = _core.encapsulate(token.core, chosen)
    except _core.CoreError as e:
        raise translate(e) from None
    return Encapsulation(ciphertext, Secret(secret, chosen))


def _require_alive(token: Token) -> None:
    # No agent serves an expired token, so nobody could ever open what is sealed to it now.
    if token.expires is not None and time.time() >= token.expires:
        raise error(
            "expired",
            f"token {token.id} has expired: nobody could decrypt what is encrypted to it now",
            "Use the token that replaced it.",
        )
