"""Names in a text: which characters are a person, a place, an organisation, a date.

Chosen: every character that is no white space gets a tag (O, B-X, I-X), so that a particle that the
tokenizer left on a name stays outside it; the best sequence of tags that is whole gives the
entities, each with its probability (`_chain`). Offsets are those of the user's own text. It costs
one set of scores for each of a token's first characters (`PLACES`).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pydantic

from mulgil import hangul, settings
from mulgil.errors import DataError, nearest
from mulgil.examples import EntitiesExample, Example, Span
from mulgil.flow import UNASKED, Array, Asker, Head, Located, Marked, Schema, Skill
from mulgil.judged import Judged, Tagged
from mulgil.objectives import SpanTask, Window
from mulgil.tasks import _chain, _spans
from mulgil.tasks._labelled import distinct


class NerSettings(settings.Settings):
    """Settings of named-entity recognition."""

    labels: list[str] | None = None
    """Kinds of entities in the order wanted; by default those of the training rows, sorted."""
    stride: int = pydantic.Field(_spans.STRIDE, ge=0, le=4096)
    """Tokens that two windows of a long text share; half of a window at most."""
    characters: bool = False
    """`mulgil predict`: give the probability of every tag at every character too."""

    @pydantic.field_validator("labels")
    @classmethod
    def _distinct(cls, names: list[str] | None) -> list[str] | None:
        return distinct(names)


class Ner(SpanTask):
    """Named-entity recognition."""

    Settings: ClassVar[type[settings.Settings]] = NerSettings
    shape: ClassVar[str] = "entities"
    needs: ClassVar[frozenset[Skill]] = frozenset({"tokens"})
    metrics: ClassVar[tuple[str, ...]] = ("entity-f1", "character-f1", "per-entity")

    @property
    def stride(self) -> int:
        return int(self.settings.stride)

    def schema(self, train: Sequence[Example]) -> Schema:
        """Read the kinds of entities; the schema's labels are the tags of characters.

        Raises:
            DataError: no row has an entity, or one is of a kind that `task.labels` lacks.
        """
        seen: dict[str, str] = {}
        for row in train:
            for span in _row(row).entities or ():
                seen.setdefault(span.label, row.id)
        kinds = self.settings.labels or sorted(seen)
        unknown = [kind for kind in seen if kind not in kinds]
        if unknown:
            raise DataError(
                f'{seen[unknown[0]]}: entity "{unknown[0]}" is not in task.labels;'
                f" {nearest(unknown[0], kinds)}"
            )
        if not kinds:
            raise DataError("data: no training row has an entity; ner needs one kind or more")
        return Schema(self.shape, ("O", *(f"{b}-{kind}" for kind in kinds for b in "BI")))

    def problem(self, row: Example, schema: Schema) -> str | None:
        spans = _row(row).entities
        if spans is None:
            return "no entities"
        for span in spans:
            if f"B-{span.label}" not in schema.labels:
                return f'entity "{span.label}" does not occur in training'
        if any(a.end > b.start for a, b in itertools.pairwise(spans)):
            return "its entities overlap, or are not in order"
        return _spans.fault(_row(row).text, spans)

    def tally(self, rows: Sequence[Example], schema: Schema | None) -> dict[str, int]:
        counts = Counter(span.label for row in rows for span in _row(row).entities or ())
        kinds = _kinds(schema) if schema else sorted(counts)
        return {kind: counts[kind] for kind in kinds}

    def text(self, row: Example) -> str:
        return _row(row).text

    def gold(self, rows: Sequence[Example], schema: Schema) -> list[Marked]:
        return [_spans.marked(_row(row).text, _row(row).entities or ()) for row in rows]

    def head(self, schema: Schema) -> Head:
        return Head("tokens", len(schema.labels), places=_spans.PLACES)

    def asker(self, encoded: Any, gold: Sequence[Marked], schema: Schema) -> Asker:
        tags = [_tags(each, schema) for each in gold]

        def ask(inputs: Located, rows: Array, draw: Sequence[int] | None) -> Located:
            targets = []
            for row in rows.tolist():
                units = encoded.units(row)
                found = tags[encoded.owners[row]][units]
                found[0] = UNASKED  # the token that begins the window
                targets.append(found)
            return dataclasses.replace(inputs, targets=np.concatenate(targets))

        return ask

    def loss(self, scores: Any, inputs: Any) -> Any:
        import torch

        targets = torch.from_numpy(inputs.targets).to(scores.device)
        return torch.nn.functional.cross_entropy(
            scores, targets, ignore_index=UNASKED, reduction="sum"
        )

    def judge(self, gold: Any, measured: Any, schema: Schema) -> Judged:
        """Put gold entities and found ones side by side.

        Raises:
            DataError: there are no gold entities.
        """
        if gold is None:
            raise DataError("rows that are scored need entities")
        found = tuple(tuple(span for span, _ in _found(each, schema)) for each in measured)
        sizes = np.array([len(each.text) for each in gold], np.int64)
        return Tagged(tuple(each.spans for each in gold), found, sizes, _kinds(schema))

    def loss_of(self, gold: Any, measured: Any, schema: Schema) -> float:
        """Return the mean of -ln p over characters."""
        total, count = 0.0, 0
        for each, windows in zip(gold or (), measured, strict=False):
            characters, scores = _spans.merged(windows)
            tags = _tags(each, schema)[characters]
            total -= float(_spans.log_softmax(scores)[np.arange(len(tags)), tags].sum())
            count += len(tags)
        return total / count if count else 0.0

    def records(self, gold: Any, measured: Any, schema: Schema) -> Iterator[dict[str, Any]]:
        for each, windows in zip(gold, measured, strict=True):
            yield {
                "gold": [_shown(each.text, span) for span in each.spans],
                "predicted": [
                    {**_shown(each.text, span), "probability": round(share, 6)}
                    for span, share in _found(windows, schema)
                ],
            }

    def fields(self, schema: Schema) -> tuple[str, ...]:
        return ("entities", *(["characters"] if self.settings.characters else []))

    def answer(self, windows: Sequence[Window], row: Example, schema: Schema) -> dict[str, Any]:
        text = _row(row).text
        spans = hangul.offsets(text)
        found = []
        for span, share in _found(windows, schema):
            start, end = hangul.to_user((span.start, span.end), spans)
            own = _shown(text, Span(start, end, span.label))
            found.append({**own, "probability": round(share, 6)})
        if not self.settings.characters:
            return {"entities": found}
        characters, scores = _spans.merged(windows)
        shares = np.exp(_spans.log_softmax(scores))
        return {
            "entities": found,
            "characters": _spans.spelt(text, characters, shares, schema.labels),
        }


def _row(row: Example) -> EntitiesExample:
    if not isinstance(row, EntitiesExample):
        raise DataError(f"{row.id}: ner reads rows of shape entities, not {row.shape}")
    return row


def _kinds(schema: Schema) -> tuple[str, ...]:
    return tuple(tag[2:] for tag in schema.labels if tag.startswith("B-"))


def _tags(marked: Marked, schema: Schema) -> Array:
    """Return the number of each character's tag, int64."""
    numbers = {tag: i for i, tag in enumerate(schema.labels)}
    found = np.full(max(len(marked.text), 1), numbers["O"], np.int64)
    for span in marked.spans:
        found[span.start : span.end] = numbers[f"I-{span.label}"]
        found[span.start] = numbers[f"B-{span.label}"]
    return found


def _found(windows: Sequence[Window], schema: Schema) -> list[tuple[Span, float]]:
    """Return the entities of a text in NFC, each with its probability."""
    characters, scores = _spans.merged(windows)
    chain = _chain.entities(_spans.log_softmax(scores), schema.labels)
    return [
        (Span(int(characters[start]), int(characters[end - 1]) + 1, kind), share)
        for start, end, kind, share in chain
    ]


def _shown(text: str, span: Span) -> dict[str, Any]:
    return {
        "text": text[span.start : span.end],
        "label": span.label,
        "start": span.start,
        "end": span.end,
    }
