"""Fresh vectors: tokens minted by the product, with the roots used and what the product makes of them.

Each shape of `shapes.SHAPES` gets a token minted over agents with new identities and new roots, and a result
of every suite: byte for byte where the suite is deterministic, a signature to verify
where it is not (ML-DSA, RSA-PSS). Another implementation needs nothing else to open them.

The files hold roots and secret results in the clear. They are test data, and so are the keys.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from agents import Fleet, write_identity
from running import bounded, perform, reconstructor, revealed
from shapes import AUDITOR, OPERATOR, SHAPES, Shape
from vectors import Agent, Case, Operation, read, write

from evanesce import _core

CALLERS = (AUDITOR, OPERATOR)
"""Names under which agents must know someone, for the policies of the shapes."""

HEDGED = ("ml-dsa-44", "ml-dsa-65", "ml-dsa-87", "rsa-pss-sha256")
"""Suites whose signatures differ each time."""


def leave(target: Path, fleet: Fleet, identities: Mapping[str, Path], folder: Path) -> list[tuple[Path, list[Case]]]:
    """Writes a file for each shape into `target`, and reads them again. Raises `CoreError`.

    `folder` is for what must be in a file on the way: identities and keys to import.
    """
    target.mkdir(parents=True, exist_ok=True)
    pool = AgentPool(folder)
    written = []
    for shape in SHAPES:
        path = target / f"{shape.name}.json"
        write(path, [mint(shape, pool, fleet, identities)])
        written.append((path, read(path)))
    return written


class AgentPool:
    """New agents, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for what must be in a file on the way."""
        self.folder = folder
        self._made: dict[tuple[tuple[int, ...], int], Agent] = {}

    def agent(self, epochs: Sequence[int], number: int) -> Agent:
        """One with a random identity and random roots of these epochs; the same each time."""
        key = (tuple(epochs), number)
        if key not in self._made:
            seed = os.urandom(32)
            agent_id, _ = write_identity(self.folder / f"new-{len(self._made)}.key", seed)
            roots = tuple((epoch, os.urandom(32)) for epoch in epochs)
            self._made[key] = Agent(f"agent-{number}", seed, agent_id, roots)
        return self._made[key]


def mint(shape: Shape, pool: AgentPool, fleet: Fleet, identities: Mapping[str, Path]) -> Case:
    """A fresh token of the shape, as a case."""
    agents = tuple(pool.agent(shape.epochs, number) for number in range(max(shape.seats.values()) + 1))
    case = Case(
        name=f"{shape.name}: {shape.quorum}",
        token=b"",
        agents=agents,
        answering=frozenset(agent.name for agent in agents),
        operations=(),
        error=None,
        faulty=frozenset(),
        policy_caller=shape.caller,
        public=None,
        token_id=None,
    )
    client = reconstructor(case, fleet, identities)
    imported, raw = None, None
    if shape.imported is not None:
        raw = shape.imported()
        key = pool.folder / f"{shape.name}.import"
        key.touch(0o600)
        key.write_bytes(raw)
        imported = ("file", str(key))
    seats = {seat: agents[number].name for seat, number in shape.seats.items()}
    token, _, _ = bounded(
        f"mint {shape.name}",
        lambda: client.mint(shape.name, shape.suites, shape.quorum, seats, shape.policy, shape.expires, None, imported),
    )
    return Case(
        name=case.name,
        token=token.encode(),
        agents=agents,
        answering=frozenset(agents[number].name for number in shape.answering),
        operations=tuple(operation for suite in shape.suites for operation in _operations(client, token, suite, raw)),
        error=None,
        faulty=frozenset(),
        policy_caller=shape.caller,
        public=token.public,
        token_id=token.id,
    )


def _operations(
    client: _core.Reconstructor, token: _core.Token, suite: str, imported: bytes | None
) -> Iterator[Operation]:
    """What the product makes of random inputs under the suite."""
    actions = {name: operations for name, _, _, operations in _core.suites()}[suite]
    text, aad = secrets.token_bytes(1 + secrets.randbelow(100)), secrets.token_bytes(secrets.randbelow(30))

    def done(op: str, inputs: dict[str, bytes], length: int = 0) -> Operation:
        return Operation(op, suite, inputs, length, perform(client, token, op, suite, inputs, length))

    if suite in HEDGED:
        signature = perform(client, token, "sign", suite, {"message": text})
        yield Operation("verify", suite, {"message": text, "signature": signature}, 0, True)
    elif "sign" in actions:
        yield done("sign", {"message": text})
    elif suite == "hmac-sha256" and imported is not None:
        # Not the product's own word: the key must have gone in as it was.
        yield Operation("mac", suite, {"message": text}, 0, hmac.digest(imported, text, "sha256"))
    elif "mac" in actions:
        yield done("mac", {"message": text})
    elif "encrypt" in actions:
        sealed = perform(client, token, "encrypt", suite, {"plaintext": text, "aad": aad})
        yield done("decrypt", {"ciphertext": sealed, "aad": aad})
    elif "decrypt" in actions:
        yield done("decrypt", {"ciphertext": _core.encrypt_to(token, suite, text), "aad": b""})
    elif "derive" in actions:
        yield done("derive", {"context": aad}, 1 + secrets.randbelow(128))
    elif "agree" in actions:
        yield done("agree", {"peer": os.urandom(32)})
    elif "decapsulate" in actions:
        ciphertext, shared = _core.encapsulate(token, suite)
        yield Operation("decapsulate", suite, {"ciphertext": ciphertext}, 0, revealed(shared))
