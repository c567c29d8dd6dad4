"""Envelope encryption without a stored key: one data key per customer, derived when it is needed, wiped
after use.

What is stored beside the data is public: the token, and each customer's name as the context. The derived
key goes into a buffer of this program's own, which is this program's to wipe.
"""

from __future__ import annotations

import hashlib
import hmac
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evanesce import Client, Token
from evanesce.testbed import EmbeddedQuorum


@contextmanager
def data_key(client: Client, token: Token, customer: str) -> Iterator[bytearray]:
    """The customer's 32-byte data key, for the length of a `with` block."""
    key = bytearray(32)
    with client.derive(token, f"customer/{customer}".encode()) as secret:
        secret.into(key)
    try:
        yield key
    finally:
        key[:] = bytes(len(key))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with EmbeddedQuorum(folder / "agents", ("agent-1", "agent-2", "agent-3")) as quorum:
            home = quorum.admit("me", folder / "home")
            quorum.start()
            with Client(home) as client:
                token = client.create("customers", ["hkdf-sha256", "xaes-256-gcm"])

                # A working key of your own, for a library of your own.
                tags = []
                for _ in range(2):
                    with data_key(client, token, "alice") as key:
                        tags.append(hmac.new(key, b"record 1", hashlib.sha256).hexdigest())
                print(f"alice's key, derived twice, is the same: {tags[0] == tags[1]}")

                # Or let the quorum encrypt, and write the plaintext where it belongs.
                sealed = client.encrypt(token, b"IBAN DE02 1203 0000 0000 2020 51", b"alice")
                with client.decrypt(token, sealed, b"alice") as plaintext:
                    plaintext.save(folder / "record")
                print(f"decrypted into a file of mode {(folder / 'record').stat().st_mode & 0o777:o}")


if __name__ == "__main__":
    main()
