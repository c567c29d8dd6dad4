"""The decision framework: twenty written workloads, what flips them, and what no workload may bring about."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evanesce import EvanesceError, _yaml, advisor
from evanesce.advisor import engine, facts, rules, workload
from evanesce.advisor.flips import flips
from evanesce.advisor.sizing import measure, modules, sizing
from evanesce.advisor.workload import FIELDS, Workload

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples/workloads"
FACTS = facts.load()
RULES = rules.load(FACTS)

# The argument for each of the second ten is in examples/workloads/argued.yaml, beside it.
EXPECTED = {
    "typical": {
        "payment-macs": "hsm-regen-roots",
        "pin-keys": "hsm",
        "custody-treasury": "mpc-to-regen-mpc",
        "payment-signing": "regen",
        "issuing-ca": "hsm",
        "release-signing": "hsm",
        "customer-data": "regen",
        "database-master-key": "hsm",
        "offline-root": "hsm",
        "firmware-signing": "regen-on-hsms",
    },
    "argued": {
        "hot-wallet": "regen-mpc",
        "taproot-vault": "regen-mpc",
        "order-gateway": "hsm",
        "single-founder": "hsm",
        "backup-encryption": "regen-on-hsms",
        "clinic-prescriptions": "hsm",
        "card-verification": "hsm",
        "service-tokens": "regen",
        "interbank-settlement": "regen-on-hsms",
        "licence-server": "hsm",
    },
}
WRITTEN = {w.name: w for name in EXPECTED for w in workload.load(EXAMPLES / f"{name}.yaml")}


def first(asked: Workload, known: facts.Facts = FACTS) -> str | None:
    return engine.rank(asked, RULES, known).first


@pytest.mark.parametrize(("name", "choice"), [pair for each in EXPECTED.values() for pair in each.items()])
def test_a_written_workload_has_the_first_choice_that_was_argued(name: str, choice: str) -> None:
    assert first(WRITTEN[name]) == choice


def test_there_are_twenty_and_each_of_the_second_ten_has_its_argument_above_it() -> None:
    assert len(WRITTEN) == 20
    lines = (EXAMPLES / "argued.yaml").read_text().splitlines()
    for name, choice in EXPECTED["argued"].items():
        at = lines.index(f"  - name: {name}")
        comment = list(itertools.takewhile(lambda line: line.startswith("  # "), reversed(lines[:at])))
        assert len(comment) >= 2, name
        assert comment[-1].startswith(f"  # {choice}. "), name


# The four cases that must hold, and the deciding fact of each.


def test_line_rate_symmetric_is_an_hsm_with_regenerated_roots_until_the_rate_falls() -> None:
    asked = WRITTEN["payment-macs"]
    assert first(asked) == "hsm-regen-roots"
    assert first(asked.but(rate=4990.0)) == "hsm"
    assert first(asked.but(rate=4000.0)) == "regen-on-hsms"
    assert first(asked.but(rate=4000.0, existing="none", p99_ms=20.0)) == "regen"


def test_a_mandated_certified_module_is_an_hsm_until_the_mandate_goes() -> None:
    asked = WRITTEN["pin-keys"]
    ranking = engine.rank(asked, RULES, FACTS)
    assert [ranked.candidate.id for ranked in ranking.fits] == ["hsm"]
    assert engine.verdict(ranking, FACTS) == "Keep your HSM."
    assert all("pci-pin" in {f for finding in found for f in finding.facts} for _, found in ranking.excluded)
    assert first(asked.but(certification=())) == "regen-on-hsms"


def test_multi_operator_governance_on_mpc_keeps_it_and_empties_its_store_until_there_is_no_mpc() -> None:
    asked = WRITTEN["custody-treasury"]
    assert first(asked) == "mpc-to-regen-mpc"
    assert first(asked.but(existing="none")) == "regen-mpc"
    assert first(asked.but(governance="one-team", existing="software", algorithm="ecdsa-p256")) == "regen"


def test_a_new_build_that_can_wait_is_regen_until_it_cannot() -> None:
    asked = WRITTEN["payment-signing"]
    assert first(asked) == "regen"
    assert first(asked.but(p99_ms=20.5)) == "hsm"
    assert first(asked.but(independent_operators=1)) == "hsm"
    slow = {**FACTS, "p99/regen/signature": replace(FACTS["p99/regen/signature"], value=400.0)}
    assert first(asked, slow) == "regen-mpc"


# Among several operators a key is not put together, as far as FROST is quick enough.
SHARED = WRITTEN["hot-wallet"].but(name="shared", rate=100.0, p99_ms=500.0)
FROST = ("mpc", "regen-mpc", "mpc-to-regen-mpc")


def why_not(asked: Workload, known: facts.Facts = FACTS) -> dict[str, set[str]]:
    """The rules that exclude each candidate."""
    out = engine.rank(asked, RULES, known).excluded
    return {candidate.id: {finding.rule for finding in found} for candidate, found in out}


def test_signing_in_rounds_is_excluded_by_its_rate_until_the_rate_falls() -> None:
    for existing in ("none", "mpc"):
        asked = SHARED.but(existing=existing, rate=10_000.0)
        out = why_not(asked)
        assert all("rate-beyond-the-quorum" in out[name] for name in FROST)
        assert first(asked) == "regen"
        out = why_not(asked.but(rate=100.0))
        assert not any("rate-beyond-the-quorum" in out.get(name, ()) for name in FROST)
        assert first(asked.but(rate=100.0)) == ("regen-mpc" if existing == "none" else "mpc-to-regen-mpc")
    asked = SHARED.but(rate=10_000.0)
    assert ("rate", "regen-mpc") in {(flip.what, flip.first) for flip in flips(asked, RULES, FACTS)}
    more_cores = {**FACTS, "rate/regen-mpc/signature": replace(FACTS["rate/regen-mpc/signature"], value=25_000)}
    assert "regen-mpc" not in why_not(asked, more_cores)
    assert first(asked, more_cores) == "regen-mpc"


def test_signing_in_rounds_is_excluded_by_its_latency_until_the_budget_grows() -> None:
    # The way there and back, twice, is within it; what the quorum takes is not.
    asked = SHARED.but(round_trip_ms=1.0, p99_ms=5.0)
    out = why_not(asked)
    assert all(
        out[name] & {"budget-below-the-quorum", "budget-below-the-network"} == {"budget-below-the-quorum"}
        for name in FROST
    )
    assert first(asked) == "regen"
    assert "regen-mpc" not in why_not(asked.but(p99_ms=6.0))
    assert first(asked.but(p99_ms=12.0)) == "regen-mpc"
    assert ("p99_ms", "regen-mpc") in {(flip.what, flip.first) for flip in flips(asked, RULES, FACTS)}
    quicker = {**FACTS, "p99/regen-mpc/signature": replace(FACTS["p99/regen-mpc/signature"], value=0.4)}
    assert "regen-mpc" not in why_not(asked, quicker)


@pytest.mark.parametrize(
    ("name", "what", "choice"),
    [
        ("payment-macs", "rate", "hsm"),
        ("pin-keys", "certification", "regen-on-hsms"),
        ("custody-treasury", "existing", "regen-mpc"),
        ("payment-signing", "p99_ms", "hsm"),
        ("payment-signing", "p99/regen/signature", "regen-mpc"),
        ("licence-server", "rate/regen-on-hsms/signature", "regen-on-hsms"),
    ],
)
def test_what_decides_is_named_among_what_would_change_the_verdict(name: str, what: str, choice: str) -> None:
    assert (what, choice) in {(flip.what, flip.first) for flip in flips(WRITTEN[name], RULES, FACTS)}


def test_a_change_that_is_reported_changes_the_verdict_and_a_little_less_does_not() -> None:
    asked = WRITTEN["payment-signing"]
    found = [f for f in flips(asked, RULES, FACTS) if not f.is_fact]
    assert found
    for flip in found:
        assert first(asked.but(**{flip.what: flip.becomes})) == flip.first != "regen"
        if isinstance(flip.becomes, float) and isinstance(flip.was, float):
            less = flip.was + (flip.becomes - flip.was) * 0.98
            assert first(asked.but(**{flip.what: less})) == "regen", flip


def test_prepared_nonces_save_a_round_trip_and_say_what_they_rest_on() -> None:
    asked = SHARED.but(round_trip_ms=40.0, p99_ms=60.0)
    prepared = asked.but(prepared_nonces="yes")
    assert all("budget-below-the-network" in why_not(asked)[name] for name in FROST)
    assert first(asked) == "regen"
    assert not any(why_not(prepared).get(name, set()) - {"no-shares-to-convert"} for name in FROST)
    assert first(prepared) == "regen-mpc"
    assert ("prepared_nonces", "regen-mpc") in {(flip.what, flip.first) for flip in flips(asked, RULES, FACTS)}
    told = advisor.advise([prepared], RULES, FACTS)[0].as_dict()
    assert "round-trips/mpc/prepared" in {fact["id"] for fact in told["facts"]}
    assert any("no snapshot, clone or checkpoint" in " ".join(one["says"].split()) for one in told["weaknesses"])
    assert not any("Two rounds" in one["says"] for one in told["weaknesses"])


def test_prepared_nonces_serve_nothing_where_people_approve_each_signature() -> None:
    asked = SHARED.but(round_trip_ms=40.0, p99_ms=60.0, governance="dual-control", prepared_nonces="yes")
    assert all("budget-below-the-network" in why_not(asked)[name] for name in FROST)
    told = advisor.advise([asked.but(p99_ms=500.0, algorithm="bip340")], RULES, FACTS)[0].as_dict()
    assert told["first"] == "regen-mpc"
    assert {"Two", "Prepared"} <= {one["says"].split()[0] for one in told["weaknesses"]}


def test_without_prepared_nonces_their_weakness_is_nobodys() -> None:
    for one in advisor.advise(WRITTEN.values(), RULES, FACTS):
        assert one.ranking.workload["prepared_nonces"] == "no"
        assert not any("Prepared" in says for says, _ in one.weaknesses)


def test_prepared_nonces_are_asked_about_where_shares_could_sign() -> None:
    field = workload.BY_NAME["prepared_nonces"]
    assert engine.matters(field, SHARED, RULES, FACTS)
    # Two round trips are too many for either, one is not.
    assert engine.matters(field, SHARED.but(round_trip_ms=40.0, p99_ms=60.0), RULES, FACTS)
    assert not engine.matters(field, SHARED.but(algorithm="ecdsa-p256"), RULES, FACTS)
    assert not engine.matters(field, SHARED.but(independent_operators=1), RULES, FACTS)


@pytest.mark.parametrize(("written", "value"), [("true", "yes"), ("false", "no"), ('"yes"', "yes"), ("'no'", "no")])
def test_whether_nonces_are_prepared_is_read_as_yaml_has_it(written: str, value: str) -> None:
    text = f"workloads:\n  - name: a\n    operations: [sign]\n    algorithm: bip340\n    prepared_nonces: {written}\n"
    assert workload.parse(_yaml.parse(text.encode(), "given.yaml"))[0]["prepared_nonces"] == value


# Whatever the workload.


def values(field: workload.Field) -> st.SearchStrategy[object]:
    if field.kind == "choice":
        return st.sampled_from(field.choices)
    if field.kind == "choices":
        least = 1 if field.default else 0
        return st.lists(st.sampled_from(field.choices), min_size=least, unique=True).map(
            lambda some, f=field: tuple(sorted(some, key=f.choices.index))
        )
    if field.kind == "number" and field.whole:
        return st.integers(int(field.lowest), int(min(field.highest, 1000)))
    if field.kind == "number":
        return st.floats(field.lowest, field.highest, allow_nan=False)
    return st.just(field.default)


WORKLOADS: st.SearchStrategy[Workload] = st.fixed_dictionaries({f.name: values(f) for f in FIELDS}).map(Workload)


def excluded(asked: Workload) -> set[str]:
    return {candidate.id for candidate, _ in engine.rank(asked, RULES, FACTS).excluded}


@given(WORKLOADS)
def test_what_is_excluded_never_ranks(asked: Workload) -> None:
    ranking = engine.rank(asked, RULES, FACTS)
    ranked = [each.candidate.id for each in ranking.fits]
    out = [candidate.id for candidate, _ in ranking.excluded]
    assert not set(ranked) & set(out)
    assert sorted(ranked + out) == sorted(candidate.id for candidate in RULES.candidates)
    assert all(finding.points == 0 and finding.says for _, found in ranking.excluded for finding in found)


@given(WORKLOADS, st.floats(0.001, 1))
def test_a_tighter_budget_never_makes_fit_what_was_excluded(asked: Workload, part: float) -> None:
    p99 = max(asked.number("p99_ms") * part, 0.01)
    rate = min(asked.number("rate") / part, 10_000_000)
    assert excluded(asked) <= excluded(asked.but(p99_ms=p99))
    assert excluded(asked) <= excluded(asked.but(rate=rate))
    assert excluded(asked) <= excluded(asked.but(round_trip_ms=min(asked.number("round_trip_ms") / part, 2000)))


@given(WORKLOADS)
def test_prepared_nonces_exclude_nothing_that_fits_without(asked: Workload) -> None:
    assert excluded(asked.but(prepared_nonces="yes")) <= excluded(asked.but(prepared_nonces="no"))


@settings(max_examples=10)
@given(st.lists(WORKLOADS, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_workloads_changes_nothing(asked: list[Workload], chance: random.Random) -> None:
    by_itself = [engine.rank(one, RULES, FACTS) for one in asked]
    order = list(range(len(asked)))
    chance.shuffle(order)
    together = [engine.rank(asked[place], RULES, FACTS) for place in order]
    assert together == [by_itself[place] for place in order]


def test_advice_on_one_workload_does_not_depend_on_its_neighbours() -> None:
    two = [WRITTEN["payment-signing"], WRITTEN["pin-keys"]]
    there = advisor.advise(two, RULES, FACTS)
    back = advisor.advise(reversed(two), RULES, FACTS)
    assert [one.as_dict() for one in there] == [one.as_dict() for one in reversed(back)]


@given(WORKLOADS)
def test_the_short_way_to_the_first_choice_finds_the_same(asked: Workload) -> None:
    assert engine.first_choice(asked, RULES, FACTS) == first(asked)


@given(WORKLOADS)
def test_every_point_is_traced_to_a_rule_and_adds_up(asked: Workload) -> None:
    ids = {rule.id: rule for rule in RULES.rules}
    for ranked in engine.rank(asked, RULES, FACTS).fits:
        assert ranked.points == sum(finding.points for finding in ranked.findings)
        for finding in ranked.findings:
            assert ids[finding.rule].points[ranked.candidate.id] == finding.points
            # What it rests on: a fact, or what the workload says of itself.
            assert finding.facts or finding.compared
            assert set(finding.facts) <= set(FACTS)


# The files.


def test_what_is_published_has_an_address_and_everything_a_date_and_a_page_that_exists() -> None:
    for fact in FACTS.values():
        assert fact.date and fact.says, fact
        if fact.kind == "published":
            assert fact.source.startswith("https://"), fact
        else:
            assert (ROOT / fact.source).is_file(), fact


def test_a_fact_that_nobody_has_measured_lets_no_rule_hold_and_is_named() -> None:
    asked = WRITTEN["custody-treasury"]
    unmeasured = ("rate/mpc/signature", "p99/mpc/signature")
    unknown = {**FACTS, **{name: replace(FACTS[name], value=None) for name in unmeasured}}
    ranking = engine.rank(asked, RULES, unknown)
    missing = {name for one in ranking.unknown for name in one.missing}
    assert set(unmeasured) <= missing
    # The package itself has none of a module of yours.
    assert FACTS["p99/hsm/signature"].value is None
    assert "p99/hsm/signature" in missing
    assert "mpc" in {ranked.candidate.id for ranked in ranking.fits}
    slow = {**FACTS, "rate/mpc/signature": replace(FACTS["rate/mpc/signature"], value=2)}
    assert "mpc" in {candidate.id for candidate, _ in engine.rank(asked, RULES, slow).excluded}


def test_every_rule_is_there_for_some_workload() -> None:
    more = [
        WRITTEN["payment-signing"].but(independent_operators=2, site_failures=0),
        WRITTEN["payment-signing"].but(certification=("qualified-signature", "fips-140-3-level-3"), sites=1),
        WRITTEN["payment-signing"].but(rate=1_000_000.0, p99_ms=20.5, offline="air-gapped"),
        WRITTEN["payment-signing"].but(p99_ms=25.0),
    ]
    held = set()
    # A module's own latency is nowhere published, so that its rule holds only of one that was measured.
    known = {**FACTS, "p99/hsm/signature": replace(FACTS["p99/hsm/signature"], value=0.5)}
    for asked in (*WRITTEN.values(), *more):
        ranking = engine.rank(asked, RULES, known)
        held |= {finding.rule for ranked in ranking.fits for finding in ranked.findings}
        held |= {finding.rule for _, found in ranking.excluded for finding in found}
    assert held == {rule.id for rule in RULES.rules}


def test_figures_of_ones_own_machine_take_the_place_of_the_packages(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    keys = {"evanesce/process/ed25519/64/rate": 150.0, "evanesce/process/ed25519/1/p99_ms": 3.5}
    path.write_text(json.dumps({"when": "2026-11-26T00:00:00+00:00", "medians": keys}))
    mine, count = facts.measured(FACTS, path)
    # Facts that borrow a measured one are measured with it.
    assert count == sum(fact.kind == "here" for fact in mine.values()) > 2
    assert mine["rate/regen/signature"].value == 150.0
    assert mine["rate/regen/signature"].kind == "here"
    assert str(path) in mine["rate/regen/signature"].cited()
    asked = WRITTEN["payment-signing"]
    assert first(asked) == "regen"
    assert first(asked, mine) != "regen"
    path.write_text(json.dumps({"when": "x", "medians": {}}))
    with pytest.raises(EvanesceError, match="no figure"):
        facts.measured(FACTS, path)
    path.write_text("[]")
    with pytest.raises(EvanesceError, match="not a results file"):
        facts.measured(FACTS, path)


def wrong(parse: Callable[[_yaml.Map], object], text: str) -> str:
    with pytest.raises(EvanesceError) as caught:
        parse(_yaml.parse(text.encode(), "given.yaml"))
    assert caught.value.code == "config"
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("workloads:\n  - name: a\n    name: b\n", 3, "'name' is here already, in line 2"),
        (
            "workloads:\n  - name: a\n    operations: [sign]\n    algorithm: ed25519\n    colour: red\n",
            5,
            "unknown field",
        ),
        ("workloads:\n  - name: a\n    operations: [sign]\n", 2, "algorithm is missing"),
        ("workloads:\n  - name: a\n    operations: [sign]\n    algorithm: des\n", 4, "must be one of"),
        ("workloads:\n  - name: a\n    operations: [sing]\n    algorithm: ed25519\n", 3, "'sing'"),
        ("workloads:\n  - name: a\n    operations: sign\n    algorithm: ed25519\n", 3, "must be a list"),
        ("workloads:\n  - name: a\n    operations: [sign]\n    algorithm: ed25519\n    rate: -1\n", 5, "must be 0.001"),
        (
            "workloads:\n  - name: a\n    operations: [sign]\n    algorithm: ed25519\n    sites: 1.5\n",
            5,
            "whole number",
        ),
        ("workloads:\n  - name: a\n    operations: [sign]\n    algorithm: ed25519\n    rate: 1:30\n", 5, "quote it"),
        ("workloads:\n  - name: no\n", 2, "quote it"),
        (
            "workloads:\n  - name: a\n    operations: [sign]\n    algorithm: bip340\n    prepared_nonces: yes\n",
            5,
            "quote it",
        ),
        (
            "workloads:\n  - name: a\n    operations: [sign]\n    algorithm: bip340\n    governance: true\n",
            5,
            "must be one of one-team",
        ),
        ("workloads: &a\n  - name: x\n", 1, "anchors"),
        ("a: 1\nworkloads: *b\n", 2, "anchors|alias"),
        ("workloads: !!python/object:os.system\n", 1, "tags|not YAML"),
        ("workloads: [\n", 2, "not YAML"),
        ("- a\n", 1, "must be a mapping"),
        ("workloads: []\n", 1, "no workload"),
    ],
)
def test_a_workload_file_that_is_wrong_is_refused_with_the_line(text: str, line: int, said: str) -> None:
    message = wrong(workload.parse, text)
    assert message.startswith(f"given.yaml, line {line}: "), message
    assert re.search(said, message), message


FACTS_TEXT = """facts:
  - id: trips
    value: 2
    kind: assumed
    says: Why.
    source: docs/advise.md
    date: undated
    instead:
      - {when: {prepared_nonces: "yes", governance: [one-team, multi-operator]}, fact: fewer}
  - {id: fewer, value: 1, kind: assumed, says: Why., source: docs/advise.md, date: undated}
