"""SoftHSM tokens for five agents: real PKCS#11 elements without hardware."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
PIN = "240611"


@dataclass(frozen=True)
class Beside:
    """A module beside a caller, with one token."""

    module: str
    token: str
    pin: Path


def prepare(folder: Path, names: list[str]) -> str:
    """Makes a token per name and returns the `[element]` lines, `{name}` standing for the agent's name."""
    module, pin = _tokens(folder, names)
    return (
        f'kind = "pkcs11"\nmodule = "{module}"\ntoken = "{{name}}"\nroot_label = "bench"\n'
        f'pin = {{{{ file = "{pin}" }}}}'
    )


def beside(folder: Path, home: Path, name: str) -> Beside:
    """Makes a token that the caller of this home knows by its name."""
    module, pin = _tokens(folder, [name])
    (home / "hsm.toml").write_text(
        f'[[hsm]]\nname = "{name}"\nmodule = "{module}"\ntoken = "{name}"\npin = {{ file = "{pin}" }}\n'
    )
    return Beside(module, name, pin)


def _tokens(folder: Path, names: list[str]) -> tuple[str, Path]:
    """Of this process's SoftHSM and its children's from now on: the module, and the PIN's file."""
    (folder / "tokens").mkdir(parents=True)
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    for name in names:
        command = [
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            name,
            "--so-pin",
            "1234567890",
            "--pin",
            PIN,
        ]
        subprocess.run(command, check=True, capture_output=True)
    pin = folder / "pin"
    pin.touch(mode=0o600)
    pin.write_text(PIN)
    return next((path for path in MODULES if Path(path).exists()), MODULES[0]), pin
