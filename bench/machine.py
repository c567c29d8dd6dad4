"""What the figures were measured on."""

import os
import platform
import subprocess
from pathlib import Path


def describe() -> dict[str, object]:
    """Processor, cores, kernel, memory, and what the processor offers to hashes and ciphers."""
    info = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = set(fields.get("flags", "").split())
    return {
        "processor": fields.get("model name", platform.machine()),
        "mhz": fields.get("cpu MHz", ""),
        "cores": os.cpu_count(),
        "extensions": sorted(flags & {"aes", "avx2", "avx512f", "sha_ni", "vaes", "vpclmulqdq", "adx", "bmi2"}),
        "kernel": platform.release(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _commit() -> str:
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()
