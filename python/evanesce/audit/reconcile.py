"""What a caller has seen against what the agents wrote down; whatever one side has and the other has not is named.

The caller's side are its receipts. The agents' side are the entries of their logs by which that caller was permitted
something. An operation is known by its salted input digest, which no two share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from evanesce.audit.logs import Entry, Log, named
from evanesce.audit.receipts import Kept
from evanesce.errors import EvanesceError
from evanesce.results import Receipt

VERBS = ("contribute", "retire")


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
    """Entries of operations that the caller has seen, by agents whose receipts it does not have: a hedge, or an answer
    that came too late."""
    unseen: list[Entry] = field(default_factory=list)
    """The agents' surplus: operations permitted to this caller that it has no receipts of. Somebody else may have used
    its identity, or it lost its receipts."""
    missing: list[Missing] = field(default_factory=list)
    """The caller's surplus: receipts of entries that are not in the log, which was rewritten."""
    beyond: list[Missing] = field(default_factory=list)
    """Receipts that no log given reaches: it ends before them, or none is of that agent."""

    @property
    def agree(self) -> bool:
        """Whether neither side has anything that the other should have."""
        return not self.unseen and not self.missing


def reconcile(seen: Iterable[Kept], logs: Sequence[Log], callers: Iterable[str] = ()) -> Reconciled:
    """Compares. `callers`: further caller ids whose entries must have been seen, besides those of the receipts.

    Raises `log-invalid` for a log that is not what its checkpoint says.
    """
    seen = list(seen)
    wanted = {entry["caller"] for kept in seen for entry in kept.entries} | set(callers)
    digests = {digest for kept in seen for _, _, digest in kept.operations}
    held = {(receipt.agent, receipt.index): (receipt, kept.path) for kept in seen for receipt in kept.receipts}
    done = Reconciled()
    for log in logs:
        found: set[int] = set()
        for caller in sorted(wanted):
            for entry in log.search(caller=caller, code="done")[0]:
                own = held.get((log.agent, entry.index))
                if own is not None and own[0].core.leaf == entry.leaf:
                    found.add(entry.index)
                elif entry.fields["verb"] in VERBS:
                    ours = {operation["input"] for operation in entry.fields["operations"]}
                    (done.unanswered if ours and ours <= digests else done.unseen).append(entry)
        for (agent, index), (receipt, path) in held.items():
            if agent == log.agent:
                _weigh(done, log, receipt, Missing(str(path), agent, index, ""))
                done.matched += index in found
    known = {log.agent for log in logs}
    for (agent, index), (_, path) in held.items():
        if agent not in known:
            done.beyond.append(Missing(str(path), agent, index, "no log of this agent was given"))
    return done


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
