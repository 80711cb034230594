"""What every task shares that gives a row a label out of a fixed list, or several of them.

Single label: softmax and cross-entropy. Several: a sigmoid a label, binary cross-entropy, and a
label counts from a threshold on. Class weights "balanced" are rows / (labels * rows of the label),
as in scikit-learn; they multiply a row's loss, and the probabilities are then those of balanced
classes. With several labels a row each is a question by itself: its yeses are multiplied by
rows without it / rows with it, so that they weigh as much as its noes.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from mulgil import settings
from mulgil.errors import DataError, SettingError, nearest
from mulgil.examples import Example
from mulgil.flow import Array, Head, Schema, Skill
from mulgil.judged import Judged, Scored
from mulgil.objectives import LabelTask
from mulgil.tasks import _prompts
from mulgil.tasks._prompts import PromptSettings


class LabelSettings(PromptSettings):
    """Settings of every task that gives labels."""

    labels: list[str] | None = None
    """Label names in the order wanted; by default those of the training rows, sorted."""
    class_weights: Literal["none", "balanced"] = "none"
    """"balanced" makes rare labels count as much as frequent ones."""

    @pydantic.field_validator("labels")
    @classmethod
    def _distinct(cls, names: list[str] | None) -> list[str] | None:
        return distinct(names)


def distinct(names: list[str] | None) -> list[str] | None:
    """Return names of labels in NFC, without white space around them; None stays None.

    Raises:
        ValueError: there is none, or one is empty or comes twice.
    """
    if names is None:
        return None
    clean = [unicodedata.normalize("NFC", name.strip()) for name in names]
    if not clean or not all(clean) or len(set(clean)) < len(clean):
        raise ValueError("must name each label once, and at least one")
    return clean


class _LabelledTask(LabelTask):
    """Gives labels; `several` says whether a row may have any number of them."""

    Settings: ClassVar[type[settings.Settings]] = LabelSettings
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "macro-f1",
        "auc",
        "ece",
        "per-class",
        "confusion",
    )

    @property
    def several(self) -> bool:
        """Whether a row may have any number of labels."""
        return False

    @property
    def threshold(self) -> float:
        """Probability from which a label counts, where there may be several."""
        return 0.5

    def schema(self, train: Sequence[Example]) -> Schema:
        """Read the labels.

        Raises:
            DataError: fewer than two labels, or rows with several labels without `multi_label`.
        """
        wanted = self.settings.labels
        seen: dict[str, str] = {}
        for row in train:
            for label in _labels(row):
                seen.setdefault(label, row.id)
        if not self.several:
            several = [row.id for row in train if isinstance(getattr(row, "label", None), tuple)]
            if several:
                raise DataError(
                    f"{several[0]}: has several labels; set task.multi_label = true"
                    f" ({len(several):,} such rows)"
                )
        names = tuple(wanted) if wanted else tuple(sorted(seen))
        unknown = [label for label in seen if label not in names]
        if unknown:
            raise DataError(
                f'{seen[unknown[0]]}: label "{unknown[0]}" is not in task.labels;'
                f" {nearest(unknown[0], names)}"
            )
        if len(names) < (1 if self.several else 2):
            raise DataError(f"data: needs two labels or more; found {', '.join(names) or 'none'}")
        return Schema(self.shape, names, self.several, self.threshold)

    def problem(self, row: Example, schema: Schema) -> str | None:
        unknown = [label for label in _labels(row) if label not in schema.labels]
        if unknown:
            return f'label "{unknown[0]}" does not occur in training'
        if getattr(row, "label", None) is None:  # where there may be several, () says none of them
            return "no label"
        if not schema.multi_label and len(_labels(row)) != 1:
            return "no label" if not _labels(row) else "several labels"
        return None

    def tally(self, rows: Sequence[Example], schema: Schema | None) -> dict[str, int]:
        counts = Counter(label for row in rows for label in _labels(row))
        return {label: counts[label] for label in (schema.labels if schema else sorted(counts))}

    def targets(self, rows: Sequence[Example], schema: Schema) -> Array:
        place = {label: i for i, label in enumerate(schema.labels)}
        if schema.multi_label:
            hot = np.zeros((len(rows), len(place)), np.float32)
            for i, row in enumerate(rows):
                hot[i, [place[label] for label in _labels(row)]] = 1
            return hot
        return np.array([place[_labels(row)[0]] for row in rows], np.int64)

    def head(self, schema: Schema) -> Head:
        names = schema.labels
        skill: Skill = "pair" if "pair" in self.needs else "pool"
        return Head(skill, len(names), labels=names, several=schema.multi_label)

    def question(self, row: Example) -> tuple[str, str]:
        return _prompts.question(self.settings.prompt, {n: getattr(row, n) for n in row.inputs})

    def replies(self, schema: Schema) -> tuple[str, ...]:
        """Return the labels' words.

        Raises:
            SettingError: words are given for labels that there are not, or one is empty.
        """
        words = self.settings.words
        for label, word in words.items():
            if label not in schema.labels:
                raise SettingError(
                    f'task.words: no label "{label}"; {nearest(label, schema.labels)}'
                )
            if not word.strip():
                raise SettingError(f'task.words: the word of "{label}" is empty; give one')
        prompt = self.settings.prompt
        return tuple(_prompts.spoken(prompt, words.get(name, name)) for name in schema.labels)

    def class_weights(self, targets: Array, schema: Schema) -> Array | None:
        if self.settings.class_weights == "none":
            return None
        n = len(schema.labels)
        if schema.multi_label:
            yes = targets.sum(0)
            weights: Array = np.maximum(len(targets) - yes, 1) / np.maximum(yes, 1)
        else:
            rows = np.bincount(targets, minlength=n)  # a label of no row changes no other's weight
            weights = len(targets) / (np.count_nonzero(rows) * np.maximum(rows, 1))
        return weights.astype(np.float32)

    def loss(self, scores: Any, targets: Any, weights: Any) -> Any:
        from torch.nn import functional

        if targets.ndim == 2:
            return functional.binary_cross_entropy_with_logits(
                scores, targets, pos_weight=weights, reduction="sum"
            )
        return functional.cross_entropy(scores, targets, weight=weights, reduction="sum")

    def probabilities(self, scores: Array, schema: Schema) -> Array:
        scores = scores.astype(np.float64)
        if schema.multi_label:
            sigmoid: Array = 1 / (1 + np.exp(-scores.clip(-700, 700)))
            return sigmoid
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        softmax: Array = powers / powers.sum(axis=1, keepdims=True)
        return softmax

    def decide(self, probabilities: Array, schema: Schema) -> Array:
        if schema.multi_label:
            yes: Array = probabilities >= schema.threshold
            return yes
        best: Array = probabilities.argmax(axis=1)
        return best

    def judge(self, gold: Array | None, measured: Array, schema: Schema) -> Judged:
        """Put gold answers and probabilities side by side.

        Raises:
            DataError: there are no gold answers.
        """
        if gold is None:
            raise DataError("rows that are scored need labels")
        gold = gold > 0.5 if schema.multi_label else gold
        return Scored(gold, self.decide(measured, schema), measured, schema.labels)

    def loss_of(self, gold: Array | None, measured: Array, schema: Schema) -> float:
        """Return the mean log loss: a row's -ln p, or its sum over labels when multi-label."""
        if gold is None or not len(gold):
            return 0.0
        if gold.ndim == 2:
            right = np.where(gold > 0.5, measured, 1 - measured)
            return float(-np.log(right.clip(1e-12)).sum(axis=1).mean())
        return float(-np.log(measured[np.arange(len(gold)), gold].clip(1e-12)).mean())

    def records(
        self, gold: Array | None, measured: Array, schema: Schema
    ) -> Iterator[dict[str, Any]]:
        judged: Any = self.judge(gold, measured, schema)
        for i, shares in enumerate(measured):
            yield {
                "gold": _named(judged.gold[i], schema),
                "predicted": _named(judged.predicted[i], schema),
                "probabilities": _shares(shares, schema),
            }

    def fields(self, schema: Schema) -> tuple[str, ...]:
        one = ("labels",) if schema.multi_label else ("label", "probability")
        return (*one, *(f"p_{label}" for label in schema.labels))

    def answer(self, probabilities: Array, schema: Schema) -> dict[str, Any]:
        shares = _shares(probabilities, schema)
        decided = _named(self.decide(probabilities[None], schema)[0], schema)
        if schema.multi_label:
            return {"labels": decided, "probabilities": shares}
        return {"label": decided, "probability": shares[decided], "probabilities": shares}


def _named(decided: Array, schema: Schema) -> Any:
    """Return an answer as the user names it: a label, or a list of labels."""
    if schema.multi_label:
        return [label for label, yes in zip(schema.labels, decided, strict=True) if yes]
    return schema.labels[int(decided)]


def _shares(probabilities: Array, schema: Schema) -> dict[str, float]:
    """Return the probability of each label, by name."""
    return {
        label: round(float(share), 6)
        for label, share in zip(schema.labels, probabilities, strict=True)
    }


def _labels(row: Example) -> tuple[str, ...]:
    label = getattr(row, "label", None)
    if label is None:
        return ()
    return label if isinstance(label, tuple) else (label,)
