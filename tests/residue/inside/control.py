"""Commands from outside, one JSON line each, answered with one: scan, plant, work."""

from __future__ import annotations

import json
import socket
import traceback
from collections.abc import Callable
from typing import Any

from evanesce import _core

from . import plants

Answer = dict[str, Any]


class Control:
    """One end of a socket pair."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self.work: Callable[[str], Answer] | None = None
        """Performs a phase of the workload and says what happened."""

    def serve(self) -> None:
        """Until the other end is closed."""
        with self._socket.makefile("rb") as lines:
            for line in lines:
                try:
                    answer = self._do(json.loads(line))
                except Exception:
                    answer = {"failed": traceback.format_exc()}
                self._socket.sendall(json.dumps(answer).encode() + b"\n")

    def _do(self, command: Answer) -> Answer:
        match command["do"]:
            case "scan":
                needles = [(label, bytes.fromhex(masked)) for label, masked in command["needles"]]
                mask = bytes.fromhex(command["mask"])
                return {"targets": _core.audit_scan(command["targets"], needles, mask)}  # type: ignore[attr-defined]
            case "plant":
                masked, mask = bytes.fromhex(command["masked"]), bytes.fromhex(command["mask"])
                return plants.plant(command["kind"], masked, mask)
            case "work" if self.work is not None:
                return self.work(command["phase"])
        raise ValueError(command["do"])
