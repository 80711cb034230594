"""Networks and learners: what the steps build, and what each of them promises.

    Model.build -> Network (LanguageNetwork)          Method.learner -> Learner (Solved, Stepped)

Chosen: there are only two ways to learn, at once from all rows or by gradient steps; a network
learns nothing by itself, and knows no files but those that it saves. Only numpy arrays pass
between rooms, but for the loss that a network hands to a learner, which is a torch scalar.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mulgil.flow import Array, Batch, Blanks, Sampling, Segment


@dataclasses.dataclass(frozen=True, slots=True)
class Adapter:
    """What a method has put into a network's module, or around it; it alone is saved.

    Attributes:
        write: writes it into a folder.
        module: runs the network's part with it; None: it runs within the part itself.
        lead: places before a text's own in what the part gives for each token.
        taken: positions that a text has less.
        weight: what one of the part's linear layers multiplies by, in the working precision; None:
            the layers must be run as they are.
    """

    write: Callable[[Path], None]
    module: Any = None
    lead: int = 0
    taken: int = 0
    weight: Callable[[Any], Any] | None = None


class Network(ABC):
    """A model that is built: from inputs to scores. It learns nothing by itself."""

    @abstractmethod
    def features(self, inputs: Any) -> Any:
        """Return one feature vector a row: float32 [B, width], dense or a scipy CSR matrix.

        Where characters are scored, one a unit: float32 [U, width].
        """

    def first_features(self, inputs: Sequence[Any]) -> list[Any]:
        """Return the features of all training inputs; learns first what they depend on."""
        return [self.features(batch) for batch in inputs]

    @abstractmethod
    def set_head(self, weight: Array, bias: Array) -> None:
        """Put a solved linear head on the features: weight [outputs, width], bias [outputs].

        Where characters are scored, a head for each place in a token, one below the other: weight
        [places * outputs, width], bias [places * outputs].
        """

    def telling(self, count: int, lowering: bool = False) -> list[dict[str, float]] | None:
        """Return what raises each score most, `{what: by how much}`, the heaviest first.

        Args:
            count: entries of each score at most.
            lowering: what lowers it most instead, by figures below 0.

        Returns:
            One dictionary a score; None of a network whose weights tell nothing by themselves.
        """
        return None

    @abstractmethod
    def scores(self, inputs: Any) -> Array:
        """Return float32 [B, outputs]; dropout is off, nothing is recorded for gradients."""

    @abstractmethod
    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write config and weights into the run's `model/` folder, in the Hugging Face layout."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of scores a row."""

    @property
    @abstractmethod
    def parameters_total(self) -> int:
        """Number of weights."""


class PromptedNetwork(Network):
    """A network that can be asked in words: it chooses among texts, or writes one."""

    def choose(
        self, prefix: Segment, queries: Sequence[Segment], choices: Sequence[Segment]
    ) -> Array:
        """Return float64 [queries, choices]: ln p of each choice behind prefix and query.

        Args:
            prefix: what all prompts begin with; read once for all of them.
            queries: what stands between it and the choice.
            choices: none of them is empty.
        """
        raise NotImplementedError(type(self).__name__)

    def generate(
        self, prompts: Sequence[Any], sampling: Sampling, stops: Sequence[int]
    ) -> list[tuple[Any, list[float]]]:
        """Continue each prompt: (what is new, ln p of each of its tokens under the model itself).

        Args:
            prompts: segments, of token ids at least one each, of any length; what a model of two
                parts reads.
            sampling: how to draw.
            stops: ids that end a text; the one that ended it is the last token.
        """
        raise NotImplementedError(type(self).__name__)

    def stream(
        self, prompt: Sequence[int], sampling: Sampling, stops: Sequence[int]
    ) -> Iterator[int]:
        """Yield the new tokens of one prompt as they are made, what ends the text included.

        Args:
            prompt: token ids, at least one.
            sampling: how to draw; with beams nothing comes before the end.
            stops: ids that end a text.
        """
        raise NotImplementedError(type(self).__name__)


class LanguageNetwork(PromptedNetwork):
    """A network with its vocabulary in front: it says how likely tokens are."""

    @abstractmethod
    def loss(self, inputs: Blanks) -> Any:
        """Return the sum of -ln p over all tokens asked for, a float32 torch scalar with gradients.

        Only the places that are asked for pass through the vocabulary.
        """

    @abstractmethod
    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        """Return (-ln p float64, whether it is the likeliest, bool), both [asked], row after row.

        Dropout is off, nothing is recorded for gradients.
        """

    def distributions(self, inputs: Blanks) -> Array:
        """Return float32 [asked, vocabulary], ln p of every token at the places asked for."""
        raise NotImplementedError(type(self).__name__)


class Learner(ABC):
    """A network that can learn, one way or the other."""

    network: Network

    @property
    @abstractmethod
    def trainable(self) -> int:
        """Number of weights that learn."""


class Solved(Learner):
    """Learns at once, from all rows.

    Attributes:
        say: where lines for people go while it learns; an engine sets it.
    """

    say: Callable[[str], None] | None = None

    @abstractmethod
    def solve(self, train: Iterable[Batch], valid: Iterable[Batch]) -> dict[str, float]:
        """Learn; return figures for the journal."""


class Stepped(Learner):
    """Learns by gradient steps. The loop owns the order; this owns numbers and their state."""

    @abstractmethod
    def backward(self, batch: Batch) -> tuple[float, float]:
        """Add the gradient of the summed loss; return (summed loss, weight of the batch)."""

    @abstractmethod
    def update(self, learning_rate: float, clip: float, weight: float) -> float:
        """Divide gradients by `weight`, clip, step, clear; return the norm before clipping.

        When the norm is NaN or infinite nothing is changed, and nothing but the gradients when
        `weight` is 0: its batches asked for nothing.
        """

    @abstractmethod
    def state(self) -> dict[str, Array]:
        """Return everything that a bit-identical continuation needs, random numbers included."""

    @abstractmethod
    def restore(self, state: dict[str, Array]) -> None:
        """Take a state back."""

    @abstractmethod
    def seed(self, seed: int) -> None:
        """Set every random number generator that the steps draw from."""
