"""What passes between the steps: plain data, in the order in which it flows down the house.

    Source -> Parts -> Batch, Blanks -> Head, Schema -> Scored, Likelihood -> Outcome

Chosen: frozen dataclasses of names and numpy arrays, so that a room can be tested with values made
by hand, and whoever answers with scikit-learn never imports torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from mulgil.examples import Example, Span

Kind = Literal["encoder", "decoder", "seq2seq", "classic", "features", "nli", "endpoint"]
"""What a model is: which way its text flows, a network of the house that is taught as a whole, that
it only makes features, that it only judges what follows from a text, or that it is served."""

Skill = Literal[
    "pool", "pair", "rate", "tokens", "fill", "score", "both", "relate", "write", "choose"
]
"""What a model can do: one vector a text, or one of two texts; a number instead of a label; one
vector a token; the likelihood of a token that is hidden, of a text, or of a text from both sides;
which words stand near which; a new text from another; which of a few words goes on best, with
nothing learnt."""

Frame = Literal["sentence", "document"]
"""Where the special tokens of a window stand: "sentence" gives each window a beginning and an
end; "document" gives each a beginning, and an end to the last window of a text alone."""

Array = np.ndarray[Any, Any]
"""A numpy array; shapes are given where it is used."""

Segment = list[int] | str
"""A part of a prompt: token ids, or the text itself where the model is served elsewhere."""

Text = str | tuple[str, str]
"""What a tokenizer sees of a row: a text, or two that belong together."""


def each_of(text: Text) -> tuple[str, ...]:
    """Return the one text, or the two."""
    return (text,) if isinstance(text, str) else text


@dataclasses.dataclass(frozen=True, slots=True)
class Template:
    """The special tokens around one text, or around two.

    Attributes:
        slots: ids before the first text, between (or after the only one), and after the second.
        slot_kinds: to which text the model counts each of them.
        kinds: to which text it counts the tokens of the texts.
    """

    slots: tuple[tuple[int, ...], ...]
    slot_kinds: tuple[tuple[int, ...], ...]
    kinds: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of special tokens."""
        return sum(map(len, self.slots))

    @property
    def split(self) -> bool:
        """Whether the model tells the texts apart by their kind."""
        return any(self.kinds) or any(map(any, self.slot_kinds))

    def row(self, *texts: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return ids and kinds of a row made of these texts' ids."""
        ids, kinds = [*self.slots[0]], [*self.slot_kinds[0]]
        for number, text in enumerate(texts):
            ids += [*text, *self.slots[number + 1]]
            kinds += [self.kinds[number]] * len(text)
            kinds += self.slot_kinds[number + 1]
        return ids, kinds


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A file that a data set is made of.

    Attributes:
        path: where it lies below the data folder (`MULGIL_DATA`, or the download cache); there it
            may also be gzipped, with `.gz` behind its name.
        url: https address to fetch it from when it is not there.
        sha256: hex digest of the uncompressed bytes; a file with another digest is refused.
        size: length of the uncompressed bytes, also the download's cap.
    """

    path: str
    url: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was not used, and why."""

    id: str
    reason: str


@dataclasses.dataclass(slots=True)
class Parts:
    """What a data set's files hold.

    Attributes:
        rows: `{"train" | "valid" | "test" | "all": rows}`; "all" is cut into parts later.
        rejected: rows that were left out, with reasons; rows in = rows used + rows rejected.
        notes: what was guessed or noticed (encoding, columns, delimiter), one sentence each.
        columns: the user's own name of each field's column, where the rows come from a table.
    """

    rows: dict[str, Sequence[Example]]
    rejected: list[Rejected] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    columns: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """What the loader hands to a learner.

    Attributes:
        rows: int64 [B], row numbers within the split.
        inputs: what `Encoded.take` returned for them.
        targets: [B] or [B, labels], what the task made of the gold labels; None when unknown.
    """

    rows: Array
    inputs: Any
    targets: Array | None


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """What an encoder reads before the decoder beside it writes.

    Attributes:
        ids: int64 [B, S], padded at the end.
        lengths: int64 [B].
    """

    ids: Array
    lengths: Array


@dataclasses.dataclass(frozen=True, slots=True)
class Blanks:
    """What a language model reads, and the tokens that it is asked for.

    Attributes:
        ids: int64 [B, L], padded at the end.
        lengths: int64 [B].
        targets: int64 [B, L], the token that is asked for at a place; `UNASKED` where none is.
        bytes: float64 [B], length in UTF-8 of what the tokens asked for stand for.
        given: what a model of two parts reads first; its decoder then reads the targets alone,
            which are all asked for, and `ids` are those targets.
    """

    ids: Array
    lengths: Array
    targets: Array
    bytes: Array
    given: Given | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Marked:
    """A text with its gold spans.

    Attributes:
        text: in NFC.
        spans: in characters of it, in order.
    """

    text: str
    spans: tuple[Span, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Located:
    """Windows of texts, and the characters that are scored in them.

    Attributes:
        ids: int64 [B, L], padded at the end.
        lengths: int64 [B].
        kinds: int64 [B, L], to which of two texts a token belongs; None where there is but one.
        tokens: int64 [U], for each unit the place of its token in the flattened [B * L].
        places: int64 [U], how far the unit stands in its token, from 0.
        counts: int64 [B], units of each window.
        targets: what the task asks for; `UNASKED` where nothing is asked, None when unknown.
    """

    ids: Array
    lengths: Array
    kinds: Array | None
    tokens: Array
    places: Array
    counts: Array
    targets: Any = None


class Asker(Protocol):
    """Says what is asked of a batch of windows."""

    def __call__(self, inputs: Any, rows: Array, draw: Sequence[int] | None) -> Any:
        """Return what the network reads and what it is asked for: `Blanks` or `Located`.

        Args:
            inputs: a batch of windows.
            rows: int64 [B], their numbers.
            draw: seed of this batch's draws in training; None draws by the row's number alone, so
                that every evaluation asks the same.
        """


UNASKED = -100
"""The target of a place at which nothing is asked."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sampling:
    """How text is continued.

    Attributes:
        max_new: tokens at most.
        temperature: of the distribution; 0 always takes the likeliest token.
        top_k: draw among so many of the likeliest tokens; 0 among all.
        top_p: draw among the likeliest tokens that together have this probability.
        repetition_penalty: divides the score of tokens that were there already (Keskar et al.
            2019); 1 leaves them alone.
        seed: of the draws.
        beams: keep so many of the likeliest beginnings, at temperature 0.
    """

    max_new: int = 64
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 7
    beams: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """What a task asks of a network.

    Attributes:
        skill: which skill it sits on.
        outputs: how many scores a row, or a character, gets.
        pooling: "own" keeps the checkpoint's own class's head where it has one; "mean" always
            takes the mean over the tokens, as a probe of frozen features wants it.
        places: characters of a token that get scores of their own; later ones share the last.
        labels: names of the scores of a row, in their order; () where they have none.
        several: whether a row may have any number of them.
    """

    skill: Skill
    outputs: int
    pooling: Literal["own", "mean"] = "own"
    places: int = 1
    labels: tuple[str, ...] = ()
    several: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Schema:
    """What the answers of a run look like, written to `schema.json`.

    Attributes:
        shape: row shape.
        labels: label names in the order of the scores.
        multi_label: whether a row may have any number of labels.
        threshold: probability from which a label counts, when multi-label.
    """

    shape: str
    labels: tuple[str, ...]
    multi_label: bool = False
    threshold: float = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How the training ended.

    Attributes:
        steps: updates made.
        epochs: passes over the data, a fraction when stopped early.
        seconds: time in training, resumed parts included, evaluation included.
        best: validation metric of the weights that are kept, None without validation.
        stopped: "finished", "early stopping" or "time limit".
    """

    steps: int
    epochs: float
    seconds: float
    best: float | None
    stopped: str
