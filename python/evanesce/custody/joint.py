"""Backups whose KEK is put together in a token alone: all custodians hand their components over to it, sealed.

The machine at which the key is restored is given nothing but ciphertext. What the module lets whoever has a session do
besides is tried, and said (docs/custody.md).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from evanesce import _core, _pem
from evanesce.custody.backup import Backup
from evanesce.custody.component import Component
from evanesce.custody.reference import Reference
from evanesce.errors import error, translate

if TYPE_CHECKING:
    from evanesce.client import Client


def make_transport(client: Client, key: str) -> tuple[bytes, list[str]]:
    """Makes a transport key in a token, an RSA pair that takes components in and does nothing else. `key`: its
    reference, hsm:MODULE/LABEL. Returns its public half (SubjectPublicKeyInfo, PEM), and each way by which whoever has
    a session there gets at what is put together. Raises `exists`, `unsupported`."""
    public, weaknesses = client.custody.hsm.make_transport(_in_a_module(key))
    return _pem.public_key(public), weaknesses


def weaknesses(client: Client, transport: str) -> list[str]:
    """The same ways, tried now. Raises `not-found`, `unsupported`."""
    return client.custody.hsm.joint_weaknesses(_in_a_module(transport))


def hand_over(
    backup: str | os.PathLike[str],
    custodian: str,
    key_file: str | os.PathLike[str],
    transport: bytes,
    to: str | os.PathLike[str],
) -> None:
    """A custodian's own step, on a machine of their own: opens their component of the backup with their key file, in
    the core's locked memory, and writes it to a new file, sealed to the transport key (SubjectPublicKeyInfo, PEM or
    DER). Raises `backup-invalid`, `bad-input`, `exists`."""
    found = Backup.load(Path(backup))
    if not found.joint:
        raise error(
            "bad-input",
            "this backup's key is assembled where it is restored: nothing of it is handed over",
            "Give the custodians' key files to `evanesce key restore`, or back the key up with --joint.",
        )
    try:
        sealed = _core.hand_over(
            found.label,
            found.kind,
            found.public,
            found.quorum,
            found.components,
            found.check,
            custodian,
            os.fspath(key_file),
            _pem.der(transport, "the transport key"),
        )
    except _core.CoreError as e:
        raise translate(e) from None
    Component(custodian, sealed).save(Path(to))


def fingerprint(transport: bytes) -> str:
    """SHA-256 of a transport key's SubjectPublicKeyInfo, given as PEM or DER, 64 hex digits: for people to compare, of
    what `hand_over` seals to. Raises `bad-input`."""
    return hashlib.sha256(_pem.der(transport, "the transport key")).hexdigest()


def _in_a_module(key: str) -> Reference:
    reference = Reference.parse(key)
    if reference.model != "hsm" or not reference.label:
        raise error("bad-input", f"{reference} is no key in a PKCS#11 token", "Name it as hsm:MODULE/LABEL.")
    return reference