"""


def test_a_fact_gives_way_to_another_where_all_that_is_said_of_the_workload_holds() -> None:
    trips = facts.parse(_yaml.parse(FACTS_TEXT.encode(), "given.yaml"))["trips"]
    asked = SHARED.but(prepared_nonces="yes")
    assert trips.of(asked) == "fewer"
    assert trips.of(asked.but(governance="one-team")) == "fewer"
    assert trips.of(asked.but(governance="dual-control")) == "trips"
    assert trips.of(asked.but(prepared_nonces="no")) == "trips"


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("fact: fewer", "fact: none", "no fact 'none' of its own"),
        ("prepared_nonces", "prepared", "'prepared' is no field"),
        ("prepared_nonces", "rate", "'rate' is no field of a workload with choices"),
        ("multi-operator", "multi", "'multi' is not a value of governance"),
        ('{prepared_nonces: "yes", governance: [one-team, multi-operator]}', "{}", "when must be a mapping"),
        (", fact: fewer", "", "fact is missing"),
    ],
)
def test_a_fact_that_gives_way_to_nothing_is_refused_with_the_line(was: str, becomes: str, said: str) -> None:
    message = wrong(facts.parse, FACTS_TEXT.replace(was, becomes, 1))
    assert message.startswith("given.yaml, line 9: "), message
    assert said in message


RULES_TEXT = """candidates:
  - id: hsm
    title: a module
    quorum: false
    verdicts:
      - says: Use it.
    weaknesses: []
