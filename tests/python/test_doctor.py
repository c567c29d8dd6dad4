"""What `doctor` makes of what agents say."""

from __future__ import annotations

from pathlib import Path

import pytest

from evanesce.cli.doctor import agent_memory, prepared


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


DECLARED = '[threshold]\nprepared = "no earlier state"\n'
VIRTUAL = "processor\t: 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"


@pytest.mark.parametrize(
    ("config", "cpuinfo", "found"),
    [
        (DECLARED, VIRTUAL, ["weak"]),
        ("", VIRTUAL, []),
        ("[threshold]\n", VIRTUAL, []),
        (DECLARED, "flags\t\t: fpu vme lahf_lm\n", []),
        (DECLARED, "model name\t: hypervisor\nvmx flags\t: hypervisor\n", []),
        (DECLARED, "Features\t: fp asimd\n", []),
        (DECLARED, None, []),
        ("threshold = [", VIRTUAL, []),
        (None, VIRTUAL, []),
    ],
)
def test_prepared_nonces_are_weak_on_a_virtual_machine(
    config: str | None, cpuinfo: str | None, found: list[str], tmp_path: Path
) -> None:
    for name, text in (("agent.toml", config), ("cpuinfo", cpuinfo)):
        if text is not None:
            (tmp_path / name).write_text(text)
    findings = list(prepared(tmp_path, tmp_path / "cpuinfo"))
    assert [finding.verdict for finding in findings] == found
    assert all("hypervisor" in finding.detail and "[threshold]" in finding.advice for finding in findings)
