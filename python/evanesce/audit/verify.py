"""Who contributed to what, under which policy, for which caller, when; and that the logs still say so.

Offline, from public data: the receipts, the token for its policy, exported logs for what became of them since, and
witnesses' keys. What it rests on is the list of agent ids that the auditor trusts to be those agents'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evanesce import _core
from evanesce._text import printable, short
from evanesce.approvals import Approval, Site, approvers
from evanesce.audit.logs import Log, named
from evanesce.audit.receipts import Kept
from evanesce.errors import error, translate
from evanesce.tokens import Token


@dataclass(frozen=True, slots=True)
class Standing:
    """What an agent's log says today of its receipt."""

    log: str
    """The folder."""
    size: int
    """Its entries."""
    verdict: str
    """`holds`: the log goes on from the receipt's, unchanged, with the entry in it. `older`: it ends before the
    receipt's, and says nothing. `none`: no log of this agent was given."""
    witnesses: tuple[tuple[str, int], ...] = ()
    """Known witnesses that cosigned the log's checkpoint, and when (Unix seconds)."""


@dataclass(frozen=True, slots=True)
class Word:
    """One agent's word on the opening."""

    agent: str
    name: str
    """As the auditor's list has it."""
    code: str
    """`done`: permitted. Anything else is a refusal, with its reason."""
    reason: str
    time: int
    """Unix milliseconds by the agent's clock."""
    seats: tuple[int, ...]
    element: str
    weaknesses: tuple[str, ...]
    caller_name: str
    """What this agent knows the caller by."""
    reconstructor: str | None
    """The caller id of the reconstructor that carried the request, where it is not the caller itself."""
    approvals: tuple[tuple[str, str, str], ...]
    """The approvals that it spent: what it, or the token's policy, calls the approver; the approver's id; the
    approval's id."""
    index: int
    size: int
    """Entry number, and entries of the log when it signed."""
    standing: Standing
    grants: tuple[str, ...] = ()
    """Ids of the grants under which the caller asked, the first grantor's first."""
    uses: Mapping[str, Any] | None = None
    """Where uses of the key are counted: how many there were with this one, in all (`key`) and `of` whom (`caller`)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the receipts of one opening prove."""

    path: str
    token: str
    caller: str
    verb: str
    operations: tuple[tuple[str, str, str], ...]
    """(action, suite, input digest)."""
    matched: int | None
    """Which operation the given inputs are of; None where none were given."""
    words: tuple[Word, ...]
    known: Token | None
    """The token, where one of those given is it."""
    sufficient: bool | None
    """Whether the seats of the agents that permitted it are a sufficient set; None without the token. A seat counts for
    the agent that the token's rows name alone: what an agent says of seats is only its own word."""


def verify(
    kept: Kept,
    agents: Mapping[str, str],
    *,
    tokens: Iterable[Token] = (),
    logs: Sequence[Log] = (),
    witnesses: Sequence[str] = (),
    require_witnesses: int = 0,
    inputs: Sequence[bytes] | None = None,
    salt: bytes | None = None,
) -> Verdict:
    """Judges the verified receipts of one opening.

    `agents`: agent id → name, of those whose word counts. `tokens`: for policy and quorum. `logs`: checked against
    their receipts. `witnesses`: vkeys (C2SP, type 4), of which `require_witnesses` must have cosigned every log's
    checkpoint. `inputs`: what the operation was on, in the order of docs/agent-api.md, The input digest; `salt`: 32
    bytes, unless kept with the receipts.

    Raises `receipt-invalid` for another's receipt and for inputs that the receipts are not for, `log-invalid` for a log
    that was rewritten, forked, or too little witnessed.
    """
    first = kept.entries[0]
    for receipt in kept.receipts:
        if receipt.agent not in agents:
            raise error(
                "receipt-invalid",
                f"{kept.path}: {short(receipt.agent)} is not one of the agents that you know",
                "Anyone can make agents and receipts of their own: rely only on agents whose ids you have from "
                "a trusted place (--agents).",
            )
    known = next((token for token in tokens if token.id == first["token"]), None)
    words = tuple(
        _word(receipt, entry, agents[receipt.agent], logs, witnesses, require_witnesses)
        for receipt, entry in zip(kept.receipts, kept.entries, strict=True)
    )
    sufficient = None
    if known is not None:
        seats = {seat for word in words if word.code == "done" for seat in word.seats if sits(word, seat, known)}
        sufficient = known.core.sufficient(sorted(seats))
    return Verdict(
        path=str(kept.path),
        token=first["token"],
        caller=first["caller"],
        verb=first["verb"],
        operations=kept.operations,
        matched=None if inputs is None else _match(kept, inputs, salt),
        words=words,
        known=known,
        sufficient=sufficient,
    )


