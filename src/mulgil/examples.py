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


_FIRST = (
    "first sentence1 premise question1 text1 source_sentence sentence_a",
    "문장1 전제 질문1 첫째",
)

_SECOND = (
    "second sentence2 hypothesis question2 text2 target_sentence sentence_b",
    "문장2 가설 질문2 둘째",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A row of any shape.

    Attributes:
        id: where the row came from, for people: `train.csv:17`, or the id that the data set gives.
    """

    shape: ClassVar[str] = ""
    inputs: ClassVar[tuple[str, ...]] = ("text",)
    """The fields that a model reads; the others are what it is asked for."""

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


@dataclasses.dataclass(frozen=True, slots=True)
class PairExample(Example):
    """Two texts and, where it is known, the label of what holds between them."""

    shape: ClassVar[str] = "pair"
    inputs: ClassVar[tuple[str, ...]] = ("first", "second")

    first: str = dataclasses.field(metadata=_names(*_FIRST))
    second: str = dataclasses.field(metadata=_names(*_SECOND))
    label: str | None = dataclasses.field(
        default=None,
        metadata=_names(
            "label gold_label labels relation class is_duplicate", "라벨 레이블 관계 정답"
        ),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class RatedPairExample(Example):
    """Two texts and, where it is known, how alike they are, as a number."""

    shape: ClassVar[str] = "rated-pair"
    inputs: ClassVar[tuple[str, ...]] = ("first", "second")

    first: str = dataclasses.field(metadata=_names(*_FIRST))
    second: str = dataclasses.field(metadata=_names(*_SECOND))
    rating: float | None = dataclasses.field(
        default=None,
        metadata=_names("rating score similarity label real-label", "평점 점수 유사도 라벨"),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text.

    Attributes:
        start: number of its first character in the user's own text.
        end: number of the character after its last.
        label: what it is; "" for an answer.
    """

    start: int
    end: int
    label: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class EntitiesExample(Example):
    """A text and, where they are known, its entities: spans that do not overlap, in order."""

    shape: ClassVar[str] = "entities"

    text: str = dataclasses.field(metadata=_names(*_TEXT))
    entities: tuple[Span, ...] | None = dataclasses.field(
        default=None, metadata=_names("entities spans tags ner_tags ner labels", "개체 개체명 태그")
    )


@dataclasses.dataclass(frozen=True, slots=True)
class QuestionExample(Example):
    """A question, a text, and, where they are known, the spans that answer it: () when none does.

    Several spans are answers of equal right; the first one is what is learnt.
    """

    shape: ClassVar[str] = "question"
    inputs: ClassVar[tuple[str, ...]] = ("question", "context")

    question: str = dataclasses.field(metadata=_names("question query", "질문 물음"))
    context: str = dataclasses.field(
        metadata=_names("context passage paragraph document text", "지문 본문 문서 문맥")
    )
    answers: tuple[Span, ...] | None = dataclasses.field(
        default=None, metadata=_names("answers answer", "답 정답 답변")
    )


@dataclasses.dataclass(frozen=True, slots=True)
class WritingExample(Example):
    """A text and, where it is known, the text that is to be written from it."""

    shape: ClassVar[str] = "writing"
    inputs: ClassVar[tuple[str, ...]] = ("source",)

    source: str = dataclasses.field(
        metadata=_names("source prompt input question document text content", "원문 질문 본문 입력")
    )
    target: str | None = dataclasses.field(
        default=None,
        metadata=_names(
            "target output answer summary title translation response reply",
            "목표 답변 요약 제목 번역 출력",
        ),
    )


SHAPES: dict[str, type[Example]] = {
    shape.shape: shape
    for shape in (
        TextExample,
        PassageExample,
        PairExample,
        RatedPairExample,
        EntitiesExample,
        QuestionExample,
        WritingExample,
    )
}
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
