"""`regen-mpc`: keys that are never put together, whose shares are stored nowhere either: each holder regenerates its
own for every use (PROTOCOL §11)."""

from __future__ import annotations

from typing import ClassVar

from evanesce.custody.threshold import REFUSES, Threshold


class RegenMpc(Threshold):
    """The regen-mpc tokens of one home."""

    name = "regen-mpc"
    supports: ClassVar = {
        "create": "by its holders among themselves; nothing but its public token remains",
        "public-key": "from the token",
        "rotate": "a new key under the same terms, whose token names the old one",
        "refresh": "fresh shares of the same key, for the same holders or others; a new token",
        "back-up": "a copy of the public token: the quorum is what keeps the key",
        "restore": "from a copy of the token, with its pin",
        "destroy": "retired by its holders, for good",
        "describe": "what the token says",
    }
    refuses: ClassVar = REFUSES
