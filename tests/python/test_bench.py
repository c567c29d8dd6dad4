"""What a bench run says at its end: a line per target that programs can read, and what it is worth."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from bench import __main__ as bench
from bench import policies, side_by_side, suites
from bench.peer import CONNECTIONS

from evanesce import Policy, Question, _core

LINE = re.compile(r"target [a-z0-9-]+: measured [0-9.e+]+(/s|ms|MiB|us|s), goal [0-9.e+]+(/s|ms|MiB|us|s), (ok|short)")


def medians(rate: float, p50: float) -> dict[str, float]:
    """Figures of a run in which OpenBao signs at most 7961.4 times a second, in 0.44 ms at one."""
    figures = {}
    for suite in bench.SUITES:
        for connections in CONNECTIONS:
            figures[f"openbao/{suite}/{connections}/rate"] = 7961.4 if connections == 16 else 100.0
        figures[f"openbao/{suite}/1/p50_ms"] = 0.44
        figures[f"evanesce/process/{suite}/{bench.IN_FLIGHT}/rate"] = rate
        figures[f"evanesce/process/{suite}/1/p50_ms"] = p50
    return figures


def beside(across_ms: float, rate: float, macs: float) -> side_by_side.Measured:
    """Figures of a run in which clevis opens 20 times a second, and the module MACs 24,000 times by itself."""
    mine = {"p50_ms": across_ms, "p99_ms": 50.0, "rate": rate}
    here = {"hsm/sign": mine, "regen/open": mine, "clevis/open": {"p50_ms": 160.0, "p99_ms": 190.0, "rate": 20.0}}
    across = {"regen/sign": mine, f"{side_by_side.ONE_ROUND}/sign": {**mine, "p50_ms": across_ms + 2}}
    medians = {f"{name}/here": figures for name, figures in here.items()}
    medians |= {f"{name}/across": figures for name, figures in across.items()}
    return {
        "round_trip_ms": 40.0,
        "rounds": {},
        "medians": medians,
        "macs_rounds": {},
        "macs": {"working": macs, "raw": 24_000.0},
    }


BESIDE = side_by_side.targets(beside(41.23, 15_000.0, 23_000.0))
FLAT = {"memory_first_mib": 20.0, "memory_last_mib": 21.0, "cpu_us_fresh_beside_last": 100.0, "cpu_us_last": 104.0}


def test_a_target_is_one_line_with_units_and_a_verdict() -> None:
    lines = bench.targets(
        medians(21034.4, 0.366), BESIDE, FLAT, {"without": 20000.0, "with": 15100.0}, {"seconds": 38.8}, 86.0
    )
    assert "target policy-ed25519-rate: measured 15100/s, goal 15000/s, ok" in lines
    assert lines[0] == "target ed25519-rate: measured 21034/s, goal 15923/s, ok"
    assert "target ed25519-p50-one: measured 0.366ms, goal 0.44ms, ok" in lines
    assert "target p50-across-40ms: measured 41.23ms, goal 45ms, ok" in lines
    assert "target regen-mpc-p50-across-40ms: measured 43.23ms, goal 45ms, ok" in lines
    assert "target regen-open-rate: measured 15000/s, goal 4000/s, ok" in lines
    assert "target working-key-mac-rate: measured 23000/s, goal 21600/s, ok" in lines
    assert "target agent-memory-change: measured 1MiB, goal 2MiB, ok" in lines
    assert "target agent-cpu-change: measured 4us, goal 5us, ok" in lines
    assert f"target reroot-{bench.REROOTED}: measured 38.8s, goal 60s, ok" in lines
    assert "target compare: measured 86s, goal 180s, ok" in lines
    assert all(LINE.fullmatch(line) for line in lines)


def test_what_is_missed_is_short() -> None:
    flat = {"memory_first_mib": 20.0, "memory_last_mib": 30.0, "cpu_us_fresh_beside_last": 100.0, "cpu_us_last": 94.9}
    late = side_by_side.targets(beside(46.0, 3_999.0, 21_599.0))
    lines = bench.targets(
        medians(15922.0, 0.5), late, flat, {"without": 20000.0, "with": 14999.0}, {"seconds": 60.1}, 180.4
    )
    assert lines[0] == "target ed25519-rate: measured 15922/s, goal 15923/s, short"
    assert [line.rpartition(" ")[2] for line in lines] == ["short"] * len(lines)


def test_the_models_are_set_beside_one_another_a_line_each() -> None:
    _, _, *lines, macs = side_by_side.table(beside(41.23, 15_000.0, 23_000.0))
    assert [line[:28].split() for line in lines] == [
        ["hsm", "sign"],
        ["regen", "open"],
        ["clevis", "open"],
        ["regen", "sign"],
        ["regen-mpc,", "one", "round", "sign"],
    ]
    assert lines[0].split()[2:] == ["41.23", "50.00", "15,000", "beside", "the", "caller"]
    assert macs.endswith("23,000 /s, by C_Sign alone 24,000 /s (96%)")


@pytest.mark.parametrize(("rounds", "short"), [(1, True), (4, True), (5, False), (9, False)])
def test_a_run_of_too_few_rounds_says_that_it_is_no_result(
    monkeypatch: pytest.MonkeyPatch, rounds: int, short: bool
) -> None:
    monkeypatch.setattr(bench, "ROUNDS", rounds)
    line = bench.goals()
    assert "OpenBao" in line
    assert "same run" in line
    assert line.endswith(f"medians of {rounds} only: not a result") is short
    assert "\n" not in line


def test_every_suite_has_a_row_or_there_is_no_result() -> None:
    names = [name for name, *_ in _core.suites()]
    rows: list[dict[str, object]] = [{"suite": name} for name in names]
    suites.complete(rows, names)
    with pytest.raises(RuntimeError, match=names[3]):
        suites.complete(rows[:3] + rows[4:], names)


def test_the_measured_policy_is_one_of_sixty_statements_that_decides() -> None:
    text = policies.policy()
    assert 18_000 < len(text) < 22_000
    policy = Policy(text)
    asked = Question("sign", "bench", "bench", policies.GROUPS, "ed25519", bytes(range(32)))
    assert policy.decide(asked).permitted
    for change in ({"groups": ()}, {"key": "treasury"}, {"caller": "service-03"}, {"now": 1_600_000_001}):
        assert not policy.decide(replace(asked, **change)).permitted
