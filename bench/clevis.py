"""The other peer: clevis and tang as Debian ships them, a secret that any three of five servers open.

Comparable in what it does (a threshold of servers, none of which stores anything for a secret, lets a client have it
back), and not in who decides: a tang server answers anyone.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
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
                running.append(
                    subprocess.Popen([TANGD, self.keys], stdin=connection, stdout=connection, stderr=subprocess.DEVNULL)
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
    """Five servers and one secret under them; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Clevis:
        self.servers = [Tang(self.folder / f"tang-{number}") for number in range(SERVERS)]
        pins = [{"url": server.url} for server in self.servers]
        self.secret = os.urandom(SECRET)
        rule = json.dumps({"t": THRESHOLD, "pins": {"tang": pins}})
        seal = ["clevis", "encrypt", "sss", rule, "-y"]
        run = subprocess.run(seal, input=self.secret, capture_output=True, check=True)
        self.sealed = run.stdout
        self._decrypt()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()

    def _decrypt(self) -> float:
        """Milliseconds that one decryption took."""
        begin = time.perf_counter()
        run = subprocess.run(["clevis", "decrypt"], input=self.sealed, capture_output=True, check=True)
        took = time.perf_counter() - begin
        if run.stdout != self.secret:
            raise RuntimeError("clevis gave something else back than it was given")
        return took * 1e3

    def measure(self, in_flight: int, seconds: float) -> dict[str, float]:
        """Decryptions per second with this many at once, and their p50 in milliseconds."""
        end = time.perf_counter() + seconds

        def worker(_: int) -> list[float]:
            times = []
            while time.perf_counter() < end:
                times.append(self._decrypt())
            return times

        begin = time.perf_counter()
        with ThreadPoolExecutor(in_flight) as pool:
            times = [took for some in pool.map(worker, range(in_flight)) for took in some]
        return {"rate": len(times) / (time.perf_counter() - begin), "p50_ms": statistics.median(times)}
