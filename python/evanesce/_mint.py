"""What a mint needs to be told, from what people say: quorum text, seats, policy, expiry. Pure."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypedDict

from evanesce import _core, suites
from evanesce._text import printable
from evanesce.errors import error, translate
from evanesce.home import Agent
from evanesce.pins import parse_id
from evanesce.policy import Policy

Model = Literal["mpc", "regen-mpc"]
"""Where the shares of a key that is never put together are between its uses: at their holders, or nowhere."""


class Terms(TypedDict, total=False):
    """How a key may be used, and by whom. All of it is covered by the token id: none of it can be
    changed later."""

    quorum: str
    """As people write it: `3 of (ceo, cfo, 2 of (board-1, board-2, board-3))`. By default a majority of
    all agents."""
    seats: Mapping[str, str]
    """Seat → agent name, for seats that are not called like their agent."""
    policy: str
    """Cedar policies that every agent enforces (`evanesce.policy_schema()`); empty permits every caller
    they know."""
    expires: int | None
    """Unix seconds from which on no agent serves it."""
    replaces: str | None
    """The token id (hex) this one supersedes; for people."""


class Terminal(NamedTuple):
    """The person at the terminal, asked with this prompt; nothing is echoed."""

    prompt: str


Source = str | os.PathLike[str] | int | Terminal
"""Where the core reads an imported key: the path of a file, an open descriptor, or the terminal."""


class Mint(NamedTuple):
    """The core's arguments, in its order."""

    name: str
    suites: tuple[str, ...]
    quorum: str
    seats: dict[str, str]
    policy: str
    expires: int | None
    replaces: bytes | None
    import_from: tuple[str, str] | None


def mint(
    agents: Sequence[Agent],
    name: str,
    wanted: Iterable[str],
    terms: Terms,
    source: Source | None = None,
) -> Mint:
    """Raises `bad-input` with what is wrong and with the words that exist, before any agent is asked."""
    chosen = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    suites.check_known(chosen)
    if not chosen:
        raise error("bad-input", "a key needs at least one suite", f"Choose among {', '.join(suites.ALL)}.")
    for suite in chosen:
        if suites.ALL[suite].imported_only and source is None:
            raise error("bad-input", f"{suite} keys cannot be derived", "Import one: `evanesce key import`.")
    expires, replaces = _checked(name, terms)
    text, names = parse_quorum(terms.get("quorum") or majority(agents))
    return Mint(
        name,
        chosen,
        text,
        seat_holders(names, terms.get("seats") or {}, agents),
        terms.get("policy", ""),
        expires,
        replaces,
        None if source is None else origin(source),
    )


class Threshold(NamedTuple):
    """What the core needs to make a key that is never put together, in its order."""

    kind: Model
    name: str
    suite: str
    quorum: str
    seats: dict[str, str]
    policy: str
    expires: int | None
    replaces: bytes | None


def threshold(agents: Sequence[Agent], name: str, suite: str, model: Model, terms: Terms) -> Threshold:
    """Raises `bad-input` with what is wrong, before any agent is asked."""
    if suite not in suites.THRESHOLD:
        raise error(
            "bad-input",
            f"{printable(suite)} is no suite of keys that are never put together",
            f"Choose among {', '.join(suites.THRESHOLD)}.",
        )
    if model not in ("mpc", "regen-mpc"):
        raise error("bad-input", f"there is no model {printable(model)!r} of such keys", "Choose mpc or regen-mpc.")
    expires, replaces = _checked(name, terms)
    text, names = parse_quorum(terms.get("quorum") or majority(agents))
    seats = seat_holders(names, terms.get("seats") or {}, agents)
    return Threshold(model, name, suite, text, seats, terms.get("policy", ""), expires, replaces)


def _checked(name: str, terms: Terms) -> tuple[int | None, bytes | None]:
    if not 1 <= len(name.encode(errors="surrogatepass")) <= 255 or any("\ud800" <= c <= "\udfff" for c in name):
        raise error("bad-input", "a key's name is 1 to 255 bytes of text", "Choose another name.")
    expires = terms.get("expires")
    if expires is not None and expires <= time.time():
        raise error("bad-input", "the key would expire before it exists", "Choose a later time.")
    replaces = terms.get("replaces")
    return expires, None if replaces is None else bytes.fromhex(parse_id(replaces))


def origin(source: Source) -> tuple[str, str]:
    """As the core takes it."""
    match source:
        case Terminal(prompt):
            return ("terminal", prompt)
        case int():
            return ("descriptor", str(source))
        case _:
            return ("file", os.fspath(source))


def parse_quorum(text: str) -> tuple[str, list[str]]:
    """Normal form and seat names. Raises `bad-input`, saying where it stops making sense."""
    try:
        return _core.parse_quorum(text)
    except _core.CoreError as e:
        if e.code != "malformed":
            raise translate(e) from None
        raise error(
            "bad-input",
            f"this quorum cannot be read: {e.message}",
            e.hint or 'Write it like "3 of (ceo, cfo, 2 of (board-1, board-2, board-3))".',
        ) from None


def spent_twice(policy: Policy, quorum: str) -> list[str]:
    """A warning where what people approve once could be done twice. Raises `bad-input`."""
    text, _ = parse_quorum(quorum)
    if not policy.looks_at_approvals or not _core.quorum_splits(text):
        return []
    return [
        f"two sets of agents without a seat in common can open ({text}): an approval is spent once at each agent, "
        "so that one could be used twice"
    ]


def majority(agents: Sequence[Agent]) -> str:
    """More than half of all agents, each in a seat of its own name."""
    return f"{len(agents) // 2 + 1} of ({', '.join(agent.name for agent in agents)})"


def seat_holders(seats: Sequence[str], given: Mapping[str, str], agents: Sequence[Agent]) -> dict[str, str]:
    """Seat → agent name: as given, else the agent of the same name. Raises `bad-input` for a seat with
    nobody to sit there, a seat that the quorum does not have and an agent that the quorum file does not
    have."""
    known = {agent.name for agent in agents}
    there = f"The quorum file has {', '.join(printable(name) for name in sorted(known))}."
    for seat, name in given.items():
        if seat not in seats:
            raise error(
                "bad-input",
                f"the quorum has no seat {printable(seat)!r}",
                f"Its seats are {', '.join(printable(s) for s in seats)}.",
            )
        if name not in known:
            raise error("bad-input", f"seat {seat}: there is no agent {printable(name)!r}", there)
    holders = {seat: given.get(seat, seat) for seat in seats}
    empty = [seat for seat, name in holders.items() if name not in known]
    if empty:
        raise error(
            "bad-input",
            f"nobody sits at {', '.join(printable(seat) for seat in empty)}",
            f"Say who, as in --seat {printable(empty[0])}=AGENT (seats={{…}}). {there}",
        )
    return holders


def shared_seats(holders: Mapping[str, str]) -> list[str]:
    """A warning for each agent that sits more than once: it counts as often, and is lost as often."""
    sits: dict[str, list[str]] = {}
    for seat, name in holders.items():
        sits.setdefault(name, []).append(seat)
    return [
        f"{name} holds {len(at)} seats ({', '.join(at)}): it counts, and fails, that many times"
        for name, at in sits.items()
        if len(at) > 1
    ]
