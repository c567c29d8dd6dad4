"""Callers whom a policy could permit and who are their own reconstructors: once a token is opened for them, nothing but
their own process keeps them to what they asked for (docs/reconstructor.md)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evanesce import AgentStatus, Policy
from evanesce._agentdir import read_known
from evanesce._text import printable

_BOTH = {"caller", "reconstructor"}


def in_directory(policy: Policy, path: Path) -> tuple[list[str], list[str]]:
    """By an agent's known.toml: whom the policy could permit, and to whom it lets those grant it. Raises as reading it
    does."""
    known = [one for one in read_known(path) if set(one.roles) >= _BOTH]
    own = [one.name for one in known if policy.could_open(one.name, one.groups)]
    # A grant needs no permit for the delegate, and may be made to anybody.
    granted = [one.name for one in known if one.name not in own] if policy.delegable else []
    return own, granted


def here(policy: Policy, answers: Iterable[AgentStatus]) -> list[str]:
    """Whoever asks, by the names and roles that agents answer with; groups they do not tell."""
    reports = [answer.report for answer in answers if answer.report is not None]
    names = {str(report["caller"]) for report in reports if set(report["roles"]) >= _BOTH}
    return sorted(name for name in names if policy.could_open(name))


def warnings(own: Iterable[str], granted: Iterable[str] = ()) -> list[str]:
    """One for each: of whom the policy could permit, and of those to whom it could be granted."""
    return [
        *(
            f"{printable(name)} could be permitted, and is its own reconstructor: once the token is opened for it, "
            "nothing but its own process keeps it to what it asked for"
            for name in own
        ),
        *(
            f"{printable(name)} could be granted it (@delegable), and is its own reconstructor: neither a grant's "
            "bounds nor the policy keep it to what it asked for"
            for name in granted
        ),
    ]
