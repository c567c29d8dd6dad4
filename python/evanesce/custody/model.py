"""One way of keeping keys: the verbs of its lifecycle, and which of them it has.

A model that does not have a verb refuses it by name: nothing is emulated. `supports`, `refuses` and `operations` are
what `docs/custody.md`'s table is made of, and what the refusals say.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from evanesce import suites
from evanesce._text import printable
from evanesce.errors import EvanesceError, UnsupportedError, error

if TYPE_CHECKING:
    from evanesce._mint import Source
    from evanesce.custody.key import Key
    from evanesce.custody.reference import Reference
    from evanesce.results import Healed, Renewal
    from evanesce.tokens import Token

LIFECYCLE = ("create", "import", "public-key", "rotate", "refresh", "back-up", "restore", "destroy", "describe")
"""What is done with a key as a whole."""

OPERATIONS = (
    "sign",
    "sign-payload",
    "mac",
    "mac-payload",
    "verify-mac",
    "encrypt",
    "decrypt",
    "derive",
    "agree",
    "decapsulate",
)
"""What a key does."""


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What destroying a key has achieved so far."""

    done: bool
    """Nothing can use it any more."""
    detail: str


class Model(ABC):
    """The base of all models. The methods here are those of verbs that a model lacks: `require` is asked first, and
    refuses them by name."""

    name: ClassVar[str]
    """The word before the colon."""
    supports: ClassVar[Mapping[str, str]]
    """Lifecycle verbs, and what each comes to here, in words."""
    refuses: ClassVar[Mapping[str, str]]
    """Verbs and operations that it lacks: why, in words."""

    @classmethod
    @abstractmethod
    def operations(cls) -> Mapping[str, Sequence[str]]:
        """Operations, and the suites that a key of this model may do each with."""

    @classmethod
    def require(cls, verb: str) -> None:
        """Raises `unsupported` where no key of this model does this."""
        if verb in LIFECYCLE:
            known = verb in cls.supports
        elif verb in OPERATIONS:
            known = bool(cls.operations().get(verb))
        else:
            return
        if not known:
            raise cls.unsupported(verb)

    @classmethod
    def unsupported(cls, verb: str, why: str = "") -> EvanesceError:
        """The refusal, with what there is instead."""
        why = why or cls.refuses.get(verb, "the model has no such verb")
        can = [*(word for word in OPERATIONS if cls.operations().get(word)), *cls.supports]
        return UnsupportedError(
            "unsupported",
            f"{cls.name} keys do not {verb.replace('-', ' ')}: {why}",
            f"{cls.name} keys can {', '.join(can)}. docs/custody.md says which model does what.",
        )

    @classmethod
    def require_suites(cls, wanted: Iterable[str]) -> None:
        """Raises `unsupported` for a suite that no key of this model has."""
        served = {suite for names in cls.operations().values() for suite in names}
        for suite in wanted:
            if suites.exists(suite) and suite not in served:
                known = ", ".join(sorted(served))
                raise UnsupportedError(
                    "unsupported",
                    f"{cls.name} keys have no suite {suite}",
                    f"They have {known}. docs/custody.md says which model does what.",
                )

    @abstractmethod
    def key(self, reference: Reference) -> Token | Key:
        """The key that is named. Raises `not-found`, and whatever keeps it from being had."""

    def usable(self, reference: Reference) -> Token | Key:
        """The key for one use: of a reference without a version the newest there is at the time of use."""
        return self.key(reference)

    def create(self, reference: Reference, suites: Iterable[str], terms: Mapping[str, Any]) -> Token | Key:
        raise NotImplementedError

    def import_key(
        self, reference: Reference, suites: Iterable[str], source: Source, terms: Mapping[str, Any]
    ) -> Token | Key:
        raise NotImplementedError

    def rotate(self, reference: Reference, terms: Mapping[str, Any]) -> Token | Key:
        raise NotImplementedError

    def refresh(self, reference: Reference, terms: Mapping[str, Any]) -> Healed | Renewal:
        raise NotImplementedError

    def back_up(self, reference: Reference, to: str | os.PathLike[str], terms: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def restore(self, reference: Reference, source: str | os.PathLike[str], terms: Mapping[str, Any]) -> Token | Key:
        raise NotImplementedError

    def destroy(self, reference: Reference) -> Destroyed:
        raise NotImplementedError

    @abstractmethod
    def describe(self, reference: Reference) -> dict[str, Any]:
        """What is known of it, for people and programs."""


def only(terms: Mapping[str, Any], what: str, *known: str) -> Mapping[str, Any]:
    """The same terms. Raises `bad-input` for one that is not known, as in "a regen key has no term 'colour'"."""
    for name in terms:
        if name not in known:
            there = f"There are: {', '.join(known)}." if known else "There are none."
            raise error("bad-input", f"{what} no term {printable(name)!r}", there)
    return terms
