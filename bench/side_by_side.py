"""The models beside one another and beside two peers, in turns: on one machine, and across a simulated distance.

hsm (SoftHSM), mpc, regen, regen-mpc and OpenBao sign 64 bytes with Ed25519; regen and clevis have a secret of 32 bytes
back from any three of five. Then MACs under a working key in the module, many in a call, beside those that a loop of
C_Sign makes with the same key.

A module stands beside its caller, so hsm has no distance.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict

from bench import caller, command, softhsm
from bench.clevis import Clevis
from bench.fleet import QUORUM, Fleet
from bench.peer import OpenBao
from bench.proxy import Proxy
from bench.targets import target
from evanesce import Client
from evanesce._mint import Model

ROUND_TRIP_MS = 40.0
BEYOND_ROUND_TRIP_MS = 5.0
OVER_CLEVIS = 200
OF_RAW = 0.9
"""Of the module's own rate, under a working key."""
IN_FLIGHT = 64
CLEVIS_IN_FLIGHT = (1, 8)
"""Each decryption is a dozen processes. The better counts."""
ONE_AT_A_TIME = {"here": 500, "across": 100}
BATCH = 400
TURNS = 4
"""Of each of the two ways to MAC, in a round: they differ by less than a shared machine's speed does in a minute."""
SIGNING = {"mpc": "frost-ed25519", "regen": "ed25519", "regen-mpc": "frost-ed25519"}
ONE_ROUND = "regen-mpc, one round"
PREPARED = """
[threshold]
prepared = "no earlier state of this machine's memory is ever resumed: no snapshot, no clone, no checkpoint"
"""
"""What agents are told so that they prepare nonces (docs/decisions/prepared-nonces.md)."""
OPENING = "xaes-256-gcm"
ROOT = "hkdf-sha256"
MAC = "hmac-sha256"
RAW = Path(__file__).parents[1] / ".build" / "raw_macs"

Figures = dict[str, float]
"""rate (operations a second), p50_ms, p99_ms."""


class Measured(TypedDict):
    """What a results file has of it."""

    round_trip_ms: float
    rounds: dict[str, list[Figures]]
    medians: dict[str, Figures]
    """By `MODEL/OPERATION/PLACE`."""
    macs_rounds: dict[str, list[float]]
    macs: dict[str, float]
    """MACs a second: `working` keys, and the module's `raw` rate."""


def measure(folder: Path, rounds: int, seconds: float, say: Callable[[str], None]) -> Measured:
    """Everything in turns, `seconds` for each rate: each round's figures, and their medians."""
    with ExitStack() as stack:
        contenders, macs = _set_up(folder, stack, seconds)
        figures: dict[str, list[Figures]] = {name: [] for name in contenders}
        rates: dict[str, list[float]] = {name: [] for name in macs}
        for number in range(rounds):
            say(f"  round {number + 1} of {rounds}")
            for name, run in contenders.items():
                figures[name].append(run())
            for _ in range(TURNS):
                for name, rate in macs.items():
                    rates[name].append(rate())
    return {
        "round_trip_ms": ROUND_TRIP_MS,
        "rounds": figures,
        "medians": {
            name: {figure: statistics.median(run[figure] for run in runs) for figure in ("p50_ms", "p99_ms", "rate")}
            for name, runs in figures.items()
        },
        "macs_rounds": rates,
        "macs": {name: statistics.median(runs) for name, runs in rates.items()},
    }


def _set_up(
    folder: Path, stack: ExitStack, seconds: float
) -> tuple[dict[str, Callable[[], Figures]], dict[str, Callable[[], float]]]:
    """What is run in each round: the contenders, and the two ways to MAC."""
    folder.mkdir()
    fleet = stack.enter_context(Fleet(folder / "fleet"))
    bao = stack.enter_context(OpenBao(folder / "openbao"))
    clevis = stack.enter_context(Clevis(folder / "clevis"))
    near = {"openbao": bao.address} | clevis.addresses
    far = stack.enter_context(Proxy(near, ROUND_TRIP_MS)).addresses
    homes = _homes(stack, fleet)
    tokens = _tokens(fleet.home, folder)
    module = softhsm.beside(folder / "module", fleet.home, "bench")
    # In a process of its own each, which is where a module is started.
    command.run(fleet.home, "key", "create", "hsm:bench/signing", "--suite", "ed25519")
    command.run(fleet.home, "key", "renew", "hsm:bench/working", "--root", str(tokens["root"]))

    def ours(key: Path | str, suite: str, place: str, homes: Mapping[str, Path] = homes) -> Callable[[], Figures]:
        def run() -> Figures:
            one = caller.run(homes[place], key, "latency", suite, str(ONE_AT_A_TIME[place]))
            return caller.run(homes[place], key, "rate", suite, str(IN_FLIGHT), str(seconds)) | one

        return run

    def openbao(address: str) -> Callable[[], Figures]:
        def run() -> Figures:
            many = bao.measure("ed25519", IN_FLIGHT, seconds, address)
            return bao.measure("ed25519", 1, seconds, address) | {"rate": many["rate"]}

        return run

    def opened(sealed: bytes) -> Callable[[], Figures]:
        def run() -> Figures:
            runs = [clevis.measure(sealed, in_flight, seconds) for in_flight in CLEVIS_IN_FLIGHT]
            return runs[0] | {"rate": max(one["rate"] for one in runs)}

        return run

    contenders = {"hsm/sign/here": ours("hsm:bench/signing", "ed25519", "here")}
    prepared = stack.enter_context(Fleet(folder / "prepared", more=PREPARED))
    once = _homes(stack, prepared)
    token = _of_shares(prepared.home, "regen-mpc", folder / "prepared.regen")
    for place in homes:
        addresses = near if place == "here" else far
        for model, suite in SIGNING.items():
            contenders[f"{model}/sign/{place}"] = ours(tokens[model], suite, place)
        contenders[f"{ONE_ROUND}/sign/{place}"] = ours(token, SIGNING["regen-mpc"], place, once)
        contenders[f"openbao/sign/{place}"] = openbao(addresses["openbao"])
        contenders[f"regen/open/{place}"] = ours(tokens["regen"], OPENING, place)
        contenders[f"clevis/open/{place}"] = opened(clevis.seal(addresses))
    return contenders, _macs(fleet.home, module, str(seconds / TURNS))


