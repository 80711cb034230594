"""Threads that share a tokenizer or a predictor get what one thread alone gets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil import bundled
from mulgil.predictor import Predictor
from mulgil.tokenizers.subword import Subword, SubwordSettings

LONG = ["아주 길고 긴 문장이 여기에서 끝나지 않고 자꾸 이어집니다. " * 40] * 4


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Let threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_no_thread_lifts_the_limit_of_another(tiny_encoder: dict[str, Path]) -> None:
    """a row is never longer than the model's positions."""
    tokenizer = Subword.make(SubwordSettings(max_length=16), tiny_encoder["bert"], [], 1)

    def whole(_: int) -> int:
        return len(tokenizer.ids(LONG[0]))

    def rows(_: int) -> int:
        return int(tokenizer.encode(LONG).lengths.max())

    wanted = whole(0)
    assert wanted > 100
    with ThreadPoolExecutor(4) as pool:
        jobs = [(pool.submit(whole, i), pool.submit(rows, i)) for i in range(60)]
        found = [(one.result(), other.result()) for one, other in jobs]
    assert {*found} == {(wanted, 16)}


def test_threads_may_ask_one_predictor() -> None:
    """PR-04."""
    predictor = Predictor(bundled.run("mulgil/mini"))
    asked = [[f"오늘은 [MASK] {i}번 버스를 탔다."] * (1 + i % 3) for i in range(12)]

    def answers(texts: list[str]) -> list[dict[str, Any]]:
        return list(predictor.predict(texts))

    alone = [answers(texts) for texts in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(answers, asked))
    for one, other in zip(alone, together, strict=True):
        assert [row["filled"] for row in one] == [row["filled"] for row in other]
        assert np.allclose(*([row["probability"] for row in rows] for rows in (one, other)))
