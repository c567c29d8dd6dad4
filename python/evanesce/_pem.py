"""Public keys as text (RFC 7468)."""

from __future__ import annotations

import base64
import binascii
import re
import textwrap

from evanesce.errors import error

_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)-----END PUBLIC KEY-----")


def public_key(spki: bytes) -> bytes:
    """SubjectPublicKeyInfo DER as PEM."""
    body = "\n".join(textwrap.wrap(base64.b64encode(spki).decode(), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode()


def der(data: bytes, whose: str) -> bytes:
    """A public key as the core takes it: PEM is unwrapped to its DER, anything else passed on. Raises `bad-input`."""
    if b"-----BEGIN" not in data:
        return data
    found = _PEM.search(data)
    if found is None:
        raise error("bad-input", f"{whose} holds no PEM public key", "It must say BEGIN PUBLIC KEY.")
    try:
        return base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error:
        raise error("bad-input", f"the PEM of {whose} is damaged", "Ask for it again.") from None
