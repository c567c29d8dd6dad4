"""One transaction's way: a terminal MACs it, the authorisation host verifies it and MACs its answer.

A message names the version of the working key that it is MACed under, as payment messages name a key by its index: so
the host knows which one verifies it, and two versions are good at once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

from evanesce import Client

LIMIT = 50_000
"""Cents that the host authorises at once."""


@dataclass(frozen=True)
class Transaction:
    """What a terminal sends, or a host answers."""

    text: bytes
    version: int
    mac: bytes

    @property
    def refused(self) -> bool:
        return b"refused" in self.text


class Terminal:
    """A terminal with a security module of its own. The key it has is the one of its last sign-on."""

    def __init__(self, client: Client, key: str) -> None:
        self.key = key
        self._client = client
        self._numbers = itertools.count(1)
        self.sign_on()

    def sign_on(self) -> None:
        """Takes up the newest working key in its module."""
        self._version = max(self._client.custody.describe(self.key)["versions"])

    def pay(self, amount: int) -> Transaction:
        """A payment of so many cents."""
        body = {"terminal": 4711, "number": next(self._numbers), "amount": amount}
        text = json.dumps(body, separators=(",", ":")).encode()
        mac = self._client.mac(f"{self.key}@{self._version}", b"request\0" + text)
        return Transaction(text, self._version, mac.value)

    def accept(self, transaction: Transaction, answer: Transaction) -> None:
        """Raises `invalid-signature` where the answer is not the host's to this very transaction."""
        message = b"answer\0" + transaction.mac + answer.text
        self._client.verify_mac(f"{self.key}@{answer.version}", message, answer.mac)


class AuthorisationHost:
    """Answers terminals, by the HSMs of its cluster in turn."""

    def __init__(self, client: Client, keys: Sequence[str]) -> None:
        self._client = client
        self._turns = itertools.cycle(keys)
        self.book: list[bytes] = []
        """What was authorised, for the settlement."""

    def authorise(self, transaction: Transaction) -> Transaction:
        """Raises `invalid-signature` for what no terminal has sent, `not-found` or `element` for a key that is over."""
        key = f"{next(self._turns)}@{transaction.version}"
        self._client.verify_mac(key, b"request\0" + transaction.text, transaction.mac)
        refused = json.loads(transaction.text)["amount"] > LIMIT
        text = b"refused" if refused else b"approved"
        if not refused:
            self.book.append(transaction.text)
        mac = self._client.mac(key, b"answer\0" + transaction.mac + text)
        return Transaction(text, transaction.version, mac.value)
