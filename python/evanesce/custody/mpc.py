"""`mpc`: keys that are never put together, whose shares their holders keep, each sealed by its own element (PROTOCOL
§11)."""

from __future__ import annotations

from typing import ClassVar

from evanesce.custody.threshold import REFUSES, Threshold


class Mpc(Threshold):
    """The mpc tokens of one home."""

    name = "mpc"
    supports: ClassVar = {
        "create": "by its holders among themselves; each keeps its share, sealed by its element",
        "public-key": "from the token",
        "rotate": "a new key under the same terms, whose token names the old one",
        "refresh": "fresh shares of the same key, for the same holders or others; the old ones are removed",
        "destroy": "retired by its holders, for good, and their shares removed",
        "describe": "what the token says",
    }
    refuses: ClassVar = {
        **REFUSES,
        "back-up": "its shares rest at its holders, and none releases one; the token is public, a file like any other",
        "restore": "there is no copy: a lost share is made again by the other holders (`evanesce key repair`)",
    }
