"""Who is rolling over an operator's inventory: a folder `.evanesce-rolls` in it, a file for each agent.

    ID.json     the agent's name, when its roll over these files began, and whether every row was seen

It is there from before the first row is written until the agent's old roots are destroyed, so that one after the other
loses them and each can be looked at in between. A crash leaves it; the same roll takes it up again. One process at a
time has the inventory: a roll removes what another has put beside the files. It binds whoever uses this verb over this
folder, and no other copy of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from evanesce import _files
from evanesce._text import printable
from evanesce.errors import EvanesceError, error

FOLDER = ".evanesce-rolls"


@dataclass(frozen=True, slots=True)
class Roll:
    """One agent's roll over an inventory."""

    agent: str
    """Its id, 64 hex digits."""
    name: str
    """As its operator calls it."""
    began: float
    """Unix seconds."""
    finished: bool = False
    """Whether every row was seen; its old root is still there."""


@dataclass(frozen=True, slots=True)
class Rolls:
    """Those over one inventory."""

    root: Path

    @classmethod
    @contextlib.contextmanager
    def over(cls, inventory: Path) -> Iterator[Rolls]:
        """Holds the inventory meanwhile. Raises `not-found`, and `running` where another process has it."""
        if not inventory.is_dir():
            raise error("not-found", f"there is no folder {inventory}", "Name the inventory: a folder of token files.")
        root = _files.folder(inventory / FOLDER)
        with _files.reporting(f"hold {root}"):
            descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield cls(root)
        except BlockingIOError:
            raise error(
                "running", f"another roll runs over {inventory}", "One agent at a time: wait until it has ended."
            ) from None
        finally:
            os.close(descriptor)

    def noted(self, agent: str) -> bool:
        """Whether a roll of this agent is noted."""
        return self._read(agent) is not None

    def of(self, agent: str, name: str) -> Roll:
        """This agent's roll: as it was noted, or one that begins now and is not noted yet."""
        return self._read(agent) or Roll(agent, name, time.time())

    @contextlib.contextmanager
    def going_on(self, roll: Roll, journal: Path) -> Iterator[None]:
        """Notes durably that a roll is unfinished. Where it fails before it began, which leaves no `journal` in the
        agent's folder, the note is as it was before."""
        before = self._read(roll.agent)
        self._write(replace(roll, finished=False))
        try:
            yield
        except Exception:
            if not journal.exists():
                self.end(roll.agent) if before is None else self._write(before)
            raise

    def finish(self, roll: Roll) -> None:
        """Every row was seen; the old root stays until it is destroyed."""
        self._write(replace(roll, finished=True))

    def end(self, agent: str) -> None:
        """No old root is left, there is no row of the agent here, or it is lost."""
        with _files.reporting(f"remove the note of a roll in {self.root}"):
            self._path(agent).unlink(missing_ok=True)

    def others(self, agent: str) -> list[Roll]:
        """Those of other agents, the first that began first. Raises `roll` for a note that cannot be read."""
        ids = [path.stem for path in self.root.glob("*.json")]
        found = [roll for other in ids if other != agent and (roll := self._read(other)) is not None]
        return sorted(found, key=lambda roll: (roll.began, roll.agent))

    def in_the_way(self, own: Roll) -> list[Roll]:
        """Those that keep this one's old root from being destroyed: unfinished, or begun before it."""
        before = (own.began, own.agent)
        return [roll for roll in self.others(own.agent) if not roll.finished or (roll.began, roll.agent) < before]

    def named(self, words: Collection[str], own: Roll) -> list[Roll]:
        """The rolls of these other agents, each by its name or id. Raises `not-found` for one that has no roll here,
        and `usage` for this agent itself and for a name that several have."""
        found = []
        rolls = [own, *self.others(own.agent)]
        for word in words:
            meant = [roll for roll in rolls if word == roll.agent] or [roll for roll in rolls if word == roll.name]
            if len(meant) > 1:
                ids = ", ".join(roll.agent for roll in meant)
                raise error(
                    "usage", f"several agents here are called {printable(word)}", f"Name the one by its id: {ids}."
                )
            if meant == [own]:
                raise error("usage", f"{printable(word)} is this agent itself", "Name others that are lost.")
            if not meant:
                raise error("not-found", f"no roll of {printable(word)} is noted here", f"Look into {self.root}.")
            found += meant
        return found

    def give_up(self, lost: Collection[Roll]) -> None:
        """Takes it as said that these agents are lost."""
        for roll in lost:
            self.end(roll.agent)

    def require_first(self, own: Roll, lost: Collection[Roll]) -> None:
        """Raises `roll` where another agent, that is not among the lost, is in the way of destroying this one's old
        root."""
        waits = [roll for roll in self.in_the_way(own) if roll not in lost]
        if not waits:
            return
        left = {True: "old root is not destroyed yet", False: "roll is unfinished"}
        who = "; ".join(f"{printable(roll.name)}, whose {left[roll.finished]}" for roll in waits)
        raise error(
            "roll",
            f"one agent of an inventory at a time, in the order in which they began: {who}. Nothing was destroyed",
            "Finish that first: the same roll again, a drill, then --destroy-old there. If that agent is lost for "
            f"good, say so: --lost {printable(waits[0].name)}.",
        )

    def _path(self, agent: str) -> Path:
        return self.root / f"{agent}.json"

    def _write(self, roll: Roll) -> None:
        _files.write(self._path(roll.agent), (json.dumps(asdict(roll)) + "\n").encode(), overwrite=True)

    def _read(self, agent: str) -> Roll | None:
        try:
            found = Roll(**json.loads(_files.read(self._path(agent), limit=1 << 12)))
        except EvanesceError as e:
            if e.code == "not-found":
                return None
            raise
        except (ValueError, TypeError):
            found = None
        if found is None or found.agent != agent or not isinstance(found.began, int | float):
            raise error(
                "roll",
                f"{self._path(agent)} is damaged: it says that an agent's roll is unfinished",
                "If that agent has no old root left, or is lost, remove the file.",
            )
        return found
