"""One label for a text out of a fixed list; or, with `multi_label`, any number of them.

Single label: softmax and cross-entropy. Multi-label: a sigmoid a label, binary cross-entropy,
and a label counts from `threshold` on. Class weights "balanced" are rows / (labels * rows of
the label), as in scikit-learn; they multiply a row's loss, and the probabilities are then those
of balanced classes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from mulgil import settings
from mulgil.contracts import LabelTask
from mulgil.errors import DataError, nearest
from mulgil.examples import Example, TextExample
from mulgil.flow import Array, Head, Judged, Schema, Scored, Skill


class ClassificationSettings(settings.Settings):
    """Settings of document classification."""

    labels: list[str] | None = None
    """Label names in the order wanted; by default those of the training rows, sorted."""
    multi_label: bool = False
    """A row may have any number of labels."""
    threshold: float = pydantic.Field(0.5, gt=0, lt=1)
    """Multi-label: probability from which a label is given."""
    class_weights: Literal["none", "balanced"] = "none"
    """"balanced" makes rare labels count as much as frequent ones."""

    @pydantic.field_validator("labels")
    @classmethod
    def _distinct(cls, names: list[str] | None) -> list[str] | None:
        if names is None:
            return None
        clean = [unicodedata.normalize("NFC", name.strip()) for name in names]
        if not clean or not all(clean) or len(set(clean)) < len(clean):
            raise ValueError("must name each label once, and at least one")
        return clean


class Classification(LabelTask):
    """Document classification."""

    Settings: ClassVar[type[settings.Settings]] = ClassificationSettings
    shape: ClassVar[str] = "text"
    needs: ClassVar[frozenset[Skill]] = frozenset({"pool"})
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro-f1", "ece", "per-class", "confusion")

    def schema(self, train: Sequence[Example]) -> Schema:
        """Read the labels.

        Raises:
            DataError: fewer than two labels, or rows with several labels without `multi_label`.
        """
        chosen: ClassificationSettings = self.settings
        seen: dict[str, str] = {}
        for row in train:
            for label in _labels(row):
                seen.setdefault(label, row.id)
        if not chosen.multi_label:
            several = [row.id for row in train if isinstance(getattr(row, "label", None), tuple)]
            if several:
                raise DataError(
                    f"{several[0]}: has several labels; set task.multi_label = true"
                    f" ({len(several):,} such rows)"
                )
        names = tuple(chosen.labels) if chosen.labels else tuple(sorted(seen))
        unknown = [label for label in seen if label not in names]
        if unknown:
            raise DataError(
                f'{seen[unknown[0]]}: label "{unknown[0]}" is not in task.labels;'
                f" {nearest(unknown[0], names)}"
            )
        if len(names) < (1 if chosen.multi_label else 2):
            raise DataError(
                f"data: classification needs two labels or more; found {', '.join(names) or 'none'}"
            )
        return Schema(self.shape, names, chosen.multi_label, chosen.threshold)

    def problem(self, row: Example, schema: Schema) -> str | None:
        unknown = [label for label in _labels(row) if label not in schema.labels]
        if unknown:
            return f'label "{unknown[0]}" does not occur in training'
        if not schema.multi_label and len(_labels(row)) != 1:
            return "no label" if not _labels(row) else "several labels"
        return None

    def text(self, row: Example) -> str:
        return _text(row).text

    def targets(self, rows: Sequence[Example], schema: Schema) -> Array:
        place = {label: i for i, label in enumerate(schema.labels)}
        if schema.multi_label:
            hot = np.zeros((len(rows), len(place)), np.float32)
            for i, row in enumerate(rows):
                hot[i, [place[label] for label in _labels(row)]] = 1
            return hot
        return np.array([place[_labels(row)[0]] for row in rows], np.int64)

    def head(self, schema: Schema) -> Head:
        return Head("pool", len(schema.labels))

    def class_weights(self, targets: Array, schema: Schema) -> Array | None:
        if self.settings.class_weights == "none":
            return None
        n = len(schema.labels)
        rows = targets.sum(0) if schema.multi_label else np.bincount(targets, minlength=n)
        weights: Array = (len(targets) / (n * np.maximum(rows, 1))).astype(np.float32)
        return weights

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

    def loss_of(self, gold: Array | None, measured: Array) -> float:
        """Return the mean log loss: a row's -ln p, or its sum over labels when multi-label."""
        if gold is None or not len(gold):
            return 0.0
        if gold.ndim == 2:
            right = np.where(gold > 0.5, measured, 1 - measured)
            return float(-np.log(right.clip(1e-12)).sum(axis=1).mean())
        return float(-np.log(measured[np.arange(len(gold)), gold].clip(1e-12)).mean())

    def answer(self, probabilities: Array, schema: Schema) -> dict[str, Any]:
        shares = {
            label: round(float(p), 6) for label, p in zip(schema.labels, probabilities, strict=True)
        }
        decided = self.decide(probabilities[None], schema)[0]
        if schema.multi_label:
            given = [label for label, yes in zip(schema.labels, decided, strict=True) if yes]
            return {"labels": given, "probabilities": shares}
        return {
            "label": schema.labels[decided],
            "probability": shares[schema.labels[decided]],
            "probabilities": shares,
        }


def _text(row: Example) -> TextExample:
    if not isinstance(row, TextExample):
        raise DataError(f"{row.id}: classification reads rows of shape text, not {row.shape}")
    return row


def _labels(row: Example) -> tuple[str, ...]:
    label = _text(row).label
    if label is None:
        return ()
    return label if isinstance(label, tuple) else (label,)
