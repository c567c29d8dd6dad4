"""What a run is measured by: a line per target, which programs can read."""

from __future__ import annotations


def target(name: str, value: float, goal: float, unit: str, *, most: bool) -> str:
    """One line. Rates are whole numbers."""
    met = value <= goal if most else value >= goal
    measured, wanted = (f"{number:.0f}{unit}" if unit == "/s" else f"{number:.4g}{unit}" for number in (value, goal))
    return f"target {name}: measured {measured}, goal {wanted}, {'ok' if met else 'short'}"
