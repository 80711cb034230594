"""What the machine is, and the arithmetic that is chosen on it."""

from __future__ import annotations

import getpass
import os
import platform
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from mulgil import hardware
from mulgil.errors import SettingError
from mulgil.recipe import TrainerSettings


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend to be another machine: `machine(gpu=..., amx=..., bf16=...)`."""

    def pretend(gpu: bool = False, amx: bool = False, bf16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
        monkeypatch.setattr(hardware, "has_amx", lambda: amx)

    return pretend


@pytest.mark.parametrize(
    ("parts", "settings", "chosen"),
    [
        ({}, {}, ("cpu", "fp32")),
        ({"amx": True}, {}, ("cpu", "bf16")),
        ({"amx": True}, {"precision": "fp32"}, ("cpu", "fp32")),
        ({}, {"precision": "bf16"}, ("cpu", "bf16")),
        ({"gpu": True}, {}, ("cuda", "bf16")),
        ({"gpu": True, "bf16": False}, {}, ("cuda", "fp32")),
        ({"gpu": True, "amx": True}, {"device": "cpu"}, ("cpu", "bf16")),
        ({"gpu": True}, {"device": "cuda", "precision": "fp32"}, ("cuda", "fp32")),
    ],
)
def test_device_and_precision(
    machine: Any, parts: dict[str, bool], settings: dict[str, Any], chosen: tuple[str, str]
) -> None:
    machine(**parts)
    assert hardware.resolve(TrainerSettings(**settings), "encoder") == chosen


def test_a_gpu_that_is_not_there_is_refused(machine: Any) -> None:
    machine()
    with pytest.raises(SettingError, match='use "auto" or "cpu"'):
        hardware.resolve(TrainerSettings(device="cuda"), "encoder")


def test_what_only_counts_needs_no_device(machine: Any) -> None:
    machine(gpu=True, amx=True)
    assert hardware.resolve(TrainerSettings(), "features") == ("cpu", "fp32")


@pytest.mark.parametrize(
    ("flags", "expected"), [("fma amx_bf16 amx_tile", True), ("avx512_bf16", False)]
)
def test_amx_is_read_from_the_flags(
    monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, **_: f"flags : {flags}\n")
    assert hardware.has_amx() is expected


def test_a_machine_that_tells_nothing_has_no_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert not hardware.has_amx()
    assert hardware.memory() == (0, 0)


def test_memory() -> None:
    total, free = hardware.memory()
    if total:  # a machine that tells
        assert 2**26 < free <= total
    block = bytearray(os.urandom(1) * (1 << 24))
    assert hardware.peak_memory() == 0 or hardware.peak_memory() > len(block)


def test_a_second_run_of_a_process_has_its_own_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or none, where the system does not let it be counted anew; never that of the first."""
    monkeypatch.setattr(hardware, "_peaks", 0)
    block = bytearray(os.urandom(1) * (1 << 28))
    before = hardware.peak_memory()
    assert len(block) == 1 << 28
    del block
    hardware.begin_peak()
    hardware.begin_peak()
    peak = hardware.run_peak()
    assert peak is None or 0 < peak < before - (1 << 27)


def test_without_a_way_to_forget_a_peak_the_first_run_alone_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError

    monkeypatch.setattr(hardware, "_peaks", 0)
    monkeypatch.setattr(Path, "write_text", refuse)
    hardware.begin_peak()
    assert hardware.run_peak() == (hardware.peak_memory() or None)
    hardware.begin_peak()
    assert hardware.run_peak() is None


def test_threads_are_those_of_torch() -> None:
    assert hardware.threads() == torch.get_num_threads()


def test_the_record_names_no_person_and_no_machine() -> None:
    """RP-07."""
    found = repr(hardware.describe()) + repr(hardware.versions())
    for secret in (socket.gethostname(), getpass.getuser(), str(Path.home()), platform.node()):
        assert len(secret) < 3 or secret not in found
    assert {"python", "cores", "threads", "amx", "memory_gb"} <= set(hardware.describe())


def test_versions_of_what_decides_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """TR-08."""
    found = hardware.versions()
    assert found["torch"] == torch.__version__
    assert set(found) == set(hardware.LIBRARIES)
    monkeypatch.setattr(hardware, "LIBRARIES", ("nothing-of-this-name",))
    assert hardware.versions() == {"nothing-of-this-name": "absent"}
