"""Several callers that sign, mac and heal all the while, and look at every result."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scene import AGENTS, CALLERS, THRESHOLD, Scene

from evanesce import Client, EvanesceError, Signature, Token, verify
from evanesce.errors import error

DEADLINE = 2.0
"""Seconds that an operation may take: what the SDK gives it unless told otherwise."""
HEALING = 6.0
"""Seconds for one step of a healing, which asks every agent and not the first that answer."""
PLENTY = AGENTS
"""Agents that a healing needs: each that has a seat."""
MESSAGES = tuple(b"message %d" % number for number in range(8))
"""What is maced: known tags to compare with."""


def _look_at(token: Token, message: bytes, signature: Signature) -> None:
    """Raises AssertionError for a signature that does not verify: an answer that is wrong is no refusal."""
    try:
        verify(token, message, signature)
    except EvanesceError as e:
        raise AssertionError(f"a wrong signature: {e}") from e


@dataclass(frozen=True)
class Done:
    """One operation, as its caller saw it."""

    caller: str
    what: str
    begin: float
    end: float
    error: BaseException | None = None
    needs: int = THRESHOLD
    """So many agents must be well for it."""
    limit: float = DEADLINE

    @property
    def took(self) -> float:
        return self.end - self.begin


@dataclass
class Traffic:
    """`start`, and `stop`; then what was done is in `done`. Alice signs, bob macs, on connections that stand; carol
    connects anew for each signature, as a command line does; dave heals a key, and signs with it between the steps."""

    scene: Scene
    done: list[Done] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _clients: list[Client] = field(default_factory=list)

    def start(self) -> None:
        token = Token.load(self.scene.token, trust_token=True)
        alice, bob, carol, dave = (self.scene.machines[caller].home for caller in CALLERS)
        signing, macing = (self._client(home) for home in (alice, bob))
        tags = {message: macing.mac(token, message, "hmac-sha256").value for message in MESSAGES}

        def sign(number: int) -> None:
            message = b"alice %d" % number
            _look_at(token, message, signing.sign(token, message, "ed25519"))

        def mac(number: int) -> None:
            message = MESSAGES[number % len(MESSAGES)]
            assert macing.mac(token, message, "hmac-sha256").value == tags[message], "a wrong tag"

        def sign_anew(number: int) -> None:
            message = b"carol %d" % number
            with Client(carol, deadline=DEADLINE) as client:
                _look_at(token, message, client.sign(token, message, "ed25519"))

        for caller, what, operate, pause, count in (
            ("alice", "sign", sign, 0.01, 3),
            ("bob", "mac", mac, 0.01, 3),
            ("carol", "sign anew", sign_anew, 0.15, 1),
        ):
            for _ in range(count):
                thread = threading.Thread(target=self._work, args=(caller, what, operate, pause))
                thread.start()
                self._threads.append(thread)

        healing = threading.Thread(target=self._heal, args=(dave,))
        healing.start()
        self._threads.append(healing)

    def _heal(self, home: Path) -> None:
        """A key that is refreshed, reshared and repaired in turn. Whatever fails, what there was still signs."""
        client = Client(home, deadline=HEALING)
        self._clients.append(client)
        first = Token.load(self.scene.healed, trust_token=True)
        token, old = first, []
        names = list(self.scene.agents)

        def refresh() -> None:
            take(client.refresh(token, trust_token=True).token)

        def reshare() -> None:
            names.reverse()
            take(client.reshare(token, quorum=f"{THRESHOLD} of ({', '.join(names)})", trust_token=True).token)

        def repair() -> None:
            nonlocal token
            token = client.repair(token, names[0], names[0], even_if_it_sits=True).token

        def take(made: Token) -> None:
            nonlocal token
            old.append(token)
            token = made

        def sign() -> None:
            _look_at(first, b"dave", client.sign(token, b"dave", "ed25519", deadline=DEADLINE))

        def retire() -> None:
            if old:
                done = client.retire(old[-1])
                if not done.dead:
                    missing = ", ".join(seat.holder for seat in done.missing)
                    raise error("quorum-not-met", f"not dead yet: {missing}", "Retire it again.")
                old.pop()

        for step in itertools.cycle((refresh, sign, retire, reshare, sign, retire, repair, sign)):
            if self._stop.is_set():
                return
            if step is sign:
                self._do("dave", "sign", sign)
            elif self.scene.rooted.acquire(blocking=False):
                try:
                    self._do("dave", step.__name__, step, PLENTY, HEALING)
                finally:
                    self.scene.rooted.release()
            time.sleep(0.05)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a call that never came back"
        for client in self._clients:
            client.close()

    def _client(self, home: Path) -> Client:
        client = Client(home, deadline=DEADLINE)
        self._clients.append(client)
        return client

    def _work(self, caller: str, what: str, operate: Callable[[int], None], pause: float) -> None:
        number = 0
        while not self._stop.is_set():
            self._do(caller, what, lambda number=number: operate(number))
            number += 1
            time.sleep(pause)

    def _do(
        self, caller: str, what: str, operate: Callable[[], None], needs: int = THRESHOLD, limit: float = DEADLINE
    ) -> None:
        begin, failed = time.monotonic(), None
        try:
            operate()
        except (EvanesceError, AssertionError) as e:
            failed = e
        self.done.append(Done(caller, what, begin, time.monotonic(), failed, needs, limit))
