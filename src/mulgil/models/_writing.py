"""What decoders and encoder-decoders share: prompts go on, all at once or heard token by token.

Chosen: transformers' own `generate` runs in a thread of its own while somebody listens, and leaves
at its next token when the listener does. It costs a thread a text; with beams nothing is sure
before the end, so that all is heard then.
"""

from __future__ import annotations

import functools
import queue
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from mulgil.errors import ModelError
from mulgil.flow import Sampling
from mulgil.models._continuing import Over, Pieces, Way, drawn
from mulgil.models._language import VocabularyNetwork
from mulgil.models._prefix import Prefix


class WritingNetwork(VocabularyNetwork):
    """Writes new tokens."""

    begins: int | None = None
    """The token that the decoder beside an encoder begins with; None where there is none."""

    @abstractmethod
    def _room(self, prompts: list[list[int]], most: int) -> tuple[list[list[int]], int]:
        """Return the prompts as the model can read them, and how many tokens can be written."""

    @abstractmethod
    def _measured(self, prompts: list[list[int]], fresh: list[list[int]]) -> list[list[float]]:
        """Return ln p of each new token."""

    def _begun(self, prefix: list[int]) -> Prefix | None:
        """Return what prompts begin with, read; None where it is read with each of them."""
        return None

    def _measured_behind(
        self, prefix: Prefix, prompts: list[list[int]], fresh: list[list[int]]
    ) -> list[list[float]]:
        """Return ln p of each new token of prompts that begin with a prefix's last token."""
        raise NotImplementedError(type(self).__name__)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stops: Sequence[int],
        prefix: Sequence[int] = (),
        over: Over | None = None,
    ) -> list[tuple[list[int], list[float]]]:
        """Continue each prompt; one that is too long for the model is cut.

        A drawn text depends on the seed and on all the prompts of the call; the likeliest text
        (temperature 0, with or without beams) depends on its own prompt alone.

        Args:
            prompts: token ids.
            sampling: how to draw.
            stops: ids that end a text; the one that ended it is the last token.
            prefix: token ids that stand before all prompts, read once where the model can.
            over: says of new tokens that the text is over with the last of them.

        Raises:
            ModelError: a prompt is empty, or the architecture cannot generate.
        """
        return self._written(prompts, sampling, stops, None, prefix, over)

    def stream(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        stops: Sequence[int],
        prefix: Sequence[int] = (),
        over: Over | None = None,
    ) -> Iterator[int]:
        def write(heard: Pieces | None) -> list[int]:
            return self._written([prompt], sampling, stops, heard, prefix, over)[0][0]

        if sampling.beams > 1 and not sampling.temperature:
            return iter(write(None))
        return _listening(write)

    def _written(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stops: Sequence[int],
        heard: Pieces | None,
        prefix: Sequence[int],
        over: Over | None,
    ) -> list[tuple[list[int], list[float]]]:
        whole = [[*prefix, *prompt] for prompt in prompts]
        if not all(whole):
            raise ModelError("a prompt has no tokens; give it the token that begins a text")
        kept, room = self._room(whole, sampling.max_new)
        if room < 1:
            return [([], []) for _ in prompts]
        with self._answering():
            # What is cut shares nothing any more.
            begun = self._begun([*prefix]) if len(prefix) > 1 and kept == whole else None
            measure = self._measured
            if begun is not None:
                kept = [row[len(begun.head) :] for row in whole]
                measure = functools.partial(self._measured_behind, begun)
            way = Way(sampling, room, stops, self.begins, heard, begun, over)
            return drawn(self.module, kept, way, measure)


class _Ear:
    """What `generate` tells of each new token; it leaves when nobody listens any more."""

    def __init__(self) -> None:
        self.tokens: queue.SimpleQueue[int | Exception | None] = queue.SimpleQueue()
        self.gone = False
        self._prompt = True

    def put(self, value: Tensor) -> None:
        if self._prompt:  # what is told first is the prompt, or what a decoder begins with
            self._prompt = False
            return
        if self.gone:
            raise _GoneError
        for token in value.tolist():
            self.tokens.put(token)

    def end(self) -> None:
        """Hear that the text is over, which the thread says itself."""


class _GoneError(Exception):
    """Nobody listens."""


def _listening(write: Callable[[Pieces], object]) -> Iterator[int]:
    """Yield the tokens that `write` tells of, while it goes on in a thread."""
    ear = _Ear()

    def work() -> None:
        try:
            write(ear)
        except _GoneError:
            pass
        except Exception as error:  # raised again where somebody listens
            ear.tokens.put(error)
        ear.tokens.put(None)

    thread = threading.Thread(target=work, name="mulgil-stream", daemon=True)
    thread.start()
    try:
        while (token := ear.tokens.get()) is not None:
            if isinstance(token, Exception):
                raise token
            yield token
    finally:
        ear.gone = True
        thread.join()
