"""What each step promises to the next: the contracts of the seven wings.

    Dataset.read -> Parts -> (splits) -> Task / Tokenizer.encode -> Encoded -> Batch
    Model.build  -> Network          -> Method.learner -> Learner -> Engine.fit -> Outcome

Chosen: abstract base classes, so that a plug-in that forgets a method fails when it is made, not in
the middle of a run; and only numpy arrays between rooms, so that whoever answers with scikit-learn
never imports torch. It costs one copy of the scores a batch.

What may be combined is data that `refusal` reads: `task.needs <= model.skills`, `model.kind in
method.works_on`, `dataset.shape == task.shape`, `task.needs <= method.serves`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import pydantic

from mulgil.errors import ModelError
from mulgil.flow import (
    Array,
    Batch,
    Frame,
    Head,
    Kind,
    Outcome,
    Parts,
    Segment,
    Skill,
    Source,
    Template,
    Text,
)
from mulgil.networks import Learner, Network
from mulgil.objectives import Lesson, Task
from mulgil.settings import Settings

# ---------------------------------------------------------------- step 2: data


class DataSettings(Settings):
    """Settings that every data set has."""

    train_rows: int | None = pydantic.Field(None, ge=1, lt=1 << 40)
    """Use only so many training rows (drawn once with `seed`, stratified); the others go unused."""
    test_rows: int | None = pydantic.Field(None, ge=1, lt=1 << 40)
    """Use only so many test rows (drawn once with `seed`, stratified)."""
    valid_share: float = pydantic.Field(0.1, ge=0, lt=1)
    """Share of the training rows cut off for validation when the data has no validation part."""
    test_share: float = pydantic.Field(0.1, ge=0, lt=1)
    """Share of all rows cut off for the test when the data has no test part."""
    max_rejected: float = pydantic.Field(0.05, ge=0, le=1)
    """Refuse to go on when a larger share of the rows cannot be used."""
    seed: int = pydantic.Field(7, ge=0, lt=1 << 31)
    """Seed of every draw and cut of step 2; kept apart from the trainer's, so that splits stay."""


class Dataset(ABC):
    """A data set: where its files are, what it may be used for, and how rows come out of it."""

    Settings: ClassVar[type[DataSettings]] = DataSettings
    title: ClassVar[str] = ""
    shape: ClassVar[str] = "text"
    """Shape of its rows, or "any" when it can give whatever the task asks for."""
    licence: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    sources: ClassVar[tuple[Source, ...]] = ()

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.asked = self.shape
        """The shape that the task asks for; a data set of the shape "any" gives its rows so."""

    @abstractmethod
    def read(self, files: Mapping[str, Path]) -> Parts:
        """Return the rows; `files` gives a checked local file for the `path` of each source."""

    def files(self) -> tuple[Path, ...]:
        """Return the user's own files that the rows depend on, for the record of the run."""
        return ()


# ---------------------------------------------------------------- steps 3 to 5


class Encoded(Protocol):
    """A split after step 4: rows that can be taken in any order.

    Attributes:
        lengths: int64 [rows], the length of each row in the tokenizer's unit, after truncation.
        truncated: how many rows were longer than the limit.
        unknown: share of tokens that the vocabulary does not know, 0 to 1.
        width: what a batch costs: its rows times the "longest", the "sum" of its lengths (its
            rows are packed), or "none" where length is nothing to the model.
        owners: int64 [rows], the text that each row is a part of; None when a text is a row.
        texts: how many texts the rows were made of.
    """

    lengths: Array
    truncated: int
    unknown: float
    width: Literal["longest", "sum", "none"]
    owners: Array | None
    texts: int

    def take(self, rows: Array, multiple: int) -> Any:
        """Return the network's inputs for these row numbers, lengths rounded up to a multiple."""

    def arrays(self) -> dict[str, Array] | None:
        """Return what `Tokenizer.revive` makes the rows of again; None is not worth keeping."""

    def __len__(self) -> int: ...


