"""mpc, measured: see `threshold`, and `own_threshold`."""

from __future__ import annotations

from evanesce.compare.own_threshold import OwnThreshold
from evanesce.compare.subject import Sandbox, Subject
from evanesce.compare.threshold import Threshold


def subject(sandbox: Sandbox) -> Subject:
    """See `evanesce.compare.subject`."""
    if sandbox.home is not None:
        return OwnThreshold(sandbox, sandbox.home, "mpc")
    return Threshold(sandbox, "mpc", "keys that are never put together, whose shares their holders keep")
