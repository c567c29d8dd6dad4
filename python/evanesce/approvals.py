"""Operations that people must approve first.

    request = Request.to_sign(token, client.caller_id, payload={"amount": 12_500})
    request.save("payment.json")                          # give it to those who are asked
    approval = Request.load("payment.json").approve("cfo.key")      # on their own machine, after reading `text`
    signature = client.perform(request, [approval])

A `Request` holds everything that is asked for, the salt of its input digest too, so that what people approve is what
is done. An `Approval` is one key's signature over one statement: this operation, this token, this caller, until then,
as the text said it. Every agent verifies each of them itself and takes it once; whoever carries them can only lose
them (docs/approvals.md).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from typing_extensions import Buffer

from evanesce import _core, _files, _plan, _planned
from evanesce._heal import Changes
from evanesce._text import printable
from evanesce.errors import EvanesceError, error, translate
from evanesce.home import Agent
from evanesce.payload import Payload, canonical_payload
from evanesce.policy import Policy
from evanesce.tokens import Token

if TYPE_CHECKING:
    from evanesce._mint import Model

LIFE: int = _core.APPROVAL_LIFE
"""Seconds that an approval lasts from when it is given; agents allow 15 minutes."""

LARGEST = 1 << 20
"""Bytes of message, ciphertext or context that a request can hold: people are to read it."""

ACTIONS = ("sign", "mac", "decrypt", "derive")
"""What can be requested of a key."""

OF_TOKEN = _planned.ACTIONS
"""What can be requested of a token as a whole: `open`, `reshare` (a refresh too), `repair`, `retire`."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval, as its bytes say; whether it is good, `Request.judge` and the agents say."""

    data: bytes = field(repr=False)
    id: str
    """What agents remember it by, and their logs name it by: 64 hex digits."""
    approver: str
    """Id of the key, as a caller's: 64 hex digits."""
    expires: int
    """Unix seconds."""
    text: str
    """What the person was shown."""
    token: str
    """Token id, 64 hex digits."""
    caller: str
    """Whose request it is of, 64 hex digits."""
    input: str
    """The input digest of what was approved, 64 hex digits."""
    webauthn: bool
    """Whether an authenticator gave it."""

    @classmethod
    def decode(cls, data: bytes) -> Approval:
        """Raises `approval-invalid` for what is no approval."""
        try:
            said = _core.read_approval(data)
        except _core.CoreError as e:
            raise translate(e) from None
        fields = ("id", "approver", "expires", "text", "token", "caller", "input", "webauthn")
        return cls(bytes(data), *(said[name] for name in fields))

    def verify(self, site: Site | None = None) -> None:
        """Checks the approver's signature, that of an authenticator for its `site`. Raises `approval-invalid`. Whose
        key it is, and whether what was approved is what was done, is yours to compare."""
        try:
            _core.verify_approval(self.data, None if site is None else (site.domain, list(site.origins)))
        except _core.CoreError as e:
            raise translate(e) from None


@dataclass(frozen=True, slots=True)
class Site:
    """The relying party that a WebAuthn key belongs to, and the pages of it that may ask (none: all of them)."""

    domain: str
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Approver:
    """Someone whom a token's policy names."""

    name: str
    id: str
    """64 hex digits."""
    site: Site | None = None
    """Where its key is an authenticator's."""


def approvers(token: Token) -> tuple[Approver, ...] | None:
    """Whom the token's policy names; None where it names nobody, and each agent's directory decides."""
    named = Policy(token.policy).approvers
    if named is None:
        return None
    return tuple(Approver(name, id, site and Site(site[0], tuple(site[1]))) for name, id, site in named)


