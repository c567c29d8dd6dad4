"""hsm, measured: keys in a PKCS#11 module, its storage, who holds its PINs and backups, and what a lost module costs.

The module is SoftHSM in a folder of the sandbox's, with one token at each of two sites. It is software: what it keeps
is a file, and what it does is as quick as this machine. A module of hardware keeps its keys from whoever has its
disk, and is slower; measure yours with `--own`.

What needs another SoftHSM (a thief's) runs in a process of its own, since a module is started once in a process.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from evanesce import Client, EvanesceError, _core, verify
from evanesce.compare import coalitions, timing
from evanesce.compare.coalitions import Party
from evanesce.compare.results import (
    Agility,
    AtRest,
    Carried,
    Insider,
    Latency,
    NotMeasured,
    Recovery,
    Step,
    Switch,
    Timing,
)
from evanesce.compare.search import FORMS, search
from evanesce.compare.stores import searched
from evanesce.compare.subject import CannotMeasure, Sandbox, Subject, must

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
CUSTODIANS = ("alice", "bob", "carol")
QUORUM = "2 of (alice, bob, carol)"
PRESENT = ("alice", "carol")
MESSAGE = bytes(64)
SUITES = {"ecdsa-p256": "sign", "ed25519": "sign", "hmac-sha256": "mac", "aes-256-gcm": "encrypt"}
OF_CLASS = {"signature": "ecdsa-p256", "mac": "hmac-sha256", "cipher": "aes-256-gcm"}
BATCH = 400
"""Messages of one call when the rate is measured."""


def subject(sandbox: Sandbox) -> Subject:
    """See `evanesce.compare.subject`."""
    if sandbox.home is not None:
        from evanesce.compare.own_module import OwnModule

        return OwnModule(sandbox, sandbox.home)
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        raise CannotMeasure("SoftHSM is not installed here (Debian: softhsm2)")
    return Hsm(sandbox, module)


class Hsm:
    """hsm over SoftHSM: tokens `north`, which has the keys, and `south`, which is empty until it is needed."""

    title = "keys in a PKCS#11 module (SoftHSM here)"

    def __init__(self, sandbox: Sandbox, module: str) -> None:
        self._sandbox = sandbox
        self._module = module
        self._home = sandbox.folder / "home"
        self._pin, self._officer = secrets.token_hex(8), secrets.token_hex(8)
        self._before = os.environ.get("SOFTHSM2_CONF")

    def __enter__(self) -> Self:
        try:
            self._places = self._furnish(self._home, ("north", "south"))
            os.environ["SOFTHSM2_CONF"] = str(self._home / "softhsm2.conf")
            self._custodians()
            with self._client() as client:
                for suite in SUITES:
                    # Not every module wraps keys of every kind.
                    client.custody.create(f"hsm:north/{suite}", [suite], for_backup=suite == "ecdsa-p256")
                self._back_up(client, "ecdsa-p256", self._home / "backup.json")
                self._victim = client.custody.key("hsm:north/ecdsa-p256")
        except (EvanesceError, OSError, subprocess.SubprocessError) as e:
            self.__exit__()
            raise CannotMeasure(f"SoftHSM cannot be set up: {e}") from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            os.environ.pop("SOFTHSM2_CONF", None)
        else:
            os.environ["SOFTHSM2_CONF"] = self._before

    def _furnish(self, home: Path, tokens: tuple[str, ...]) -> dict[str, Path]:
        """A home with a SoftHSM of its own. Returns where each token's files are."""
        (home / "tokens").mkdir(parents=True, mode=0o700)
        _point_to(home)
        _private(home / "pin", self._pin)
        _private(home / "so-pin", self._officer)
        lines = []
        places: dict[str, Path] = {}
        for token in tokens:
            pins = ["--so-pin", self._officer, "--pin", self._pin]
            # The PINs of a sandbox's token; SoftHSM's own tool takes them no other way without a terminal.
            subprocess.run(
                ["softhsm2-util", "--init-token", "--free", "--label", token, *pins],
                env=os.environ | {"SOFTHSM2_CONF": str(home / "softhsm2.conf")},
                check=True,
                capture_output=True,
                timeout=30,
            )
            places[token] = next(path for path in (home / "tokens").iterdir() if path not in places.values())
            lines.append(
                f'[[hsm]]\nname = "{token}"\nmodule = "{self._module}"\ntoken = "{token}"\npin = {{ file = "pin" }}\n'
            )
        (home / "hsm.toml").write_text("\n".join(lines))
        return places

    def _custodians(self) -> None:
        folder = self._sandbox.folder / "custodians"
        folder.mkdir(mode=0o700)
        self._keys = {name: folder / f"{name}.key" for name in CUSTODIANS}
        self._public = {name: folder / f"{name}.der" for name in CUSTODIANS}
        for name in CUSTODIANS:
            self._public[name].write_bytes(_core.create_custodian(str(self._keys[name])))

    def _client(self) -> Client:
        return Client(self._home)

    def _back_up(self, client: Client, label: str, to: Path) -> None:
        terms = {"custodians": self._public, "quorum": QUORUM, "officer": self._home / "so-pin"}
        client.custody.back_up(f"hsm:north/{label}", to, **terms)

    # Material at rest.

    def at_rest(self) -> AtRest:
        key = secrets.token_bytes(32)
        written = self._sandbox.folder / "imported"
        _private(written, key)
        before = search(key, [self._home / "tokens"])
        with self._client() as client:
            client.custody.import_key("hsm:north/searched", ["hmac-sha256"], written, for_backup=True)
            value = client.mac("hsm:north/searched", b"x").value
            must(value == hmac.digest(key, b"x", "sha256"), "the MAC is another key's")
            self._back_up(client, "searched", self._home / "searched.json")
            there = [row["label"] for row in client.custody.describe("hsm:north")["keys"]]
        control = search(key, [written]).hits > 0
        written.unlink()
        after = search(key, [self._home / "tokens"])
        must("searched" in there, "the module does not list its key")
        stores = (
            searched(
                "site north, the module",
                f"{len(there)} keys, encrypted under the PIN (SoftHSM keeps them as files)",
                key,
                [self._home / "tokens"],
                "With the PIN: every key. A module of hardware would give none.",
                "the key",
            ),
            searched(
                "the backup's store",
                "the key, wrapped; its KEK in sealed components",
                key,
                [self._home / "searched.json", self._home / "backup.json"],
                "With two of three custodians' keys: the key. By itself: nothing.",
                "the key, wrapped",
            ),
            searched(
                "each custodian",
                "a private key that opens one component",
                key,
                list(self._keys.values()),
                "One component of three; with another and the backup: the key.",
            ),
            searched(
                "the caller's home",
                "which module, and the PIN's file",
                key,
                [self._home / "hsm.toml", self._home / "pin"],
                "The PIN: any use of every key, from wherever the module can be reached.",
            ),
        )
        return AtRest(
            stores,
            sum(one.bytes for one in stores),
            FORMS,
            control,
            f"{after.files - before.files} files and {after.bytes - before.bytes} bytes in the module, and a backup "
            "for as long as the key lives.",
            (
                "The key is there: the module lists it and works with it. That its bytes are not found says only that "
                "SoftHSM encrypts its files under the PIN, and the PIN is in the caller's home.",
            ),
        )

    # Insider compromise.

    def insider(self) -> Insider:
        parties = [
            Party("the caller's host", "caller", frozenset({"pin", "module"})),
            Party("the security officer", "officer", frozenset({"so-pin", "module"})),
            Party("site north's disk", "site", frozenset({"files"})),
            Party("the backup's store", "store", frozenset({"backup"})),
            *(Party(name, "custodian", frozenset({f"custodian:{name}"})) for name in CUSTODIANS),
        ]
        deeds = {"use": _can_use, "exfiltrate": _can_take, "destroy": _can_destroy}
        carried = (
            self._use(),
            self._take_disk(),
            self._restore_as(PRESENT),
            self._restore_as(PRESENT[:1]),
            self._destroy(),
        )
        words = "exfiltrate from the disk is SoftHSM's weakness, not that of a module of hardware."
        return coalitions.insider(parties, coalitions.of_each(parties, deeds), carried, [words])

    def _use(self) -> Carried:
        """A copy of the caller's home, in another process."""
        begin = time.perf_counter()
        copy = self._sandbox.folder / "stolen-home"
        copy.mkdir(mode=0o700)
        for name in ("hsm.toml", "pin"):
            shutil.copy2(self._home / name, copy / name)
        shutil.copy2(self._home / "softhsm2.conf", copy)
        signed = self._signs(copy, "hsm:north/ecdsa-p256")
        return Carried(
            "use",
            ("the caller's host",),
            "a signature that verifies, as often as one likes" if signed else "nothing",
            signed,
            "nothing: the module keeps no log of what it signs",
            time.perf_counter() - begin,
        )

    def _take_disk(self) -> Carried:
        """The module's files and the PIN, run elsewhere."""
        begin = time.perf_counter()
        thief = self._sandbox.folder / "thief-disk"
        shutil.copytree(self._home / "tokens", thief / "tokens")
        for name in ("hsm.toml", "pin"):
            shutil.copy2(self._home / name, thief / name)
        _point_to(thief)
        signed = self._signs(thief, "hsm:north/ecdsa-p256")
        return Carried(
            "exfiltrate",
            ("the caller's host", "site north's disk"),
            "every key of the module, for good, in a copy of it" if signed else "nothing",
            signed,
            "nothing: the victim's module was not asked",
            time.perf_counter() - begin,
        )

    def _restore_as(self, custodians: tuple[str, ...]) -> Carried:
        """The backup, and these custodians' keys, into a module of the thief's."""
        begin = time.perf_counter()
        thief = self._sandbox.folder / f"thief-{len(custodians)}"
        self._furnish(thief, ("loot",))
        held = [word for name in custodians for word in ("--custodian", f"{name}={self._keys[name]}")]
        words = ["key", "restore", "hsm:loot/key", "--from", str(self._home / "backup.json"), *held]
        done = self._elsewhere(thief, words)
        signed = done.returncode == 0 and self._signs(thief, "hsm:loot/key")
        return Carried(
            "exfiltrate",
            ("the backup's store", *custodians),
            "the key, in a module of the thief's" if signed else "nothing: too few custodians",
            signed,
            "nothing: nobody else was asked",
            time.perf_counter() - begin,
        )

    def _destroy(self) -> Carried:
        """In a copy of the module and of the backup's store."""
        begin = time.perf_counter()
        copy = self._sandbox.folder / "doomed"
        shutil.copytree(self._home, copy)
        _point_to(copy)
        words = ["key", "destroy", "hsm:north/ecdsa-p256", "--yes"]
        ended = self._elsewhere(copy, words).returncode == 0
        (copy / "backup.json").unlink()
        gone = ended and not self._signs(copy, "hsm:north/ecdsa-p256")
        return Carried(
            "destroy",
            ("the caller's host", "the backup's store"),
            "the key is nowhere any more" if gone else "nothing",
            gone,
            "that it is gone",
            time.perf_counter() - begin,
        )

    def _signs(self, home: Path, key: str) -> bool:
        """Whether a process with this home, and the SoftHSM that it points to, signs under the victim's key."""
        signature = home / "signature"
        message = home / "message"
        message.write_bytes(b"pay the thief")
        words = ["sign", key, str(message), "--suite", "ecdsa-p256", "--out", str(signature), "--force"]
        done = self._elsewhere(home, words)
        if done.returncode != 0:
            return False
        verify(self._victim, b"pay the thief", signature.read_bytes(), "ecdsa-p256")
        return True

    def _elsewhere(self, home: Path, words: list[str]) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"EVANESCE_HOME": str(home), "SOFTHSM2_CONF": str(home / "softhsm2.conf")}
        return subprocess.run(
            [sys.executable, "-m", "evanesce", *words, "--json"],
            env=environment,
            cwd=home,
            capture_output=True,
            check=False,
            timeout=60,
        )

    # Latency.

    def latency(self) -> Latency:
        arrangement = (
            "SoftHSM in the caller's process, 64-byte messages; rates from one thread, many messages in a call where "
            "there is such a call. There is no distance to a module that stands beside the caller"
        )
        with self._client() as client:
            keys = {suite: f"hsm:north/{suite}" for suite in SUITES}
            # Of no class: what SoftHSM does stands for no module of anybody's, and advice is not to take it for one.
            return Latency(tuple(timings(self._sandbox, client, keys).values()), {}, arrangement)

    # Crypto-agility.

    def agility(self) -> Agility:
        begin = time.perf_counter()
        with self._client() as client:
            client.custody.create("hsm:north/next", ["ecdsa-p384"], for_backup=True)
            self._back_up(client, "next", self._home / "next.json")
            present = {name: self._keys[name] for name in PRESENT}
            client.custody.restore("hsm:south/next", self._home / "next.json", custodians=present)
            for place in ("north", "south"):
                signature = client.sign(f"hsm:{place}/next", MESSAGE, "ecdsa-p384")
                verify(client.custody.key("hsm:north/next"), MESSAGE, signature)
            took = time.perf_counter() - begin
            try:
                client.custody.create("hsm:north/later", ["ml-dsa-65"])
                lacking = ""
            except EvanesceError as e:
                lacking = e.message
        must(bool(lacking), "a module has an algorithm that it was said to lack")
        return Agility(
            (
                Switch(
                    "ecdsa-p256",
                    "ecdsa-p384",
                    "a new key in one module, backed up to its custodians, restored into the other; its public key "
                    "handed out. Without the time that people take",
                    4,
                    2,
                    2,
                    took,
                ),
                Switch("ecdsa-p256", "ml-dsa-65", f"not without another firmware: {lacking}", 0, 0, 0, None),
            )
        )

    # Backup and recovery.

    def recovery(self) -> Recovery | NotMeasured:
        backup = (self._home / "backup.json").stat().st_size
        present = {name: self._keys[name] for name in PRESENT}
        steps = []
        with self._client() as client:
            shutil.rmtree(self._places["north"])
            begin = time.perf_counter()
            client.custody.restore("hsm:south/ecdsa-p256", self._home / "backup.json", custodians=present)
            signature = client.sign("hsm:south/ecdsa-p256", MESSAGE, "ecdsa-p256")
            verify(self._victim, MESSAGE, signature)
        by = f"{len(PRESENT)} of {len(CUSTODIANS)} custodians"
        words = f"restored into the module at the other site by {by}, and the next signature"
        steps.append(
            Step(words, time.perf_counter() - begin, True, "without the time that it takes to bring them together")
        )
        begin = time.perf_counter()
        third = self._sandbox.folder / "third"
        self._furnish(third, ("west",))
        held = [word for name in PRESENT for word in ("--custodian", f"{name}={self._keys[name]}")]
        words_of_cli = ["key", "restore", "hsm:west/key", "--from", str(self._home / "backup.json"), *held]
        done = self._elsewhere(third, words_of_cli)
        ok = done.returncode == 0 and "error" not in json.loads(done.stdout or b"{}")
        ok = ok and self._signs(third, "hsm:west/key")
        steps.append(
            Step("a new module set up, the key restored into it: two copies again", time.perf_counter() - begin, ok)
        )
        return Recovery(
            "site north: the module that has the keys",
            tuple(steps),
            f"A wrapped copy of each key ({backup} bytes), the keys of three custodians, and a second module.",
        )


