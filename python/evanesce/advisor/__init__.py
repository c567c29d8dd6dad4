"""The decision framework: which custody model fits which workload, by rules and facts that anyone can read and change.

`advise` takes workloads, rules and facts and returns, for each workload, a ranking in which every point is traced to a
rule and a fact, what is excluded and why, what would change the verdict, how large the quorum must be, and what is weak
about the first choice. It knows nothing about any model itself: all of that is in data/rules.yaml and data/facts.yaml.

`workload` reads workloads, `facts` and `rules` their files, `engine` judges, `flips` searches, `sizing` computes; none
of them asks an agent for anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from evanesce.advisor.engine import Finding, Ranking, rank, verdict, weaknesses
from evanesce.advisor.facts import Facts
from evanesce.advisor.flips import Flip, flips
from evanesce.advisor.rules import Rules
from evanesce.advisor.sizing import FORMULA, Sizing, modules, sizing
from evanesce.advisor.workload import Workload

__all__ = ["Advice", "Workload", "advise"]


@dataclass(frozen=True, slots=True)
class Advice:
    """One workload's."""

    ranking: Ranking
    verdict: str
    flips: tuple[Flip, ...]
    weaknesses: tuple[tuple[str, tuple[str, ...]], ...]
    """Of the first choice: in words, and the facts they rest on."""
    sizing: Sizing | None
    """Of the first choice's quorum; None where it needs none."""
    modules: int | None
    """How many modules carry the rate, one to spare; None where it has none, or no rate of one is known."""
    facts: Facts

    def as_dict(self) -> dict[str, Any]:
        """The machine form, as `--json` prints it."""
        ranking = self.ranking
        used = {name for ranked in ranking.fits for finding in ranked.findings for name in finding.facts}
        used |= {name for _, findings in ranking.excluded for finding in findings for name in finding.facts}
        for _, names in self.weaknesses:
            used |= set(names)
        size = self.sizing
        return {
            "workload": {k: list(v) if isinstance(v, tuple) else v for k, v in ranking.workload.values.items()},
            "first": ranking.first,
            "verdict": self.verdict,
            "ranking": [
                {
                    "candidate": ranked.candidate.id,
                    "title": ranked.candidate.title,
                    "points": ranked.points,
                    "because": [_finding(finding) for finding in ranked.findings],
                }
                for ranked in ranking.fits
            ],
            "excluded": [
                {"candidate": candidate.id, "because": [_finding(finding) for finding in findings]}
                for candidate, findings in ranking.excluded
            ],
            "not_known": [asdict(unknown) for unknown in ranking.unknown],
            "would_change_it": [asdict(flip) for flip in self.flips],
            "sizing": None
            if size is None
            else {
                "chosen": asdict(size.chosen) if size.chosen else None,
                "why": size.why,
                "formula": FORMULA,
                "tried": [asdict(one) for one in size.tried],
            },
            "modules": self.modules,
            "weaknesses": [{"says": says, "facts": list(names)} for says, names in self.weaknesses],
            "facts": [self.facts[name].as_dict() for name in sorted(used)],
        }


def advise(workloads: Iterable[Workload], rules: Rules, facts: Facts) -> tuple[Advice, ...]:
    """Each workload by itself, in order."""
    return tuple(_advise(workload, rules, facts) for workload in workloads)


def _advise(workload: Workload, rules: Rules, facts: Facts) -> Advice:
    ranking = rank(workload, rules, facts)
    first = ranking.fits[0].candidate if ranking.fits else None
    size = sizing(workload) if first is not None and first.quorum else None
    of_one = facts.get(f"rate-per-module/hsm/{workload['class']}")
    count = None
    if (
        first is not None
        and first.id in ("hsm", "hsm-regen-roots")
        and of_one
        and isinstance(of_one.value, int | float)
    ):
        count = modules(workload.number("rate"), of_one.value)
    weak = weaknesses(first, workload, facts) if first is not None else ()
    return Advice(ranking, verdict(ranking, facts), flips(workload, rules, facts, ranking), weak, size, count, facts)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "points": finding.points,
        "says": finding.says,
        "compared": list(finding.compared),
        "facts": list(finding.facts),
    }
