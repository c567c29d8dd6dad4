"""How large a quorum must be: availability and durability of t of n agents, and which choice is made. Pure.

    availability  A(t, n)  = Σ_{k=t..n} C(n,k) a^k (1-a)^(n-k)            a: one agent's availability
    loss          L(t, n)  = Σ_{k=n-t+1..n} C(n,k) p^k (1-p)^(n-k)        p = 1-(1-q)^(r/365)
    durability in a year   = 1 - (1 - (1-L)^(365/r))                      q: loss of one in a year, r: days to repair

Both assume that agents fail independently of one another; sites are counted apart: agents are spread over the sites as
evenly as can be, and after the f fullest sites have gone t must be left. Corruption is not a matter of chance: t agents
together are the key, so t is what an operator has to corrupt.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, comb, expm1, log1p

from evanesce.advisor.workload import Workload

LARGEST = 9
"""Agents of a flat quorum that are tried."""

FORMULA = (
    "availability = Σ_{k=t..n} C(n,k) a^k (1-a)^(n-k);  "
    "yearly loss = 1-(1-L)^(365/r), L = Σ_{k=n-t+1..n} C(n,k) p^k (1-p)^(n-k), p = 1-(1-q)^(r/365)"
)


@dataclass(frozen=True, slots=True)
class Size:
    """One quorum, t of n."""

    t: int
    n: int
    availability: float
    yearly_loss: float
    """Probability that the key is lost in a year, element failures being independent."""
    sites_survived: int
    """How many sites may go, the fullest first, with t left."""

    @property
    def to_open(self) -> int:
        """Agents that are the key."""
        return self.t

    @property
    def to_block(self) -> int:
        return self.n - self.t + 1


@dataclass(frozen=True, slots=True)
class Sizing:
    """What was tried for a workload, and what is proposed."""

    chosen: Size | None
    """None where no quorum of the operators that there are does it."""
    tried: tuple[Size, ...]
    why: str


def sizing(workload: Workload) -> Sizing:
    """The quorum with the largest t that is available enough, outlives the sites that may fail and can lose an agent;
    with that t the smallest. The more must be corrupted the better. Only t ≥ 2 is tried: with 1 every agent is the
    key."""
    number = workload.number
    most = min(int(number("independent_operators")), LARGEST)
    wanted, sites, failures = number("availability"), int(number("sites")), int(number("site_failures"))
    each = (number("agent_availability"), number("device_loss"), int(number("repair_days")))
    tried = tuple(measure(t, n, sites, *each) for n in range(2, most + 1) for t in range(n, 1, -1))
    good = [
        size for size in tried if size.availability >= wanted and size.sites_survived >= failures and size.to_block > 1
    ]
    if good:
        why = f"the largest t that reaches {wanted:g}, outlives {failures} failed site(s) and can lose an agent"
        return Sizing(min(good, key=lambda size: (-size.t, size.n)), tried, why)
    return Sizing(
        None,
        tried,
        f"no quorum of at most {most} independent operators at {sites} site(s) reaches {wanted:g}, outlives "
        f"{failures} failed site(s) and can lose an agent",
    )


def measure(t: int, n: int, sites: int, available: float, loss: float, repair_days: int) -> Size:
    """One quorum's figures."""
    availability = _at_least(t, n, available)
    # Small probabilities, so that nothing is lost by subtracting from one.
    p = -expm1(log1p(-loss) * repair_days / 365)
    lost = _at_least(n - t + 1, n, p)
    yearly = -expm1(log1p(-lost) * 365 / repair_days) if lost < 1 else 1.0
    return Size(t, n, availability, yearly, _sites_survived(t, n, sites))


def _at_least(k: int, n: int, p: float) -> float:
    return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


def _sites_survived(t: int, n: int, sites: int) -> int:
    left, gone = n, 0
    for number in range(min(sites, n)):
        left -= ceil((n - number) / sites)
        if left < t:
            break
        gone += 1
    return gone


def modules(rate: float, of_one: float, spare: int = 1) -> int:
    """How many modules carry a rate, with some to spare."""
    return ceil(rate / of_one) + spare
