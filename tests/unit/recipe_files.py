"""Recipes as files of a test, and the one line with which one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mulgil.errors import SettingError
from mulgil.recipe import read


def written(tmp_path: Path, text: str, name: str = "r.toml") -> str:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(source: str, *overrides: str) -> str:
    """Read a recipe that must be refused, and return the one line that says why."""
    with pytest.raises(SettingError) as caught:
        read(source, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)
