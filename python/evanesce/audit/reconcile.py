"""What a caller has seen against what the agents wrote down; whatever one side has and the other has not is named.

The caller's side are its receipts. The agents' side are the entries of their logs by which that caller was permitted
something. An operation is known by its salted input digest, which no two share. But digests are no secret: whoever has
the caller's identity can ask again under one that is the caller's own. So a digest excuses, of each seat, no more
entries than there were operations, none where the caller has its receipt, and none long before or after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from evanesce.audit.logs import Entry, Log, named
from evanesce.audit.receipts import Kept, which
from evanesce.errors import EvanesceError
from evanesce.results import Receipt

CLOCKS_APART = 60_000
"""Milliseconds that two agents' clocks may be apart: each at most 30 s from the median of its peers'."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A receipt that its agent's log does not bear out."""

    path: str
    agent: str
    index: int
    why: str


@dataclass(slots=True)
class Reconciled:
    """Both sides, compared."""

    matched: int = 0
    """Receipts whose entry is in the log."""
    unanswered: list[Entry] = field(default_factory=list)
    """Entries of operations that the caller has seen, of seats whose answers it does not have, from about that time
    and one for each: a hedge, or an answer that came too late."""
    unseen: list[Entry] = field(default_factory=list)
    """The agents' surplus: operations, orders and seats permitted to this caller that it has no receipts of. Somebody
    else may have used its identity, or it lost its receipts."""
    missing: list[Missing] = field(default_factory=list)
    """The caller's surplus: receipts of entries that are not in the log, which was rewritten."""
    beyond: list[Missing] = field(default_factory=list)
    """Receipts that no log given reaches: it ends before them, or none is of that agent."""

    @property
    def agree(self) -> bool:
        """Whether neither side has anything that the other should have."""
        return not self.unseen and not self.missing


def reconcile(
    seen: Iterable[Kept], logs: Sequence[Log], callers: Iterable[str] = (), deadline: float = 10.0
) -> Reconciled:
    """Compares. `callers`: further caller ids whose entries must have been seen, besides those of the receipts.
    `deadline`: seconds that the operations were given at most.

    Raises `log-invalid` for a log that is not what its checkpoint says.
    """
    seen = list(seen)
    wanted = {entry["caller"] for kept in seen for entry in kept.entries} | set(callers)
    operations = _operations(seen)
    within = round(deadline * 1000) + CLOCKS_APART
    held = {(receipt.agent, receipt.index): (receipt, kept.path) for kept in seen for receipt in kept.receipts}
    done = Reconciled()
    for log in logs:
        found: set[int] = set()
        for caller in sorted(wanted):
            for entry in log.search(caller=caller, code="done")[0]:
                own = held.get((log.agent, entry.index))
                if own is not None and own[0].core.leaf == entry.leaf:
                    found.add(entry.index)
                else:
                    operation = operations.get(which(entry.fields))
                    late = operation is not None and operation.excuses(entry, within)
                    (done.unanswered if late else done.unseen).append(entry)
        for (agent, index), (receipt, path) in held.items():
            if agent == log.agent:
                _weigh(done, log, receipt, Missing(str(path), agent, index, ""))
                done.matched += index in found
    known = {log.agent for log in logs}
    for (agent, index), (_, path) in held.items():
        if agent not in known:
            done.beyond.append(Missing(str(path), agent, index, "no log of this agent was given"))
    return done


@dataclass(slots=True)
class _Operation:
    """One opening, or several under the same digests, as the caller has seen it."""

    times: set[int] = field(default_factory=set)
    """Of its receipts."""
    answered: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    """How often by this agent, for this seat. A refusal that names no seat is for all of them."""

    def excuses(self, entry: Entry, within: int) -> bool:
        """Whether this is one that the caller has no answer of; each excuse is given once."""
        if entry.fields["verb"] == "order":
            # Its digest is the id of what the caller has signed: the same order, which agents hand on to each other,
            # however late, and which does nothing twice.
            return True
        seats = entry.fields["seats"]
        most = max(self.answered.values(), default=0)
        refused = self.answered[entry.agent, None]
        near = min(self.times) - within <= entry.fields["time"] <= max(self.times) + within
        # A seat of a new token is given to one agent, and whoever gave it has the receipt.
        if entry.fields["verb"] in ("seat", "mpc-take", "mpc-receive"):
            return False
        if not near or not seats or any(self.answered[entry.agent, seat] + refused >= most for seat in seats):
            return False
        self.answered.update((entry.agent, seat) for seat in seats)
        return True


def _operations(seen: Iterable[Kept]) -> dict[object, _Operation]:
    found: dict[object, _Operation] = {}
    known: set[tuple[str, int]] = set()
    for kept in seen:
        for receipt, entry in zip(kept.receipts, kept.entries, strict=True):
            # A receipt may be in several files.
            if (receipt.agent, receipt.index) not in known:
                known.add((receipt.agent, receipt.index))
                operation = found.setdefault(which(entry), _Operation())
                operation.times.add(entry["time"])
                operation.answered.update((receipt.agent, seat) for seat in entry["seats"] or [None])
    return found


def _weigh(done: Reconciled, log: Log, receipt: Receipt, missing: Missing) -> None:
    try:
        named(log.path, lambda: log.core.signed_by(receipt.log_key))
        if named(log.path, lambda: log.core.holds(receipt.core)):
            return
    except EvanesceError as e:
        if e.code != "log-invalid":
            raise
        done.missing.append(Missing(missing.path, missing.agent, missing.index, e.message))
        return
    why = f"{log.path} ends at entry {log.core.size}"
    done.beyond.append(Missing(missing.path, missing.agent, missing.index, why))
