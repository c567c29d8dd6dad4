"""regen-mpc, measured: see `threshold`."""

from __future__ import annotations

from evanesce.compare.subject import CannotMeasure, Sandbox, Subject
from evanesce.compare.threshold import Threshold


def subject(sandbox: Sandbox) -> Subject:
    """See `evanesce.compare.subject`."""
    if sandbox.home is not None:
        raise CannotMeasure(
            "of your own agents only what regen does is measured; without --own, regen-mpc is, in a sandbox"
        )
    return Threshold(
        sandbox, "regen-mpc", "keys that are never put together, whose shares are regenerated for each use"
    )
