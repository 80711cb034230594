"""Long runs on real data: `python -m pytest -m real`. The floors are those of docs/results.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mulgil import api

pytestmark = pytest.mark.real

CHECKPOINT = Path(os.environ.get("MULGIL_ME5", ".cache/me5-small"))
"""A local multilingual-e5-small in the Hugging Face layout."""


def accuracy(run: Path) -> float:
    return float(api.evaluate(run)["metrics"]["accuracy"]["accuracy"]["value"])


def test_tfidf_on_all_of_nsmc(data_folder: Path, tmp_path: Path) -> None:
    assert accuracy(api.train("nsmc-tfidf", root=tmp_path)) >= 0.870


def test_petitions_in_17_categories(data_folder: Path, tmp_path: Path) -> None:
    run = api.train("petitions-tfidf", root=tmp_path)
    assert api.evaluate(run)["n"] == 367
    assert accuracy(run) >= 0.50


def test_full_fine_tuning_on_20_000_reviews(data_folder: Path, tmp_path: Path) -> None:
    if not CHECKPOINT.is_dir():
        pytest.skip(f"no checkpoint at {CHECKPOINT}; name one in MULGIL_ME5")
    run = api.train(
        "nsmc",
        f"model.pretrained={CHECKPOINT.absolute()}",
        "data.train_rows=20000",
        "trainer.learning_rate=1e-4",
        root=tmp_path,
    )
    assert accuracy(run) >= 0.84
