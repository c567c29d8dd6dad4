"""The parts of a comparison: searching, coalitions, charts, the report, the maintained clauses."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import replace
from html.parser import HTMLParser
from itertools import chain, combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce import EvanesceError, _yaml
from evanesce.compare import coalitions, regulatory, svg
from evanesce.compare.coalitions import Party
from evanesce.compare.report import html
from evanesce.compare.results import (
    AtRest,
    Carried,
    Coalition,
    Comparison,
    Insider,
    Latency,
    Model,
    NotMeasured,
    Recovery,
    Step,
    Store,
    Timing,
)
from evanesce.compare.search import search
from evanesce.compare.subject import SUBJECTS, CannotMeasure, Sandbox, subject
from evanesce.compare.summary import cell, milliseconds, seconds

# Searching.

KEY = secrets.token_bytes(32)


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        KEY[::-1],
        KEY.hex().encode(),
        KEY.hex().upper().encode(),
        base64.b64encode(KEY),
        base64.b64encode(b"x" + KEY),
        base64.b64encode(b"xy" + KEY),
        KEY[24:],
        KEY[11:19].hex().encode(),
        base64.b64encode(KEY[6:24]),
    ],
)
def test_a_key_is_found_in_every_form_and_in_part(tmp_path: Path, form: bytes) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(secrets.token_bytes(1000) + form + secrets.token_bytes(1000))
    found = search(KEY, [tmp_path])
    assert found.hits > 0
    assert (found.files, found.bytes) == (1, 2000 + len(form))


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(secrets.token_bytes(1 << 20) + KEY[:7] + b"!" + KEY[8:15])
    assert search(KEY, [tmp_path]).hits == 0


# Coalitions.

NAMES = "abcdefg"
PARTIES = st.lists(st.sets(st.sampled_from(NAMES)).map(frozenset), min_size=1, max_size=6)
SUFFICIENT = st.lists(st.sets(st.sampled_from(NAMES), min_size=1), max_size=4)


@given(PARTIES, SUFFICIENT)
def test_minimal_coalitions_are_all_of_them_and_no_part_of_one_suffices(
    has: list[frozenset[str]], sufficient: list[set[str]]
) -> None:
    parties = [Party(f"party-{number}", "kind", each) for number, each in enumerate(has)]

    def can(together: frozenset[str]) -> bool:
        return any(wanted <= together for wanted in sufficient)

    def able(chosen: tuple[int, ...]) -> bool:
        return can(frozenset().union(*(has[place] for place in chosen)))

    everything = chain.from_iterable(combinations(range(len(has)), size) for size in range(1, len(has) + 1))
    wanted = {
        tuple(parties[place].name for place in chosen)
        for chosen in everything
        if able(chosen) and not any(able(part) for part in combinations(chosen, len(chosen) - 1) if part)
    }
    found = coalitions.minimal(parties, can)
    assert {one.members for one in found} == wanted
    assert [len(one.members) for one in found] == sorted(len(one.members) for one in found)


def test_kinds_are_counted_among_their_own() -> None:
    found = [Coalition(("a", "b"), ("site", "site")), Coalition(("a", "c"), ("site", "operator"))]
    found.append(Coalition(("c", "d", "e"), ("operator",) * 3))
    assert coalitions.by_kind(found) == {"site": 2, "operator": 3}


# Charts and the report.

BAD = '<script>alert(1)</script>"&\x1b[31m'


class Checked(HTMLParser):
    """Elements are closed as they were opened; what they refer to is kept."""

    VOID = frozenset({"meta", "br", "wbr", "link", "img"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.refers: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.refers += [value or "" for name, value in attrs if name in ("href", "src", "style", "action", "srcset")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1] if tag not in self.VOID else self.open

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(text: str) -> Checked:
    parser = Checked()
    parser.feed(text)
    parser.close()
    assert not parser.open
    return parser


def at_rest(per_key: str, *holders: str) -> AtRest:
    stores = tuple(Store(holder, "what", "a share", 3, 20_000, None, "all of it") for holder in holders)
    return AtRest(stores, 20_000, ("raw",), None, per_key)


def comparison() -> Comparison:
    """One of which everything is filled in, and whose words are hostile."""
    timing = Timing("ed25519", "sign", 0.4, 12.0, 200, 1234.5, 64, 42.0, 61.0)
    model = Model(
        "regen",
        BAD,
        AtRest(
            (Store(BAD, "what", "a share", 3, 20_000, 2, "all of it"),), 20_000, ("raw",), False, "Nothing.", (BAD,)
        ),
        Insider(
            2,
            {"use": (Coalition((BAD, "x"), ("site", "site")),), "exfiltrate": (), "destroy": ()},
            {"use": 40},
            {"use": {"site": 2}},
            (Carried("use", (BAD,), "it", True, "nobody", 0.5),),
            (BAD,),
        ),
        Latency((timing,), {"signature": timing}, BAD),
        NotMeasured("no reason " + BAD),
        Recovery("a site", (Step("failed", 2.5, False), Step("went", 1.5, True, BAD)), "nothing"),
        regulatory.load()["regen"],
        1.0,
    )
    return Comparison("2026-11-26T06:00:00+00:00", {"processor": BAD}, 40.0, {"regen": model}, {"mpc": BAD}, 3.0)


def test_the_report_is_one_closed_file_that_loads_and_runs_nothing() -> None:
    text = html(comparison())
    page = checked(text)
    assert not page.seen & {"script", "img", "link", "iframe", "object", "embed", "form", "base", "image", "use"}
    assert all(reference.startswith("#") for reference in page.refers)
    assert "alert(1)" in page.text
    assert "\x1b" not in text
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "prefers-color-scheme: dark" in style[1]


def test_the_report_says_what_was_found_and_what_was_not_measured() -> None:
    said = checked(html(comparison())).text
    for words in (
        "mpc: not measured here",
        "Not measured here: no reason",
        "1 of 1 stores keep something of the key",
        "NOT FOUND: this search proves nothing",
        "0.4 ms / 12 ms",
        "42 ms / 61 ms",
        "and 39 more",
        "FAILED",
        "1,234 /s, 64 in flight",
        "works again after 1.50 s",
    ):
        assert words in said, words


def test_figures_keep_their_units_and_names_their_parts_and_apostrophes_stay() -> None:
    found = comparison()
    words = "the caller's 40 KiB of ecdsa-p256 at agent-1: see `make residue`"
    text = html(
        replace(found, not_measured={}, models={"regen": replace(found.models["regen"], at_rest=at_rest(words))})
    )
    for whole in ("40 KiB", "ecdsa-p256", "agent-1"):
        assert f'<span class="whole">{whole}</span>' in text
    assert "<code>make residue</code>" in text
    assert "the caller's 40 KiB of ecdsa-p256 at agent-1: see make residue" in checked(text).text


def test_stores_that_keep_the_same_are_named_together() -> None:
    found = at_rest("Nothing.", "north", "south")
    words = cell(replace(comparison().models["regen"], at_rest=found), "at_rest")
    assert words.splitlines()[0] == "rests: a share (north; south)"
    assert words.splitlines()[2] == "another key adds: nothing."


def test_the_machine_form_is_where_advice_looks_for_it() -> None:
    document = comparison().as_dict()
    assert document["kind"] == "evanesce-compare"
    regen = document["models"]["regen"]
    assert regen["latency"]["signature"]["p99_ms"] == 12.0
    assert regen["latency"]["signature"]["rate"] == 1234.5
    assert regen["agility"] == {"not_measured": "no reason " + BAD}
    assert regen["insider"]["smallest"] == {"use": 2, "exfiltrate": None, "destroy": None}
    assert regen["at_rest"]["hits"] == 2
    assert document["not_measured"] == {"mpc": BAD}


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=8))
def test_a_chart_writes_every_value_and_stays_within_its_frame(values: list[float]) -> None:
    rows = [svg.Bar(f"row {n}", value, f"value {n}") for n, value in enumerate(values)]
    spans = [svg.Range(f"row {n}", v, v * 2, f"value {n}") for n, v in enumerate(values)]
    for drawing in (svg.bars("title", rows), svg.ranges("title", spans, "ms")):
        page = checked(drawing)
        for number in range(len(values)):
            assert f"value {number}" in page.text
        for name in ("x", "cx", "x1", "x2"):
            for found in re.findall(rf' {name}="([-0-9.]+)"', drawing):
                assert 0 <= float(found) <= svg.WIDTH
        # What is written beside a mark ends within the frame too; no character is wider than 9 of its 13 px.
        for at, words in re.findall(r'<text class="value" x="([0-9.]+)"[^>]*>([^<]*)<', drawing):
            assert float(at) + 9 * len(words) <= svg.WIDTH, words
        for wide in re.findall(r' width="([0-9.]+)"', drawing):
            assert float(wide) <= svg.WIDTH - svg.LABELS - svg.VALUES + 0.1


@given(st.floats(1e-4, 1e5), st.floats(1, 100))
def test_a_latency_as_it_is_written_has_room_beside_its_mark(p50: float, times: float) -> None:
    words = f"{milliseconds(p50)} / {milliseconds(p50 * times)}"
    assert 12 + 8 * len(words) <= svg.VALUES + 12, words
    assert seconds(p50 * 1e-3)


# Clauses.


def test_every_clause_has_a_source_a_date_and_a_word_for_every_model() -> None:
    fit = regulatory.load()
    assert set(fit) == set(SUBJECTS)
    for found in fit.values():
        assert len(found.clauses) >= 10
        for clause in found.clauses:
            assert clause.source.startswith("https://")
            assert clause.date and clause.asks and clause.shows
    # It must be able to say no, of each of them but the module that is certified.
    assert all(fit[name].count("none") >= 3 for name in ("mpc", "regen", "regen-mpc"))
    assert fit["hsm"].count("full") > fit["regen"].count("full")


CLAUSE = """clauses:
  - framework: F
    clause: "1"
    asks: Something.
    source: https://example.org
    date: 2026-11
    models:
      hsm: {evidence: full, shows: This.}
      mpc: {evidence: none, shows: Nothing.}
      regen: {evidence: partial, shows: That.}
      regen-mpc: {evidence: not-applicable, shows: No.}
"""


@pytest.mark.parametrize(
    ("was", "becomes", "line", "said"),
    [
        ("evidence: partial", "evidence: mostly", 10, "evidence must be one of"),
        ("      regen: {evidence: partial, shows: That.}\n", "", 8, "regen is missing"),
        ("      hsm:", "      tpm:", 8, "unknown field 'tpm'"),
        ("    date: 2026-11\n", "", 2, "date is missing"),
    ],
)
def test_clauses_that_are_wrong_are_refused_with_the_line(was: str, becomes: str, line: int, said: str) -> None:
    assert regulatory.parse(_yaml.parse(CLAUSE.encode(), "given.yaml"))["regen"].count("partial") == 1
    with pytest.raises(EvanesceError) as caught:
        regulatory.parse(_yaml.parse(CLAUSE.replace(was, becomes).encode(), "given.yaml"))
    assert caught.value.message.startswith(f"given.yaml, line {line}: ")
    assert said in caught.value.message


def test_a_model_that_this_release_lacks_is_said_to_be_lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUBJECTS, "mpc", "evanesce.compare.no_such_file")
    with pytest.raises(CannotMeasure, match="this release cannot measure mpc"):
        subject("mpc", Sandbox(tmp_path, 20, 0.1, None))
