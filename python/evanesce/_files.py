"""Files that are never half written and never overwritten by accident. Public bytes only.

Secrets do not pass here: the core writes them itself (`Secret.save`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from evanesce.errors import EvanesceError, error


@contextlib.contextmanager
def reporting(doing: str) -> Iterator[None]:
    """Turns the operating system's refusals into errors that say what could not be done."""
    try:
        yield
    except FileNotFoundError as e:
        raise error("not-found", f"cannot {doing}: no such file: {e.filename}", "Check the path.") from None
    except OSError as e:
        why = e.strerror or str(e)
        raise error("io", f"cannot {doing}: {why}", "Check the path, its permissions and free space.") from None


def read(path: Path, *, limit: int = 16 << 20) -> bytes:
    """A small file's bytes; larger than `limit` bytes is an error."""
    with reporting(f"read {path}"), path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise error("bad-input", f"{path} is larger than {limit} bytes", "Name another file.")
    return data


def write(path: Path, data: bytes, *, mode: int = 0o644, overwrite: bool = False) -> None:
    """All of `data` durably at `path`, or nothing. An existing file stays, unless `overwrite`."""
    if not overwrite and path.exists():
        raise exists(path)
    with reporting(f"write {path}"):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            if overwrite:
                temporary.replace(path)
            else:
                move_to_new(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def check_writable(path: Path) -> None:
    """Refuses before anything is spent what could not be written afterwards. Raises `not-found`, `io`."""
    with reporting(f"write {path}"):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        os.close(descriptor)
        Path(name).unlink()


def folder(path: Path) -> Path:
    """A folder for this user alone, made when missing."""
    with reporting(f"make the folder {path}"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While no other process here is: for what reads a file and replaces it. On a file system that knows no locks,
    with no such promise."""
    with reporting(f"open {folder}"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def exists(path: Path) -> EvanesceError:
    """The error for a file that is in the way."""
    return error("exists", f"{path} exists already", "Choose another name, or say --force (force=True) to replace it.")


def move_to_new(temporary: Path, path: Path) -> None:
    """Gives a finished file its name, unless something has that name already (`exists`)."""
    # A hard link is the one portable way to put a finished file where none is, without a window in between.
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise exists(path) from None
    except OSError:
        # A file system without hard links: claim the name first, then replace what was claimed.
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            raise exists(path) from None
        temporary.replace(path)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