def approved(verdict: Verdict, approvals: Iterable[Approval], site: Site | None = None) -> list[Approval]:
    """Of the approvals those that this opening has spent, each signed by its approver's key, over this token, caller
    and input. `site`: of authenticators' keys that the policy of a token given does not name. Raises
    `approval-invalid` for one that was spent here and is not."""
    spent = {identifier for word in verdict.words for _, _, identifier in word.approvals}
    sites = {} if verdict.known is None else {one.id: one.site for one in approvers(verdict.known) or ()}
    found = [approval for approval in approvals if approval.id in spent]
    for approval in found:
        approval.verify(sites.get(approval.approver, site if approval.webauthn else None))
        digests = [digest for _, _, digest in verdict.operations]
        if (approval.token, approval.caller) != (verdict.token, verdict.caller) or approval.input not in digests:
            raise error(
                "approval-invalid",
                f"{verdict.path}: the agents took {short(approval.id)} for an approval of this, and it is of another",
                "Keep both as evidence: these agents do not verify what they say they do.",
            )
    return found


def contradictions(kept: Iterable[Kept]) -> None:
    """Compares the receipts with each other, without any log. Raises `log-invalid` where one agent signed two logs: two
    trees of one size, or two entries in one place."""
    seen: dict[tuple[str, bytes, str, int], tuple[bytes, Path]] = {}
    for each in kept:
        for receipt in each.receipts:
            _, size, root = _core.checkpoint(receipt.checkpoint)
            for what, number, value in (("tree of size", size, root), ("entry", receipt.index, receipt.core.leaf)):
                first, path = seen.setdefault((receipt.agent, receipt.log_key, what, number), (value, each.path))
                if first != value:
                    raise error(
                        "log-invalid",
                        f"{path} and {each.path}: {short(receipt.agent)} signed two logs, with another {what} {number} "
                        "each: its log was forked, or restored from a copy and gone on from",
                    )


def sits(word: Word, seat: int, token: Token) -> bool:
    """Whether this copy of the token gives the seat to this agent. Rows are outside the token id: take the copy from
    where you would take the id."""
    return seat < len(token.seats) and token.seats[seat].holder_id == word.agent


def _word(
    receipt: Any,
    entry: Mapping[str, Any],
    name: str,
    logs: Sequence[Log],
    witnesses: Sequence[str],
    require_witnesses: int,
) -> Word:
    log = next((log for log in logs if log.agent == receipt.agent), None)
    standing = Standing("", 0, "none") if log is None else _standing(receipt, log, witnesses)
    if log is not None and len(standing.witnesses) < require_witnesses:
        raise error(
            "log-invalid",
            f"{log.path}: {len(standing.witnesses)} of the known witnesses cosigned its checkpoint, "
            f"{require_witnesses} must have",
            "Have the witnesses look at it (`evanesce audit witness`).",
        )
    return Word(
        agent=receipt.agent,
        name=name,
        code=entry["code"],
        reason=entry["reason"],
        time=entry["time"],
        seats=tuple(entry["seats"]),
        element=entry["element"],
        weaknesses=tuple(entry["weaknesses"]),
        caller_name=entry["caller_name"],
        reconstructor=entry["reconstructor"],
        approvals=tuple((one["name"], one["approver"], one["id"]) for one in entry["approvals"]),
        index=receipt.index,
        size=_core.checkpoint(receipt.checkpoint)[1],
        standing=standing,
        grants=tuple(entry["grants"]),
        uses=entry["uses"],
    )


def _standing(receipt: Any, log: Log, witnesses: Sequence[str]) -> Standing:
    named(log.path, lambda: log.core.signed_by(receipt.log_key))
    holds = named(log.path, lambda: log.core.holds(receipt.core))
    cosigned = []
    for vkey in witnesses:
        try:
            name, time = _core.cosignature(log.core.checkpoint, vkey)
        except _core.CoreError as e:
            raise translate(e) from None
        if time is not None:
            cosigned.append((name, time))
    return Standing(str(log.path), log.core.size, "holds" if holds else "older", tuple(cosigned))


def _match(kept: Kept, inputs: Sequence[bytes], salt: bytes | None) -> int:
    salts = [salt] if salt is not None else list(kept.salts)
    if not salts:
        raise error(
            "usage",
            f"{kept.path} holds no salt, without which nobody can show what the digest is of",
            "Give it: --salt HEX.",
        )
    for place, (action, suite, digest) in enumerate(kept.operations):
        for one in salts:
            if _core.input_digest(one, action, suite, list(inputs)).hex() == digest:
                return place
    wanted = ", ".join(sorted({printable(action) for action, _, _ in kept.operations})) or "nothing"
    raise error(
        "receipt-invalid",
        f"{kept.path}: its receipts are not for what was given: they are for {wanted} on other inputs",
        "Give the inputs in the order of docs/agent-api.md (The input digest), byte for byte.",
    )
