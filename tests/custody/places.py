"""Places that keep keys, one for each model: what the same tests are run against.

A place knows how its model is set up and named, and nothing of what it is asked to do. PKCS#11 modules are started once
per process, so each has one place, in which every test makes keys of its own.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from elements import NSS, NSS_TOKEN, PIN, SOFTHSM
from files import private, quoted

from evanesce import Client
from evanesce.custody import Model
from evanesce.custody.hsm import Hsm

SO_PIN = "security-officer"


@dataclass
class Place:
    """Where one model keeps keys."""

    name: str
    model: type[Model]
    home: Path
    prefix: str
    """Of its references, up to the key's own name."""
    suite: str = "ecdsa-p256"
    """In which it signs, where any will do."""
    environment: dict[str, str] = field(default_factory=dict)
    """For processes that use it as well."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def client(self) -> Client:
        return Client(self.home)

    def fresh(self) -> str:
        """A reference that nothing has yet."""
        return f"{self.prefix}key-{next(self._numbers)}"


def softhsm(folder: Path, *tokens: str) -> Place:
    """A SoftHSM with these tokens; the first is the place's. The environment must stay as it is set here."""
    module = SOFTHSM.module()
    (folder / "tokens").mkdir(parents=True)
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    private(folder / "pin", f"{PIN}\n")
    private(folder / "so-pin", f"{SO_PIN}\n")
    lines = []
    for token in tokens:
        pins = ["--so-pin", SO_PIN, "--pin", PIN]
        _run("softhsm2-util", "--init-token", "--free", "--label", token, *pins)
        lines.append(
            f"[[hsm]]\nname = {quoted(token)}\nmodule = {quoted(module)}\ntoken = {quoted(token)}\n"
            'pin = { file = "pin" }\n'
        )
    (folder / "hsm.toml").write_text("\n".join(lines))
    return Place("hsm(SoftHSM)", Hsm, folder, f"hsm:{tokens[0]}/", environment={"SOFTHSM2_CONF": str(configuration)})


def nss(folder: Path) -> Place:
    """An NSS softokn with an empty database."""
    module = NSS.module()
    database = folder / "nss"
    database.mkdir(parents=True)
    _run("certutil", "-N", "-d", f"sql:{database}", "--empty-password")
    arguments = f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    (folder / "hsm.toml").write_text(
        f'[[hsm]]\nname = "nss"\nmodule = {quoted(module)}\ntoken = {quoted(NSS_TOKEN)}\n'
        f"init_args = {quoted(arguments)}\n"
    )
    return Place("hsm(NSS)", Hsm, folder, "hsm:nss/")


def of_quorum(model: type[Model], home: Path) -> Place:
    """A caller of running agents."""
    return Place(model.name, model, home, f"{model.name}:", next(iter(model.operations()["sign"])))


def command(
    home: Path, *words: object, status: int | None = 0, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """A command line of its own process, which has started no module yet, in this home; it must end so, if said."""
    done = subprocess.run(
        [sys.executable, "-m", "evanesce", *map(str, words)],
        input=stdin,
        capture_output=True,
        env=os.environ | environment | {"EVANESCE_HOME": str(home)},
        timeout=120,
        check=False,
    )
    assert status in (None, done.returncode), done.stderr.decode() + done.stdout.decode()
    return done


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
