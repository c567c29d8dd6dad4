"""hsm over the caller's own module, the first that its home names: timed, with keys that are made for it and destroyed.

Nothing is backed up, restored or taken from it, and what it keeps cannot be searched from here.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Self

from evanesce import Client, EvanesceError, verify
from evanesce.compare import hsm
from evanesce.compare.own_keys import OwnKeys
from evanesce.compare.results import Agility, AtRest, Insider, Latency, NotMeasured, Recovery, Switch
from evanesce.compare.subject import CannotMeasure, Sandbox
from evanesce.custody import modules


class OwnModule(OwnKeys[str]):
    """hsm over a module of a home folder."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        super().__init__(sandbox, home)
        self._prefix = f"evanesce-compare-{secrets.token_hex(4)}"

    def __enter__(self) -> Self:
        try:
            named = modules.read(self._home.modules)
            if not named:
                raise CannotMeasure(f"{self._home.modules} names no module")
            self._name = next(iter(named))
            self.title = f"keys in your module {self._name}"
            with Client(self._home.root) as client:
                self._keys = {suite: key for suite in hsm.SUITES if (key := self._create(client, suite)) is not None}
        except EvanesceError as e:
            self.__exit__()
            raise CannotMeasure(f"your module makes no key for this: {e.message}") from None
        if not self._keys:
            raise CannotMeasure(f"your module {self._name} has none of {', '.join(hsm.SUITES)}")
        return self

    def _end(self, client: Client, key: str) -> str:
        try:
            client.custody.destroy(key)
        except EvanesceError as e:
            return f"not destroyed: {key}: {e.message}"
        return ""

    def _create(self, client: Client, suite: str) -> str | None:
        """A key, or None where the module has no such kind."""
        key = f"hsm:{self._name}/{self._prefix}-{suite}"
        try:
            client.custody.create(key, [suite])
        except EvanesceError as e:
            if e.code == "unsupported":
                return None
            raise
        return self._kept(key)

    def at_rest(self) -> AtRest | NotMeasured:
        return NotMeasured(
            "what your module keeps cannot be searched from here; `evanesce key describe` lists its keys"
        )

    def insider(self) -> Insider | NotMeasured:
        return NotMeasured(
            "who has your PINs and backups is not written down anywhere here; without --own a SoftHSM's are"
        )

    def latency(self) -> Latency:
        with Client(self._home.root) as client:
            found = hsm.timings(self._sandbox, client, self._keys)
        of_class = {name: found[suite] for name, suite in hsm.OF_CLASS.items() if suite in found}
        return Latency(
            tuple(found.values()), of_class, f"your module {self._name}, 64-byte messages; rates from one thread"
        )

    def agility(self) -> Agility | NotMeasured:
        begin = time.perf_counter()
        with Client(self._home.root) as client:
            key = self._create(client, "ecdsa-p384")
            if key is None:
                return NotMeasured(f"your module {self._name} has no ecdsa-p384 to change to")
            verify(client.custody.key(key), hsm.MESSAGE, client.sign(key, hsm.MESSAGE, "ecdsa-p384"))
        how = "a new key in this module; backup and other modules are not in this"
        return Agility((Switch("ecdsa-p256", "ecdsa-p384", how, 1, 1, 0, time.perf_counter() - begin),))

    def recovery(self) -> Recovery | NotMeasured:
        return NotMeasured(
            "nothing is backed up from your module, and it is not taken away; without --own a SoftHSM is"
        )
