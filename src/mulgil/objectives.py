"""Tasks and metrics: what is asked of a text, and how good the answers are.

    Task -> LabelTask: scores a row          Judged -> Metric: figures of many rows
         -> SpanTask: scores its characters         -> RowMetric: each row adds its part
         -> LanguageTask: hides its tokens
         -> WritingTask: wants another text

Chosen: a task decides what is right and what a network's scores mean, and knows no network; what
it measures is judged later, so that a stored measurement can be judged again. A metric whose
figures follow from a sum over rows says so (`RowMetric`): its interval then costs a thousand sums
instead of a thousand evaluations. It costs a second way to write a metric.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from mulgil.examples import Example
from mulgil.flow import Array, Asker, Frame, Head, Marked, Sampling, Schema, Skill, Text
from mulgil.judged import Judged
from mulgil.networks import LanguageNetwork
from mulgil.settings import Settings

Window = tuple[Array, Array]
"""Of one window of a text: its characters int64 [U], their numbers in the text in NFC, -1 for the
token that begins the window, and their scores float32 [U, outputs]."""


class Metric(ABC):
    """A number, or several, that says how good answers are."""

    higher_is_better: ClassVar[bool] = True
    single: ClassVar[bool] = True
    """Whether it is one figure, which can pick the best weights, and not a table of them."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages beyond the plain installation that it needs: keys of `extras.EXTRAS`."""
    intervals: ClassVar[bool] = True
    """Whether its figures get an interval; the counts of a table of all pairs of labels do not."""

    @abstractmethod
    def compute(self, scored: Any) -> dict[str, float]:
        """Return `{name: value}`; the first is the headline. Defined values for empty classes."""

    def drawn(self, scored: Any) -> Callable[[Array], dict[str, float]]:
        """Return what computes the figures of drawn rows: of their numbers, with repeats.

        A metric that is no sum over rows can do here once what every draw needs.
        """
        return lambda rows: self.compute(scored.take(rows))


class RowMetric(Metric):
    """A metric whose figures follow from a sum over rows."""

    @abstractmethod
    def rows(self, scored: Any) -> Array:
        """Return float64 [N, K], what each row adds."""

    @abstractmethod
    def figures(self, total: Array, count: int) -> dict[str, float]:
        """Return `{name: value}` of a sum over `count` rows, float64 [K]; defined for none."""

    def trials(self, total: Array, count: int) -> dict[str, float]:
        """Return of how many yes or no each figure is the share; {} where they are no shares.

        Where such a figure is 0 or 1 no resample differs, and the trials say how sure it is.
        """
        return {}

    def compute(self, scored: Any) -> dict[str, float]:
        return self.figures(self.rows(scored).sum(0), len(scored))


class Task(ABC):
    """What is asked of the text: what a network learns from a batch, answers, metrics.

    There are four sorts: a `LabelTask` scores a row against gold answers, a `SpanTask` scores
    each of its characters, a `LanguageTask` hides tokens of the row itself, and a `WritingTask`
    wants another text.
    """

    Settings: ClassVar[type[Settings]] = Settings
    shape: ClassVar[str]
    needs: ClassVar[frozenset[Skill]]
    metrics: ClassVar[tuple[str, ...]]
    """Metrics of an evaluation; the first decides early stopping and the best checkpoint."""
    apart: ClassVar[tuple[str, ...]] = ()
    """Fields that several rows may share: a cut keeps rows that share one on one side of it."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @property
    def looked(self) -> tuple[str, ...]:
        """Metrics of a look at the validation rows; the first picks the best weights."""
        return self.metrics

    @property
    def sampling(self) -> Sampling | None:
        """How a new text is written; None of a task that writes none."""
        return None

    @abstractmethod
    def schema(self, train: Sequence[Example]) -> Schema:
        """Read label names and their order from the training rows (or from the settings)."""

    @abstractmethod
    def problem(self, row: Example, schema: Schema) -> str | None:
        """Return why this row cannot be used for training or scoring, or None."""

    def tally(self, rows: Sequence[Example], schema: Schema | None) -> dict[str, int]:
        """Count what the rows are answered by, for the data check; {} where that says nothing.

        Args:
            rows: of one part.
            schema: whose labels are all named, those that never occur too; None knows none.
        """
        return {}

    @abstractmethod
    def text(self, row: Example) -> Text:
        """Return what the tokenizer shall see of the row, in the user's own characters."""

    @abstractmethod
    def head(self, schema: Schema) -> Head:
        """Return what the task asks of a network."""

    @abstractmethod
    def judge(self, gold: Any, measured: Any, schema: Schema) -> Judged:
        """Return what metrics read of gold answers and of what a network made of the rows."""

    @abstractmethod
    def loss_of(self, gold: Any, measured: Any, schema: Schema) -> float:
        """Return the mean loss of measured rows, in nats."""

    @abstractmethod
    def records(self, gold: Any, measured: Any, schema: Schema) -> Iterator[dict[str, Any]]:
        """Yield what predictions.jsonl keeps of each row beside its text."""

    @abstractmethod
    def fields(self, schema: Schema) -> tuple[str, ...]:
        """Return the columns of an answer in a table, in order."""


