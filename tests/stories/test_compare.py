"""`evanesce compare`, once, for real: what it measures of regen, and what it makes of it."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machines import Done, Machine, Quorum

from evanesce.compare import svg
from evanesce.compare.hsm import MODULES

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/workloads"
MODELS = {"hsm", "mpc", "regen", "regen-mpc"}
ROUND_TRIP = 50
"""Milliseconds, simulated: more than a loaded machine adds to an ordinary operation, so that round trips can be
counted."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, Done]:
    machine = Machine(tmp_path_factory.mktemp("compared"))
    words = ("--samples", "20", "--seconds", "0.2", "--round-trip", str(ROUND_TRIP))
    return machine, machine.run("compare", *words, "--html", "report.html", "--out", "out.json")


@pytest.fixture(scope="module")
def found(done: tuple[Machine, Done]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((done[0].home / "out.json").read_text())
    return read


@pytest.fixture(scope="module")
def regen(found: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = found["models"]["regen"]
    return read


def test_every_model_is_measured_or_named_with_a_reason(done: tuple[Machine, Done], found: dict[str, Any]) -> None:
    said = done[1].out.decode()
    assert set(found["models"]) | set(found["not_measured"]) == MODELS
    assert not set(found["models"]) & set(found["not_measured"])
    for name, reason in found["not_measured"].items():
        assert f"{name}: not measured here: {reason}" in " ".join(said.split())


def test_nothing_of_a_regenerated_key_is_at_rest_and_the_search_can_find(regen: dict[str, Any]) -> None:
    rest = regen["at_rest"]
    assert rest["control_found"] is True
    assert rest["hits"] == 0
    assert [store["keeps"] for store in rest["stores"]] == [""] * 7
    assert all(store["files"] for store in rest["stores"])
    assert rest["per_key"].startswith("Nothing")


def test_coalitions_are_those_of_three_in_five_at_three_sites(regen: dict[str, Any]) -> None:
    insider = regen["insider"]
    assert insider["by_kind"] == {
        "use": {"caller": 1, "minter": 1, "site": 2, "operator": 3},
        "exfiltrate": {"caller": 1, "site": 2, "operator": 3},
        "destroy": {"minter": 1, "site": 2, "operator": 3},
    }
    # Ten threes of operators, and what sites save.
    assert insider["counts"]["exfiltrate"] > 13


def test_the_smallest_did_it_and_one_site_less_did_not(regen: dict[str, Any]) -> None:
    carried = {(deed["can"], len(deed["members"])): deed for deed in regen["insider"]["carried"]}
    assert carried["use", 1]["succeeded"]
    assert "3 agents have it in their logs" in carried["use", 1]["seen"]
    assert carried["exfiltrate", 2]["succeeded"]
    assert carried["exfiltrate", 2]["seen"] == "nothing: no agent of the victims was asked"
    assert not carried["exfiltrate", 1]["succeeded"]
    assert "quorum-not-met" in carried["exfiltrate", 1]["got"]
    assert carried["destroy", 1]["succeeded"]


def test_the_smallest_coalition_was_carried_out_or_its_row_says_why_not(
    done: tuple[Machine, Done], found: dict[str, Any]
) -> None:
    for name, model in found["models"].items():
        insider = model["insider"]
        succeeded = {(deed["can"], len(deed["members"])) for deed in insider["carried"] if deed["succeeded"]}
        computed = {can for can, least in insider["smallest"].items() if (can, least) not in succeeded}
        assert computed == set(insider["computed"]) == ({"exfiltrate"} if name == "regen" else set()), name
    why = found["models"]["regen"]["insider"]["computed"]["exfiltrate"]
    assert "code in the victim's process" in why and "`make residue`" in why
    row = f"the smallest, code in the caller's process, is computed and not carried out: {why}"
    column = 1 + list(found["models"]).index("regen")
    lines = [line.split("│") for line in done[1].out.decode().splitlines()]
    cell = " ".join(line[1 + column].strip() for line in lines if len(line) == len(found["models"]) + 3)
    assert row in cell
    report = re.sub("<[^>]+>", "", (done[0].home / "report.html").read_text())
    # At a glance and in the table of coalitions.
    assert html.unescape(report).count(row.replace("`", "")) == 2


def test_latencies_are_ordered_and_distance_costs_one_round_trip(found: dict[str, Any], regen: dict[str, Any]) -> None:
    latency = regen["latency"]
    for timing in latency["timings"]:
        assert 0 < timing["p50_ms"] <= timing["p99_ms"]
    signature = latency["signature"]
    assert signature["suite"] == "ed25519"
    assert signature["rate"] > 0
    # Those that need two, in the same run, take longer.
    assert ROUND_TRIP <= signature["p50_far_ms"] < found["models"]["mpc"]["latency"]["signature"]["p50_far_ms"]
    assert signature["p50_far_ms"] - signature["p50_ms"] < 2 * ROUND_TRIP


def test_every_algorithm_has_a_rate_and_a_distance_which_the_table_and_the_report_show(
    done: tuple[Machine, Done], found: dict[str, Any]
) -> None:
    said = " ".join(done[1].out.decode().split())
    report = html.unescape((done[0].home / "report.html").read_text())
    for name, model in found["models"].items():
        assert model["latency"]["timings"]
        for timing in model["latency"]["timings"]:
            assert (timing["rate"] or 0) > 0, f"{name}, {timing['suite']}"
            # There is no distance to a module.
            assert (timing["p50_far_ms"] or 0) >= (0 if name == "hsm" else ROUND_TRIP), f"{name}, {timing['suite']}"
            rate = f"{timing['rate']:,.0f} /s"
            assert f"{name}, {timing['suite']} {timing['operation']}: {rate}" in said
            # At a glance, in the chart and in the table.
            assert report.count(rate) >= 3, rate


def test_a_lost_site_is_recovered_from_and_algorithms_change(regen: dict[str, Any]) -> None:
    assert [step["ok"] for step in regen["recovery"]["steps"]] == [True, True, True]
    assert "2 of 5" in regen["recovery"]["lost"]
    in_token, new = regen["agility"]["switches"]
    assert (in_token["steps"], in_token["devices"], in_token["ceremonies"]) == (1, 0, 0)
    assert (new["steps"], new["devices"]) == (2, 5)


def test_the_report_is_written_once(done: tuple[Machine, Done]) -> None:
    machine = done[0]
    text = (machine.home / "report.html").read_text()
    assert "<svg" in text
    assert "Content-Security-Policy" in text
    # Their widest letters aside, 6.8 units a character: none is cut off at the left.
    labels = re.findall(r'<text class="label"[^>]*>([^<]+)</text>', text)
    assert len(labels) > 40
    assert max(len(html.unescape(label)) for label in labels) * 6.8 <= svg.LABELS - 10
    machine.fail(1, "exists", "compare", "--model", "mpc", "--html", "report.html")


def test_advice_takes_what_was_measured(done: tuple[Machine, Done], found: dict[str, Any]) -> None:
    machine = done[0]
    told = machine.run("advise", EXAMPLES / "typical.yaml", "--measured", "out.json", "--json").json["advice"]
    facts = {fact["id"]: fact for one in told for fact in one["facts"]}
    here = [fact for fact in facts.values() if fact["kind"] == "here"]
    assert here
    assert all(fact["date"] == found["when"] and fact["source"] == "out.json" for fact in here)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quorum]:
    with Quorum(tmp_path_factory.mktemp("three"), 3) as running:
        yield running


def status(caller: Machine) -> list[dict[str, Any]]:
    """Of each agent."""
    return [agent["status"] for agent in caller.run("agent", "status", "--json").json["agents"]]


def test_ones_own_agents_are_measured_and_left_as_they_were(three: Quorum) -> None:
    caller = three.caller
    before = status(caller)
    kept = sorted(caller.home.rglob("*"))
    words = ("compare", "--own", "--model", "regen", "--samples", "20", "--seconds", "0.1", "--json")
    told = caller.run(*words).json["models"]["regen"]
    assert "your own agents, 2 of (" in told["latency"]["arrangement"]
    # Each agent is at a site of its own here.
    assert told["insider"]["by_kind"]["exfiltrate"] == {"caller": 1, "site": 2, "agent": 2}
    assert told["insider"]["carried"] == []
    assert told["at_rest"]["hits"] == 0
    assert told["at_rest"]["control_found"] is True
    assert "no agent of yours is stopped" in told["recovery"]["not_measured"]
    assert [path for path in sorted(caller.home.rglob("*")) if path.name != "pins"] == [
        path for path in kept if path.name != "pins"
    ]
    # What was made is retired at every agent: three keys.
    assert [now["tombstones"] - then["tombstones"] for now, then in zip(status(caller), before, strict=True)] == [3] * 3
    stranger = three.newcomer("stranger")
    told = stranger.run(*words).json
    assert told["models"] == {}
    assert "your agents make no key for this" in told["not_measured"]["regen"]


@pytest.mark.parametrize("model", ["mpc", "regen-mpc"])
def test_ones_own_agents_keep_a_share_or_none_and_none_in_the_end(three: Quorum, model: str) -> None:
    caller = three.caller
    words = ("compare", "--own", "--model", model, "--samples", "20", "--seconds", "0.1", "--json")
    before = status(caller)
    told = caller.run(*words).json["models"][model]
    assert [timing["suite"] for timing in told["latency"]["timings"]] == ["frost-ed25519", "frost-secp256k1-tr"]
    assert told["latency"]["signature"]["rate"] > 0
    assert "in two rounds, or one where your agents prepare nonces" in told["latency"]["arrangement"]
    held = ["a share, sealed"] * 3 if model == "mpc" else [""] * 3
    assert [store["keeps"] for store in told["at_rest"]["stores"]] == ["", "", *held]
    assert ("3 shares, at 3 of them" in told["at_rest"]["per_key"]) == (model == "mpc")
    # Nobody has known the key: no figure of a search is shown.
    assert (told["at_rest"]["control_found"], told["at_rest"]["hits"]) == (None, None)
    assert told["insider"]["by_kind"]["exfiltrate"] == {"site": 2, "agent": 2}
    assert [switch["after"] for switch in told["agility"]["switches"]] == ["frost-secp256k1-tr", "ml-dsa-65"]
    assert "no agent of yours is stopped" in told["recovery"]["not_measured"]
    after = status(caller)
    # Four keys were made, and are retired at every agent.
    assert [now["tombstones"] - then["tombstones"] for now, then in zip(after, before, strict=True)] == [4] * 3
    assert [status["shares"] for status in after] == [0] * 3


# mpc and regen-mpc, over a household like regen's.


@pytest.fixture(scope="module", params=["mpc", "regen-mpc"])
def shared(request: pytest.FixtureRequest, found: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = found["models"][request.param]
    return read


def test_a_share_is_at_each_holder_or_nowhere(shared: dict[str, Any]) -> None:
    rest = shared["at_rest"]
    held = ["a share, sealed" if shared["name"] == "mpc" else ""] * 5
    assert [store["keeps"] for store in rest["stores"]] == ["", "", *held]
    assert rest["per_key"].startswith("5 files, " if shared["name"] == "mpc" else "Nothing")
    # Nobody has known the key: no figure of a search is shown.
    assert (rest["control_found"], rest["hits"]) == (None, None)
    assert {store["hits"] for store in rest["stores"]} == {None}


def test_code_in_the_callers_process_does_not_get_a_key_that_is_never_put_together(shared: dict[str, Any]) -> None:
    assert shared["insider"]["by_kind"] == {
        "use": {"caller": 1, "minter": 1, "site": 2, "operator": 3},
        "exfiltrate": {"site": 2, "operator": 3},
        "destroy": {"minter": 1, "site": 2, "operator": 3},
    }
    carried = {(deed["can"], deed["members"][0], len(deed["members"])): deed for deed in shared["insider"]["carried"]}
    assert carried["use", "the caller's identity", 1]["succeeded"]
    assert carried["exfiltrate", "site north", 2]["succeeded"]
    assert not carried["exfiltrate", "site north", 1]["succeeded"]
    assert carried["destroy", "the minter's identity", 1]["succeeded"]
    shares = carried.get(("exfiltrate", "every holder's share file and identity, without its element", 1))
    assert (shares is not None) == (shared["name"] == "mpc")
    assert shares is None or not shares["succeeded"]


def test_signatures_cost_two_round_trips_and_there_is_no_other_class(shared: dict[str, Any]) -> None:
    latency = shared["latency"]
    assert [timing["suite"] for timing in latency["timings"]] == ["frost-ed25519", "frost-secp256k1-tr"]
    assert all(0 < timing["p50_ms"] <= timing["p99_ms"] for timing in latency["timings"])
    signature = latency["signature"]
    assert signature["rate"] > 0
    assert signature["p50_far_ms"] >= 2 * ROUND_TRIP
    assert signature["p50_far_ms"] - signature["p50_ms"] < 3 * ROUND_TRIP
    assert "mac" not in latency and "cipher" not in latency


def test_what_such_a_key_cannot_is_said_by_name_and_a_lost_site_it_can(shared: dict[str, Any]) -> None:
    done, not_done = shared["agility"]["switches"]
    assert (done["after"], done["steps"], done["devices"]) == ("frost-secp256k1-tr", 2, 5)
    assert not_done["seconds"] is None and "ml-dsa-65" in not_done["how"]
    steps = shared["recovery"]["steps"]
    assert [step["ok"] for step in steps] == [True, True, True]
    assert "the same key, the same token id" in steps[2]["detail"]
    assert ("nothing can be" in shared["recovery"]["backup"]) == (shared["name"] == "mpc")


# hsm, over SoftHSM, which the tests' prerequisites install.


@pytest.fixture(scope="module")
def hsm(found: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = found["models"]["hsm"]
    return read


def test_a_module_keeps_the_key_and_so_does_its_backup(hsm: dict[str, Any]) -> None:
    rest = hsm["at_rest"]
    assert rest["control_found"] is True
    assert [store["keeps"] for store in rest["stores"]] == ["the key", "the key, wrapped", "", ""]
    assert not rest["per_key"].startswith("Nothing")


def test_whoever_has_pin_and_disk_or_backup_and_two_custodians_has_the_key(hsm: dict[str, Any]) -> None:
    assert hsm["insider"]["smallest"] == {"use": 1, "exfiltrate": 2, "destroy": 2}
    taken = hsm["insider"]["coalitions"]["exfiltrate"]
    assert {len(one["members"]) for one in taken} == {2, 3}
    carried = {tuple(deed["members"]): deed["succeeded"] for deed in hsm["insider"]["carried"]}
    assert carried == {
        ("the caller's host",): True,
        ("the caller's host", "site north's disk"): True,
        ("the backup's store", "alice", "carol"): True,
        ("the backup's store", "alice"): False,
        ("the caller's host", "the backup's store"): True,
    }


def test_a_module_changes_by_ceremony_or_not_at_all_and_comes_back_by_one(hsm: dict[str, Any]) -> None:
    done, not_done = hsm["agility"]["switches"]
    assert (done["steps"], done["devices"], done["ceremonies"]) == (4, 2, 2)
    assert (not_done["after"], not_done["seconds"]) == ("ml-dsa-65", None)
    assert [step["ok"] for step in hsm["recovery"]["steps"]] == [True, True]


def test_softhsm_is_timed_and_stands_for_nobody_elses_module(hsm: dict[str, Any]) -> None:
    timings = {timing["suite"]: timing for timing in hsm["latency"]["timings"]}
    assert set(timings) == {"ecdsa-p256", "ed25519", "hmac-sha256", "aes-256-gcm"}
    assert all(0 < timing["p50_ms"] <= timing["p99_ms"] and timing["rate"] > 0 for timing in timings.values())
    assert "mac" not in hsm["latency"]


def test_ones_own_module_is_timed_with_keys_that_are_destroyed_again(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    words = ["softhsm2-util", "--init-token", "--free", "--label", "prod", "--so-pin", "12345678", "--pin", "4321"]
    subprocess.run(words, check=True, capture_output=True, env=os.environ | environment, timeout=60)
    machine = Machine(tmp_path / "home")
    (machine.home / "pin").touch(mode=0o600)
    (machine.home / "pin").write_text("4321")
    module = next(path for path in MODULES if Path(path).exists())
    (machine.home / "hsm.toml").write_text(
        f'[[hsm]]\nname = "prod"\nmodule = "{module}"\ntoken = "prod"\npin = {{ file = "pin" }}\n'
    )
    words = ["compare", "--own", "--samples", "20", "--seconds", "0.1", "--out", "own.json", "--json"]
    told = machine.run(*words, **environment).json
    assert set(told["models"]) == {"hsm"}
    assert "no identity" in told["not_measured"]["regen"]
    own = told["models"]["hsm"]
    assert "your module prod" in own["latency"]["arrangement"]
    assert "cannot be searched" in own["at_rest"]["not_measured"]
    assert machine.run("key", "describe", "hsm:prod", "--json", **environment).json["keys"] == []
    advice = machine.run("advise", EXAMPLES / "argued.yaml", "--measured", "own.json", "--json").json["advice"]
    gateway = next(one for one in advice if one["workload"]["name"] == "order-gateway")
    assert own["latency"]["signature"]["p99_ms"] > 0
    # Its rate is now this module's, and so is the time that it takes.
    assert gateway["first"] in ("hsm", None)
    assert "p99/hsm/signature" not in {name for row in gateway["not_known"] for name in row["missing"]}
