"""One `evanesce` command, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(home: Path | None, *words: str) -> Any:
    """Its JSON document. Raises `RuntimeError` where it fails."""
    at = () if home is None else ("--home", str(home))
    command = [sys.executable, "-m", "evanesce", *at, *words, "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words[:2])}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return json.loads(done.stdout)
