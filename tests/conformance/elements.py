"""Secure elements for agents: roots in a file, in a SoftHSM token, or in NSS softokn.

Each agent gets an element of its own, in its own folder. Given roots go into PKCS#11 tokens through
`rust/element/examples/import_root.rs`, and the file they were read from is deleted: the agent has the token alone.

An imported root was outside once, and the token's attributes say so for ever (never CKA_ALWAYS_SENSITIVE). That
is no weakness of the element: what counts is whether a root can be got out of it now.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from files import private, quoted

RUST = Path(__file__).resolve().parents[2] / "rust"
IMPORT_ROOT = RUST / "target" / "release" / "examples" / "import_root"
BUILD = ("cargo", "build", "--release", "-p", "evanesce-element", "--example", "import_root")
BUILD_SECONDS = 3600
"""On a cold target folder AWS-LC is built, too, and another build may be in the way."""
COMMAND_SECONDS = 60

NSS_TOKEN = "NSS Certificate DB"
"""The label softokn gives its key database."""

PIN = "correct-horse"

Roots = Sequence[tuple[int, bytes]]
"""(epoch, 32-byte root), ascending by epoch."""


class ElementFailed(Exception):
    """An element cannot be had; says what to do, or what the tool that was to make it wrote."""


@dataclass(frozen=True, slots=True)
class Furnished:
    """What an agent needs to find its element."""

    table: str
    """agent.toml's [element] table."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Besides the agent's ordinary environment."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of element, and what must be said of it wherever it shows."""

    name: str
    says: str
    """Stands in the description it gives of itself."""
    weak: frozenset[str]
    """Verbs by which the probe gets its roots out. Empty: no weakness may be named anywhere."""
    furnish: Callable[[Path, Roots], Furnished]
    """Makes one with these roots in an agent's folder. Raises `ElementFailed`."""
    modules: Sequence[str] = ()
    """Where its PKCS#11 module may be."""
    tool: str = ""
    """The command that makes a token."""
    packages: str = ""
    """Debian's, that have both."""

    def module(self) -> str:
        """Where its PKCS#11 module is. Raises `ElementFailed`, saying what to install."""
        place = next((place for place in self.modules if Path(place).exists()), None)
        if place is None or shutil.which(self.tool) is None:
            missing = self.tool if place else "PKCS#11 module"
            raise ElementFailed(f"{self.says}: its {missing} is missing; run: apt-get install {self.packages}")
        return place

    def prepare(self) -> None:
        """What `furnish` will need is there, or is built now. Raises `ElementFailed`."""
        if self.modules:
            self.module()
            import_tool()

    def differences(self, who: str, element: str, weaknesses: Sequence[str]) -> list[str]:
        """What is wrong about what `who` (an agent's status, a receipt) says of an element of this kind."""
        wrong = []
        if self.says not in element:
            wrong.append(f"{who}: the element is {element!r}, must be {self.says}")
        if weaknesses and not self.weak:
            wrong.append(f"{who}: names weaknesses of an element that must have none: {'; '.join(weaknesses)}")
        if missing := self.weak - {weakness.partition(":")[0] for weakness in weaknesses}:
            named = "; ".join(weaknesses) or "none"
            wrong.append(f"{who}: does not name the weakness {', '.join(sorted(missing))}; named: {named}")
        return wrong


def _software(folder: Path, roots: Roots) -> Furnished:
    _write_roots(folder, roots)
    return Furnished('[element]\nkind = "software"\nroots = "roots"\n')


def _softhsm(folder: Path, roots: Roots) -> Furnished:
    module = SOFTHSM.module()
    tokens, configuration, label = folder / "tokens", folder / "softhsm2.conf", folder.name
    tokens.mkdir(mode=0o700)
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    private(folder / "pin", f"{PIN}\n")
    # PINs of tests: they are no secret, and this tool takes them in no other way.
    pins = ["--so-pin", "security-officer", "--pin", PIN]
    _run(["softhsm2-util", "--init-token", "--free", "--label", label, *pins], environment)
    _import(folder, roots, ["--module", module, "--token", label, "--pin", str(folder / "pin")], environment)
    table = (
        f'[element]\nkind = "pkcs11"\nmodule = {quoted(module)}\ntoken = {quoted(label)}\npin = {{ file = "pin" }}\n'
    )
    return Furnished(table, environment)


def _nss(folder: Path, roots: Roots) -> Furnished:
    module = NSS.module()
    database = folder / "nss"
    database.mkdir(mode=0o700)
    _run(["certutil", "-N", "-d", f"sql:{database}", "--empty-password"], {})
    arguments = f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    options = ["--module", module, "--token", NSS_TOKEN, "--init-args", arguments, "--accept-weak-element"]
    _import(folder, roots, options, {})
    table = (
        f'[element]\nkind = "pkcs11"\nmodule = {quoted(module)}\ntoken = {quoted(NSS_TOKEN)}\n'
        f"init_args = {quoted(arguments)}\naccept_weak_element = true\n"
    )
    return Furnished(table)


SOFTWARE = Kind("software", "software", frozenset(), _software)
SOFTHSM = Kind(
    "softhsm",
    "SoftHSM",
    frozenset(),
    _softhsm,
    (
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ),
    "softhsm2-util",
    "softhsm2",
)
NSS = Kind(
    "nss",
    "NSS",
    frozenset({"wrap", "copy", "derive"}),
    _nss,
    (
        "/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
        "/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so",
        "/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
        "/usr/lib64/libsoftokn3.so",
    ),
    "certutil",
    "libnss3 libnss3-tools",
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (SOFTWARE, SOFTHSM, NSS)}
"""By the name that `check.py --element` knows."""


@functools.cache
def import_tool() -> Path:
    """The test tool that imports roots, built if it is not there or older than its source. Raises `ElementFailed`."""
    source = RUST / "element" / "examples" / "import_root.rs"
    if not IMPORT_ROOT.exists() or IMPORT_ROOT.stat().st_mtime < source.stat().st_mtime:
        # The target folder is named, so that no setting puts the tool elsewhere.
        _run([*BUILD, "--target-dir", str(RUST / "target")], {}, folder=RUST, seconds=BUILD_SECONDS)
    return IMPORT_ROOT


def _import(folder: Path, roots: Roots, options: Sequence[str], environment: Mapping[str, str]) -> None:
    tool = import_tool()
    path = _write_roots(folder, roots)
    try:
        _run([str(tool), *options, str(path)], environment)
    finally:
        path.unlink()


def _write_roots(folder: Path, roots: Roots) -> Path:
    lines = "".join(f"{epoch} {root.hex()}\n" for epoch, root in roots)
    private(folder / "roots", f"evanesce software roots v1\n{lines}")
    return folder / "roots"


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None = None,
    seconds: float = COMMAND_SECONDS,
) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | environment,
            timeout=seconds,
        )
    except FileNotFoundError as why:
        raise ElementFailed(f"{command[0]} is not installed") from why
    except subprocess.TimeoutExpired as why:
        raise ElementFailed(f"{command[0]} did not end within {seconds:g} s") from why
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip()[-1000:]
        raise ElementFailed(f"{Path(command[0]).name} failed: {said or f'status {done.returncode}'}")
