"""The state of a healing, beside the file it writes: so that what was stopped is gone on with, and nothing is lost.

`OUT.healing` is JSON: what was asked (as a digest), the old token's id, the new token itself, whether it was opened
and, while people are asked for that, the request. It is written durably before the new token's file, so a new token
that agents were seated for outlives any crash; it goes when all is done.
The old token's file is kept beside the new one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evanesce import Token, _files
from evanesce._heal import is_successor
from evanesce._text import printable, short
from evanesce.approvals import Request
from evanesce.errors import EvanesceError, error


@dataclass(frozen=True, slots=True)
class Healing:
    """One refresh or reshare, as far as it got."""

    out: Path
    old: Token
    asked: str
    """A digest of what is to be different."""
    beside: Path | None = None
    """The file that the state lies beside, where that is not `out`."""

    @property
    def state(self) -> Path:
        at = self.beside or self.out
        return at.with_name(f"{at.name}.healing")

    @property
    def kept(self) -> Path:
        """Where the old token stays when the new one takes its place."""
        return self.out.with_name(f"{self.out.name}.{self.old.id[:16]}.old")

    @classmethod
    def of(cls, out: Path, old: Token, verb: str, changes: dict[str, Any]) -> Healing:
        asked = json.dumps([verb, changes], sort_keys=True).encode()
        return cls(out, old, hashlib.sha256(asked).hexdigest())

    def holds(self) -> bool:
        """Whether the state is this very healing's."""
        try:
            found = json.loads(_files.read(self.state))
            return bool(found["old"] == self.old.id and found["asked"] == self.asked)
        except (EvanesceError, ValueError, KeyError, TypeError):
            return False

    def resume(self, home: Path) -> Token | None:
        """The new token of a run that was stopped after it was minted. Raises `exists` where another healing was
        stopped here."""
        if not self.state.exists():
            return None
        try:
            found = json.loads(_files.read(self.state))
            same = found["old"] == self.old.id and found["asked"] == self.asked
            new = base64.b64decode(found["new"], validate=True)
        except (ValueError, KeyError, TypeError):
            raise error("io", f"{self.state} is damaged", "Remove it, and begin again.") from None
        if not same:
            raise error(
                "exists",
                f"another healing (of token {short(printable(str(found['old'])))}, or on other terms) was stopped here",
                f"Run that one again to finish it; or remove {self.state} to give it up.",
            )
        token = Token.decode(new, home=home)
        if not is_successor(token, self.old):
            todo = "Remove that file, and begin again: the old token is as it was."
            if self.old.model != "regen":
                todo = (
                    "Keep that file: if it was, and its pin could not be kept, the old shares may be gone. Does the "
                    f"old token sign? Then begin again without it; else add {token.id} to the home's pins."
                )
            raise error(
                "unpinned",
                f"nothing here says that the new token in {self.state} is one that was minted here",
                todo,
            )
        return token

    def note(self, new: Token, opening: Request | None = None) -> None:
        """The new token, durably; with a request for its first `opening`, where that is still to be approved."""
        kept: dict[str, Any] = {
            "old": self.old.id,
            "asked": self.asked,
            "new": base64.b64encode(new.encode()).decode(),
            "opened": opening is None,
        }
        if opening is not None:
            kept["opening"] = opening.encode().decode()
        _files.write(self.state, (json.dumps(kept) + "\n").encode(), mode=0o600, overwrite=True)

    def opening(self, new: Token, caller: str, home: Path) -> Request | None:
        """The request for the new token's first opening, unless it is noted that it was opened. What lies here could be
        another request, or none: nothing else is performed, and people are then asked anew."""
        kept = json.loads(_files.read(self.state))
        if kept.get("opened") is True:
            return None
        try:
            found = Request.decode(kept["opening"].encode(), home=home)
        except (KeyError, AttributeError, EvanesceError):
            found = None
        if found is not None and (found.action, found.token.id, found.caller) == ("open", new.id, caller):
            return replace(found, token=new)
        made = Request.to_open(new, caller)
        self.note(new, made)
        return made

    def place(self, new: Token, armored: bool, in_place: bool, force: bool) -> None:
        """Gives the new token its file. In place of the old one's, that is kept beside it first. Raises `exists` where
        the file holds another token by now."""
        if not in_place:
            if not self._is(self.out, new):
                new.save(self.out, armored=armored, force=force)
            return
        with _files.alone_in(self.out.parent):
            self._replace(new, armored)

    def _replace(self, new: Token, armored: bool) -> None:
        now = Token.load(self.out) if self.out.exists() else self.old
        if now.id == new.id:
            return  # with rows that may be newer
        if now.id != self.old.id:
            raise error(
                "exists",
                f"{self.out} holds another token by now; the new one is kept in {self.state}",
                f"Move that file away and put token {short(self.old.id)} back, then say the same again.",
            )
        if not self.kept.exists():
            now.save(self.kept)
        new.save(self.out, armored=armored, force=True)

    def done(self) -> None:
        self.state.unlink(missing_ok=True)

    @staticmethod
    def _is(path: Path, token: Token) -> bool:
        try:
            return path.exists() and Token.load(path).id == token.id
        except EvanesceError:
            return False
