"""Keys that are made at one's own agents or in one's own module to be measured, and ended in the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

from evanesce import Client
from evanesce.compare.subject import Sandbox
from evanesce.home import Home

Made = TypeVar("Made")


class OwnKeys(ABC, Generic[Made]):
    """What was made, of one home."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        self._sandbox = sandbox
        self._home = Home.at(home)
        self._made: list[Made] = []

    def _kept(self, key: Made) -> Made:
        """Ended when all is measured."""
        self._made.append(key)
        return key

    def __exit__(self, *_: object) -> None:
        if not self._made:
            return
        with Client(self._home.root) as client:
            while self._made:
                if why := self._end(client, self._made.pop()):
                    self._sandbox.say(why)

    @abstractmethod
    def _end(self, client: Client, key: Made) -> str:
        """Ends it. What is left of it, in words; empty for nothing."""
