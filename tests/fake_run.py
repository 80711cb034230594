"""Run folders as a training leaves them, made up from a seed, for the tests of what reads them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np

from mulgil import statistics
from mulgil.judged import Likelihood, Scored
from mulgil.metrics.accuracy import Accuracy
from mulgil.metrics.bits_per_byte import BitsPerByte
from mulgil.metrics.confusion import Confusion
from mulgil.metrics.ece import Ece
from mulgil.metrics.loss import Loss
from mulgil.metrics.macro_f1 import MacroF1
from mulgil.metrics.per_class import PerClass
from mulgil.metrics.perplexity import Perplexity
from mulgil.metrics.token_accuracy import TokenAccuracy

TWO = ("부정", "긍정")
SEVENTEEN = (
    *("교통", "주거", "교육", "보건", "환경", "문화", "체육", "일자리", "농업"),
    *("안전", "복지", "관광", "행정", "에너지", "통신", "반려동물", "기타"),
)

_OPENINGS = (
    "솔직히",
    "기대 없이 봤는데",
    "주말에 가족이랑",
    "예고편만 보고",
    "두 번째로 보니",
    "ㅋㅋㅋ",
)
_SUBJECTS = (
    "배우들 연기가",
    "이야기 전개가",
    "음악이",
    "마지막 장면이",
    "대사 하나하나가",
    "화면이",
)
_PREDICATES = (
    "너무 좋아서 눈물이 났다",
    "지루해서 몇 번을 졌는지 모르겠다",
    "생각보다 훨씬 괜찮았어요",
    "아쉽지만 볼만은 합니다",
    "돈이 하나도 안 아깝다",
    "이렇게 됬을까 싶을 만큼 허술하다",
)
_ENDINGS = ("", "...", " ㅠㅠ", " 추천!", " 다시는 안 봄", " 별점은 3점")

RECIPE = """\
name = "{name}"

[data]
name = "nsmc"
valid_share = 0.1
seed = 7

[model]
name = "encoder"
pretrained = "~/models/korean-base"

[tokenizer]
name = "subword"
max_length = 128

[loader]
tokens = 4096
rows = 32

[task]
name = "classification"

[method]
name = "full"

[trainer]
epochs = 3
learning_rate = 5e-5
seed = 7
precision = "bf16"
"""


def make_run(
    folder: Path,
    labels: tuple[str, ...] = TWO,
    rows: int = 400,
    *,
    finished: bool = True,
    texts: tuple[str, ...] = (),
    multi_label: bool = False,
    seed: int = 7,
) -> Path:
    """Write a whole run folder; the first rows get `texts` and wrong, sure answers."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    predictions = [
        _prediction(draw, i, labels, texts[i] if i < len(texts) else "", multi_label)
        for i in range(rows)
    ]
    write_lines(folder / "predictions.jsonl", predictions)
    write_lines(folder / "journal.jsonl", _journal(draw))
    (folder / "recipe.toml").write_text(RECIPE.format(name=folder.name), encoding="utf-8")
    write_object(
        folder / "schema.json",
        {"shape": "text", "labels": list(labels), "multi_label": multi_label, "threshold": 0.5},
    )
    write_object(folder / "provenance.json", PROVENANCE)
    if finished:
        result = _result(folder.name, labels, predictions, multi_label)
        write_object(folder / "result.json", result)
    return folder


