"""Starts one of the processes; see the package."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

from evanesce import _core, cli

from . import workload
from .control import Control

PR_SET_PTRACER = 0x59616D61


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=int, required=True, metavar="FD")
    parser.add_argument("role", choices=["agent", "caller", "service", "scanner"])
    parser.add_argument("argument", nargs="?")
    given = parser.parse_args()
    if not hasattr(_core, "audit_scan"):
        sys.exit(f"{_core.__file__} is not an audit build")
    # Where only ancestors may read a process's memory, let anyone of this user's do so.
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1))
    control = Control(given.control)
    if given.role != "scanner":
        # Who works must not keep the scanner from looking.
        os.nice(5)
    if given.role == "agent":
        # The agent has the main thread, as it does when people start it. It ends with the harness.
        threading.Thread(target=_serve_then_end, args=[control], daemon=True).start()
        cli.main(["agent", "run", given.argument])
    if given.role == "service":
        # What this becomes has no line to the harness, and is told to stop like any other.
        cli.main(["reconstructor", "run", given.argument])
    if given.role == "caller":
        control.work = workload.Workload(Path(given.argument)).perform
    control.serve()


def _serve_then_end(control: Control) -> None:
    control.serve()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
