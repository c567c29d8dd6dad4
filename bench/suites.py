"""What each suite costs one at a time, how large its token is, and what a mint costs."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.fleet import QUORUM
from evanesce import Client, Token, encapsulate, encrypt_to
from evanesce.compare import timing

MESSAGE = bytes(64)
REPEAT = 60


def _rsa_key(folder: Path) -> Path:
    """RSA keys are imported; OpenSSL makes this one."""
    path = folder / "rsa.pem"
    command = [
        "openssl",
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
        str(path),
    ]
    subprocess.run(command, check=True, capture_output=True)
    path.chmod(0o600)
    return path


def _operations(client: Client, token: Token, suite: str) -> dict[str, Callable[[], object]]:
    if suite.startswith(("ed25519", "ecdsa", "ml-dsa", "rsa-p")):
        return {"sign": lambda: client.sign(token, MESSAGE, suite)}
    if suite.startswith("hmac") or suite == "aes-cmac":
        return {"mac": lambda: client.mac(token, MESSAGE, suite)}
    if suite == "rsa-oaep-sha256":
        for_token = encrypt_to(token, MESSAGE, suite)
        return {"decrypt": lambda: client.decrypt(token, for_token, b"", suite)}
    if suite.endswith("gcm"):
        sealed = client.encrypt(token, MESSAGE, b"", suite)
        return {
            "encrypt": lambda: client.encrypt(token, MESSAGE, b"", suite),
            "decrypt": lambda: client.decrypt(token, sealed, b"", suite),
        }
    if suite.startswith("ml-kem"):
        ciphertext = encapsulate(token, suite).ciphertext
        return {"decapsulate": lambda: client.decapsulate(token, ciphertext, suite)}
    if suite == "x25519":
        peer = bytes([9]) + bytes(31)
        return {"agree": lambda: client.agree(token, peer, suite)}
    if suite == "hkdf-sha256":
        return {"derive": lambda: client.derive(token, b"context", 32, suite)}
    raise ValueError(f"{suite} is a suite that this bench does not know: add its operations")


def measure(home: Path, folder: Path, suites: list[tuple[str, bool, bool, list[str]]]) -> list[dict[str, object]]:
    """One row per suite and operation: p50 in ms, the token's bytes, the mint's ms (p50 of five)."""
    rows: list[dict[str, object]] = []
    with Client(home, deadline=30.0) as client:
        for suite, _, imported_only, _ in suites:
            mints = []
            for attempt in range(5):
                begin = time.perf_counter()
                if imported_only:
                    key = folder / "rsa.pem"
                    token = client.import_key(
                        f"bench-{attempt}", [suite], key if key.exists() else _rsa_key(folder), quorum=QUORUM
                    )
                else:
                    token = client.create(f"bench-{attempt}", [suite], quorum=QUORUM)
                mints.append((time.perf_counter() - begin) * 1e3)
            for name, operate in _operations(client, token, suite).items():
                p50, _ = timing.one_at_a_time(operate, REPEAT)
                rows.append(
                    {
                        "suite": suite,
                        "operation": name,
                        "p50_ms": p50,
                        "token_bytes": len(token.encode()),
                        "mint_ms": statistics.median(mints),
                    }
                )
    complete(rows, [suite for suite, *_ in suites])
    return rows


def complete(rows: list[dict[str, object]], suites: Iterable[str]) -> None:
    """A result that leaves a suite out is none."""
    if missing := set(suites) - {row["suite"] for row in rows}:
        raise RuntimeError(f"no row for {', '.join(sorted(missing))}")
