"""Runs everything, writes bench/results/, and ends with one line per target."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import caller, command, endurance, healing, machine, policies, side_by_side, softhsm, suites
from bench.fleet import QUORUM, Fleet
from bench.peer import CONNECTIONS, OpenBao
from bench.targets import target
from evanesce import Client, _core

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
TOKENS = int(os.environ.get("TOKENS", "1000000"))
REROOTED = int(os.environ.get("REROOTED", "100000"))
REROOT_SECONDS = 60.0
"""In which one agent re-roots 100,000 tokens; fewer have as much less."""
REPAIRED = min(10_000, REROOTED)
COMPARE_SECONDS = 180.0
IN_FLIGHT = 64
POLICY_KEEPS = 0.75
"""Of the rate without a policy, under one of 60 statements."""
ENOUGH_ROUNDS = 5
"""Fewer are for trying the bench out."""
SUITES = ("ed25519", "hmac-sha256")
RESULTS = Path(__file__).parent / "results"


def say(text: str) -> None:
    """Progress, beside the results."""
    print(text, file=sys.stderr, flush=True)


def median_of(runs: list[dict[str, float]], name: str) -> float:
    """Across runs."""
    return statistics.median(run[name] for run in runs)


def mint(fleet: Fleet, folder: Path, policy: str = "") -> Path:
    """A 3-of-5 token with both measured suites."""
    path = folder / ("policed.regen" if policy else "bench.regen")
    with Client(fleet.home, deadline=10.0) as client:
        client.create(policies.NAME, list(SUITES), quorum=QUORUM, policy=policy).save(path)
    return path


def beside_openbao(folder: Path, results: dict[str, object]) -> dict[str, float]:
    """Rates and latencies in alternating rounds, both commit modes and the peer."""
    figures: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        peer = stack.enter_context(OpenBao(folder / "openbao"))
        fleets = {}
        for mode in ("process", "power"):
            fleet = stack.enter_context(Fleet(folder / mode, commit=mode))
            fleets[mode] = (fleet, mint(fleet, folder / mode))
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            for suite in SUITES:
                for connections in CONNECTIONS:
                    figures.setdefault(f"openbao/{suite}/{connections}", []).append(
                        peer.measure(suite, connections, SECONDS)
                    )
                for mode, (fleet, token) in fleets.items():
                    before = fleet.cpu_seconds()
                    run = caller.run(fleet.home, token, "rate", suite, str(IN_FLIGHT), str(SECONDS))
                    run["agents_cpu_s"] = fleet.cpu_seconds() - before
                    figures.setdefault(f"evanesce/{mode}/{suite}/{IN_FLIGHT}", []).append(run)
                    figures.setdefault(f"evanesce/{mode}/{suite}/1", []).append(
                        caller.run(fleet.home, token, "latency", suite, "1000")
                    )
    results["rounds"] = figures
    medians = {f"{name}/{figure}": median_of(runs, figure) for name, runs in figures.items() for figure in runs[0]}
    results["medians"] = medians
    return medians


def with_policy(folder: Path) -> dict[str, Any]:
    """Ed25519 rates under a policy of 60 statements and without one, at the same agents, in turns. What is logged and
    receipted is the same. A token with such a header is shown to an agent once, and then named."""
    with Fleet(folder / "policed", groups=policies.GROUPS) as fleet:
        tokens = {"without": mint(fleet, folder), "with": mint(fleet, folder, policies.policy())}
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in tokens}
        for _ in range(ROUNDS):
            for name, token in tokens.items():
                before = fleet.cpu_seconds()
                run = caller.run(fleet.home, token, "rate", "ed25519", str(IN_FLIGHT), str(SECONDS))
                run["agents_cpu_s"] = fleet.cpu_seconds() - before
                runs[name].append(run)
    medians = {name: median_of(each, "rate") for name, each in runs.items()}
    return {"medians": medians, "rounds": runs, "policy_bytes": len(policies.policy())}


def endure(folder: Path) -> dict[str, float]:
    """A million tokens."""
    begin = time.monotonic()

    def progress(done: int) -> None:
        if done % 100_000 == 0:
            say(f"  {done:,} tokens, {time.monotonic() - begin:.0f} s")

    with Fleet(folder / "endurance") as fleet, Fleet(folder / "fresh") as fresh:
        return endurance.measure(fleet, fresh, TOKENS, progress)


def comparison() -> float:
    """Seconds that `evanesce compare` takes, as it is when nothing else is said."""
    begin = time.monotonic()
    if missing := command.run(None, "compare")["not_measured"]:
        raise RuntimeError(f"not compared: {missing}")
    return time.monotonic() - begin


def with_softhsm(folder: Path) -> dict[str, object]:
    """Rate, latency, and each suite's cost and mint, with SoftHSM elements."""
    element = softhsm.prepare(folder / "softhsm", [f"agent-{i + 1}" for i in range(5)])
    with Fleet(folder / "hsm", element=element) as fleet:
        token = mint(fleet, folder / "hsm")
        rates = [caller.run(fleet.home, token, "rate", "ed25519", str(IN_FLIGHT), str(SECONDS)) for _ in range(ROUNDS)]
        singles = [caller.run(fleet.home, token, "latency", "ed25519", "300") for _ in range(ROUNDS)]
        rows = suites.measure(fleet.home, folder / "hsm", _core.suites())
    return {"rate": median_of(rates, "rate"), "p50_ms": median_of(singles, "p50_ms"), "suites": rows}


