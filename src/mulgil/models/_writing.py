"""What decoders and encoder-decoders share: prompts go on, all at once or heard token by token.

Chosen: transformers' own `generate` runs in a thread of its own while somebody listens, and leaves
at its next token when the listener does. It costs a thread a text; with beams nothing is sure
before the end, so that all is heard then.
"""

from __future__ import annotations

import queue
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from mulgil.errors import ModelError
from mulgil.flow import Sampling
from mulgil.models._continuing import Pieces, drawn
from mulgil.models._language import VocabularyNetwork


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

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, stops: Sequence[int]
    ) -> list[tuple[list[int], list[float]]]:
        """Continue each prompt; one that is too long for the model is cut.

        A drawn text depends on the seed and on all the prompts of the call; the likeliest text
        (temperature 0, with or without beams) depends on its own prompt alone.

        Raises:
            ModelError: a prompt is empty, or the architecture cannot generate.
        """
        return self._written(prompts, sampling, stops, None)

    def stream(
        self, prompt: Sequence[int], sampling: Sampling, stops: Sequence[int]
    ) -> Iterator[int]:
        def write(heard: Pieces | None) -> list[int]:
            return self._written([prompt], sampling, stops, heard)[0][0]

        if sampling.beams > 1 and not sampling.temperature:
            return iter(write(None))
        return _listening(write)

    def _written(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stops: Sequence[int],
        heard: Pieces | None,
    ) -> list[tuple[list[int], list[float]]]:
        if not all(len(prompt) for prompt in prompts):
            raise ModelError("a prompt has no tokens; give it the token that begins a text")
        kept, room = self._room([list(prompt) for prompt in prompts], sampling.max_new)
        if room < 1:
            return [([], []) for _ in prompts]
        with self._answering():
            return drawn(
                self.module, kept, sampling, room, stops, self._measured, self.begins, heard
            )


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
