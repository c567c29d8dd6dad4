"""The other peer: clevis and tang as Debian ships them, a secret that any three of five servers open.

Comparable in what it does (a threshold of servers, none of which stores anything for a secret, lets a client have it
back), and not in who decides: a tang server answers anyone.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evanesce.compare import timing

TANGD = "/usr/libexec/tangd"
SERVERS, THRESHOLD = 5, 3
SECRET = 32
"""Bytes: a key, as regen's tokens have."""


class Tang:
    """One server on loopback: a `tangd` for every connection, which is how its own systemd socket runs it."""

    def __init__(self, keys: Path) -> None:
        keys.mkdir(parents=True)
        subprocess.run([f"{TANGD}-keygen", keys], check=True, capture_output=True)
        self.keys = keys
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        running: list[subprocess.Popen[bytes]] = []
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                break
            with connection:
                stream = connection.fileno()
                running.append(
                    subprocess.Popen([TANGD, self.keys], stdin=stream, stdout=stream, stderr=subprocess.DEVNULL)
                )
            running = [process for process in running if process.poll() is None]
        for process in running:
            process.terminate()
            process.wait()

    def close(self) -> None:
        """Stops listening, and ends what still answers."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


class Clevis:
    """Five servers and a secret; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = os.urandom(SECRET)

    def __enter__(self) -> Clevis:
        self.servers = {f"tang-{number}": Tang(self.folder / f"tang-{number}") for number in range(SERVERS)}
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.close()

    @property
    def addresses(self) -> dict[str, str]:
        """Of the servers, by name."""
        return {name: server.address for name, server in self.servers.items()}

    def seal(self, addresses: Mapping[str, str]) -> bytes:
        """The secret under the servers, which are to be asked at these addresses (through a proxy, say)."""
        pins = [{"url": f"http://{addresses[name]}"} for name in self.servers]
        rule = json.dumps({"t": THRESHOLD, "pins": {"tang": pins}})
        seal = ["clevis", "encrypt", "sss", rule, "-y"]
        return subprocess.run(seal, input=self.secret, capture_output=True, check=True).stdout

    def _open(self, sealed: bytes) -> None:
        run = subprocess.run(["clevis", "decrypt"], input=sealed, capture_output=True, check=True)
        if run.stdout != self.secret:
            raise RuntimeError("clevis gave something else back than it was given")

    def measure(self, sealed: bytes, in_flight: int, seconds: float) -> dict[str, float]:
        """Decryptions per second with this many at once, and how long each took in milliseconds."""
        self._open(sealed)
        end = time.perf_counter() + seconds

        def worker(_: int) -> list[float]:
            times = []
            while (begin := time.perf_counter()) < end:
                self._open(sealed)
                times.append((time.perf_counter() - begin) * 1e3)
            return times

        begin = time.perf_counter()
        with ThreadPoolExecutor(in_flight) as pool:
            times = [took for some in pool.map(worker, range(in_flight)) for took in some]
        p50, p99 = timing.quantiles(times)
        return {"rate": len(times) / (time.perf_counter() - begin), "p50_ms": p50, "p99_ms": p99}