class LabelTask(Task):
    """Gold answers come with the rows, one set of scores answers a row."""

    @abstractmethod
    def targets(self, rows: Sequence[Example], schema: Schema) -> Array:
        """Return int64 [N], float32 [N, labels] when multi-label, float32 [N, 1] for ratings."""

    def question(self, row: Example) -> tuple[str, str]:
        """Return a row's question in a prompt: its text in its place, and what stands behind it."""
        raise NotImplementedError(type(self).__name__)

    def replies(self, schema: Schema) -> tuple[str, ...]:
        """Return what the labels are called behind a question, in their order."""
        raise NotImplementedError(type(self).__name__)

    @abstractmethod
    def class_weights(self, targets: Array, schema: Schema) -> Array | None:
        """Return float32 [labels], or None when every class counts alike."""

    @abstractmethod
    def loss(self, scores: Any, targets: Any, weights: Any) -> Any:
        """Return the SUM of the rows' losses as a torch scalar; the loop divides by the rows."""

    @abstractmethod
    def probabilities(self, scores: Array, schema: Schema) -> Array:
        """Return float64 [N, labels] from scores [N, labels]; a rating is itself."""

    @abstractmethod
    def answer(self, probabilities: Array, schema: Schema) -> dict[str, Any]:
        """Return what the user gets for one row: the answer and a probability for each choice."""


class SpanTask(Task):
    """Gold answers are spans of the row's text; each of its characters is scored.

    A text is cut into windows, and a window's characters are its units: the first unit stands for
    the token that begins the window, then comes every character that is no white space.
    """

    answering: ClassVar[frozenset[str]] = frozenset({"characters"})
    """Settings of how to answer: they shaped nothing that was trained, `predict` changes them."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Tokens that a window shares with the one before it."""

    @abstractmethod
    def gold(self, rows: Sequence[Example], schema: Schema) -> list[Marked]:
        """Return each row's text with its spans."""

    @abstractmethod
    def asker(self, encoded: Any, gold: Sequence[Marked], schema: Schema) -> Asker:
        """Return what puts the targets of a batch of windows into its `Located` inputs.

        Args:
            encoded: the windows; `owners` says which row each is of, `units(window)` which
                characters its units are.
            gold: what `gold` returned.
            schema: label names.
        """

    @abstractmethod
    def loss(self, scores: Any, inputs: Any) -> Any:
        """Return the sum of losses over targets that are asked for, a torch scalar.

        Args:
            scores: float32 [U, outputs] of all units of the batch, with gradients.
            inputs: the batch, `Located`.
        """

    @abstractmethod
    def answer(self, windows: Sequence[Window], row: Example, schema: Schema) -> dict[str, Any]:
        """Return what the user gets for one row, spans in the user's own characters."""


class LanguageTask(Task):
    """The text is its own answer: some of its tokens are asked for.

    What `evaluation` measures of a row is float64 [4]: nats, tokens, correct, bytes.
    """

    frame: ClassVar[Frame]
    answering: ClassVar[frozenset[str]]
    """Settings of how to answer: they shaped nothing that was trained, `predict` changes them."""

    @abstractmethod
    def asker(self, tokenizer: Any) -> Asker:
        """Return what makes blanks of a batch of windows."""

    @abstractmethod
    def respond(
        self, texts: Sequence[str], network: LanguageNetwork, tokenizer: Any
    ) -> list[dict[str, Any]]:
        """Answer people: an answer a text, `{"error": ...}` where there can be none."""

    def beginning(self, text: str, tokenizer: Any) -> list[int]:
        """Return the tokens that a text begins with; of a task with `sampling` alone."""
        raise NotImplementedError(type(self).__name__)


class WritingTask(Task):
    """Another text is to be written from the row's own; its likelihood is learnt."""

    answering: ClassVar[frozenset[str]]
    """Settings of how to write: they shaped nothing that was trained, `predict` changes them."""

    @property
    @abstractmethod
    def prompt(self) -> tuple[str, str]:
        """Return what stands before the text that is read, and what behind it."""

    @property
    @abstractmethod
    def sampling(self) -> Sampling:
        """Return how texts are written."""

    @abstractmethod
    def gold(self, rows: Sequence[Example], schema: Schema) -> list[str]:
        """Return each row's target."""

    @abstractmethod
    def answer(self, text: str, chance: float, tokens: int) -> dict[str, Any]:
        """Return what the user gets: what was written, its ln p, and how many tokens that is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Lesson:
    """What a learner is made for.

    Attributes:
        task: says what is learnt.
        trainer: the recipe's trainer settings.
        weights: float32 [labels] of the classes, or None when all count alike.
        schema: label names.
        tokenizer: of the run; with the rows, what prompts are made of.
        rows: of training.
        held: of the other parts, none of which may be shown in a prompt.
        limit: the longest prompt in tokens that the model reads; None knows no limit.
    """

    task: Task
    trainer: Any
    weights: Array | None = None
    schema: Schema | None = None
    tokenizer: Any = None
    rows: Sequence[Example] = ()
    held: Sequence[Example] = ()
    limit: int | None = None
