"""Labelled data sets: read from files of a test's own, or from the published ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from mulgil import fetch, registry
from mulgil.contracts import Dataset
from mulgil.examples import Example
from mulgil.flow import Parts

REAL = pytest.mark.usefixtures("data_folder")
"""Reads the published files, and is skipped where they are not at hand."""


def made(name: str) -> Dataset:
    plugin = registry.load("datasets", name)
    dataset: Dataset = plugin(plugin.Settings())
    return dataset


def read(folder: Path, name: str, *contents: str | bytes) -> Parts:
    """Read a data set whose files, in the order of its sources, hold this."""
    dataset, files = made(name), {}
    for source, content in zip(dataset.sources, contents, strict=True):
        path = folder / source.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        files[source.path] = path
    return dataset.read(files)


def published(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Parts:
    monkeypatch.setenv("MULGIL_CACHE", str(folder))
    dataset = made(name)
    return dataset.read(fetch.collect(dataset, download=False))


def everything(parts: Parts) -> list[Example]:
    return [row for part in parts.rows.values() for row in part]