def per_suite(folder: Path) -> list[dict[str, object]]:
    """Each suite's cost, token size and mint."""
    with Fleet(folder / "suites") as fleet:
        return suites.measure(fleet.home, folder, _core.suites())


def goals() -> str:
    """What the targets' goals are relative to, and whether the run is long enough to count."""
    text = (
        "goals: rates at least 2 x OpenBao's best of "
        f"{', '.join(map(str, CONNECTIONS))} connections and p50-one at most OpenBao's at one, both in this same run; "
        f"{side_by_side.goals()}; changes at most the larger of 5% and, for memory, 2MiB, between the "
        f"first and the last {min(100_000, TOKENS // 2)} of {TOKENS} tokens (CPU: of the last beside "
        f"fresh agents' first, in turns); with a policy of {policies.STATEMENTS} statements at least "
        f"{POLICY_KEEPS:.0%} of the rate without, in turns; evanesce compare within {COMPARE_SECONDS:g}s; "
        f"medians of {ROUNDS}"
    )
    return text if ROUNDS >= ENOUGH_ROUNDS else f"{text} only: not a result"


def targets(
    medians: dict[str, float],
    beside: list[str],
    flat: dict[str, float],
    policed: Mapping[str, float],
    healed: Mapping[str, float],
    compared: float,
) -> list[str]:
    """One line each."""
    lines = []
    for suite in SUITES:
        best = max(medians[f"openbao/{suite}/{connections}/rate"] for connections in CONNECTIONS)
        rate = medians[f"evanesce/process/{suite}/{IN_FLIGHT}/rate"]
        lines.append(target(f"{suite}-rate", rate, 2 * best, "/s", most=False))
    for suite in SUITES:
        single = medians[f"evanesce/process/{suite}/1/p50_ms"]
        lines.append(target(f"{suite}-p50-one", single, medians[f"openbao/{suite}/1/p50_ms"], "ms", most=True))
    lines += beside
    first, last = flat["memory_first_mib"], flat["memory_last_mib"]
    lines.append(target("agent-memory-change", abs(last - first), max(0.05 * first, 2), "MiB", most=True))
    fresh, last = flat["cpu_us_fresh_beside_last"], flat["cpu_us_last"]
    lines.append(target("agent-cpu-change", abs(last - fresh), 0.05 * fresh, "us", most=True))
    goal = POLICY_KEEPS * policed["without"]
    lines.append(target("policy-ed25519-rate", policed["with"], goal, "/s", most=False))
    goal = REROOT_SECONDS * REROOTED / 100_000
    lines.append(target(f"reroot-{REROOTED}", healed["seconds"], goal, "s", most=True))
    lines.append(target("compare", compared, COMPARE_SECONDS, "s", most=True))
    return lines


def main() -> int:
    """See the package."""
    results: dict[str, object] = {
        "machine": machine.describe(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with tempfile.TemporaryDirectory(prefix="evanesce-bench-") as temporary:
        folder = Path(temporary)
        say("beside OpenBao")
        medians = beside_openbao(folder, results)
        say("under a policy")
        results["policy"] = policed = with_policy(folder)
        say("side by side, here and across a distance")
        beside = side_by_side.measure(folder / "beside", ROUNDS, SECONDS, say)
        results["side_by_side"] = beside
        say("SoftHSM elements")
        results["softhsm"] = with_softhsm(folder)
        say("each suite")
        results["suites"] = per_suite(folder)
        say(f"{REROOTED:,} tokens re-rooted, {REPAIRED:,} repaired")
        results["healing"] = healed = healing.measure(folder / "healing", REROOTED, REPAIRED)
        say("evanesce compare, with all defaults")
        results["compare_seconds"] = compared = comparison()
        say(f"{TOKENS:,} different tokens")
        results["endurance"] = flat = endure(folder)
    lines = targets(medians, side_by_side.targets(beside), flat, policed["medians"], healed, compared)
    results["goals"], results["targets"] = goals(), lines
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(results, indent=1))
    say(f"written: {path}")
    for name, value in medians.items():
        if name.endswith(("/rate", "/p50_ms")):
            print(f"{name}: {value:.4g}")
    for text in side_by_side.table(beside):
        print(text)
    print("ed25519 rate without a policy: {without:.4g}, with: {with:.4g}".format(**policed["medians"]))
    hsm = results["softhsm"]
    print("softhsm: rate {rate:.4g} /s, p50 {p50_ms:.3g} ms".format(**hsm))  # type: ignore[arg-type]
    for row in hsm["suites"]:  # type: ignore[index]
        print("softhsm suite {suite} {operation}: p50 {p50_ms:.3g} ms, mint {mint_ms:.3g} ms".format(**row))
    for row in results["suites"]:  # type: ignore[attr-defined]
        print(
            "suite {suite} {operation}: p50 {p50_ms:.3g} ms, mint {mint_ms:.3g} ms, token {token_bytes} bytes".format(
                **row
            )
        )
    print(
        "healing: {repaired} tokens repaired, {per_second:.4g} /s; refresh {refresh_per_second:.4g} /s, reshare "
        "{reshare_per_second:.4g} /s".format(**healed)
    )
    for text in (goals(), *lines):
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