def _can_use(has: frozenset[str]) -> bool:
    return {"pin", "module"} <= has or _can_take(has)


def _can_take(has: frozenset[str]) -> bool:
    return {"files", "pin"} <= has or ("backup" in has and _custodians_in(has) >= 2)


def _can_destroy(has: frozenset[str]) -> bool:
    in_module = {"pin", "module"} <= has or {"so-pin", "module"} <= has or "files" in has
    return in_module and ("backup" in has or _custodians_in(has) >= 2)


def _custodians_in(has: frozenset[str]) -> int:
    return sum(one.startswith("custodian:") for one in has)


def timings(sandbox: Sandbox, client: Client, keys: Mapping[str, str]) -> dict[str, Timing]:
    """Of each suite, by a key that it names."""
    found: dict[str, Timing] = {}
    for suite, key in keys.items():
        sandbox.say(f"hsm: {suite}, {sandbox.samples} one at a time")
        operate, batch, size = _operations(client, suite, key)
        p50, p99 = timing.one_at_a_time(operate, sandbox.samples)
        rate = timing.rate_of(batch, sandbox.seconds) * size
        found[suite] = Timing(suite, SUITES[suite], p50, p99, sandbox.samples, rate, 1, in_call=size)
    return found


def _operations(client: Client, suite: str, key: str) -> tuple[Callable[[], object], Callable[[], object], int]:
    """One operation; one call with many, and how many."""
    if suite.startswith("hmac"):
        messages = [MESSAGE] * BATCH
        return lambda: client.mac(key, MESSAGE, suite), lambda: client.mac_many(key, messages, suite), BATCH
    if suite.endswith("gcm"):
        return (operate := lambda: client.encrypt(key, MESSAGE, b"", suite)), operate, 1
    return (sign := lambda: client.sign(key, MESSAGE, suite)), sign, 1


def _point_to(home: Path) -> None:
    """A SoftHSM whose tokens are in this folder."""
    (home / "softhsm2.conf").write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")


def _private(path: Path, data: str | bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
