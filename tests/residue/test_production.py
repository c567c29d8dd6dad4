"""What the product has where the audit build has memory that can be read: a process that cannot be dumped, traced or
read, and secrets where not even root can read them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .household import CORE_LIMIT
from .search import core_pattern_is_elsewhere

HARDENED = "import evanesce"
PLAIN = "pass"
NOBODY = 65534
REPORTED = "from evanesce import _core; print(_core.memory_report()['backing'])"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whom file permissions do not stop")


@contextmanager
def _process(folder: Path, setup: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python process that has done `setup` and waits, core files allowed as far as it can; what it printed."""
    code = (
        f"import os, resource, sys\n{setup}\n"
        "try: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)\n"
        "except (ValueError, OSError): pass\n"
        "print('ready', flush=True)\nsys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        printed = ""
        while (line := process.stdout.readline()) != "ready\n":
            assert line, "the process ended"
            printed += line
        yield process, printed.strip()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _read(pid: int, address: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
        return os.pread(memory.fileno(), 4096, address)


def _mappings(pid: int) -> list[tuple[int, str, str]]:
    """Start, rights and name of each."""
    lines = [line.split(maxsplit=5) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return [(int(f[0].split("-")[0], 16), f[1], f[5] if len(f) > 5 else "") for f in lines]


@pytest.mark.skipif(core_pattern_is_elsewhere(), reason="core files go elsewhere on this system")
@pytest.mark.parametrize(("setup", "dumps"), [(PLAIN, True), (HARDENED, False)], ids=["plain", "hardened"])
def test_a_hardened_process_leaves_no_core_file(tmp_path: Path, setup: str, dumps: bool) -> None:
    if CORE_LIMIT == 0:
        pytest.skip("core files are forbidden here anyway")
    with _process(tmp_path, setup) as (process, _):
        process.send_signal(signal.SIGABRT)
        assert process.wait(20) == -signal.SIGABRT
    assert any(path.name.startswith("core") for path in tmp_path.iterdir()) == dumps


def test_a_hardened_process_says_that_it_is_undumpable(tmp_path: Path) -> None:
    asked = "from evanesce import _core; r = _core.memory_report(); print(r['undumpable'], r['core_limit_zero'])"
    with _process(tmp_path, asked) as (_, printed):
        assert printed == "True True"


def test_the_opt_out_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    asked = (
        "os.environ['EVANESCE_NO_HARDEN'] = '1'; from evanesce import _core; print(_core.memory_report()['undumpable'])"
    )
    with _process(tmp_path, asked) as (_, printed):
        assert printed == "False"


@as_root
@pytest.mark.parametrize(("setup", "readable"), [(PLAIN, True), (HARDENED, False)], ids=["plain", "hardened"])
def test_other_processes_of_the_same_user_cannot_read_it(tmp_path: Path, setup: str, readable: bool) -> None:
    # Becoming another user makes a process undumpable too: that is undone, so that only the package's doing counts.
    become = f"libc = ctypes.CDLL(None); os.setgid({NOBODY}); os.setuid({NOBODY}); libc.prctl(4, 1, 0, 0, 0)"
    again = "evanesce._core.harden()" if setup == HARDENED else PLAIN
    with _process(tmp_path, f"import ctypes\n{setup}\n{become}\n{again}") as (process, _):
        start = next(start for start, _, name in _mappings(process.pid) if name == "[stack]")
        child = os.fork()
        if child == 0:
            status = 2
            try:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
                _read(process.pid, start)
                status = 0
            except PermissionError:
                status = 1
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(ended) == (0 if readable else 1)


@as_root
def test_not_even_root_can_read_the_arena(tmp_path: Path) -> None:
    with _process(tmp_path, REPORTED) as (process, backing):
        if backing != "memfd_secret":
            pytest.skip(f"the arena is {backing} on this system")
        arena = [start for start, _, name in _mappings(process.pid) if name.startswith("/secretmem")]
        assert arena
        for start in arena:
            with pytest.raises(OSError):
                _read(process.pid, start)
        # Ordinary memory of the same process can be, by root: the test would notice.
        _read(process.pid, next(start for start, _, name in _mappings(process.pid) if name == "[heap]"))
