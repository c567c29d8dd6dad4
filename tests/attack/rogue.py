"""A corrupt agent: its key and its place on the network, and somebody else who sees in the clear what it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import cbor2
from independent import th
from loot import Taken
from machines import PATIENCE
from speaking import accepted, encode, opened, session_id
from wire import Listener


@dataclass(frozen=True)
class Shown:
    """One opening that a corrupt agent was asked for, in the clear."""

    agent: bytes
    context: dict[str, Any]
    opening: dict[str, Any]

    @property
    def evidence(self) -> dict[str, Any]:
        return self.opening["evidence"] or {"proof": None, "grants": [], "approvals": []}


class Rogue:
    """In a corrupt agent's place, where callers, peers and reconstructors come. It keeps all and does nothing."""

    def __init__(self, taken: Taken) -> None:
        self.taken = taken
        self.shown: list[Shown] = []
        self.orders: list[dict[str, Any]] = []
        """As callers gave them."""
        self.revocations: list[dict[str, Any]] = []
        self._exchanges: list[tuple[bytes, set[bytes]]] = []
        self._tells: dict[bytes, bytes] = {}
        self._life = b"\0" * 16
        self._lock = threading.Lock()
        self._sessions: dict[bytes, bytes] = {}
        self._contexts: dict[bytes, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self._listener = Listener(self.taken.machine.address, self.taken.identity, self._answer).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.__exit__()

    def tell(self, words: Iterable[dict[str, Any]]) -> None:
        """Hands these on to its peers from now on: orders (maps of four) and revocations of grants (maps of two)."""
        with self._lock:
            self._tells = {identified(word): encode(word) for word in words}
            self._life = th("test", self._life)[:16]
            self._exchanges.clear()

    def news(self) -> list[tuple[bytes, set[bytes]]]:
        """Which peer, by its log's name, has asked for which orders since this was last called."""
        with self._lock:
            news, self._exchanges = self._exchanges, []
            return news

    def _answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        given = cbor2.loads(body) if body else None
        with self._lock:
            match path:
                case "/v1/session":
                    answer, key = accepted(given, self.taken.identity, self.taken.log_key)
                    self._sessions[session_id(given)] = key
                    return 200, encode(answer)
                case "/v1/peer":
                    return 200, encode(self._exchanged(given))
                case "/v1/order":
                    self.orders.append(given)
                case "/v1/revoke-grant":
                    self.revocations.append(given)
                case "/v1/contribute":
                    self._keep(opened(given, "contribute", self.taken.id, self._sessions[given["session"]]))
        return 503, encode({"code": "unavailable", "message": "not now"})

    def _keep(self, batch: dict[str, Any]) -> None:
        for opening in batch["openings"]:
            context, token = batch["contexts"][opening["context"]], cbor2.loads(opening["requests"][0])["token"]
            if "header" in context:
                # Later it may be named by its id alone.
                self._contexts[token] = context
            self.shown.append(Shown(self.taken.id, self._contexts[token], opening))

    def _exchanged(self, exchange: dict[str, Any]) -> dict[str, Any]:
        known = exchange["from"] if exchange["life"] == self._life else 0
        ids = list(self._tells)
        asker = exchange["head"]["checkpoint"].split("\n")[0].encode()
        self._exchanges.append((asker, set(exchange["want"])))
        return {
            "ids": ids[known:],
            "life": self._life,
            "seen": [],
            "clock": int(time.time() * 1000),
            "count": len(ids),
            "orders": [self._tells[each] for each in exchange["want"] if each in self._tells],
            "signature": None,
        }


def identified(word: dict[str, Any]) -> bytes:
    """By which agents know it (docs/agent-api.md)."""
    if "order" in word:
        return th("order", word["order"])
    return th("revoke-grant", th("grant", cbor2.loads(word["grant"])["grant"]))


@dataclass
class Rogues:
    """Two of them; a context manager."""

    taken: tuple[Taken, ...]
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.each = [self._stack.enter_context(Rogue(taken)) for taken in self.taken]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tell(self, words: list[dict[str, Any]]) -> None:
        for rogue in self.each:
            rogue.tell(words)

    def hand_on(self, words: list[dict[str, Any]], honest: int) -> None:
        """Until so many peers have asked for each of these, of which they have none, and have come to both rogues again
        thrice."""
        self.tell(words)
        wanted = set(map(identified, words))
        asked: dict[bytes, set[bytes]] = {}
        again: dict[bytes, list[int]] = {}

        def taken() -> bool:
            for number, rogue in enumerate(self.each):
                for asker, want in rogue.news():
                    asked.setdefault(asker, set()).update(want)
                    if wanted <= asked[asker]:
                        again.setdefault(asker, [0] * len(self.each))[number] += 1
            return len(again) >= honest and all(min(counts) > 3 for counts in again.values())

        deadline = time.monotonic() + PATIENCE
        while not taken():
            assert time.monotonic() < deadline, "its peers do not come"
            time.sleep(0.05)