rules:
  - id: one
    points: {hsm: 1}
    when: {rate: {above: 5}}
    says: Why.
"""


@pytest.mark.parametrize(
    ("was", "becomes", "line", "said"),
    [
        ("rate: {above", "rat: {above", 11, "'rat' is no field"),
        ("above: 5", "over: 5", 11, "unknown field 'over'"),
        ("above: 5", "in: [5]", 11, "does not fit rate"),
        ("above: 5", "above: much", 11, "needs a number"),
        ("above: 5", "above: {fact: none/such}", 11, "there is no fact 'none/such'"),
        ("above: 5", "above: {fact: '{vendor}/rate'}", 11, "there is no fact"),
        ("above: 5", "above: {fact: 'rat/{candidate}/{class}'}", 11, "there is no fact"),
        ("when: {rate: {above: 5}}", "when: {}", 9, "must rest on a fact"),
        ("above: 5", "above: {power: [2, 3]}", 11, "compared with one of"),
        ("rate: {above: 5}", "existing: {is: hms}", 11, "'hms' is not a value of existing"),
        ("rate: {above: 5}", "existing: {has-any: [hsm]}", 11, "does not fit existing"),
        ("points: {hsm: 1}", "points: {tpm: 1}", 9, "'tpm' is no candidate"),
        ("points: {hsm: 1}", "points: {hsm: lots}", 10, "whole numbers"),
        ("says: Why.", "says: Why.\n    excludes: [hsm]", 9, "either excludes or points"),
        ("says: Why.", "says: Why.\n    facts: [made-up]", 13, "there is no fact 'made-up'"),
        ("says: Use it.", "says: Use it.\n        when: {existing: {is: hsm}}", 5, "last of the verdicts"),
    ],
)
def test_rules_that_are_wrong_are_refused_with_the_line(was: str, becomes: str, line: int, said: str) -> None:
    assert rules.parse(_yaml.parse(RULES_TEXT.encode(), "given.yaml"), FACTS).rules[0].id == "one"
    message = wrong(lambda document: rules.parse(document, FACTS), RULES_TEXT.replace(was, becomes))
    assert message.startswith(f"given.yaml, line {line}: "), message
    assert said in message


def test_a_rule_that_was_changed_changes_the_verdict() -> None:
    text = resources.files("evanesce.advisor").joinpath("data/rules.yaml").read_text()
    stricter = text.replace("points: {hsm: 3, regen-on-hsms: 2,", "points: {hsm: 9, regen-on-hsms: 2,")
    assert stricter != text
    mine = rules.parse(_yaml.parse(stricter.encode(), "mine"), FACTS)
    assert engine.rank(WRITTEN["firmware-signing"], mine, FACTS).first == "regen-on-hsms"
    assert engine.rank(WRITTEN["backup-encryption"], mine, FACTS).first == "hsm"


# Sizes.


def by_counting(t: int, n: int, p: float) -> float:
    """The probability that t of n are up, by going through all that can happen."""
    total = 0.0
    for up in itertools.product((True, False), repeat=n):
        if sum(up) >= t:
            chance = 1.0
            for one in up:
                chance *= p if one else 1 - p
            total += chance
    return total


@pytest.mark.parametrize(("t", "n"), [(2, 2), (2, 3), (3, 5), (4, 5), (5, 9)])
def test_availability_and_loss_are_what_counting_all_cases_gives(t: int, n: int) -> None:
    size = measure(t, n, n, 0.99, 0.1, 30)
    assert size.availability == pytest.approx(by_counting(t, n, 0.99), rel=1e-12)
    gone = 1 - (1 - 0.1) ** (30 / 365)
    lost = by_counting(n - t + 1, n, gone)
    assert size.yearly_loss == pytest.approx(1 - (1 - lost) ** (365 / 30), rel=1e-6)


def test_sites_are_lost_fullest_first() -> None:
    assert measure(3, 5, 3, 0.99, 0.1, 30).sites_survived == 1
    assert measure(4, 5, 3, 0.99, 0.1, 30).sites_survived == 0
    assert measure(2, 5, 5, 0.99, 0.1, 30).sites_survived == 3
    assert measure(2, 3, 1, 0.99, 0.1, 30).sites_survived == 0


def test_the_proposed_quorum_is_the_hardest_to_corrupt_of_those_that_do() -> None:
    chosen = sizing(WRITTEN["custody-treasury"]).chosen
    assert chosen is not None
    assert (chosen.t, chosen.n) == (3, 5)
    none = sizing(WRITTEN["payment-signing"].but(independent_operators=2, site_failures=0))
    assert none.chosen is None
    assert "2 independent operators" in none.why


def test_modules_have_one_to_spare() -> None:
    assert modules(20_000, 2_100) == 11
    assert modules(1, 2_100) == 2
