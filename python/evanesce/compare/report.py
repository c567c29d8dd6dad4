"""A comparison as one HTML file: readable by a stranger, opened without a network, printed without surprises.

Nothing is loaded and nothing runs: the content security policy permits the one style sheet in the file, by its digest,
and nothing else. Light or dark is the reader's choice of system.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib import resources
from itertools import product
from typing import Any

from evanesce._text import printable
from evanesce.compare import svg
from evanesce.compare.results import (
    DIMENSIONS,
    Agility,
    AtRest,
    Comparison,
    Insider,
    Latency,
    Model,
    NotMeasured,
    Recovery,
    Regulatory,
    Switch,
)
from evanesce.compare.summary import DEEDS, cell, milliseconds, quantiles, rate, seconds, size, small, smallest

_LEAD = {
    "at_rest": "What lies on the disks of everybody involved, and what a thief of one of them has. A key that was made "
    "for this was brought in, used, and then searched for in every file, raw, reversed, in hexadecimal and base64, "
    "down to eight bytes in a row; and where it had been put on purpose, to see that the search finds it. Of a key "
    "that nobody has ever known, what a new one leaves on the disks was compared byte for byte instead.",
    "insider": "Who must work together to use a key, to carry it off, or to destroy it: computed from the quorum, its "
    "sites and its roles, smallest coalitions first. Then some of them did it, in a sandbox.",
    "latency": "Operations one at a time: half of them were done within the full mark, 99 of 100 within the hollow "
    "one. The axis is logarithmic.",
    "agility": "The algorithm was changed while the key was in use: how many steps, devices and meetings of people, "
    "and how long.",
    "recovery": "A site went away. How long until the next operation worked, and until all was as before.",
    "regulatory": "For which clauses each model has something to show. This is maintained by hand, with sources, not "
    "measured; “full” does not mean that an assessor has accepted it.",
}

# No entity, of those that `escape` makes, is taken for a name.
_WHOLE = re.compile(r"\b[\d.,]+ (?:µs|ms|s|bytes|KiB|MiB|/s)\b|(?<![#\w-])[a-z]+[a-z0-9-]*[0-9][a-z0-9-]*\b")
_COMMAND = re.compile(r"`([^`<>]+)`")


def html(comparison: Comparison) -> str:
    """The whole file."""
    style = resources.files(__package__).joinpath("data/report.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = "".join(
        [_head(comparison), _glance(comparison), *(_section(key, comparison) for key in DIMENSIONS), _foot(comparison)]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>Custody models compared, {_e(comparison.when)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _head(comparison: Comparison) -> str:
    machine = comparison.machine
    facts = [
        f"Measured {comparison.when} in {seconds(comparison.seconds)}",
        f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('system')}",
        f"load when it was done {machine.get('load')}",
        f"Evanesce {machine.get('evanesce')}",
    ]
    if comparison.round_trip_ms is not None:
        facts.append(f"simulated distance {comparison.round_trip_ms:g} ms")
    missing = "".join(
        f'<p class="missing"><strong>{_e(name)}</strong>: not measured here: {_e(reason)}.</p>'
        for name, reason in comparison.not_measured.items()
    )
    return (
        "<header><h1>Custody models compared</h1>"
        "<p>Where a key is when nobody uses it, who can take it, how fast it is, how it changes, how it comes back, "
        "and what there is to show for it. Every figure was measured on this machine, at the time given; what was not "
        "measured says so.</p>"
        f'<p class="facts">{_e(" · ".join(facts))}</p>{missing}</header>'
    )


def _glance(comparison: Comparison) -> str:
    if not comparison.models:
        return ""
    heads = "".join(
        f"<th scope='col'>{_e(name)}<small>{_e(model.title)}</small></th>" for name, model in comparison.models.items()
    )
    rows = []
    for key, title in DIMENSIONS.items():
        cells = "".join(f"<td>{_lines(cell(model, key))}</td>" for model in comparison.models.values())
        rows.append(f'<tr><th scope="row"><a href="#{key}">{_e(title)}</a></th>{cells}</tr>')
    table = f"<table class='glance'><tr><th></th>{heads}</tr>{''.join(rows)}</table>"
    return f"<section><h2>At a glance</h2><div class='wide'>{table}</div></section>"


def _section(key: str, comparison: Comparison) -> str:
    chart, details = _PARTS[key]
    words = [f'<section id="{key}"><h2>{_e(DIMENSIONS[key])}</h2><p>{_e(_LEAD[key])}</p>', chart(comparison)]
    if key == "regulatory":
        return "".join([*words, _clauses(comparison), "</section>"])
    for name, model in comparison.models.items():
        found = getattr(model, key)
        words.append(f"<h3>{_e(name)}</h3>")
        if isinstance(found, NotMeasured):
            words.append(f'<p class="missing">Not measured here: {_e(found.reason)}.</p>')
        else:
            words.append(details(found))
    return "".join(words) + "</section>"


def _absent(comparison: Comparison) -> Iterable[svg.Bar]:
    """A row for each model that has no figure."""
    for name in comparison.not_measured:
        yield svg.Bar(name, None, "not measured here")


def _of(comparison: Comparison, key: str) -> Iterable[tuple[str, Model]]:
    return (
        (name, model) for name, model in comparison.models.items() if not isinstance(getattr(model, key), NotMeasured)
    )


# Material at rest.


def _rest_chart(comparison: Comparison) -> str:
    rows: list[svg.Bar] = []
    for name, model in _of(comparison, "at_rest"):
        assert isinstance(model.at_rest, AtRest)
        count, stores = len(model.at_rest.keeping), len(model.at_rest.stores)
        rows.append(svg.Bar(name, count, f"{count} of {stores} stores keep something of the key", 2))
    return _figure(svg.dots("Stores that keep something of the key", [*rows, *_absent(comparison)]))


def _rest(found: AtRest) -> str:
    rows = [(s.holder, s.what, s.keeps or "nothing", size(s.bytes), _found(s.hits), s.thief_has) for s in found.stores]
    heads = ("place", "what lies there", "of the key", "bytes seen", "its bytes found", "its thief has")
    control = "found" if found.control_found else "NOT FOUND: this search proves nothing"
    searched = (
        "Nobody, this sandbox included, has ever known the key: its bytes cannot be searched for."
        if found.control_found is None
        else f"Where the key was put on purpose, it was {control}."
    )
    notes = [
        f"Another key adds: {small(found.per_key)}",
        searched,
        *found.remarks,
    ]
    return _table(heads, rows) + _notes(notes)


def _found(hits: int | None) -> str:
    return "not searched" if hits is None else str(hits or "none")


# Insider compromise.


def _insider_chart(comparison: Comparison) -> str:
    rows: list[svg.Bar] = []
    for (series, can), (name, model) in product(enumerate(DEEDS), list(_of(comparison, "insider"))):
        assert isinstance(model.insider, Insider)
        for kind, count in sorted(model.insider.by_kind.get(can, {}).items(), key=lambda pair: pair[1]):
            rows.append(svg.Bar(f"{can}: {name}, {kind}s alone", count, str(count), series))
        listed = model.insider.coalitions.get(can, ())
        if listed and len(set(listed[0].kinds)) > 1:
            count = len(listed[0].members)
            rows.append(svg.Bar(f"{can}: {name}, of several kinds", count, str(count), series))
    return _figure(
        svg.dots("Smallest coalitions", [*rows, *_absent(comparison)]),
        "How many must work together, deed by deed. Fewer dots: easier.",
    )


def _insider(found: Insider) -> str:
    carried = [(d.can, " and ".join(d.members), d.got, d.seen, seconds(d.seconds)) for d in found.carried]
    out = _table(("tried", "by", "what it got", "what the others saw", "took"), carried)
    rows = []
    for can in DEEDS:
        listed = found.coalitions.get(can, ())
        words = "; ".join(" + ".join(one.members) for one in listed)
        more = found.counts.get(can, 0) - len(listed)
        rows.append((can, smallest(found, can), words + (f"; and {more} more" if more > 0 else "")))
    return out + _table(("to", "smallest", "minimal coalitions, smallest first"), rows) + _notes(found.not_carried)


# Latency.


def _latency_chart(comparison: Comparison) -> str:
    near: list[svg.Range] = []
    far: list[svg.Range] = []
    rates: list[svg.Bar] = []
    for series, (name, model) in enumerate(_of(comparison, "latency")):
        assert isinstance(model.latency, Latency)
        for t in model.latency.timings:
            label = f"{name}: {t.suite} {t.operation}"
            near.append(svg.Range(label, t.p50_ms, t.p99_ms, quantiles(t.p50_ms, t.p99_ms), series))
            if t.rate is not None:
                rates.append(svg.Bar(label, t.rate, rate(t), series))
            if across := quantiles(t.p50_far_ms, t.p99_far_ms):
                far.append(svg.Range(label, t.p50_far_ms, t.p99_far_ms, across, series))
    absent = list(_absent(comparison))
    gone = [svg.Range(row.label, None, None, row.shown) for row in absent]
    parts = [
        _figure(svg.ranges("Latency, p50 and p99", [*near, *gone], "ms"), "One at a time: p50 (full) and p99 (hollow).")
    ]
    if rates:
        parts.append(_figure(svg.bars("Operations a second", [*rates, *absent]), "Operations a second."))
    if far:
        title = f"Latency across {comparison.round_trip_ms:g} ms"
        parts.append(
            _figure(svg.ranges(title, [*far, *gone], "ms"), f"{title}, one at a time: p50 (full) and p99 (hollow).")
        )
    return "".join(parts)


def _latency(found: Latency) -> str:
    rows = []
    for t in found.timings:
        far = quantiles(t.p50_far_ms, t.p99_far_ms)
        rows.append(
            (t.suite, t.operation, milliseconds(t.p50_ms), milliseconds(t.p99_ms), str(t.samples), rate(t), far)
        )
    heads = ("algorithm", "operation", "p50", "p99", "samples", "rate", "across the distance")
    return _table(heads, rows) + _notes([found.arrangement])


# Crypto-agility.


def _agility_chart(comparison: Comparison) -> str:
    rows: list[svg.Bar] = []
    for series, (name, model) in enumerate(_of(comparison, "agility")):
        assert isinstance(model.agility, Agility)
        rows += [
            svg.Bar(f"{name}: {s.before} → {s.after}", s.seconds, _took(s.seconds), series)
            for s in model.agility.switches
        ]
    return _figure(
        svg.bars("Seconds to change the algorithm", [*rows, *_absent(comparison)]),
        "From the decision to the first verified result.",
    )


def _agility(found: Agility) -> str:
    rows = [(f"{s.before} → {s.after}", s.how, *_counts(s), _took(s.seconds)) for s in found.switches]
    return _table(("change", "how", "steps", "devices touched", "ceremonies", "took"), rows)


def _counts(switch: Switch) -> Sequence[str]:
    """Of a change that cannot be made there are none."""
    counts = (switch.steps, switch.devices, switch.ceremonies)
    return [str(count) if switch.seconds is not None else "" for count in counts]


def _took(value: float | None) -> str:
    return "cannot be done" if value is None else seconds(value)


# Backup and recovery.


def _recovery_chart(comparison: Comparison) -> str:
    rows: list[svg.Bar] = []
    for series, (name, model) in enumerate(_of(comparison, "recovery")):
        assert isinstance(model.recovery, Recovery)
        for number, step in enumerate(model.recovery.steps, 1):
            took, shown = (step.seconds, seconds(step.seconds)) if step.ok else (None, "FAILED")
            rows.append(svg.Bar(f"{name}: step {number}", took, shown, series))
    return _figure(
        svg.bars("Seconds of each step of the recovery", [*rows, *_absent(comparison)]),
        "The steps are described below.",
    )


def _recovery(found: Recovery) -> str:
    rows = [
        (str(number), s.what, seconds(s.seconds), "yes" if s.ok else "NO", s.detail)
        for number, s in enumerate(found.steps, 1)
    ]
    notes = [f"Lost: {found.lost}.", f"Kept beforehand: {small(found.backup)}"]
    return _notes(notes) + _table(("step", "what", "took", "worked", ""), rows)


# Regulatory fit.


def _regulatory_chart(comparison: Comparison) -> str:
    rows: list[svg.Bar] = []
    for name, model in _of(comparison, "regulatory"):
        assert isinstance(model.regulatory, Regulatory)
        for series, evidence in ((1, "full"), (0, "partial"), (2, "none")):
            count = model.regulatory.count(evidence)
            rows.append(svg.Bar(f"{name}: {evidence}", count, str(count), series))
    return _figure(
        svg.dots("Clauses with full, partial and no evidence", rows),
        "Clauses for which there is full, partial or no evidence.",
    )


def _clauses(comparison: Comparison) -> str:
    """One table: the clauses are the same for all models."""
    found = {name: model.regulatory for name, model in _of(comparison, "regulatory")}
    columns = [fit.clauses for fit in found.values() if isinstance(fit, Regulatory)]
    rows = []
    for row in zip(*columns, strict=True):
        clause = row[0]
        source = f"{_cell(clause.source)} ({_e(clause.date)})"
        cells = "".join(f"<td><strong>{_e(one.evidence)}</strong><br>{_e(one.shows)}</td>" for one in row)
        rows.append(
            f'<tr><th scope="row">{_e(clause.framework)}<br>{_e(clause.clause)}</th>'
            f"<td>{_e(clause.asks)}<small>{source}</small></td>{cells}</tr>"
        )
    heads = "".join(f'<th scope="col">{_e(name)}</th>' for name in found)
    head = f'<tr><th scope="col">clause</th><th scope="col">asks</th>{heads}</tr>'
    return f"<div class='wide'><table class='clauses'><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></div>"


_PARTS: dict[str, tuple[Callable[[Comparison], str], Callable[[Any], str]]] = {
    "at_rest": (_rest_chart, _rest),
    "insider": (_insider_chart, _insider),
    "latency": (_latency_chart, _latency),
    "agility": (_agility_chart, _agility),
    "recovery": (_recovery_chart, _recovery),
    "regulatory": (_regulatory_chart, str),
}


def _foot(comparison: Comparison) -> str:
    names = ", ".join(comparison.models) or "none"
    return (
        f"<footer><p>Measured: {_e(names)}. Embedded agents run in one process with software elements: a development "
        "arrangement, on which timings can be compared with one another and with nothing else. "
        "Made by <code>evanesce compare</code>.</p></footer>"
    )


def _figure(drawing: str, caption: str = "") -> str:
    return f"<figure>{drawing}{f'<figcaption>{_e(caption)}</figcaption>' if caption else ''}</figure>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{_e(text)}</th>' for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{_cell(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(text: str) -> str:
    """An address may be broken after its slashes."""
    return _e(text).replace("/", "/<wbr>") if text.startswith("https://") else _words(text)


def _notes(texts: Iterable[str]) -> str:
    return "".join(f'<p class="note">{_words(text)}</p>' for text in texts)


def _lines(text: str) -> str:
    return "".join(f'<span class="line">{_words(line)}</span>' for line in text.splitlines())


def _words(text: str) -> str:
    """Figures stay with their units, names of algorithms in one piece; commands are set as such."""
    whole = _WHOLE.sub(r'<span class="whole">\g<0></span>', _e(text))
    return _COMMAND.sub(r"<code>\1</code>", whole)


def _e(text: object) -> str:
    return escape(printable(str(text), limit=None))