class Tokenizer(ABC):
    """From text to what a network reads, with a way back to the user's own characters."""

    Settings: ClassVar[type[Settings]] = Settings
    notes: tuple[str, ...] = ()
    """What the user should know of this tokenizer, one sentence each."""

    @classmethod
    @abstractmethod
    def make(cls, settings: Any, source: Path | None, texts: Iterable[str], seed: int) -> Tokenizer:
        """Open the tokenizer of a pretrained model's folder, or make one from training texts."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Open what `save` wrote."""

    @abstractmethod
    def encode(self, texts: Sequence[Text]) -> Encoded:
        """Encode a row's text, or its two; what looks like a special token is plain text."""

    def located(self, texts: Sequence[Text], stride: int) -> Encoded:
        """Encode texts whose characters are scored, cut into windows.

        Args:
            texts: the second of two is what is scored, the first one stands before each window.
            stride: tokens that a window shares with the one before it.

        Returns:
            Windows; `take` gives `Located`, `owners` is set, `units(window)` gives the character
            in the text (in NFC) of each unit.
        """
        raise NotImplementedError(type(self).__name__)

    def written(
        self, rows: Sequence[tuple[str, str | None]], prompt: tuple[str, str], two: bool, most: int
    ) -> Encoded:
        """Encode texts from which another text is to be written; see `Blanks`.

        Args:
            rows: (text, target), None where the target is not known.
            prompt: what stands before the text, and what behind it; never cut.
            two: whether the model has a part that reads and a part that writes.
            most: tokens of a target at most, its end included.

        Returns:
            Rows; `prompts` has the ids that each begins with.
        """
        raise NotImplementedError(type(self).__name__)

    def segment(self, text: str) -> Segment:
        """Return a part of a prompt, without any special token; parts are put together by `+`."""
        raise NotImplementedError(type(self).__name__)

    def opening(self) -> Segment:
        """Return what every prompt begins with."""
        raise NotImplementedError(type(self).__name__)

    def around(self, texts: int) -> Template:
        """Return the special tokens around one text, or two; ModelError if none parts the two."""
        raise NotImplementedError(type(self).__name__)

    def asked(self, texts: Sequence[tuple[str, str]]) -> Encoded:
        """Encode the questions of prompts.

        Args:
            texts: (the user's text in its place, what stands behind it); a text that is too long is
                cut at its end and counted, what stands behind it never is.

        Returns:
            Rows; `take` gives a list of segments, `segments` has all of them.
        """
        raise NotImplementedError(type(self).__name__)

    def windows(self, texts: Iterable[Sequence[str]], frame: Frame) -> Iterator[dict[str, Array]]:
        """Encode whole texts, in chunks of them, each text cut into windows; see `Frame`.

        Yields:
            For each chunk the arrays of its windows, to be joined; `framed` makes rows of them.
        """
        raise NotImplementedError(type(self).__name__)

    def framed(self, arrays: Mapping[str, Array]) -> Encoded:
        """Return the rows that `windows` gave, joined; none is truncated, `owners` is set."""
        raise NotImplementedError(type(self).__name__)

    def revive(self, arrays: dict[str, Array]) -> Encoded:
        """Return the rows that `Encoded.arrays` was taken of."""
        raise NotImplementedError(type(self).__name__)

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of everything that decides the encoding: vocabulary, rules, settings."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into the run's `model/` folder."""


