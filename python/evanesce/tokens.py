"""Regen tokens: public descriptions from which a quorum regenerates a key for one operation (PROTOCOL §3,
§4).

A `Token` is immutable, strictly decoded and never secret: keep it in a repository, mail it, print it. What
it does not have is a proof that it is *yours*. That is what pins are for: `pinned` says why this one is
believed, if it is, and whatever relies on it being the right one refuses a token that is not
(docs/decisions/trust-and-pins.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from evanesce import _core, _files, _pem, suites
from evanesce._text import printable, short
from evanesce.errors import EvanesceError, error, translate
from evanesce.home import Home
from evanesce.pins import parse_id

if TYPE_CHECKING:
    from evanesce.results import Receipt

LARGEST = 1 << 20
"""Bytes read of a token file: armour and some text around it; the token itself is at most 128 KiB."""

Pinned = Literal["created", "kept", "given", "trusted"]
"""Why a token is believed: created by this client; its id kept in the home folder's pins; its id given by the
caller; trusted because the caller said so, unproven."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Who sits where, by a token's own rows. Rows are outside the token id: routing, not truth."""

    name: str
    holder_id: str
    """Agent id, 64 hex digits."""
    epoch: int
    """The holder's root that this seat's correction was made under."""


class Token:
    """One regen token. Make one with `Client.create`, or `Token.load` and `Token.decode`."""

    __slots__ = ("_chosen", "core", "id", "pinned", "receipts", "suites", "warnings")

    core: _core.Token
    """The core's own; private to this package."""
    id: str
    """The token id, 64 hex digits: names the key, quorum, policy and suites (PROTOCOL §4)."""
    suites: tuple[str, ...]
    """What the key may ever be used as."""
    pinned: Pinned | None
    """Why this token is believed to be the right one; None when nothing says so."""
    receipts: tuple[Receipt, ...]
    """Of its mint, by every holder; empty on a token that was loaded."""
    warnings: tuple[str, ...]
    """Said at its mint, such as a policy under which nobody may reshare; empty on a token that was loaded."""

    def __init__(
        self,
        core: _core.Token,
        pinned: Pinned | None = None,
        receipts: tuple[Receipt, ...] = (),
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.core = core
        self.id = core.id.hex()
        self.suites = tuple(core.suites)
        self.pinned = pinned
        self.receipts = receipts
        self.warnings = warnings
        self._chosen: dict[str, str] = {}

    @classmethod
    def decode(
        cls,
        data: bytes | str,
        *,
        pin: str | None = None,
        trust_token: bool = False,
        home: str | os.PathLike[str] | None = None,
    ) -> Token:
        """A token from its bytes or its armoured text. `pin` is the full id it must have, 64 hex digits.
        Without one, it is pinned if its id is kept in the home folder; `trust_token` believes it without
        proof. Raises `malformed`, `pin-mismatch`, `bad-input` (a pin that is none)."""
        if isinstance(data, str):
            data = data.encode(errors="replace")
        try:
            token = cls(_core.Token.decode(data))
        except _core.CoreError as e:
            raise translate(e) from None
        if pin is not None:
            if parse_id(pin) != token.id:
                raise error(
                    "pin-mismatch",
                    f"this is token {token.id}, not the one pinned",
                    "Someone handed you another token. Ask whoever created the key for the right one.",
                )
            token.pinned = "given"
        elif Home.at(home).pins.contains(token.id):
            token.pinned = "kept"
        elif trust_token:
            token.pinned = "trusted"
        return token

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        pin: str | None = None,
        trust_token: bool = False,
        home: str | os.PathLike[str] | None = None,
    ) -> Token:
        """A token from a file, binary or armoured; the rest as in `decode`. Also raises `not-found` and
        `io`."""
        data = _files.read(Path(path), limit=LARGEST)
        try:
            return cls.decode(data, pin=pin, trust_token=trust_token, home=home)
        except EvanesceError as e:
            raise type(e)(e.code, f"{path}: {e.message}", e.hint, e.culprits) from None

    def save(self, path: str | os.PathLike[str], *, armored: bool = False, force: bool = False) -> None:
        """Writes it durably and whole, or not at all. Raises `exists` (unless `force`) and `io`."""
        data = self.armor().encode() if armored else self.encode()
        _files.write(Path(path), data, overwrite=force)

    def encode(self) -> bytes:
        """Its bytes (PROTOCOL §4), at most 128 KiB."""
        return self.core.encode()

    def armor(self) -> str:
        """The same as text that survives mail and terminals."""
        return self.core.armor()

    @property
    def name(self) -> str:
        """For people. Anyone may choose any name: foreign text."""
        return self.core.name

    @property
    def key_id(self) -> str:
        """The key's own id, 64 hex digits; the same after the key is re-minted. Anyone's claim."""
        return self.core.key.hex()

    @property
    def quorum(self) -> str:
        """As people write it: `3 of (ceo, cfo, 2 of (board-1, board-2, board-3))`."""
        return self.core.quorum

    @property
    def policy(self) -> str:
        """The Cedar policies that every agent enforces; foreign text."""
        return self.core.policy

    @property
    def created(self) -> int:
        """Unix seconds, by the minter's clock."""
        return self.core.created

    @property
    def expires(self) -> int | None:
        """Unix seconds from which on no agent serves it; None when it never expires."""
        return self.core.expires

    @property
    def replaces(self) -> str | None:
        """The token id this one claims to supersede; for people."""
        replaced = self.core.replaces
        return None if replaced is None else replaced.hex()

    @property
    def model(self) -> str:
        """How its key is used: `regen`, put together for one operation; `regen-mpc` or `mpc`, never put together, by
        shares that are regenerated or kept."""
        return self.core.kind

    @property
    def imported(self) -> bool:
        """Whether it carries an imported key, sealed, rather than deriving its keys."""
        return self.core.imported

    @property
    def seats(self) -> tuple[Seat, ...]:
        """Its rows, in depth-first order of the quorum."""
        return tuple(Seat(name, holder.hex(), epoch) for name, holder, epoch in self.core.rows)

    def public_key(
        self, suite: str | None = None, *, form: Literal["pem", "der"] = "pem", trust_token: bool = False
    ) -> bytes:
        """The SubjectPublicKeyInfo of one suite, PEM or DER. Raises `unpinned`; `unfit-operation` for a
        symmetric suite, `suite-not-in-token`."""
        self.require_pinned("take a public key from", trust_token)
        chosen = suite if suite is not None else self.suite_for("public-key")
        der = self.core.public.get(chosen)
        if der is None:
            known = chosen in self.suites
            raise error(
                "unfit-operation" if known else "suite-not-in-token",
                f"{printable(chosen)} {'has no public key' if known else 'is not a suite of this token'}",
                f"Choose among {', '.join(self.core.public) or 'the suites of another token'}.",
            )
        return der if form == "der" else _pem.public_key(der)

    def suite_for(self, use: str) -> str:
        """The suite that is meant where none is named; see `suites.choose`."""
        chosen = self._chosen.get(use)
        if chosen is None:
            chosen = self._chosen[use] = suites.choose(self.suites, use)
        return chosen

    def require(self, use: str) -> None:
        """Raises `unsupported` where no key of its model does this."""
        if self.model != "regen":
            # Models know tokens.
            from evanesce.custody.custodian import MODELS

            next(model for model in MODELS if model.name == self.model).require(use)

    def require_pinned(self, doing: str, trust_token: bool = False) -> None:
        """Raises `unpinned` unless something says that this token is the right one."""
        if self.pinned is None and not trust_token:
            raise error(
                "unpinned",
                f"nothing here says that token {self.id} is the right one, so it is not safe to {doing} it",
                "Get the token id from whoever created the key and give it as the pin (--pin ID, "
                "Token.load(path, pin=…)); or, if you know where this token comes from, say so "
                "(--trust-token, trust_token=True).",
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Token {printable(self.name)!r} {short(self.id)} {self.quorum}>"

    def __reduce__(self) -> NoReturn:
        # A pickle could carry `pinned` to where nothing vouches for it.
        raise TypeError("a Token is not pickled: save() it, or send its encode(), and load it with a pin")