def _macs(home: Path, module: softhsm.Beside, seconds: str) -> dict[str, Callable[[], float]]:
    """Under the working key: through this project, and by a loop of C_Sign."""

    def working() -> float:
        return caller.run(home, "hsm:bench/working", "batches", MAC, str(BATCH), seconds)["rate"]

    def raw() -> float:
        words = [str(RAW), module.module, module.token, str(module.pin), "working", seconds]
        run = subprocess.run(words, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise RuntimeError(f"the module's own rate is not measured: {run.stderr}")
        return float(run.stdout)

    return {"working": working, "raw": raw}


def _homes(stack: ExitStack, fleet: Fleet) -> dict[str, Path]:
    """The caller's, by how far away its agents are."""
    near = {agent.name: agent.address for agent in fleet.agents}
    far = stack.enter_context(Proxy(near, ROUND_TRIP_MS)).addresses
    return {"here": fleet.home, "across": fleet.home_elsewhere(fleet.home.parent / "far", far)}


def _tokens(home: Path, folder: Path) -> dict[str, Path]:
    """A key of each model of a quorum's, and the working keys' root, which is pinned where it was made."""
    paths = {name: folder / f"{name}.regen" for name in ("root", "regen")}
    with Client(home, deadline=10.0) as client:
        client.create("root", [ROOT], quorum=QUORUM).save(paths["root"])
        client.create("regen", [SIGNING["regen"], OPENING], quorum=QUORUM).save(paths["regen"])
    models: tuple[Model, ...] = ("mpc", "regen-mpc")
    return paths | {model: _of_shares(home, model, folder / f"{model}.regen") for model in models}


def _of_shares(home: Path, model: Model, path: Path) -> Path:
    with Client(home, deadline=10.0) as client:
        client.create_threshold(model, SIGNING[model], model, quorum=QUORUM).save(path)
    return path


def table(measured: Measured) -> list[str]:
    """A line for each model and operation: p50, p99 and rate here and across; and of the MACs."""
    medians, macs = measured["medians"], measured["macs"]
    place = f"{'p50 ms':>9}{'p99 ms':>9}{'/s':>9}"
    lines = [
        f"{'':28}{'on one machine':>27}   {f'across {ROUND_TRIP_MS:g} ms':>27}",
        f"{'3 of 5':28}{place}   {place}",
    ]
    for name in dict.fromkeys(name.rpartition("/")[0] for name in medians):
        model, operation = name.split("/")
        cells = [_cells(medians.get(f"{name}/{place}")) for place in ONE_AT_A_TIME]
        lines.append(f"{model:22}{operation:6}{'   '.join(cells)}".rstrip())
    working, raw = macs["working"], macs["raw"]
    lines.append(f"MACs under a working key: {working:,.0f} /s, by C_Sign alone {raw:,.0f} /s ({working / raw:.0%})")
    return lines


def _cells(figures: Figures | None) -> str:
    if figures is None:
        return f"{'beside the caller':>27}"
    return f"{figures['p50_ms']:9.2f}{figures['p99_ms']:9.2f}{figures['rate']:9,.0f}"


def targets(measured: Measured) -> list[str]:
    """One line each."""
    medians, macs = measured["medians"], measured["macs"]
    bound = ROUND_TRIP_MS + BEYOND_ROUND_TRIP_MS
    across = f"across-{ROUND_TRIP_MS:g}ms"
    regen, regen_mpc = (medians[f"{model}/sign/across"]["p50_ms"] for model in ("regen", ONE_ROUND))
    clevis = medians["clevis/open/here"]["rate"]
    return [
        target(f"p50-{across}", regen, bound, "ms", most=True),
        target(f"regen-mpc-p50-{across}", regen_mpc, bound, "ms", most=True),
        target("regen-open-rate", medians["regen/open/here"]["rate"], OVER_CLEVIS * clevis, "/s", most=False),
        target("working-key-mac-rate", macs["working"], OF_RAW * macs["raw"], "/s", most=False),
    ]


def goals() -> str:
    """What they are relative to."""
    at_once = " and ".join(map(str, CLEVIS_IN_FLIGHT))
    return (
        f"p50-across and regen-mpc's at most the round trip + {BEYOND_ROUND_TRIP_MS:g}ms; regen opens at least "
        f"{OVER_CLEVIS} x as often as clevis, at its best of {at_once} at once; MACs under "
        f"a working key at least {OF_RAW:.0%} of a loop of C_Sign in the same module, in turns"
    )
