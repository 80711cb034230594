"""What this machine is, and which arithmetic pays on it.

Chosen: bf16 where matrix products run on AMX tiles or on a GPU that has it; on a CPU with
AVX512-BF16 but no AMX it was measured slower than fp32 (0.70x; AVX512 0.26x, AVX2 0.13x, AMX
3.9x), so fp32 there. The test for AMX is the kernel's own list of processor flags. It costs a
look at one file.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mulgil.errors import SettingError

LIBRARIES = ("mulgil", "torch", "transformers", "tokenizers", "scikit-learn", "gensim", "numpy")


def has_amx() -> bool:
    """Say whether this processor multiplies bf16 matrices in tiles."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def resolve(trainer: Any, kind: str) -> tuple[str, str]:
    """Return (device, precision) for a model of this kind: "cpu" or "cuda", "fp32" or "bf16".

    Raises:
        SettingError: a GPU was asked for and there is none.
    """
    if kind == "features":
        return "cpu", "fp32"
    import torch

    gpu = torch.cuda.is_available()
    if trainer.device == "cuda" and not gpu:
        raise SettingError(
            'trainer.device = "cuda", but torch sees no GPU here; use "auto" or "cpu"'
        )
    device = "cuda" if gpu and trainer.device != "cpu" else "cpu"
    if trainer.precision != "auto":
        return device, trainer.precision
    return device, "bf16" if bf16_pays(device) else "fp32"


def bf16_pays(device: str) -> bool:
    """Say whether "auto" takes bf16 on this device ("cpu" or "cuda")."""
    if device == "cpu":
        return has_amx()
    import torch

    return bool(torch.cuda.is_bf16_supported())


def memory() -> tuple[int, int]:
    """Return (bytes of memory in all, bytes free for use now); zeros where it cannot be known."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)


_peaks = 0
"""Peaks that were begun in this process, or -1 where none but the first could be."""


def begin_peak() -> None:
    """Forget how much memory this process has held, so that each of its runs has its own peak.

    Linux alone can; elsewhere the second run of a process has none.
    """
    global _peaks
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        _peaks = 1
    except OSError:
        _peaks = 1 if _peaks == 0 else -1


def run_peak() -> int | None:
    """Return the most memory that was held since `begin_peak`, in bytes; None where unknown."""
    return (peak_memory() or None) if _peaks >= 0 else None


def peak_memory() -> int:
    """Return the most memory that this process has held so far, in bytes; 0 where unknown."""
    if sys.platform == "win32":
        return 0
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def threads() -> int:
    """Return how many threads torch computes with, or the number of cores when it is not loaded."""
    torch: Any = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else (os.cpu_count() or 1)


def describe() -> dict[str, Any]:
    """Return the machine for the record of a run; no name of host, user or folder is in it."""
    total, _ = memory()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 1,
        "threads": threads(),
        "amx": has_amx(),
        "memory_gb": round(total / 2**30, 1),
    }


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide a result."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found
