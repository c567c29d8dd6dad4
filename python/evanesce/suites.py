"""What each suite can do, as the core tells it (PROTOCOL §7, §8), and which one is meant where none is
named."""

from __future__ import annotations

from dataclasses import dataclass

from evanesce import _core
from evanesce._text import printable
from evanesce.errors import error


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite's facts."""

    name: str
    public: bool
    """It has a public key."""
    imported_only: bool
    operations: frozenset[str]
    """What a quorum does with it, by the protocol's action names."""

    def offers(self, use: str) -> bool:
        """Whether it serves a use: an action of the quorum's, or one that needs no quorum."""
        match use:
            case "public-key":
                return self.public
            case "verify":
                return self.public and "sign" in self.operations
            case "encrypt-to":
                return self.public and "decrypt" in self.operations
            case "encapsulate":
                return "decapsulate" in self.operations
            case _:
                return use in self.operations


ALL: dict[str, Suite] = {
    name: Suite(name, public, imported_only, frozenset(operations))
    for name, public, imported_only, operations in _core.suites()
}


THRESHOLD: dict[str, Suite] = {
    name: Suite(name, True, False, frozenset({"sign"})) for name in ("frost-ed25519", "frost-secp256k1-tr")
}
"""Of keys that are never put together (docs/threshold-api.md): they sign, and their signatures are ordinary Ed25519 and
BIP-340 ones."""

_KNOWN = ALL | THRESHOLD


def exists(name: str) -> bool:
    """Whether there is such a suite, of any kind of key."""
    return name in _KNOWN


def choose(suites: tuple[str, ...], use: str) -> str:
    """The only one of a token's suites that serves this use. Raises `unfit-operation` when none does,
    `bad-input` when several do and the choice is the caller's."""
    fit = fitting(suites, use)
    if len(fit) == 1:
        return fit[0]
    if not fit:
        raise error(
            "unfit-operation",
            f"no suite of this token can {use}: it has {', '.join(suites)}",
            "Use a token whose suites include one that can.",
        )
    raise error("bad-input", f"{', '.join(fit)} can all {use}", "Name the suite that is meant.")


def fitting(suites: tuple[str, ...], use: str) -> tuple[str, ...]:
    """Those of a token's suites that serve this use, in the token's order."""
    return tuple(name for name in suites if name in _KNOWN and _KNOWN[name].offers(use))


def check_known(names: tuple[str, ...]) -> None:
    """Raises `bad-input` for a suite that does not exist."""
    for name in names:
        if name in THRESHOLD:
            raise error(
                "bad-input",
                f"{name} keys are made among agents, and never put together",
                "Make one with --model mpc or regen-mpc (Client.create_threshold).",
            )
        if name not in ALL:
            raise error("bad-input", f"there is no suite {printable(name)!r}", f"Choose among {', '.join(ALL)}.")