@dataclass(frozen=True, slots=True)
class Request:
    """An operation that people are asked to approve. Make one with `to_sign`, `to_mac`, `to_decrypt`, `to_derive`, or
    of the token as a whole with `to_open`, `to_reshare`, `to_repair`, `to_retire`."""

    token: Token
    action: str
    suite: str
    caller: str
    """Id of the caller who will perform it, 64 hex digits."""
    content: bytes = field(repr=False)
    """The message, ciphertext or context; of a payload its canonical form; of a reshare the new token's header
    (PROTOCOL §3)."""
    aad: bytes = field(default=b"", repr=False)
    length: int = 0
    """Bytes to derive."""
    shown: bool = False
    """Whether `content` is a payload, which the agents read."""
    word: str = ""
    """The requester's own, shown beside a bare digest, and marked as something that no agent can check."""
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    made: int = field(default_factory=lambda: int(time.time()))
    """Unix seconds."""
    seats: Mapping[str, str] = field(default_factory=dict)
    """Who is seated: seat → agent id (64 hex digits). Of a reshare every seat of the new token, of a repair the one."""
    crowded: bool = False
    """Of a repair: even if the new holder sits in the token already."""
    warnings: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Of a reshare, what a mint would warn of, for whoever asks; no part of the request."""

    @classmethod
    def to_open(cls, token: Token, caller: str, *, word: str = "") -> Request:
        """That the token be opened once and its anchor checked (`Client.check`)."""
        return cls(token, "open", "", caller, b"", word=word)._checked()

    @classmethod
    def to_reshare(
        cls, token: Token, caller: str, agents: Sequence[Agent], *, word: str = "", **changes: Unpack[Changes]
    ) -> Request:
        """That the key be minted anew (`Client.reshare`, or with no `changes` a refresh; `Client.refresh_shares` of one
        that is never put together), under a header that is settled here and now: it is good for one mint. `agents`: the
        quorum file's. Raises `bad-input`, `policy`."""
        return cls._anew(token, caller, word, *_planned.header(agents, token, changes))

    @classmethod
    def to_refresh_shares(
        cls,
        token: Token,
        caller: str,
        model: Model | None = None,
        *,
        agents: Sequence[Agent] = (),
        word: str = "",
        **changes: Unpack[Changes],
    ) -> Request:
        """That the shares of a key that is never put together be renewed (`Client.refresh_shares`), likewise. `agents`:
        where quorum or seats are to be others."""
        return cls._anew(token, caller, word, *_planned.renewal(agents, token, model, changes))

    @classmethod
    def to_repair(
        cls, token: Token, caller: str, seat: str, agent: str, *, even_if_it_sits: bool = False, word: str = ""
    ) -> Request:
        """That a lost seat be given to the agent of this id (`Client.repair`)."""
        return cls(token, "repair", "", caller, b"", word=word, seats={seat: agent}, crowded=even_if_it_sits)._checked()

    @classmethod
    def to_retire(cls, token: Token, caller: str, *, word: str = "") -> Request:
        """That every holder tombstone the token, for good (`Client.retire`)."""
        return cls(token, "retire", "", caller, b"", word=word)._checked()

    @classmethod
    def to_sign(
        cls,
        token: Token,
        caller: str,
        message: Buffer | None = None,
        *,
        payload: Payload | None = None,
        suite: str | None = None,
        word: str = "",
    ) -> Request:
        """A signature over a message or a payload. Raises `bad-input`, `payload`."""
        return cls._over("sign", token, caller, message, payload, suite, word)

    @classmethod
    def to_mac(
        cls,
        token: Token,
        caller: str,
        message: Buffer | None = None,
        *,
        payload: Payload | None = None,
        suite: str | None = None,
        word: str = "",
    ) -> Request:
        """A MAC, likewise."""
        return cls._over("mac", token, caller, message, payload, suite, word)

    @classmethod
    def to_decrypt(
        cls,
        token: Token,
        caller: str,
        ciphertext: Buffer,
        aad: Buffer = b"",
        *,
        suite: str | None = None,
        word: str = "",
    ) -> Request:
        """The plaintext of a ciphertext."""
        chosen = suite or token.suite_for("decrypt")
        return cls(token, "decrypt", chosen, caller, bytes(ciphertext), bytes(aad), word=word)._checked()

    @classmethod
    def to_derive(
        cls,
        token: Token,
        caller: str,
        context: Buffer,
        length: int = 32,
        *,
        suite: str | None = None,
        word: str = "",
    ) -> Request:
        """A working key of `length` bytes."""
        chosen = suite or token.suite_for("derive")
        return cls(token, "derive", chosen, caller, bytes(context), length=length, word=word)._checked()

    @classmethod
    def _anew(
        cls, token: Token, caller: str, word: str, header: bytes, seats: dict[str, str], warnings: list[str]
    ) -> Request:
        made = cls(token, "reshare", "", caller, header, word=word, seats=seats, warnings=tuple(warnings))
        return made._checked()

    @classmethod
    def _over(
        cls,
        action: str,
        token: Token,
        caller: str,
        message: Buffer | None,
        payload: Payload | None,
        suite: str | None,
        word: str,
    ) -> Request:
        chosen = suite or token.suite_for(action)
        if (message is None) == (payload is None):
            raise error("bad-input", f"a request to {action} is about a message or a payload", "Give one of them.")
        if payload is not None:
            return cls(token, action, chosen, caller, canonical_payload(payload), shown=True, word=word)._checked()
        return cls(token, action, chosen, caller, bytes(message or b""), word=word)._checked()

    @property
    def id(self) -> str:
        """What people call it: the beginning of its input digest, 16 hex digits."""
        return self.input.hex()[:16]

    @property
    def input(self) -> bytes:
        """Its input digest, 32 bytes (PROTOCOL §6)."""
        parts = _planned.parts(self) if self.action in OF_TOKEN else [self.content]
        if self.action == "decrypt":
            parts.append(self.aad)
        elif self.action == "derive":
            parts.append(self.length.to_bytes(4, "big"))
        return _core.input_digest(self.salt, self.action, self.suite, parts)

    @property
    def text(self) -> str:
        """What an approver is shown, and signs. Raises `bad-input` where it is longer than an approval can carry."""
        try:
            return self._asked().text(self._words)
        except _core.CoreError as e:
            raise translate(e) from None

    def statement(self, life: int = LIFE) -> bytes:
        """What is to be signed, with a fresh nonce, good for `life` seconds: for an authenticator."""
        try:
            return self._asked().statement(int(time.time()) + life, self._words)
        except _core.CoreError as e:
            raise translate(e) from None

    def approve(self, identity: str | os.PathLike[str], life: int = LIFE) -> Approval:
        """Approves it with the key in an identity file, for `life` seconds. That somebody has read `text` is for
        whoever calls this to see to. Raises `identity`."""
        try:
            return Approval.decode(_core.approve(self.statement(life), os.fspath(identity)))
        except _core.CoreError as e:
            raise translate(e) from None

    def judge(self, approval: Approval, now: float | None = None) -> str:
        """What is wrong with an approval of this, as far as can be told without an agent; empty where nothing is.
        Whether an approver counts that the policy does not name, each agent's own directory says."""
        named = approvers(self.token)
        known = next((one for one in named or () if one.id == approval.approver), None)
        if named is not None and known is None:
            return "the token's policy does not name its key"
        if approval.approver == self.caller:
            return "whoever asks cannot approve it"
        if approval.webauthn and known is None:
            return ""
        site = known.site if known is not None else None
        try:
            self._asked().approved_by(
                approval.data,
                int(time.time() if now is None else now),
                None if site is None else (site.domain, list(site.origins)),
            )
        except _core.CoreError as e:
            return e.message
        return ""

    def plan(self) -> _plan.Plan[Any]:
        """Private to this package: the jobs, and what makes the result."""
        if self.action == "sign":
            return (_plan.sign_payload if self.shown else _plan.sign)(self.token, self.content, self.suite)
        if self.action == "mac":
            return (_plan.mac_payload if self.shown else _plan.mac)(self.token, self.content, self.suite)
        if self.action == "decrypt":
            return _plan.decrypt(self.token, self.content, self.aad, self.suite)
        return _plan.derive(self.token, self.content, self.length, self.suite, False)

    def encode(self) -> bytes:
        """As JSON, for those who are asked. It holds the salt: whoever has it can tell which log entries are of it."""
        document = {
            "evanesce": "request",
            "version": _VERSION,
            "id": self.id,
            "action": self.action,
            "suite": self.suite,
            "caller": self.caller,
            "payload": self.content.decode() if self.shown else None,
            "content": None if self.shown else base64.b64encode(self.content).decode(),
            "aad": base64.b64encode(self.aad).decode(),
            "length": self.length,
            "word": self.word,
            "salt": self.salt.hex(),
            "made": self.made,
            "seats": dict(self.seats),
            "crowded": self.crowded,
            "token": self.token.armor(),
        }
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes, *, home: str | os.PathLike[str] | None = None) -> Request:
        """From `encode`'s bytes, which come from whoever asks. Raises `bad-input`, and as `Token.decode`."""
        try:
            document = json.loads(data)
            return cls._read(document, home)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
            raise error(
                "bad-input", "this is no request that people could approve", "Get it again from whoever made it."
            ) from None

    @classmethod
    def _read(cls, document: Mapping[str, Any], home: str | os.PathLike[str] | None) -> Request:
        if document["evanesce"] != "request" or document["version"] != _VERSION:
            raise ValueError
        texts = [document[name] for name in ("action", "suite", "caller", "word", "salt", "token", "aad")]
        numbers = [document[name] for name in ("length", "made")]
        if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
            raise TypeError
        if not 0 <= document["made"] < 1 << 40:
            raise ValueError
        if len(bytes.fromhex(document["caller"])) != 32 or len(bytes.fromhex(document["salt"])) != 32:
            raise ValueError
        # Earlier versions knew neither.
        seats, crowded = document.get("seats", {}), document.get("crowded", False)
        if not isinstance(crowded, bool) or not all(isinstance(one, str) for pair in seats.items() for one in pair):
            raise TypeError
        payload, content = document["payload"], document["content"]
        if payload is not None:
            # An agent takes no other form; neither is another one shown here.
            plain = payload.encode()
            if canonical_payload(plain) != plain:
                raise ValueError
        else:
            plain = base64.b64decode(content, validate=True)
        made = cls(
            Token.decode(document["token"], home=home),
            document["action"],
            document["suite"],
            document["caller"].lower(),
            plain,
            base64.b64decode(document["aad"], validate=True),
            document["length"],
            payload is not None,
            document["word"],
            bytes.fromhex(document["salt"]),
            document["made"],
            seats,
            crowded,
        )
        return made._checked()

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes it to a file of mode 0600. Raises `exists` (unless `force`) and `io`."""
        _files.write(Path(path), self.encode(), mode=0o600, overwrite=force)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, home: str | os.PathLike[str] | None = None) -> Request:
        """From a file. Raises as `decode`, `not-found` and `io`."""
        try:
            return cls.decode(_files.read(Path(path), limit=4 * LARGEST), home=home)
        except EvanesceError as e:
            raise type(e)(e.code, f"{printable(str(path))}: {e.message}", e.hint, e.culprits) from None

    def _asked(self) -> _core.Asked:
        return _core.Asked(
            bytes.fromhex(self.token.id),
            self.token.name,
            self.action,
            self.suite,
            self.input,
            bytes.fromhex(self.caller),
            self.content if self.shown else None,
        )

    @property
    def _words(self) -> str:
        return _planned.words(self) if self.action in OF_TOKEN else self.word

    def _checked(self) -> Request:
        if self.action in OF_TOKEN:
            _planned.check(self)
            self.text  # noqa: B018  raises where it could not be shown
            return self
        if self.seats or self.crowded:
            raise error("bad-input", f"to {printable(self.action)} seats nobody")
        if self.action not in ACTIONS or (self.shown and self.action not in ("sign", "mac")):
            raise error("bad-input", f"{printable(self.action)} cannot be requested", f"Choose among {ACTIONS}.")
        if self.suite not in self.token.suites:
            raise error(
                "suite-not-in-token",
                f"this token has no suite {printable(self.suite)}",
                f"It has: {', '.join(self.token.suites)}.",
            )
        if self.action == "derive" and not 1 <= self.length <= 255 * 32:
            raise error("bad-input", f"cannot derive {self.length} bytes", "Ask for 1 to 8160 (RFC 5869).")
        if len(self.content) + len(self.aad) > LARGEST:
            raise error(
                "bad-input",
                f"a request holds at most {LARGEST} bytes, so that people can be shown them",
                "Sign a payload that names the digest of what is larger.",
            )
        self.text  # noqa: B018  raises where it could not be shown
        return self


def from_assertion(statement: bytes, public_key: bytes, assertion: Mapping[str, Any], site: Site) -> Approval:
    """The approval that a browser's `PublicKeyCredential.toJSON()` makes of a `statement` whose challenge it was given
    (`challenge`). `public_key`: the credential's, SubjectPublicKeyInfo DER. Raises `approval-invalid`."""
    try:
        response = assertion["response"]
        client, data, signature = (
            _unpadded(response[name]) for name in ("clientDataJSON", "authenticatorData", "signature")
        )
    except (KeyError, TypeError, ValueError):
        raise error("approval-invalid", "this is no assertion of an authenticator") from None
    try:
        made = _core.approval_from_assertion(
            statement, public_key, signature, client, data, (site.domain, list(site.origins))
        )
    except _core.CoreError as e:
        raise translate(e) from None
    return Approval.decode(made)


def challenge(statement: bytes) -> bytes:
    """The 32 bytes that an authenticator is to be given for a statement."""
    try:
        return _core.approval_challenge(statement)
    except _core.CoreError as e:
        raise translate(e) from None


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
