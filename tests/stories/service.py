"""A reconstructor of its own, as a process of its own."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from machines import EVANESCE, PATIENCE, Machine, Quorum, Served


class Service(Served):
    """A reconstructor's machine."""

    def __init__(self, folder: Path, quorum: Quorum, *, admit: bool = True) -> None:
        """`admit`: let the agents know it."""
        self.folder = folder
        self.operator = Machine(folder.parent / "service-operator")
        quorum.tell(self.operator)
        at = ("--listen", "127.0.0.1:0", "--json")
        made = self.operator.run("reconstructor", "init", folder, "--name", "crucible", *at).json
        self.caller_id: str = made["caller_id"]
        self.id: str = made["service_id"]
        for agent in quorum.agents.values() if admit else ():
            agent.allow("crucible", self.caller_id, "reconstructor")
        self.address = "127.0.0.1:0"

    def allow(self, name: str, caller_id: str) -> None:
        self.operator.run("reconstructor", "allow", self.folder, "--name", name, "--id", caller_id)

    def start(self) -> None:
        if not self.address.endswith(":0"):
            # It comes back where it was.
            config = self.folder / "reconstructor.toml"
            config.write_text(config.read_text().replace('"127.0.0.1:0"', f'"{self.address}"'))
        with (self.folder / "output").open("ab") as output:
            start = (self.folder / "output").stat().st_size
            words = [*EVANESCE, "reconstructor", "run", str(self.folder)]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        deadline = time.monotonic() + PATIENCE
        while b'"listening"' not in (said := (self.folder / "output").read_bytes()[start:]):
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.01)
        self.address = json.loads(said.splitlines()[-1])["address"]

    def tell(self, machine: Machine) -> None:
        """Gives a machine, which has the quorum file, what it needs to know of this."""
        entry = f'\n[reconstructor]\nname = "crucible"\nid = "{self.id}"\naddress = "{self.address}"\n'
        with (machine.home / "quorum.toml").open("a") as file:
            file.write(entry)
