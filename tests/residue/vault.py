"""A PKCS#11 token beside the caller, with working keys that come from a root which a quorum keeps.

The root and every version of the working key are looked for like any other secret. The module has its keys sealed in
its files, and computes with them in the caller's process: nothing of that is set aside.
"""

from __future__ import annotations

import hmac
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .canaries import Canary, Deal, Kept
from .conformance import PIN, SOFTHSM, expand, hkdf, private, quoted

NAME = "vault"
LABEL = "working"
ROOT = "working-root"
"""The token that the workload mints for it."""
SUITE, LENGTH = "hmac-sha256", 32
RENEWALS = 3
KEPT = 2
"""Versions, after them."""
MADE = "made under it"
"""The file, in the vault's folder, of a MAC under the newest version."""


_CKA_VALUE = 0x11


class Vault:
    """One SoftHSM token, which the caller whose home this is knows."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        (folder / "tokens").mkdir(parents=True)
        configuration = folder / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.environment = {"SOFTHSM2_CONF": str(configuration)}
        pins = ["--so-pin", "security-officer", "--pin", PIN]
        making = ["softhsm2-util", "--init-token", "--free", "--label", NAME, *pins]
        subprocess.run(making, env=self.environment, check=True, capture_output=True)
        private(home / "pin", f"{PIN}\n")
        (home / "hsm.toml").write_text(
            f'[[hsm]]\nname = "{NAME}"\nmodule = {quoted(SOFTHSM.module())}\ntoken = "{NAME}"\n'
            'pin = { file = "pin" }\n'
        )


def at_rest(vault: Vault) -> Iterator[Canary]:
    """The sealed value of every key that the module keeps: in a file each, and nowhere else."""
    for path in sorted(vault.folder.glob("tokens/*/*.object")):
        value = _value(path.read_bytes())
        if value:
            place = Kept(NAME, 0, str(path.relative_to(vault.folder.parent)))
            yield Canary(f"the key that {path.name} has", value, place)


def _value(stored: bytes) -> bytes:
    """CKA_VALUE in a file of SoftHSM's (OSAttributes.h); nothing where there is none, as of what it refused to make."""
    rest = memoryview(stored)[8:]
    while len(rest) > 16:
        attribute, form = struct.unpack_from(">QQ", rest)
        size = {1: 1, 2: 8}.get(form)
        start = 16
        if size is None:
            (size,) = struct.unpack_from(">Q", rest, 16)
            start = 24
        if attribute == _CKA_VALUE:
            return bytes(rest[start : start + size])
        rest = rest[start + size :]
    return b""


def of_root(root: Deal, message: bytes, mac: bytes) -> Iterator[Canary]:
    """Every version of the working key that is derived from it (docs/custody.md; PROTOCOL §7, `derive`). Raises
    `ValueError` where the newest did not make that MAC: what is searched for would be nothing."""
    material = hkdf(root.seed, root.token.header["key"], b"key/hkdf-sha256", 32)
    for version in range(1, RENEWALS + 1):
        context = f"evanesce/v1/working-key\0{SUITE}\0{LABEL}\0{version}".encode()
        key = expand(material, LENGTH.to_bytes(4, "big") + context, LENGTH)
        yield Canary(f"working key {version}", key)
    if hmac.digest(key, message, "sha256") != mac:
        raise ValueError("the working key is another one than is computed here")
