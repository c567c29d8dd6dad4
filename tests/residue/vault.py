"""A PKCS#11 token beside the caller, with working keys that come from a root which a quorum keeps.

The root and every version of the working key are looked for like any other secret. The module has its keys sealed in
its files, and computes with them in the caller's process: nothing of that is set aside.
"""

from __future__ import annotations

import hmac
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .canaries import Canary, Deal
from .conformance import PIN, SOFTHSM, expand, hkdf, private, quoted

NAME = "vault"
LABEL = "working"
ROOT = "working-root"
"""The token that the workload mints for it."""
SUITE, LENGTH = "hmac-sha256", 32
RENEWALS = 3
MADE = "made under it"
"""The file, in the vault's folder, of a MAC under the newest version."""


class Vault:
    """One SoftHSM token, which the caller whose home this is knows."""

    def __init__(self, folder: Path, home: Path) -> None:
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
