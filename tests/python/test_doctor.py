"""What `doctor` makes of what agents say."""

from __future__ import annotations

import pytest

from evanesce.cli.doctor import agent_memory


@pytest.mark.parametrize(
    ("said", "verdict", "advice"),
    [
        ("memfd_secret", "ok", ""),
        ("locked memory (memfd_secret: function not implemented)", "weak", "secretmem.enable=1"),
        ("audit build: not protected", "weak", "ordinary build"),
        ("memfd_secret, almost", "weak", "secretmem.enable=1"),
        ("", "weak", "secretmem.enable=1"),
    ],
)
def test_only_memfd_secret_is_good_memory(said: str, verdict: str, advice: str) -> None:
    finding = agent_memory("agent-1", said)
    assert (finding.what, finding.verdict, finding.detail) == ("memory of agent-1", verdict, said)
    assert advice in finding.advice
