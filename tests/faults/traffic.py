"""Several callers that sign and mac all the while, and look at every result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scene import CALLERS, Scene

from evanesce import Client, EvanesceError, Token, verify

DEADLINE = 2.0
"""Seconds that an operation may take: what the SDK gives it unless told otherwise."""
MESSAGES = tuple(b"message %d" % number for number in range(8))
"""What is maced: known tags to compare with."""


@dataclass(frozen=True)
class Done:
    """One operation, as its caller saw it."""

    caller: str
    what: str
    begin: float
    end: float
    error: BaseException | None = None

    @property
    def took(self) -> float:
        return self.end - self.begin


@dataclass
class Traffic:
    """`start`, and `stop`; then what was done is in `done`. Alice signs, bob macs, on connections that stand; carol
    connects anew for each signature, as a command line does."""

    scene: Scene
    done: list[Done] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _clients: list[Client] = field(default_factory=list)

    def start(self) -> None:
        token = Token.load(self.scene.token, trust_token=True)
        alice, bob, carol = (self.scene.machines[caller].home for caller in CALLERS)
        signing, macing = (self._client(home) for home in (alice, bob))
        tags = {message: macing.mac(token, message, "hmac-sha256").value for message in MESSAGES}

        def sign(number: int) -> None:
            message = b"alice %d" % number
            verify(token, message, signing.sign(token, message, "ed25519"))

        def mac(number: int) -> None:
            message = MESSAGES[number % len(MESSAGES)]
            assert macing.mac(token, message, "hmac-sha256").value == tags[message], "a wrong tag"

        def sign_anew(number: int) -> None:
            message = b"carol %d" % number
            with Client(carol, deadline=DEADLINE) as client:
                verify(token, message, client.sign(token, message, "ed25519"))

        for caller, what, operate, pause, count in (
            ("alice", "sign", sign, 0.01, 3),
            ("bob", "mac", mac, 0.01, 3),
            ("carol", "sign anew", sign_anew, 0.15, 1),
        ):
            for _ in range(count):
                thread = threading.Thread(target=self._work, args=(caller, what, operate, pause))
                thread.start()
                self._threads.append(thread)

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
            begin, error = time.monotonic(), None
            try:
                operate(number)
            except (EvanesceError, AssertionError) as e:
                error = e
            self.done.append(Done(caller, what, begin, time.monotonic(), error))
            number += 1
            time.sleep(pause)
