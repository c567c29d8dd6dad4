"""A witness: it remembers how far it saw each log, and cosigns only what goes on from there (C2SP tlog-cosignature).

What it saw is kept in one file, written before anything is signed, so that a crash never lets it sign two logs that
contradict each other. Two witnesses with one file wait for each other; two files make two witnesses.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evanesce import _core, _files
from evanesce.audit.logs import Log, named
from evanesce.errors import error, translate


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What a witness has just vouched for."""

    checkpoint: str
    """The checkpoint with its cosignature."""
    origin: str
    size: int
    before: int
    """Entries it had seen before."""
    vkey: str
    """The witness's own, for those who rely on it."""


def witness(log: Log, name: str, key: Path, state: Path, log_key: str | None = None) -> Witnessed:
    """Checks that an exported log goes on from what this witness saw of it before, and cosigns its checkpoint.

    `key`: PKCS#8 PEM of an Ed25519 key that does nothing else. `log_key`: the log's vkey from a trusted place, needed
    when the log is seen for the first time. Raises `log-invalid` for a fork, a rollback, or another key.
    """
    try:
        vkey = _core.witness_key(name, str(key), False)
        with _files.reporting(f"write {state}"):
            lock = os.open(f"{state}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            seen = _read(state)
            before = _check(log, seen, log_key)
            _files.write(state, (json.dumps(seen, indent=2) + "\n").encode(), mode=0o600, overwrite=True)
            signed = _core.cosign(log.core.checkpoint, name, str(key), int(time.time()))
        finally:
            os.close(lock)
    except _core.CoreError as e:
        raise translate(e) from None
    return Witnessed(signed, log.core.origin, log.core.size, before, vkey)


def _check(log: Log, seen: dict[str, Any], log_key: str | None) -> int:
    origin = log.core.origin
    known = seen.get(origin)
    vkey = log_key or (known and known["vkey"])
    if not vkey:
        raise error(
            "usage",
            f"{log.path}: this witness sees {origin} for the first time",
            "Say which key signs it: --log-key, from its operator's own hands.",
        )
    name, key = _core.log_key(vkey)
    if known and key != _core.log_key(known["vkey"])[1]:
        raise error("log-invalid", f"{log.path}: {origin} had another key when it was last seen")
    if name != origin:
        raise error("log-invalid", f"{log.path}: the key is of {name}, the log is {origin}")
    named(log.path, lambda: log.core.signed_by(key))
    before = int(known["size"]) if known else 0
    if known and not named(log.path, lambda: log.core.since(before, bytes.fromhex(known["root"]))):
        raise error(
            "log-invalid",
            f"{log.path}: it has {log.core.size} entries, and had {before} when it was last seen",
            "It was rolled back, or this is an old copy: get the newest. It is not cosigned.",
        )
    seen[origin] = {"vkey": vkey.strip(), "size": log.core.size, "root": log.core.root.hex()}
    return before


def _read(state: Path) -> dict[str, Any]:
    if not state.exists():
        return {}
    try:
        seen = json.loads(_files.read(state))
        for row in seen.values():
            _core.log_key(row["vkey"])
            if not isinstance(row["size"], int) or len(bytes.fromhex(row["root"])) != 32:
                raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, _core.CoreError):
        raise error(
            "config",
            f"{state} is not what a witness wrote",
            "Restore it: without it the witness would vouch for whatever it is shown first.",
        ) from None
    return dict(seen)
