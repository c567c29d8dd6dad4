"""The agents, the caller, the reconstructor that works for others and the scanner of a run: their folders, their
processes, a line to each but the reconstructor, which becomes a program that takes no commands.

Everything a process of the run may write to lies under one folder: agents' folders, the caller's home, HOME and
TMPDIR. The processes run the audit build and may dump core, each into its own folder. They are ended by their ids;
nothing outlives the household.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from .canaries import Canary, Kept
from .conformance import agent_id, th
from .dealing import Holder
from .vault import Vault

ROOT = Path(__file__).parents[2]
AUDIT = ROOT / ".build" / "audit"
START_SECONDS = 60
ANSWER_SECONDS = 180
STOP_SECONDS = 30

CORE_LIMIT = resource.RLIM_INFINITY if os.geteuid() == 0 else resource.getrlimit(resource.RLIMIT_CORE)[1]
"""Bytes a core file may have: as many as we may grant."""

EPOCHS = (1, 2)
"""Every agent has a root of each; new tokens are seated under the last."""
SEALED = "agent-5"
"""The agent whose roots are sealed under a passphrase."""
_ARGON2 = (19 << 10, 1, 1)
"""KiB, passes, lanes: the least that a sealed file may have."""


class Failed(Exception):
    """A process did not do its part; says which and what it wrote last."""


@dataclass
class Watched:
    """One process of the run."""

    name: str
    folder: Path
    role: Sequence[str]
    takes_commands: bool = True
    """False for one that is looked at and written to from outside alone."""
    process: subprocess.Popen[bytes] | None = None
    _line: Any = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.residue.inside", "--control", str(theirs.fileno()), *self.role],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=environment,
            )
            resource.prlimit(self.pid, resource.RLIMIT_CORE, (CORE_LIMIT, CORE_LIMIT))
            ours.settimeout(ANSWER_SECONDS)
            self._line = ours.makefile("rwb")

    def ask(self, **command: Any) -> dict[str, Any]:
        """Its answer to a command. Raises `Failed`."""
        try:
            self._line.write(json.dumps(command).encode() + b"\n")
            self._line.flush()
            answer: dict[str, Any] = json.loads(self._line.readline())
        except (OSError, ValueError) as e:
            raise Failed(f"{self.name} does not answer {command['do']}: {e}\n{self.said()}") from e
        if "failed" in answer:
            raise Failed(f"{self.name}: {answer['failed']}")
        return answer

    def said(self) -> str:
        """The end of what it wrote."""
        return (self.folder / "output").read_text(errors="replace")[-3000:]

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.alive():
            os.kill(self.pid, number)

    def await_end(self) -> None:
        assert self.process is not None
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"{self.name} had to be killed: {self.said()}") from None

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._line is not None:
            self._line.close()


@dataclass
class Agent(Watched):
    """An agent, and what it was given."""

    id: bytes = b""
    roots: dict[int, bytes] = field(default_factory=dict)
    passphrase: bytes | None = None
    identity: bytes = b""

    def holder(self, epoch: int) -> Holder:
        return Holder(self.id, epoch, self.roots[epoch])

    def address(self) -> str:
        """Where it listens, once it does."""
        deadline = time.monotonic() + START_SECONDS
        written = self.folder / "agent.addr"
        while time.monotonic() < deadline:
            if not self.alive():
                raise Failed(f"{self.name} ended at once: {self.said()}")
            if written.exists() and (text := written.read_text()).endswith("\n"):
                return text.strip()
            time.sleep(0.02)
        raise Failed(f"{self.name} was not ready within {START_SECONDS} s: {self.said()}")

    def canaries(self) -> Iterator[Canary]:
        for epoch, root in self.roots.items():
            in_file = None if self.passphrase else f"{self.name}/roots"
            yield Canary(f"root {epoch} of {self.name}", root, Kept(self.name, 1, in_file))
        if self.passphrase:
            in_file = f"{self.name}/passphrase"
            yield Canary(f"passphrase of {self.name}", self.passphrase, Kept(self.name, 0, in_file))
        yield from _of_identity(self.name, self.identity, Kept(self.name, 1, f"{self.name}/identity.key"))


@dataclass
class Service(Watched):
    """The reconstructor that works for others, and what it was given."""

    id: bytes = b""
    identity: bytes = b""

    def address(self) -> str:
        """Where it listens, once it does and has sessions with agents."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.alive():
                raise Failed(f"{self.name} ended at once: {self.said()}")
            lines = [line for line in self.said().splitlines() if '"listening"' in line]
            if lines:
                found: str = json.loads(lines[-1])["address"]
                return found
            time.sleep(0.02)
        raise Failed(f"{self.name} was not ready within {START_SECONDS} s: {self.said()}")

    def plant(self, where: str, secret: bytes) -> dict[str, int]:
        """Leaks it, from outside: at the unused end of its heap or of its first stack, in locked memory that is in
        nobody's use, or in what it has written. Answers the address."""
        if where == "output":
            with (self.folder / "output").open("ab") as output:
                output.write(secret.hex().encode() + b"\n")
            return {}
        return {"address": _overwritten(self.pid, where, secret)}

    def canaries(self) -> Iterator[Canary]:
        yield from _of_identity(self.name, self.identity, Kept(self.name, 1, f"{self.name}/identity.key"))


