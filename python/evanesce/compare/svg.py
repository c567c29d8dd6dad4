"""Small charts as inline SVG: bars, ranges on a logarithmic axis, and counts as dots. No scripts, no styles of their
own.

Colours are classes (`s0`, `s1`, …) of the page's one style sheet, so that they follow light and dark. Every value is
also written beside its mark; a chart shows nothing that one must guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import TypeVar

WIDTH = 820
LABELS = 320
"""Columns kept for labels, and on the other side for values."""
VALUES = 170
ROW = 26


@dataclass(frozen=True, slots=True)
class Bar:
    """One row. Without a value it is a row that says why it has none."""

    label: str
    value: float | None
    shown: str
    series: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """One row from a low to a high value."""

    label: str
    low: float | None
    high: float | None
    shown: str
    series: int = 0


Row = TypeVar("Row", Bar, Range)


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars from zero on a linear axis."""
    most = max((row.value for row in rows if row.value is not None), default=0.0) or 1.0
    room = WIDTH - LABELS - VALUES
    parts: list[str] = []
    for y, row in _labelled(rows, parts):
        if row.value is None:
            continue
        wide = max(room * row.value / most, 1.5)
        parts.append(
            f'<rect class="s{row.series}" x="{LABELS}" y="{y + 5}" width="{wide:.1f}" height="{ROW - 10}" rx="2"/>'
        )
        parts.append(_text(LABELS + wide + 6, y, row.shown, "value"))
    return _svg(title, len(rows) * ROW, parts)


def ranges(title: str, rows: Sequence[Range], unit: str) -> str:
    """From low to high on a logarithmic axis, a full mark at the low end and a hollow one at the high end."""
    values = [value for row in rows for value in (row.low, row.high) if value is not None and value > 0]
    if not values:
        return bars(title, [Bar(row.label, None, row.shown) for row in rows])
    first, last = floor(log10(min(values))), ceil(log10(max(values)))
    last = max(last, first + 1)
    room = WIDTH - LABELS - VALUES

    def x(value: float) -> float:
        return LABELS + room * (log10(value) - first) / (last - first)

    height = len(rows) * ROW
    parts: list[str] = []
    for power in range(first, last + 1):
        at = x(10.0**power)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="0" x2="{at:.1f}" y2="{height}"/>')
        words = f"{10.0**power:g} {unit}"
        parts.append(f'<text class="tick" x="{at:.1f}" y="{height + 16}" text-anchor="middle">{escape(words)}</text>')
    for y, row in _labelled(rows, parts):
        if row.low is None or row.high is None:
            continue
        low, high, middle = x(row.low), x(row.high), y + ROW / 2
        parts.append(f'<line class="l{row.series}" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>')
        parts.append(f'<circle class="s{row.series}" cx="{low:.1f}" cy="{middle}" r="5"/>')
        parts.append(f'<circle class="o{row.series}" cx="{high:.1f}" cy="{middle}" r="4.5"/>')
        parts.append(_text(WIDTH - VALUES + 12, y, row.shown, "value"))
    return _svg(title, height + 22, parts)


def dots(title: str, rows: Sequence[Bar]) -> str:
    """Counts: as many dots as the value says."""
    parts: list[str] = []
    for y, row in _labelled(rows, parts):
        if row.value is None:
            continue
        for number in range(int(row.value)):
            parts.append(f'<circle class="s{row.series}" cx="{LABELS + 10 + number * 20}" cy="{y + ROW / 2}" r="7"/>')
        parts.append(_text(LABELS + 10 + int(row.value) * 20, y, row.shown, "value"))
    return _svg(title, len(rows) * ROW, parts)


def _labelled(rows: Sequence[Row], parts: list[str]) -> Iterator[tuple[int, Row]]:
    """Each row and its place, once its label is drawn; and why it has no value, where it has none."""
    for y, row in zip(range(0, len(rows) * ROW, ROW), rows, strict=True):
        parts.append(_label(row.label, y))
        if (row.value if isinstance(row, Bar) else row.low) is None:
            parts.append(_text(LABELS + 4, y, row.shown, "missing"))
        yield y, row


def _label(text: str, y: float) -> str:
    return f'<text class="label" x="{LABELS - 10}" y="{y + ROW / 2 + 4.5}" text-anchor="end">{escape(text)}</text>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y + ROW / 2 + 4.5}">{escape(text)}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )
