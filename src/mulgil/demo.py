"""`mulgil demo`: the main job on the bundled sample, offline, printed step by step.

Three ways down the same seven steps: TF-IDF with a solved linear head; a small encoder from
scratch; and the same encoder, the same recipe, with what it has learnt upstream by filling blanks.
The last difference is the point of it all, though two hundred test rows cannot prove it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from mulgil import api
from mulgil.rundir import Say

WAYS = (
    ("sample-tfidf", ()),
    ("sample-mini", ("model.weights=random", "name=sample-scratch")),
    ("sample-mini", ()),
)
"""Bundled recipes that the demo trains, in this order, with what is changed in them."""

TITLES = ("TF-IDF", "from scratch", "from mulgil/mini")

SENTENCES = (
    "배송도 빠르고 색도 예뻐요. 엄마가 더 좋아하심ㅎㅎ",
    "두 번은 안 갈 듯... 기다린 시간이 아깝다",
    "사이즈는 M이고 가격은 이만 원대입니다",
)
"""Sentences that the trained models have not seen."""

BLANK = "이 영화 정말 [MASK]"
"""What the bundled model fills before anything is trained."""


def run(root: Path, say: Say) -> list[Path]:
    """Train all three, show figures with intervals, answer a few sentences, say what to try next.

    Args:
        root: folder of run folders; names that are taken get a number.
        say: where lines go.

    Returns:
        The run folders, in the order of `WAYS`.
    """
    started = time.monotonic()
    paths = []
    for recipe, changes in WAYS:
        name = next((c.removeprefix("name=") for c in changes if c.startswith("name=")), recipe)
        _head(f"{name}", say)
        named = [change for change in changes if not change.startswith("name=")]
        free = f"name={_free(root, name)}"
        paths.append(api.train(recipe, *named, free, root=root, say=say))
    _head("test rows that no step has seen: the same recipe, with and without upstream", say)
    for title, path in zip(TITLES, paths, strict=True):
        say(f"{title:<17} {_figures(path)}")
    _head("new sentences", say)
    answers = [[*api.predict(path, SENTENCES)] for path in paths]
    for i, text in enumerate(SENTENCES):
        say(text)
        for title, each in zip(TITLES, answers, strict=True):
            say(f"  {title:<17} {each[i]['label']} {each[i]['probability']:.2f}")
    _head("what mulgil/mini learnt upstream", say)
    (filled,) = api.predict("mulgil/mini", [BLANK])
    best = ", ".join(f"{piece} {chance:.2f}" for piece, chance in filled["blanks"][0].items())
    say(f"{BLANK}: {best}")
    say("")
    say(f"done in {time.monotonic() - started:.0f} s. What to look at and try next:")
    say(f"  {paths[-1] / 'report.html'}   (open it in a browser)")
    say(f'  echo "정말 재미있게 봤어요" | mulgil predict {paths[-1]} -')
    say('  echo "이 영화는 [MASK] 수 없다" | mulgil predict mulgil/mini -')
    say("  mulgil train tfidf data.train=reviews.csv      your own file (text and label columns)")
    say("  mulgil train finetune data.train=reviews.csv model.pretrained=mulgil/mini name=mine")
    say("  mulgil list                                    everything that a recipe can name")
    return paths


def _head(title: str, say: Say) -> None:
    say("")
    say(f"== {title} " + "=" * max(2, 74 - len(title)))


def _figures(path: Path) -> str:
    """Return accuracy with interval, macro-F1, and the seconds of training."""
    found = api.evaluate(path)
    shown = {name: found["metrics"][name][name] for name in ("accuracy", "macro-f1")}
    accuracy: dict[str, Any] = shown["accuracy"]
    training = json.loads((path / "result.json").read_text(encoding="utf-8"))["training"]
    return (
        f"accuracy {accuracy['value']:.4f}  95% [{accuracy['low']:.4f}, {accuracy['high']:.4f}]"
        f"  macro-F1 {shown['macro-f1']['value']:.4f}  n {found['n']}"
        f"  trained in {training['seconds']:.0f} s"
    )


def _free(root: Path, name: str) -> str:
    """Return the name, or the name with the first number that is not taken."""
    taken, number = name, 1
    while (root / taken).exists():
        number += 1
        taken = f"{name}-{number}"
    return taken
