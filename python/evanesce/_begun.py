"""Which reshares this home has begun: a settled header is good for one mint (PROTOCOL §8).

A mark is named by the new header's `deal`, which its nonce is part of: people may be asked about one header twice,
under two salts. Whoever performs it holds its lock, so that of two at once the second does not call the first over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evanesce import _files, _planned
from evanesce.approvals import Request
from evanesce.errors import EvanesceError, error

_BEGUN = b"begun\n"


@dataclass
class Mint:
    """One that is under way."""

    dealt: bool = False
    """Whether there is a new token: its header is used up then, whatever fails afterwards."""


@contextlib.contextmanager
def once(home: Path, asked: Request) -> Iterator[Mint]:
    """What may have begun a mint is not begun again, whatever became of it. Raises `spent`, and `running` while another
    is at it."""
    mark = _files.folder(home / "asked" / "begun") / _planned.read(asked)["deal"].hex()
    descriptor = _lock(mark, asked)
    try:
        if os.read(descriptor, len(_BEGUN)):
            raise error(
                "spent",
                f"request {asked.id} was begun before: the header that people approved is good for one mint",
                "If it was not finished, ask people anew, with another request: the old token is as it was, unless a "
                "new one was saved. Of a key that is never put together, use that one then.",
            )
        with _files.reporting(f"write {mark}"):
            os.write(descriptor, _BEGUN)
            os.fsync(descriptor)
            _files.sync_folder(mark.parent)
        mint = Mint()
        try:
            yield mint
        except EvanesceError as e:
            # Of all others it is known that nothing was dealt.
            if not mint.dealt and e.code not in ("spent", "internal", "memory"):
                mark.unlink(missing_ok=True)
            raise
    finally:
        os.close(descriptor)


def _lock(mark: Path, asked: Request) -> int:
    while True:
        with _files.reporting(f"open {mark}"):
            descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if mark.exists() and os.path.samestat(os.fstat(descriptor), mark.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise error(
                "running",
                f"another wait is at request {asked.id}",
                "Let it end; if it does not finish, wait again.",
            ) from None
        except FileNotFoundError:
            pass  # whoever had it took the mark back
        os.close(descriptor)
