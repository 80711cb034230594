"""`mulgil demo`: the main job on the bundled sample, offline, printed step by step.

Two ways down the same seven steps: TF-IDF with a solved linear head, and a small encoder from
scratch. With a thousand rows the old way wins: what a network needs is knowledge from upstream.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from mulgil import api
from mulgil.rundir import Say

RECIPES = ("sample-tfidf", "sample-encoder")
"""Bundled recipes that the demo trains, in this order."""

SENTENCES = (
    "배송도 빠르고 색도 예뻐요. 엄마가 더 좋아하심ㅎㅎ",
    "두 번은 안 갈 듯... 기다린 시간이 아깝다",
    "사이즈는 M이고 가격은 이만 원대입니다",
)
"""Sentences that the trained models have not seen."""


def run(root: Path, say: Say) -> list[Path]:
    """Train both, show figures with intervals, answer a few sentences, say what to try next.

    Args:
        root: folder of run folders; names that are taken get a number.
        say: where lines go.

    Returns:
        The two run folders.
    """
    started = time.monotonic()
    paths = []
    for recipe in RECIPES:
        say("")
        say(f"== {recipe} " + "=" * (60 - len(recipe)))
        paths.append(api.train(recipe, f"name={_free(root, recipe)}", root=root, say=say))
    say("")
    say("== test rows that no step has seen " + "=" * 28)
    for path in paths:
        figures = api.evaluate(path)
        for name in ("accuracy", "macro-f1", "ece"):
            value = figures["metrics"][name][name]
            say(
                f"{path.name:<20} {name:<9} {value['value']:.4f}"
                f"  95% interval [{value['low']:.4f}, {value['high']:.4f}]  n {figures['n']}"
            )
    say("")
    say("== new sentences " + "=" * 46)
    for path in paths:
        for text, answer in zip(SENTENCES, api.predict(path, SENTENCES), strict=True):
            say(f"{path.name:<20} {answer['label']} {answer['probability']:.2f}  {text}")
    best = max(paths, key=_accuracy)
    say("")
    say(f"done in {time.monotonic() - started:.0f} s. What to look at and try next:")
    say(f"  {best / 'report.html'}   (open it in a browser)")
    say(f'  echo "정말 재미있게 봤어요" | mulgil predict {best} -')
    say("  mulgil train tfidf data.train=reviews.csv      your own file (text and label columns)")
    say("  mulgil check nsmc-tfidf                        the plan for 150,000 film reviews")
    say("  mulgil list                                    everything that a recipe can name")
    return paths


def _free(root: Path, name: str) -> str:
    """Return the name, or the name with the first number that is not taken."""
    taken, number = name, 1
    while (root / taken).exists():
        number += 1
        taken = f"{name}-{number}"
    return taken


def _accuracy(path: Path) -> float:
    figures = json.loads((path / "result.json").read_text(encoding="utf-8"))
    return float(figures["metrics"]["accuracy"]["accuracy"]["value"])