_UNUSED = 1024
"""Bytes, all zero, in the middle of which something is planted."""


def _overwritten(pid: int, where: str, secret: bytes) -> int:
    """Puts it where nobody has written: the place nearest to that end of the mapping at which there is least to do."""
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:  # noqa: PTH123
        for start, end in _mapped(pid, where):
            content = os.pread(memory.fileno(), end - start, start)
            at = content.find(bytes(_UNUSED)) if where == "stack" else content.rfind(bytes(_UNUSED))
            if at >= 0:
                address = start + at + _UNUSED // 2
                os.pwrite(memory.fileno(), secret, address)
                return address
    raise Failed(f"process {pid} has no unused {where}")


def _mapped(pid: int, where: str) -> Iterator[tuple[int, int]]:
    """Its writable mappings of that kind: `heap`, `stack` or `locked`."""
    current, writable, name = (0, 0), False, ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):
            start, _, end = first.partition("-")
            current, writable = (int(start, 16), int(end, 16)), rest.startswith("rw")
            name = line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) > 5 else ""
        elif first == "VmFlags:" and writable:
            found = name == f"[{where}]" if where != "locked" else "lo" in rest.split() and name != "[stack]"
            if found:
                yield current


class Household:
    """`count` agents, a caller, and where there are agents a reconstructor that works for others, under
    `folder`. A context manager."""

    def __init__(self, folder: Path, count: int) -> None:
        if not (AUDIT / "evanesce").is_dir():
            raise Failed(f"there is no audit build in {AUDIT}: run `make audit`")
        self.folder = folder
        self.home = folder / "home"
        self.tokens = folder / "tokens"
        self.together = folder / "together"
        """Tokens of keys that are never put together."""
        self.clerk = folder / "clerk"
        """The home of a caller that is only a caller."""
        for each in (
            self.home,
            self.clerk,
            self.tokens,
            self.together,
            folder / "tmp",
            folder / "caller",
            folder / "scanner",
        ):
            each.mkdir()
        self.vault = Vault(folder / "vault", self.home)
        self._nobody = socket.socket()
        self._nobody.bind(("127.0.0.1", 0))
        self._identities = tuple(secrets.token_bytes(32) for _ in range(3))
        caller = _identity(self.home / "identity.key", self._identities[0])
        self.stranger = folder / "stranger.key"
        _identity(self.stranger, self._identities[1])
        clerk = _identity(self.clerk / "identity.key", self._identities[2])
        self.service = self._furnish_service(clerk)
        known = (
            f'[[identity]]\nname = "caller"\nid = "{caller.hex()}"\n'
            'roles = ["caller", "minter", "reconstructor"]\ngroups = []\n'
            f'[[identity]]\nname = "clerk"\nid = "{clerk.hex()}"\nroles = ["caller"]\ngroups = []\n'
            f'[[identity]]\nname = "service"\nid = "{self._service_caller.hex()}"\n'
            'roles = ["reconstructor"]\ngroups = []\n'
        )
        self.agents = [self._furnish(f"agent-{number}", known) for number in range(1, count + 1)]
        self.caller = Watched("caller", folder / "caller", ["caller", str(folder / "plan.json")])
        self.scanner = Watched("scanner", folder / "scanner", ["scanner"])

    def _furnish_service(self, clerk: bytes) -> Service:
        folder = self.folder / "service"
        folder.mkdir(mode=0o700)
        seed = secrets.token_bytes(32)
        self._service_caller = _identity(folder / "identity.key", seed)
        (folder / "reconstructor.toml").write_text(
            'name = "service"\nlisten = "127.0.0.1:0"\nidentity = "identity.key"\n'
        )
        private(folder / "callers.toml", f'[[caller]]\nname = "clerk"\nid = "{clerk.hex()}"\n'.encode())
        return Service("service", folder, ["service", str(folder)], False, None, None, agent_id(seed), seed)

    def _furnish(self, name: str, known: str) -> Agent:
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        seed = secrets.token_bytes(32)
        _identity(folder / "identity.key", seed)
        roots = {epoch: secrets.token_bytes(32) for epoch in EPOCHS}
        passphrase = secrets.token_urlsafe(30).encode() if name == SEALED else None
        agent = Agent(name, folder, ["agent", str(folder)], True, None, None, agent_id(seed), roots, passphrase, seed)
        text = "evanesce software roots v1\n" + "".join(f"{epoch} {root.hex()}\n" for epoch, root in roots.items())
        element = 'kind = "software"\nroots = "roots"\n'
        if passphrase is None:
            private(folder / "roots", text.encode())
        else:
            private(folder / "passphrase", passphrase + b"\n")
            private(folder / "roots", _sealed(text.encode(), passphrase))
            element += 'passphrase = { file = "passphrase" }\n'
        private(folder / "known.toml", known.encode())
        (folder / "agent.toml").write_text(
            f'name = "{name}"\nlisten = "127.0.0.1:0"\nidentity = "identity.key"\n\n[element]\n{element}'
        )
        return agent

    def start(self, nobody: bytes, *, caller: bool = True) -> None:
        """Starts all. The caller also knows `agent-0` of this id, at an address where nobody listens."""
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "EVANESCE_HOME": str(self.home),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": os.pathsep.join([str(AUDIT), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        for each in (*self.agents, self.scanner):
            each.start(environment)
        places = {agent.name: (agent.id, agent.address()) for agent in self.agents}
        places["agent-0"] = (nobody, f"127.0.0.1:{self._nobody.getsockname()[1]}")
        quorum = "\n".join(
            f'[[agent]]\nname = "{name}"\nid = "{id_.hex()}"\naddress = "{address}"\nsite = ""\nvendor = ""\n'
            for name, (id_, address) in places.items()
        )
        (self.home / "quorum.toml").write_text(quorum)
        if not caller:
            return
        (self.service.folder / "quorum.toml").write_text(quorum)
        self.service.start(environment)
        entry = f'\n[reconstructor]\nname = "service"\nid = "{self.service.id.hex()}"\n'
        (self.clerk / "quorum.toml").write_text(f'{quorum}{entry}address = "{self.service.address()}"\n')
        self.caller.start(environment | self.vault.environment)

    @property
    def processes(self) -> list[Watched]:
        """Those that are searched and alive."""
        return [each for each in (self.caller, self.service, *self.agents) if each.alive()]

    def canaries(self) -> Iterator[Canary]:
        """What they were given."""
        for agent in self.agents:
            yield from agent.canaries()
        if self.agents:
            yield from self.service.canaries()
        caller, stranger, clerk = self._identities
        # Each client has its own, for as long as something (a traceback, say) still refers to it.
        yield from _of_identity("caller", caller, Kept("caller", None, "home/identity.key"))
        yield from _of_identity("stranger", stranger, Kept("caller", None, "stranger.key"))
        yield from _of_identity("clerk", clerk, Kept("caller", None, "clerk/identity.key"))

    def roots(self) -> dict[bytes, dict[int, bytes]]:
        """Agent id → epoch → root."""
        return {agent.id: agent.roots for agent in self.agents}

    def __enter__(self) -> Household:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.caller, self.service, self.scanner, *self.agents):
            each.end()
        self._nobody.close()


def private(path: Path, content: bytes) -> None:
    """Writes a new file of mode 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _of_identity(name: str, seed: bytes, kept: Kept) -> Iterator[Canary]:
    yield Canary(f"identity of {name}", seed, kept)
    expanded = hashlib.sha512(seed).digest()
    yield Canary(f"identity of {name}: scalar", expanded[:32])
    yield Canary(f"identity of {name}: prefix", expanded[32:])


def _identity(path: Path, seed: bytes) -> bytes:
    """Writes an Ed25519 identity; returns its caller id."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    private(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    identifier: bytes = th("caller", key.public_key().public_bytes(*form))
    return identifier


def _sealed(text: bytes, passphrase: bytes) -> bytes:
    """The sealed form of a roots file, as the element reads it."""
    memory, passes, lanes = _ARGON2
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    head = (
        f"evanesce sealed roots v1\nargon2id m={memory} t={passes} p={lanes} salt={base64.b64encode(salt).decode()}\n"
    ).encode()
    stretch = Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory)
    body = nonce + AESGCM(stretch.derive(passphrase)).encrypt(nonce, text, head)
    return head + base64.b64encode(body) + b"\n"
