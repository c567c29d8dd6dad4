"""The long search: `python -m tests.residue --runs N`. Exit status 0 only if nothing was found that should not be
there, and all that was planted was found."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from .household import Failed
from .one_run import run

LEAST_KINDS = 12


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.residue", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave every run's files in DIR")
    given = parser.parse_args()
    # What is told to stop still ends the processes it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    hits = found = planted = kinds = astray = 0
    for number in range(1, given.runs + 1):
        begun = time.monotonic()
        try:
            result = run(print, given.keep / f"run-{number}" if given.keep else None)
        except Failed as e:
            print(f"run {number} did not come off: {e}", file=sys.stderr)
            return 1
        hits += len(result.hits)
        astray += len(result.found_at_rest ^ result.kept)
        found += sum(each.found for each in result.planted)
        planted += len(result.planted)
        kinds = len({each.kind.name for each in result.planted})
        for remark in result.remarks:
            print(f"  {remark}")
        print(
            f"run {number}: {result.operations} operations, {result.failures} failures on purpose, "
            f"{result.needles} secrets looked for in {result.looked_at / 1e6:.0f} MB "
            f"({len(result.seen_at_work)} seen at work in locked memory), {len(result.hits)} hits, "
            f"{sum(each.found for each in result.planted)} of {len(result.planted)} planted leaks found, "
            f"{len(result.found_at_rest & result.kept)} of {len(result.kept)} kept where their model keeps them, "
            f"{time.monotonic() - begun:.0f} s",
            flush=True,
        )
    print(f"{given.runs} runs, {hits} hits, {found} of {planted} planted leaks found")
    return 0 if hits == astray == 0 and found == planted and kinds >= LEAST_KINDS else 1


if __name__ == "__main__":
    sys.exit(main())
