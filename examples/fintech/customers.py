"""Customers' data in SQLite, each customer's under a data key of their own.

A data key is derived from the root, which a quorum keeps, and the customer's salt (32 random bytes), when it is needed.
So nothing of it is stored, not even wrapped; and deleting the salt, wherever it is, forgets the customer.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from evanesce import Client, Token


class Customers:
    """The table. AES-256-GCM with random nonces: one data key serves far fewer than 2^32 rows."""

    def __init__(self, path: Path, client: Client, root: Token) -> None:
        self._client = client
        self._root = root
        self._rows = sqlite3.connect(path)
        self._rows.executescript(
            "PRAGMA secure_delete = on;"
            "CREATE TABLE IF NOT EXISTS customer (name TEXT PRIMARY KEY, salt BLOB NOT NULL);"
            "CREATE TABLE IF NOT EXISTS datum (customer TEXT, field TEXT, nonce BLOB, sealed BLOB,"
            " PRIMARY KEY (customer, field));"
        )

    @contextmanager
    def data_key(self, customer: str) -> Iterator[bytearray]:
        """A customer's 32-byte data key, for the length of a `with` block: any number of their rows, one opening of the
        root. Raises `KeyError` for nobody's, and what the quorum refuses."""
        found = self._rows.execute("SELECT salt FROM customer WHERE name = ?", (customer,)).fetchone()
        if found is None:
            raise KeyError(customer)
        key = bytearray(32)
        with self._client.derive(self._root, b"customer\0" + customer.encode() + b"\0" + found[0]) as secret:
            secret.into(key)
        try:
            yield key
        finally:
            key[:] = bytes(len(key))

    def put(self, customer: str, field: str, value: bytes) -> None:
        with self._rows:
            row = (customer, os.urandom(32))
            self._rows.execute("INSERT OR IGNORE INTO customer VALUES (?, ?)", row)
            with self.data_key(customer) as key:
                nonce = os.urandom(12)
                sealed = AESGCM(key).encrypt(nonce, value, f"{customer}\0{field}".encode())
            self._rows.execute("REPLACE INTO datum VALUES (?, ?, ?, ?)", (customer, field, nonce, sealed))

    def get(self, customer: str, field: str) -> bytes:
        found = self._rows.execute(
            "SELECT nonce, sealed FROM datum WHERE customer = ? AND field = ?", (customer, field)
        ).fetchone()
        if found is None:
            raise KeyError(customer, field)
        with self.data_key(customer) as key:
            return AESGCM(key).decrypt(found[0], found[1], f"{customer}\0{field}".encode())

    def forget(self, customer: str) -> None:
        """Deletes the salt, without which nobody derives this data key again: but for backups that have the salt, rows
        stay sealed wherever they are."""
        with self._rows:
            self._rows.execute("DELETE FROM customer WHERE name = ?", (customer,))

    def known(self) -> list[str]:
        return [name for (name,) in self._rows.execute("SELECT name FROM customer ORDER BY name")]

    def close(self) -> None:
        self._rows.close()
