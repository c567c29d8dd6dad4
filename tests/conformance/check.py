"""Runs vector files through real agent processes, and writes new ones.

    check.py FILE…              says for each case that fails why
    check.py --write DIR        mints tokens of many shapes and leaves a vector file for each
    check.py --element KIND …   with the agents' roots in PKCS#11 tokens

Needs the built package and nothing else; tokens want their Debian packages (softhsm2; libnss3 and libnss3-tools)
and cargo, for the tool that imports roots. What agents and receipts say of an element is judged, too: SoftHSM
must have no weakness, and those of NSS softokn must be named each time.

The last line is `N passed, M failed`; the exit status is 1 if anything failed. Each agent of a file is a process
of its own, with the roots and the identity the file gives it; nothing is left behind, in processes or in files,
other than what `--write` was asked for. A case that is not of the form counts as one that failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from agents import AgentFailed, Fleet, write_identity
from elements import KINDS, ElementFailed
from running import ANY_CALLER, Stuck, run, said
from vectors import BadVector, Case, each
from writing import CALLERS, leave

from evanesce._core import CoreError
from evanesce._text import printable

MOST_SAID = 2000
"""Characters shown of one difference: an agent's last words among them."""


def main(arguments: list[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path, help="vector files to run")
    parser.add_argument(
        "--write", metavar="DIR", type=Path, help="leave freshly minted vectors here, then run them too"
    )
    parser.add_argument(
        "--element",
        metavar="KIND",
        choices=list(KINDS),
        default="software",
        help="where agents have their roots: %(choices)s (default: %(default)s); softhsm and nss make a token for "
        "each agent and import its roots, nss as an accepted weak element",
    )
    options = parser.parse_args(arguments)
    if not options.files and options.write is None:
        parser.error("give a vector file, or --write DIR")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    kind = KINDS[options.element]
    try:
        kind.prepare()
    except ElementFailed as why:
        print(f"FAILED --element {kind.name}: {why}\n0 passed, 1 failed", flush=True)
        return 1
    passed = failed = 0
    suites: list[tuple[Path, Sequence[Case]]] = []
    for path in options.files:
        try:
            found = each(path)
        except BadVector as why:
            found = [why]
        for bad in found:
            if isinstance(bad, BadVector):
                print(f"FAILED {printable(str(bad), limit=MOST_SAID)}", flush=True)
                failed += 1
        suites.append((path, [case for case in found if isinstance(case, Case)]))
    with tempfile.TemporaryDirectory(prefix="evanesce-conformance-") as temporary:
        folder = Path(temporary)
        names = {case.policy_caller for _, cases in suites for case in cases if case.policy_caller is not None}
        identities, callers = _callers(folder, {ANY_CALLER, *CALLERS, *names})
        with Fleet(folder, callers, kind) as fleet:
            if options.write is not None:
                try:
                    suites += leave(options.write, fleet, identities, folder)
                except (CoreError, AgentFailed, Stuck) as why:
                    print(f"FAILED --write: {said(why) if isinstance(why, CoreError) else why}", flush=True)
                    failed += 1
            for path, cases in suites:
                for case in cases:
                    differences = judged(case, fleet, identities)
                    for difference in differences:
                        what = printable(difference, lines=True, limit=MOST_SAID)
                        print(f"FAILED {path.name}: {printable(case.name)}: {what}", flush=True)
                    passed, failed = passed + (not differences), failed + bool(differences)
            for line in _elements(fleet):
                print(line, flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def judged(case: Case, fleet: Fleet, identities: Mapping[str, Path]) -> list[str]:
    """What differs. A case at which this runner itself fails is one that failed: the others are still to be run."""
    try:
        return run(case, fleet, identities)
    except Exception as why:
        return [f"the runner failed at it: {type(why).__name__}: {why}"]


def _elements(fleet: Fleet) -> list[str]:
    """What the agents said of their elements, other than the software ones; a line for each answer."""
    if fleet.kind.name == "software":
        return []
    answers = Counter(fleet.said.values())
    return [
        f"{count} agents, {fleet.kind.says} elements: {'; '.join(weaknesses) or 'nothing weak'}"
        for weaknesses, count in answers.items()
    ]


def _callers(folder: Path, names: Iterable[str]) -> tuple[dict[str, Path], dict[str, bytes]]:
    """A new identity for each caller's name: its file, and its caller id."""
    identities, ids = {}, {}
    for number, name in enumerate(sorted(names)):
        identities[name] = folder / f"caller-{number}.key"
        _, ids[name] = write_identity(identities[name], os.urandom(32))
    return identities, ids


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
