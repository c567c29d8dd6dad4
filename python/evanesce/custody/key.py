"""A key that is no regen token, as the client's verbs use one: the same uses, done where the key is.

`Client` asks a `Token`'s quorum; it hands everything that is asked of a `Key` to the key itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import Buffer

from evanesce import _core, _pem, suites
from evanesce._text import printable
from evanesce.custody.model import Model
from evanesce.errors import Fault, error

if TYPE_CHECKING:
    from evanesce._plan import Jobs

Outputs = list["bytes | _core.Secret | None"]


@dataclass(frozen=True, slots=True)
class Done:
    """What a key did: outputs, and the evidence that only a quorum gives, empty."""

    outputs: Outputs
    receipts: list[_core.Receipt] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def salts(self) -> list[bytes]:
        return [b""] * len(self.outputs)


class Key(ABC):
    """One key behind one model. Get it from `Client.custody`, or give its reference to a verb."""

    def __init__(self, model: type[Model], uri: str, served: tuple[str, ...], public: Mapping[str, bytes]) -> None:
        self.model = model
        self.uri = uri
        """The full reference, its version included."""
        self.suites = served
        """What it may be used as."""
        self.public = public
        """SubjectPublicKeyInfo (DER) of each suite that has one."""

    def suite_for(self, use: str) -> str:
        """The suite that is meant where none is named. Raises `unsupported` where no key of this model does this;
        otherwise see `suites.choose`."""
        self.model.require(use)
        return suites.choose(self.suites, use)

    def require(self, use: str) -> None:
        """Raises `unsupported` where no key of this model does this."""
        self.model.require(use)

    def require_pinned(self, doing: str, trust_token: bool = False) -> None:
        """Nothing to prove: what vouches for it is where it is kept, which the home's own files name."""
        del doing, trust_token

    def public_key(self, suite: str | None = None, *, form: Literal["pem", "der"] = "pem") -> bytes:
        """The SubjectPublicKeyInfo of one suite, PEM or DER. Raises `unfit-operation`."""
        chosen = suite if suite is not None else self.suite_for("public-key")
        der = self.public.get(chosen)
        if der is None:
            raise error(
                "unfit-operation",
                f"{self.uri} has no public key for {printable(chosen)}",
                f"Choose among {', '.join(self.public) or 'the suites of another key'}.",
            )
        return der if form == "der" else _pem.public_key(der)

    def prepare(self, jobs: Jobs) -> Callable[[], Done]:
        """Copies what is asked for and returns what does it, which may block. Raises `unsupported`."""
        for _, action, *_ in jobs:
            self.model.require(action)
        return self._prepare(jobs)

    def macs(self, messages: Iterable[Buffer], suite: str) -> list[bytes]:
        """Any number of MACs. Raises `unsupported`."""
        done = self.prepare(tuple((suite, "mac", message, b"", 0) for message in messages))()
        return [output for output in done.outputs if isinstance(output, bytes)]

    @abstractmethod
    def _prepare(self, jobs: Jobs) -> Callable[[], Done]: ...

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What is known of it, for people and programs."""

    def __repr__(self) -> str:
        return f"<Key {self.uri} {', '.join(self.suites)}>"
