"""Row shapes: what one row of data is, for each shape that a data set has and a task asks for.

Chosen: frozen dataclasses with slots, one a shape; a field carries the column names by which
people usually call it, so that `files` can guess a mapping and show it. A shape of one's own is
a dataclass more. It costs about 200 bytes a row over a bare tuple: 150,000 reviews take 60 MB
with their text.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar


def _names(*groups: str) -> dict[str, tuple[str, ...]]:
    """Return a field's metadata: the column names by which people usually call it."""
    return {"columns": tuple(name for group in groups for name in group.split())}


_TEXT = (
    "text document review sentence content comment utterance body",
    "본문 내용 리뷰 문장 댓글 후기 텍스트",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A row of any shape.

    Attributes:
        id: where the row came from, for people: `train.csv:17`, or the id that the data set gives.
    """

    shape: ClassVar[str] = ""

    id: str


@dataclasses.dataclass(frozen=True, slots=True)
class TextExample(Example):
    """A text and, where it is known, its label (one name; a tuple of names when multi-label)."""

    shape: ClassVar[str] = "text"

    text: str = dataclasses.field(metadata=_names(*_TEXT))
    label: str | tuple[str, ...] | None = dataclasses.field(
        default=None,
        metadata=_names(
            "label labels category class sentiment target topic rating score",
            "라벨 레이블 분류 감정 감성 카테고리 정답 평가 평점 별점 점수",
        ),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class PassageExample(Example):
    """A text by itself, with no label: what a language model learns from."""

    shape: ClassVar[str] = "passage"

    text: str = dataclasses.field(metadata=_names(*_TEXT))


SHAPES: dict[str, type[Example]] = {shape.shape: shape for shape in (TextExample, PassageExample)}
"""Every row shape by name."""


def columns(shape: type[Example]) -> dict[str, tuple[str, ...]]:
    """Return `{field: usual column names}` of a shape, `id` left out."""
    return {
        field.name: tuple(field.metadata["columns"])
        for field in dataclasses.fields(shape)
        if "columns" in field.metadata
    }


def as_dict(example: Example) -> dict[str, Any]:
    """Return the row as a plain dictionary, in field order, for JSON."""
    return {field.name: getattr(example, field.name) for field in dataclasses.fields(example)}
