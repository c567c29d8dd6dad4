"""The peer: OpenBao's transit engine, the real binary, driven by wrk over loopback HTTP."""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

CONNECTIONS = (1, 16, 64)
START_SECONDS = 30

_LUA = """wrk.method = "POST"
wrk.headers["X-Vault-Token"] = "{token}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{body}'
function response(status)
  if status ~= 200 then io.stderr:write("status " .. status .. "\\n") os.exit(1) end
end
"""


class OpenBao:
    """A development server with one Ed25519 and one HMAC key; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.token = secrets.token_hex(16)

    def __enter__(self) -> OpenBao:
        binary = Path(sys.executable).parent / "bao"
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [
                    binary,
                    "server",
                    "-dev",
                    "-dev-no-store-token",
                    f"-dev-root-token-id={self.token}",
                    f"-dev-listen-address={self.address}",
                    "-log-level=error",
                ],
                stdout=output,
                stderr=output,
                cwd=self.folder,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._call("GET", "sys/health")
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"OpenBao did not start: {(self.folder / 'output').read_text()[-2000:]}"
                    ) from None
                time.sleep(0.1)
        self._call("POST", "sys/mounts/transit", {"type": "transit"})
        self._call("POST", "transit/keys/ed25519", {"type": "ed25519"})
        self._call("POST", "transit/keys/hmac-sha256", {"type": "hmac", "key_size": 32})
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _call(self, method: str, path: str, body: dict[str, object] | None = None) -> object:
        request = urllib.request.Request(
            f"http://{self.address}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": self.token},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def measure(self, suite: str, connections: int, seconds: float, address: str | None = None) -> dict[str, float]:
        """Operations per second, p50 and p99 in milliseconds. `address`: of a way to the server."""
        path = "transit/sign/ed25519" if suite == "ed25519" else "transit/hmac/hmac-sha256"
        body = json.dumps({"input": base64.b64encode(bytes(64)).decode()})
        script = self.folder / f"{suite}.lua"
        script.write_text(_LUA.format(token=self.token, body=body))
        run = subprocess.run(
            [
                "wrk",
                "--latency",
                f"-t{min(connections, 2)}",
                f"-c{connections}",
                f"-d{max(round(seconds), 1)}s",
                "-s",
                script,
                f"http://{address or self.address}/v1/{path}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        rate = re.search(r"Requests/sec:\s+([\d.]+)", run.stdout)
        median, late = (re.search(rf"{part}%\s+([\d.]+)(us|ms|s)", run.stdout) for part in (50, 99))
        if rate is None or median is None or late is None or "Non-2xx" in run.stdout:
            raise RuntimeError(f"wrk's answer is not understood: {run.stdout} {run.stderr}")
        unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}
        p50, p99 = (float(found[1]) * unit[found[2]] for found in (median, late))
        return {"rate": float(rate[1]), "p50_ms": p50, "p99_ms": p99}