def make_language_run(
    folder: Path,
    task: str = "masked-lm",
    rows: int = 400,
    *,
    finished: bool = True,
    texts: tuple[str, ...] = (),
    seed: int = 7,
) -> Path:
    """Write the run folder of a pretraining; the first rows get `texts` and are hard."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    predictions = [
        _likelihood(draw, i, task, texts[i] if i < len(texts) else "") for i in range(rows)
    ]
    write_lines(folder / "predictions.jsonl", predictions)
    write_lines(folder / "journal.jsonl", _language_journal(draw))
    recipe = RECIPE.format(name=folder.name).replace("classification", task)
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    schema = {"shape": "passage", "labels": [], "multi_label": False, "threshold": 0.5}
    write_object(folder / "schema.json", schema)
    write_object(folder / "provenance.json", PROVENANCE)
    if finished:
        write_object(folder / "result.json", _language_result(folder.name, task, predictions))
    return folder


def write_object(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=True, indent=1), encoding="utf-8")


def write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")


PROVENANCE = {
    "mulgil": "0.1.0",
    "python": "3.11.9",
    "libraries": {"torch": "2.11.0", "transformers": "5.1.0", "numpy": "2.3.4"},
    "git": {"commit": "4f1c9d2e7a60b35c8d0f", "dirty": False},
    "data": {"ratings_train.txt": "sha256:9b1a4c58e2f70d36", "ratings_test.txt": "sha256:77e0"},
    "seeds": {"data": 7, "trainer": 7},
    "threads": 2,
    "device": "cpu",
    "host": "canary-host",
    "user": "canary-user",
    "home": "/home/canary",
    "environment": {"hostname": "canary-host", "hf_token": "canary-token"},
    "command": "/home/canary/venv/bin/mulgil train recipe.toml",
}


def _prediction(
    draw: random.Random, i: int, labels: tuple[str, ...], text: str, many: bool
) -> dict[str, Any]:
    forced = bool(text)
    text = text or " ".join(map(draw.choice, (_OPENINGS, _SUBJECTS, _PREDICATES)))
    text += "" if forced else draw.choice(_ENDINGS)
    if many:
        gold = [label for label in labels if draw.random() < 0.3]
        chances = {k: round(draw.betavariate(5, 2 if k in gold else 12), 6) for k in labels}
        said: Any = [label for label in labels if chances[label] >= 0.5]
    else:
        said = draw.choice(labels)
        sure = 0.99 if forced else draw.betavariate(5, 1.2)
        sure = round(max(sure, 1.02 / len(labels)), 6)
        rest = [draw.random() + 1e-3 for _ in labels[1:]]
        others = [label for label in labels if label != said]
        shares = [(1 - sure) * r / sum(rest) for r in rest]
        chances = {said: sure} | dict(zip(others, shares, strict=True))
        chances = {label: chances[label] for label in labels}
        said = max(labels, key=lambda label: chances[label])
        wrong = forced or draw.random() > 0.35 + 0.62 * chances[said]
        near = others[draw.randrange(min(2, len(others)))] if others else said
        gold = near if wrong else said
    return {
        "id": f"test:{i}",
        "text": text,
        "gold": gold,
        "predicted": said,
        "probabilities": chances,
    }


def _journal(draw: random.Random) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    steps, best = 1200, 0.0
    for step in range(10, steps + 1, 10):
        rate = 5e-5 * min(step / 120, (steps - step) / (steps - 120) if step > 120 else 1)
        entries.append(
            {
                "kind": "step",
                "step": step,
                "epoch": step / 400,
                "loss": 0.26 + 0.45 * math.exp(-step / 260) + draw.gauss(0, 0.035),
                "learning_rate": rate,
                "norm": 1.1 + abs(draw.gauss(0, 0.4)) + 2 * math.exp(-step / 90),
                "rows_per_second": 410 + draw.gauss(0, 12),
                "seconds": step * 0.21,
            }
        )
        if step % 100 == 0:
            accuracy = 0.874 - 0.12 * math.exp(-step / 220) - 2.2e-5 * max(step - 800, 0)
            accuracy += draw.gauss(0, 0.001)
            loss = 0.3 + 0.28 * math.exp(-step / 240) + 7e-5 * max(step - 700, 0)
            line = {"kind": "valid", "step": step, "epoch": step / 400, "loss": loss}
            entries.append(line | {"accuracy": accuracy, "best": accuracy > best})
            best = max(best, accuracy)
    entries.append({"kind": "note", "text": "Rounded lengths to 8 buckets."})
    entries.append({"kind": "something new", "value": 1})
    return entries


def _result(
    name: str, labels: tuple[str, ...], predictions: list[dict[str, Any]], multi_label: bool
) -> dict[str, Any]:
    scored = scored_rows(labels, predictions)
    rows = len(predictions)
    metrics: dict[str, Any] = {
        "accuracy": Accuracy(),
        "macro-f1": MacroF1(),
        "ece": Ece(),
        "per-class": PerClass(),
        "confusion": Confusion(),
    }
    return {
        "format": 1,
        "name": name,
        "task": "classification",
        "data": "nsmc",
        "model": "encoder",
        "pretrained": "/home/canary/models/korean-base",
        "tokenizer": "subword",
        "method": "full",
        "seed": 7,
        "precision": "bf16",
        "device": "cpu",
        "labels": list(labels),
        "multi_label": multi_label,
        "n": rows,
        "interval": f"95% bootstrap over {rows:,} test rows, 60 resamples, seed 7",
        "metrics": _figures(metrics, scored),
        "valid": {"accuracy": 0.8713},
        "rows": {"train": 12_800, "valid": 1_280, "test": rows, "rejected": 3},
        "overlap": {"train-test exact": 11, "train-valid exact": 0},
        "parameters": {"total": 110_618_882, "trainable": 110_618_882},
        "training": {
            "steps": 1200,
            "epochs": 3.0,
            "seconds": 252.4,
            "stopped": "finished",
            "rows_per_second": 409.6,
        },
        "notes": ["train.csv was read as utf-8, separated by tabs.", "3 rows have no text."],
        "finished": "2026-11-23T05:00:00Z",
    }


def _figures(metrics: dict[str, Any], judged: Any) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for key, metric in metrics.items() if len(judged) else ():
        whole = statistics.bootstrap(
            lambda taken, metric=metric: metric.compute(judged.take(taken)),
            len(judged),
            seed=7,
            resamples=60,
        )
        figures[key] = {k: v.as_dict() for k, v in whole.items()}
    return figures


def _likelihood(draw: random.Random, i: int, task: str, text: str) -> dict[str, Any]:
    hard = 2.4 if text else 1.0
    words = " ".join(
        " ".join(map(draw.choice, (_OPENINGS, _SUBJECTS, _PREDICATES)))
        for _ in range(1 + int(draw.expovariate(0.3)))
    )
    text = text or words + draw.choice(_ENDINGS)
    size = len(text.encode("utf-8", "replace"))
    tokens = max(size // 8, 1)
    if task == "masked-lm":
        tokens = max(round(tokens * 0.2), 1) + (8 if hard > 1 else 0)
        size = tokens * 7
    nats = sum(max(draw.gauss(2.3, 1.1), 0.01) for _ in range(tokens)) * hard
    right = sum(draw.random() < 0.46 for _ in range(tokens))
    figures = {"nats": round(nats, 4), "tokens": tokens, "right": right, "bytes": size}
    return {"id": f"corpus.txt:{i + 1}", "text": text, **figures}


def _language_journal(draw: random.Random) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    steps, least = 8000, math.inf
    for step in range(10, steps + 1, 10):
        loss = 2.3 + 4.6 * math.exp(-step / 900) + 2.4 * math.exp(-step / 4000)
        entries.append(
            {
                "kind": "step",
                "step": step,
                "epoch": step / 2000,
                "loss": loss + draw.gauss(0, 0.09),
                "learning_rate": 1e-3 * min(step / 400, (steps - step) / (steps - 400) + 1e-9),
                "norm": 1.2 + abs(draw.gauss(0, 0.3)) + 1.4 * math.exp(-step / 300),
                "rows_per_second": 540 + draw.gauss(0, 90),
                "seconds": step * 0.29,
            }
        )
        if step % 500 == 0:
            unseen = loss + 0.05 + draw.gauss(0, 0.01)
            figures = {
                "loss": unseen,
                "perplexity": math.exp(unseen),
                "bits-per-byte": unseen / math.log(2) / 5.05,
                "token-accuracy": 0.56 - 0.055 * unseen,
            }
            line = {"kind": "valid", "step": step, "epoch": step / 2000, "best": unseen < least}
            entries.append(line | figures)
            least = min(least, unseen)
    return entries


def _language_result(name: str, task: str, predictions: list[dict[str, Any]]) -> dict[str, Any]:
    metrics = {
        "loss": Loss(),
        "perplexity": Perplexity(),
        "bits-per-byte": BitsPerByte(),
        "token-accuracy": TokenAccuracy(),
    }
    rows = len(predictions)
    keys = ("nats", "tokens", "right", "bytes")
    judged = Likelihood(*(np.array([p[key] for p in predictions], float) for key in keys))
    return {
        "format": 1,
        "name": name,
        "task": task,
        "data": "corpus",
        "model": "encoder" if task == "masked-lm" else "decoder",
        "pretrained": None,
        "tokenizer": "subword",
        "method": "full",
        "seed": 7,
        "precision": "fp32",
        "device": "cpu",
        "labels": [],
        "multi_label": False,
        "n": rows,
        "interval": f"95% bootstrap over {rows:,} test rows, 60 resamples, seed 7",
        "metrics": _figures(metrics, judged),
        "valid": {"loss": 2.624},
        "rows": {"train": 512_400, "valid": 1_540, "test": rows, "rejected": 0},
        "overlap": {},
        "parameters": {"total": 7_120_640, "trainable": 7_120_640},
        "training": {
            "steps": 8000,
            "epochs": 4.0,
            "seconds": 2320.4,
            "stopped": "finished",
            "rows_per_second": 541.2,
        },
        "notes": ["corpus.txt: 1,204 texts stand there more than once and were left out."],
        "finished": "2026-11-23T05:00:00Z",
    }


def scored_rows(labels: tuple[str, ...], predictions: list[dict[str, Any]]) -> Scored:
    chances = np.array([[p["probabilities"][k] for k in labels] for p in predictions])
    if predictions and isinstance(predictions[0]["gold"], list):
        gold, said = (
            np.array([[k in p[key] for k in labels] for p in predictions])
            for key in ("gold", "predicted")
        )
    else:
        gold, said = (
            np.array([labels.index(p[key]) for p in predictions], dtype=np.int64)
            for key in ("gold", "predicted")
        )
    return Scored(gold, said, chances, labels)