class Model(ABC):
    """A family of models: opens a checkpoint or makes a fresh one, and builds networks from it."""

    Settings: ClassVar[type[Settings]] = Settings
    kind: ClassVar[Kind]
    skills: ClassVar[frozenset[Skill]]
    tokenizer: ClassVar[str]
    """Name of the tokenizer that is used when the recipe names none."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @abstractmethod
    def source(self) -> Path | None:
        """Return the local folder of the pretrained checkpoint, or None for a fresh model."""

    def longest(self) -> int | None:
        """Return the longest row that the model can read, in tokens; None knows no limit."""
        return None

    def rate(self, needs: frozenset[Skill]) -> float:
        """Return the peak learning rate for such a task where the recipe names none."""
        return 5e-5

    @abstractmethod
    def build(self, tokenizer: Any, head: Head, precision: str, device: str, seed: int) -> Network:
        """Return a network with a new head; precision ("fp32", "bf16") and device are resolved."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        """Open what `Network.save` wrote."""


# ---------------------------------------------------------------- step 6: task x method


class Method(ABC):
    """How much of the model moves."""

    Settings: ClassVar[type[Settings]] = Settings
    works_on: ClassVar[frozenset[Kind]]
    serves: ClassVar[frozenset[Skill] | None] = None
    """Skills that a task may need of it; None serves every task."""
    pooling: ClassVar[Literal["own", "mean"]] = "own"
    stands: ClassVar[bool] = False
    """Whether its runs keep only what it adds to a pretrained model, which they need to answer."""
    prompts: ClassVar[bool] = False
    """Whether rows are asked as questions of a prompt, with nothing learnt."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @classmethod
    def asks(cls, needs: frozenset[Skill]) -> frozenset[Skill]:
        """Return the skills that a model must have where a task needs these."""
        return needs

    def head(self, head: Head) -> Head:
        """Return the head that a network is built with where a task asks for this one."""
        return dataclasses.replace(head, pooling=self.pooling)

    def opened(
        self, model: Model, tokenizer: Any, head: Head, folder: Path, precision: str, device: str
    ) -> Network:
        """Open the network that a run of this method has saved in `folder`.

        Args:
            model: of the run's recipe.
            tokenizer: of the run.
            head: what the task asks for.
            folder: the run's `model/`.
            precision: "fp32" or "bf16".
            device: "cpu" or "cuda".
        """
        return model.load(folder, head, precision, device)

    def merged(self, model: Model, tokenizer: Any, head: Head, folder: Path) -> Network:
        """Open a run, for an export, as a network that stands by itself: fp32, on the CPU.

        The arguments are those of `opened`; until it has answered it can be saved.

        Raises:
            ModelError: what the run keeps cannot stand by itself.
        """
        if self.stands:
            raise ModelError(
                f"{folder.parent}: nothing of its model was changed, so there is nothing to export:"
                " take the model itself, and ask it with the run's prompt"
            )
        return model.load(folder, head, "fp32", "cpu")

    @property
    def places(self) -> int:
        """Return how many of a model's positions are taken from a text."""
        return 0

    def keep(self, model: Model, network: Network, folder: Path, labels: Sequence[str]) -> None:
        """Write into a run's `model/` what `opened` opens; `labels` in the order of the scores."""
        network.save(folder, labels)

    @abstractmethod
    def learner(self, network: Network, lesson: Lesson) -> Learner:
        """Return a learner around the network; what is kept and scored is its `network`."""


# ---------------------------------------------------------------- step 7: engine


class Loader(Protocol):
    """Batches of a split, in an order that is a function of (seed, epoch) alone."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from position `start` on."""

    def batches(self, epoch: int) -> int:
        """Return how many batches the epoch has."""

    def in_order(self) -> Iterator[Batch]:
        """Yield every row once, in batches good for evaluation; `Batch.rows` says which."""

    def __len__(self) -> int:
        """Return the number of rows."""


class Engine(ABC):
    """Where the steps run: this machine, several, a cluster."""

    @abstractmethod
    def fit(
        self, learner: Learner, loaders: Any, trainer: Any, run: Any, metric: tuple[str, bool]
    ) -> Outcome:
        """Teach the learner from `loaders`, writing journal and checkpoints into `run`.

        Args:
            learner: what learns.
            loaders: `train`, `valid` (batches) and `look` (scores the validation rows, or None).
            trainer: the recipe's trainer settings.
            run: the run folder.
            metric: the validation figure that picks the best weights, and whether higher is better.
        """


# ---------------------------------------------------------------- what goes together


def refusal(
    dataset: type[Dataset] | Dataset,
    model: type[Model] | Model,
    task: type[Task] | Task,
    method: type[Method] | Method,
    names: dict[str, str],
) -> str | None:
    """Return why these four, or those of these classes, cannot be combined, or None.

    `names` says how the user wrote them: `{"data": ..., "model": ..., "task": ..., "method": ...}`.
    """
    if dataset.shape not in {task.shape, "any"}:
        return (
            f'task "{names["task"]}" reads rows of shape "{task.shape}",'
            f' but data "{names["data"]}" gives "{dataset.shape}"'
        )
    missing = method.asks(task.needs) - model.skills
    if missing:
        return (
            f'task "{names["task"]}" needs a model with the skill {", ".join(sorted(missing))};'
            f' "{names["model"]}" has {", ".join(sorted(model.skills))}'
        )
    if model.kind not in method.works_on:
        return (
            f'method "{names["method"]}" works on {", ".join(sorted(method.works_on))} models;'
            f' "{names["model"]}" is of kind {model.kind}'
        )
    if method.serves is not None and not task.needs <= method.serves:
        return (
            f'method "{names["method"]}" serves tasks that need the skill'
            f' {", ".join(sorted(method.serves))}; task "{names["task"]}" needs'
            f" {', '.join(sorted(task.needs))}"
        )
    return None
