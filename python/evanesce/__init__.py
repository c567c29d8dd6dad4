"""Evanesce: keys that exist only while they are used.

A key is minted by a quorum of recovery agents and stored nowhere. What remains is a *regen token*: a public
description from which enough agents together regenerate the key for the length of one operation, in locked
memory that is wiped afterwards.

    from evanesce import Client, verify

    with Client() as client:
        token = client.create("payments", ["ed25519"], quorum="3 of (ceo, cfo, ops, board-1, board-2)")
        token.save("payments.regen")
        signature = client.sign(token, b"pay 100 to alice")
    verify(token, b"pay 100 to alice", signature)

What this package guarantees: no seed, share, private or symmetric key, PIN or passphrase ever is a Python
object; secret results are `Secret` handles. What relies on a token being the right one refuses a token that
nothing vouches for. What it does not: the process that runs a `Client` holds the key for the moment of each
operation (PROTOCOL §10).

Importing this package hardens the process: it can no longer be dumped, traced or read by other processes of
the same user, and its core files are empty. `EVANESCE_NO_HARDEN=1` in the environment leaves it as it is,
and `evanesce doctor` says so.
"""

import os as _os
from typing import TYPE_CHECKING as _TYPE_CHECKING

from evanesce import _core
from evanesce._core import __version__, policy_schema
from evanesce._heal import Changes
from evanesce._mint import Terms
from evanesce.approvals import Approval, Request
from evanesce.client import Client
from evanesce.custody import Key
from evanesce.errors import (
    Culprit,
    EvanesceError,
    InputError,
    InternalError,
    QuorumError,
    RefusedError,
    SetupError,
    TokenError,
    TrustError,
    UnsupportedError,
    VerificationError,
)
from evanesce.grant import Bound, Grant
from evanesce.home import Agent
from evanesce.offline import encapsulate, encrypt_to, verify
from evanesce.payload import Payload, canonical_payload
from evanesce.policy import Decision, Limit, Policy, Question, Statement
from evanesce.results import (
    AgentStatus,
    Check,
    Ciphertext,
    Encapsulation,
    Healed,
    Mac,
    Macs,
    OrderedAgent,
    OrderedSeat,
    OrderResult,
    Receipt,
    Renewal,
    Retirement,
    Secret,
    Signature,
    Verified,
)
from evanesce.tokens import Token

if _TYPE_CHECKING:
    from evanesce.aio import AsyncClient

if _os.environ.get("EVANESCE_NO_HARDEN") != "1":
    _core.harden()


def __getattr__(name: str) -> object:
    # asyncio takes a third of the time to import all this; who does not use it does not wait for it.
    if name == "AsyncClient":
        from evanesce.aio import AsyncClient

        globals()[name] = AsyncClient
        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Agent",
    "AgentStatus",
    "Approval",
    "AsyncClient",
    "Bound",
    "Changes",
    "Check",
    "Ciphertext",
    "Client",
    "Culprit",
    "Decision",
    "Encapsulation",
    "EvanesceError",
    "Grant",
    "Healed",
    "InputError",
    "InternalError",
    "Key",
    "Limit",
    "Mac",
    "Macs",
    "OrderResult",
    "OrderedAgent",
    "OrderedSeat",
    "Payload",
    "Policy",
    "Question",
    "QuorumError",
    "Receipt",
    "RefusedError",
    "Renewal",
    "Request",
    "Retirement",
    "Secret",
    "SetupError",
    "Signature",
    "Statement",
    "Terms",
    "Token",
    "TokenError",
    "TrustError",
    "UnsupportedError",
    "VerificationError",
    "Verified",
    "__version__",
    "canonical_payload",
    "encapsulate",
    "encrypt_to",
    "policy_schema",
    "verify",
]
