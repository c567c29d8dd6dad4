"""Scanning all that a run's processes can read and have written, and what is set aside.

Set aside is only what is a process's own: its root or identity, once and bare in locked memory of that very
process, and the files from which it reads these and its passphrase. Everything else that is found is a hit.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .canaries import Canary
from .household import CORE_LIMIT, Household, Watched


@dataclass(frozen=True, slots=True)
class Hit:
    """One occurrence of a secret."""

    label: str
    form: str
    holder: str
    """The process's name, `NAME's child PID`, or the file's path below the run's folder."""
    place: str
    """The mapping; for a file nothing."""
    address: int
    """In memory, or in the file."""
    length: int
    inside: bool
    """Seen from inside the process."""

    def __str__(self) -> str:
        where = f" in {self.place}" if self.place else ""
        seen = ", from inside" if self.inside else ""
        return f"{self.label}, {self.form}, {self.length} bytes: {self.holder}{where} at {self.address:#x}{seen}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a search brought."""

    hits: list[Hit]
    looked_at: int
    """Bytes."""


class Search:
    """For these canaries, in this household."""

    def __init__(self, household: Household, canaries: Iterable[Canary], homes: dict[str, int]) -> None:
        """`homes`: label of a root or identity → the one address at which it is kept; filled by the first search."""
        self._household = household
        self._homes = homes
        self._canaries = {canary.label: canary for canary in canaries}
        mask = bytes(1 + secrets.randbelow(255) for _ in range(8))
        self._needles = [
            (label, bytes(b ^ mask[i % 8] for i, b in enumerate(canary.value)).hex())
            for label, canary in self._canaries.items()
        ]
        self._mask = mask.hex()

    def everything(self) -> Found:
        """Memory from outside and inside, and files."""
        processes = self._household.processes
        locked = {name: locked_ranges(pid) for pid, name in _with_children(processes).items()}
        # From outside first: being scanned from inside moves things about.
        parts = [self._outside(processes)]
        asked = [process for process in processes if process.takes_commands]
        with ThreadPoolExecutor(len(asked)) as pool:
            parts += pool.map(self._inside, asked)
        parts.append(self.files())
        return self._judged(parts, locked)

    def at_work(self, process: Watched) -> tuple[Found, set[str]]:
        """A process's memory from outside while operations are under way. What lies in locked memory is then where
        it belongs: the labels of that are the second part."""
        locked = {name: locked_ranges(pid) for pid, name in _with_children([process]).items()}
        found = self._outside([process])
        hits, belong = [], set()
        for hit in found.hits:
            if any(start <= hit.address < end for start, end in locked.get(hit.holder, ())):
                belong.add(hit.label)
            else:
                hits.append(hit)
        return Found(hits, found.looked_at), belong

    def core(self, path: Path, process: Watched, locked: Sequence[tuple[int, int]]) -> Found:
        """A core file of a process whose locked ranges were these."""
        found = self._scan(self._household.scanner, [str(path)], lambda _: process.name, inside=False)
        segments = list(_segments(path))
        hits = [_at_address(hit, segments, f"core file {path.name}") for hit in found.hits]
        return self._judged([Found(hits, found.looked_at)], {process.name: locked})

    def files(self, besides: Sequence[Path] = ()) -> Found:
        """Every file below the run's folder."""
        found = self._in_files(besides)
        return Found([hit for hit in found.hits if not self._own_file(hit)], found.looked_at)

    def where_files_have_them(self) -> set[tuple[str, str]]:
        """Label and file, of every one that is in a file at all."""
        return {(hit.label, hit.holder) for hit in self._in_files().hits}

    def _in_files(self, besides: Sequence[Path] = ()) -> Found:
        folder = self._household.folder
        paths = [str(path) for path in sorted(folder.rglob("*")) if path.is_file() and path not in besides]
        found = self._scan(
            self._household.scanner, paths, lambda path: str(Path(path).relative_to(folder)), inside=False
        )
        return Found([_without_place(hit) for hit in found.hits], found.looked_at)

    def _outside(self, processes: Sequence[Watched]) -> Found:
        names = {str(pid): name for pid, name in _with_children(processes).items()}
        return self._scan(self._household.scanner, list(names), names.__getitem__, inside=False)

    def _inside(self, process: Watched) -> Found:
        return self._scan(process, ["self"], lambda _: process.name, inside=True)

    def _scan(self, by: Watched, targets: list[str], name: Callable[[str], str], *, inside: bool) -> Found:
        answer = by.ask(do="scan", targets=targets, needles=self._needles, mask=self._mask)
        hits, looked_at = [], 0
        for target, (rows, size, failure) in zip(targets, answer["targets"], strict=True):
            if failure is not None:
                raise RuntimeError(f"{target} could not be scanned: {failure}")
            looked_at += size
            hits += [
                Hit(label, form, name(target), place, address, length, inside)
                for label, form, place, address, length in rows
            ]
        return Found(hits, looked_at)

    def _judged(self, parts: Iterable[Found], locked: Mapping[str, Sequence[tuple[int, int]]]) -> Found:
        hits: list[Hit] = []
        looked_at = 0
        for part in parts:
            looked_at += part.looked_at
            hits += [hit for hit in part.hits if not self._own_memory(hit, locked)]
        return Found(hits, looked_at)

    def _own_memory(self, hit: Hit, locked: Mapping[str, Sequence[tuple[int, int]]]) -> bool:
        """Whether this is a root or identity in the one place where its holder keeps it."""
        canary = self._canaries[hit.label]
        kept = canary.kept
        if kept is None or kept.in_arena == 0:
            return False
        child = kept.in_arena is None and hit.holder.startswith(f"{kept.holder}'s child ")
        if hit.holder != kept.holder and not child:
            return False
        whole = hit.form == "raw" and hit.length == len(canary.value)
        here = any(start <= hit.address < end for start, end in locked.get(hit.holder, ()))
        if not whole or not here:
            return False
        home = self._homes.setdefault(hit.label, hit.address)
        return kept.in_arena is None or home == hit.address

    def _own_file(self, hit: Hit) -> bool:
        kept = self._canaries[hit.label].kept
        return kept is not None and kept.file is not None and hit.holder == kept.file


def locked_ranges(pid: int) -> list[tuple[int, int]]:
    """The mappings of a process that are locked (VmFlags `lo`)."""
    ranges: list[tuple[int, int]] = []
    current = (0, 0)
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if first == "VmFlags:":
            if "lo" in rest.split():
                ranges.append(current)
        elif not first.endswith(":"):
            start, _, end = first.partition("-")
            current = (int(start, 16), int(end, 16))
    return ranges


def core_file(process: Watched) -> Path | None:
    """The core file of a process that has ended; waits a little for it. None if the system puts it elsewhere, or
    forbids it."""
    if core_pattern_is_elsewhere() or CORE_LIMIT == 0:
        return None
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for path in process.folder.iterdir():
            if path.name.startswith("core") and path.is_file():
                return path
        time.sleep(0.05)
    raise RuntimeError(f"{process.name} left no core file in {process.folder}")


def core_pattern_is_elsewhere() -> bool:
    """Whether core files go to a program or another folder rather than to `core…` where the process was."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    return not pattern.startswith("core") or "/" in pattern


def _with_children(processes: Iterable[Watched]) -> dict[int, str]:
    """Process id → name, of these and of whatever they started."""
    names: dict[int, str] = {}
    for process in processes:
        names[process.pid] = process.name
        names |= {pid: f"{process.name}'s child {pid}" for pid in _descendants(process.pid)}
    return names


def _descendants(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = children.get(pid, [])
    while found:
        yield from found
        found = [grandchild for child in found for grandchild in children.get(child, [])]


def _segments(path: Path) -> Iterator[tuple[int, int, int]]:
    """Offset in the file, size there and address of what an ELF core file holds of memory."""
    with path.open("rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            raise RuntimeError(f"{path} is not a 64-bit little-endian core file")
        table, count = int.from_bytes(head[32:40], "little"), int.from_bytes(head[56:58], "little")
        file.seek(table)
        for _ in range(count):
            entry = file.read(56)
            numbers = [int.from_bytes(entry[at : at + 8], "little") for at in (8, 16, 32)]
            if int.from_bytes(entry[:4], "little") == 1:  # PT_LOAD
                offset, address, size = numbers
                yield offset, size, address


def _at_address(hit: Hit, segments: Sequence[tuple[int, int, int]], place: str) -> Hit:
    for offset, size, address in segments:
        if offset <= hit.address < offset + size:
            at = hit.address - offset + address
            return Hit(hit.label, hit.form, hit.holder, place, at, hit.length, False)
    return Hit(hit.label, hit.form, hit.holder, f"{place}, its notes", hit.address, hit.length, False)


def _without_place(hit: Hit) -> Hit:
    return Hit(hit.label, hit.form, hit.holder, "", hit.address, hit.length, False)
