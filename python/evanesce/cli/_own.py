"""Callers whom a policy could permit and who are their own reconstructors: once a token is opened for them, nothing but
their own process keeps them to what they asked for (docs/reconstructor.md)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evanesce import AgentStatus, Policy
from evanesce._agentdir import read_known
from evanesce._text import printable

_BOTH = {"caller", "reconstructor"}


def in_directory(policy: Policy, path: Path) -> list[str]:
    """By an agent's known.toml. Raises as reading it does."""
    known = [one for one in read_known(path) if set(one.roles) >= _BOTH]
    return [one.name for one in known if policy.could_open(one.name, one.groups)]


def here(policy: Policy, answers: Iterable[AgentStatus]) -> list[str]:
    """Whoever asks, by the names and roles that agents answer with; groups they do not tell."""
    reports = [answer.report for answer in answers if answer.report is not None]
    names = {str(report["caller"]) for report in reports if set(report["roles"]) >= _BOTH}
    return sorted(name for name in names if policy.could_open(name))


def warnings(names: Iterable[str]) -> list[str]:
    """One for each."""
    return [
        f"{printable(name)} could be permitted, and is its own reconstructor: once the token is opened for it, nothing "
        "but its own process keeps it to what it asked for"
        for name in names
    ]
