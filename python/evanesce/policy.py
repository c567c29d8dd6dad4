"""Policies, judged before they go into a token: by the very code that agents run, without an agent.

    from evanesce import Policy, Question

    policy = Policy('permit(principal == Caller::"ops", action == Action::"sign", resource);')
    assert policy.decide(Question("sign", caller="ops", key="payments", suite="ed25519")).permitted

What an agent asks besides the policy (roles, expiry, the token's suites, limits) is not asked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evanesce import _core
from evanesce.errors import translate
from evanesce.payload import Payload, canonical_payload


@dataclass(frozen=True, slots=True)
class Question:
    """What an agent asks a token's policy about one operation (docs/policy.md)."""

    action: str
    caller: str
    """The name in the agents' directories."""
    key: str
    """The name in the token's header."""
    groups: tuple[str, ...] = ()
    """The caller's, in the agents' directories."""
    suite: str = ""
    input: bytes | None = None
    """The input digest, 32 bytes; zeros by default."""
    now: int | None = None
    """Unix seconds; by default this machine's clock."""
    minter: bool = False
    """Whether the caller has that role: reshare, repair and retire need it, or a permit that names them."""
    payload: Payload | None = None
    uses: tuple[int, int] = (0, 0)
    """Operations that the agent has permitted before: under the token, and of these the caller's."""
    approvals: tuple[str, ...] = ()
    """Names of those who have approved it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How often a key may be used, as its policy states it (docs/limits.md)."""

    text: str
    each: int | None
    """Operations that each agent permits; None where no quorum was given."""
    explanation: str | None
    """What that comes to."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that decided."""

    label: str
    """Its `@id`, or its place in the policy: `policy0` is the first."""
    effect: str
    """`permit`, `forbid`, or `error` where evaluating it failed, which is a refusal."""
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What an agent would decide, and on account of what."""

    permitted: bool
    reason: str
    """Why not; empty when permitted."""
    statements: tuple[Statement, ...]
    """Those that decided; none where no permit holds, or something else than a statement decided."""


class Policy:
    """Cedar policies that agents would enforce. Raises `policy` for text that may not go into a token."""

    __slots__ = ("_core", "text")

    def __init__(self, text: str) -> None:
        try:
            self._core = _core.Policy(text)
        except _core.CoreError as e:
            raise translate(e) from None
        self.text = text

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is said of it at a mint, such as that nobody may ever reshare."""
        return tuple(self._core.warnings)

    @property
    def payload(self) -> str | None:
        """The type of the payload that it declares, in Cedar's schema syntax; None where it declares none."""
        return self._core.payload

    @property
    def delegable(self) -> int:
        """How many grants may follow one another from a caller that it permits; 0 where it lets nobody delegate."""
        return self._core.delegable

    def limits(self, quorum: str | None = None) -> tuple[Limit, ...]:
        """The limits that it states, and what they come to under a quorum. Raises `policy` where one cannot be
        promised there, `malformed` for what is no quorum."""
        try:
            return tuple(Limit(*limit) for limit in self._core.limits(quorum))
        except _core.CoreError as e:
            raise translate(e) from None

    def could_open(self, caller: str, groups: Sequence[str] = ()) -> bool:
        """Whether some permit's scope admits this caller for an action by which the token is opened. Conditions and
        forbids are left out, so that it may be too much, and too little only of those to whom it could be granted
        (`delegable`): for advice."""
        return self._core.could_open(caller, list(groups))

    @property
    def approvers(self) -> tuple[tuple[str, str, tuple[str, list[str]] | None], ...] | None:
        """Whom it names: (name, id in hex, relying party and origins of an authenticator's key). None where it leaves
        that to the agents' directories."""
        named = self._core.approvers
        return None if named is None else tuple(named)

    @property
    def looks_at_approvals(self) -> bool:
        """Whether any of its statements does."""
        return self._core.looks_at_approvals

    def decide(self, question: Question) -> Decision:
        """Raises `payload`, and `bad-input` for what is no action."""
        payload = None if question.payload is None else canonical_payload(question.payload)
        try:
            permitted, reason, statements = self._core.decide(
                question.action,
                question.caller,
                question.groups,
                question.key,
                question.suite,
                question.input,
                question.now,
                question.minter,
                payload,
                question.uses,
                question.approvals,
            )
        except _core.CoreError as e:
            raise translate(e) from None
        return Decision(permitted, reason, tuple(Statement(*statement) for statement in statements))
