"""`mulgil doctor`: what this machine has, and what Mulgil will do with it."""

from __future__ import annotations

import os
import shutil
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from mulgil import extras, fetch, hardware

SIZE = 1024
"""Rows and columns of the matrices that are multiplied to see which arithmetic pays."""


def look() -> dict[str, Any]:
    """Return versions, machine, measured arithmetic and folders as plain values."""
    found: dict[str, Any] = dict(hardware.versions())
    found |= hardware.describe()
    found |= _arithmetic()
    found |= {f"[{extra}]": _extra(name) for name, extra in extras.EXTRAS.items()}
    free = hardware.memory()[1]
    found["memory free"] = f"{free / 2**30:.1f} GB"
    cache = fetch.cache_folder()
    place = next(path for path in (cache, *cache.parents) if path.exists())
    found["cache"] = f"{cache} ({shutil.disk_usage(place).free / 2**30:.0f} GB free)"
    data = os.environ.get("MULGIL_DATA")
    found["MULGIL_DATA"] = (
        "not set: data sets are downloaded"
        if not data
        else data
        if Path(data).is_dir()
        else f"{data} is not a folder; name one, or unset it"
    )
    found["hub"] = "offline" if os.environ.get("HF_HUB_OFFLINE") == "1" else "asked when needed"
    return found


def _extra(name: str) -> str:
    """Return the version of a package that an extra brings, or how to get it."""
    if extras.missing([name]):
        return f"no {name}; {extras.remedy([name])}"
    return f"{name} {metadata.version(name)}"


def _arithmetic() -> dict[str, Any]:
    """Measure a matrix product in fp32 and bf16."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    speeds = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.ones(SIZE, SIZE, dtype=dtype, device=device)
        a @ a
        started, rounds = time.perf_counter(), 5
        for _ in range(rounds):
            a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        speeds[name] = 2 * SIZE**3 * rounds / (time.perf_counter() - started) / 1e9
    ratio = speeds["bf16"] / speeds["fp32"]
    used = "bf16" if hardware.bf16_pays(device) else "fp32"
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "matrix product": f"fp32 {speeds['fp32']:,.0f}, bf16 {speeds['bf16']:,.0f} GFLOP/s"
        f" (x{ratio:.1f}); {used} is used",
    }
