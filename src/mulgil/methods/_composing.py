"""The network that writes in context: prompts of examples, and a text that ends as theirs do.

Chosen: an example is cut into tokens as a row is, and its text is cut off where a row's is, so that
the model goes on with the very tokens that it was shown; its target never is. A text ends at the
model's own end, or where the separator begins; where that begins with a line break, at the first
line break: a model that was shown one line a text goes on with the next example otherwise. What a
target is measured by is then its tokens and the separator's first, which ends it in the examples,
or the model's own end where none is shown. It costs that a target of several lines needs a
separator that does not begin with a break.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mulgil import hangul
from mulgil.errors import ModelError, SettingError
from mulgil.flow import UNASKED, Array, Blanks, Given, Sampling
from mulgil.methods._prompting import Plan, Prompting
from mulgil.methods._shots import Shot

Written = list[tuple[list[int], list[float]]]
"""What is new of each prompt, and ln p of each of its tokens."""


class Composing(Prompting):
    """A network that writes behind prompts, and says how likely targets are there.

    Args:
        network: goes on with texts.
        tokenizer: of the network.
        plan: what is asked.

    Attributes:
        until: where it begins, a text is over; "" where only the model ends one.
    """

    def __init__(self, network: Any, tokenizer: Any, plan: Plan) -> None:
        super().__init__(network, tokenizer, plan)
        self._writer = network
        self._two = network.begins is not None
        self._lead = len(tokenizer.opening()) if self._two else 1
        self._closing: list[int] = [*tokenizer.around(1).slots[1]] if self._two else []
        self._break: list[int] = tokenizer.segment(plan.separator) if plan.separator else []
        self.until = "\n" if plan.separator[:1] == "\n" else hangul.normalise(plan.separator)

    def check_room(self) -> None:
        limit, most = self.plan.limit, self._tokenizer.max_length
        taken = len(self._base) + len(self._closing)
        if limit is not None and most + taken > limit:
            remedy = f"set it to {limit - taken} or less" if limit - taken > 7 else "shorten that"
            raise SettingError(
                f"tokenizer.max_length is {most}, but of the {limit} tokens that the model reads"
                f" task.instruction takes {taken}; {remedy}"
            )

    # ------------------------------------------------------------ what is asked

    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        """Return (-ln p float64, whether it is the likeliest, bool) of the targets, row after row.

        A target's end is what ends it in this prompt.
        """
        counted = self.shortened
        rows = [self._target(inputs, i) for i in range(len(inputs.ids))]
        queries = [self._question(prompt) for prompt, _ in rows]
        parts: list[tuple[Array, Array]] = [(np.zeros(0), np.zeros(0, np.bool_))] * len(rows)
        for prefix, numbers, asked in self._grouped(queries, self._taken(self.plan.most)):
            targets = [rows[i][1] for i in numbers]
            found = self._likely(prefix, asked, targets, inputs, numbers)
            ends = np.cumsum([len(target) for target in targets])[:-1]
            for i, one, other in zip(numbers, *(np.split(f, ends) for f in found), strict=True):
                parts[i] = (one, other)
        self.shortened = counted  # each question counts once, where its text is written
        nats, right = zip(*parts, strict=True)
        return np.concatenate(nats), np.concatenate(right)

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, stops: Sequence[int]
    ) -> Written:
        """Write behind each prompt; the token with which a text is over is its last one.

        Args:
            prompts: rows' own, as the tokenizer's `written` has them.
            sampling: how to draw.
            stops: ids that end a text.
        """
        return self._write([self._question(prompt) for prompt in prompts], sampling, stops)

    def stream(
        self, prompt: Sequence[int], sampling: Sampling, stops: Sequence[int]
    ) -> Iterator[int]:
        taken = self._taken(sampling.max_new)
        ((prefix, _, (asked,)),) = self._grouped([self._question(prompt)], taken)
        whole = [*asked, *self._closing]
        found: Iterator[int] = self._writer.stream(whole, sampling, stops, prefix, self._over)
        return found

    def rehearse(self, inputs: Blanks, sampling: Sampling) -> None:
        """Do what is done of a batch of rows, for a look at the time it takes."""
        self.nats(inputs)
        prompts = [self._target(inputs, i)[0] for i in range(len(inputs.ids))]
        self.generate(prompts, sampling, [self._tokenizer.ends()[1]])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of new tokens, up to where it is over."""
        text = str(self._tokenizer.decode(ids))
        return text.partition(self.until)[0] if self.until else text

    # ------------------------------------------------------------ parts

    def _write(self, queries: list[list[int]], sampling: Sampling, stops: Sequence[int]) -> Written:
        found: Written = [([], [])] * len(queries)
        for prefix, rows, asked in self._grouped(queries, self._taken(sampling.max_new)):
            whole = [[*query, *self._closing] for query in asked]
            new = self._writer.generate(whole, sampling, stops, prefix, self._over)
            for i, one in zip(rows, new, strict=True):
                found[i] = one
        return found

    def _likely(
        self,
        prefix: list[int],
        queries: list[list[int]],
        targets: list[list[int]],
        inputs: Blanks,
        rows: list[int],
    ) -> tuple[Array, Array]:
        """Return what `nats` returns, of rows whose prompts begin alike."""
        if not self._two:
            found: tuple[Array, Array] = self._writer.follow(prefix, queries, targets)
            return found
        read = [[*prefix, *query, *self._closing] for query in queries]
        sizes = np.array([len(row) for row in read])
        ids = np.zeros((len(read), sizes.max()), np.int64)
        for i, row in enumerate(read):
            ids[i, : len(row)] = row
        blanks = Blanks(
            inputs.ids[rows],
            inputs.lengths[rows],
            inputs.targets[rows],
            inputs.bytes[rows],
            Given(ids, sizes),
        )
        answer: tuple[Array, Array] = self._writer.nats(blanks)
        return answer

    def _over(self, new: list[int]) -> bool:
        return bool(self.until) and self.until in self._tokenizer.decode(new)

    def _taken(self, most: int) -> int:
        """Return the tokens of a prompt that are no example's and no question's."""
        return len(self._closing) if self._two else most

    def _target(self, inputs: Blanks, row: int) -> tuple[list[int], list[int]]:
        """Return a row's prompt as the tokenizer made it, and the ids of its target."""
        asked = np.flatnonzero(inputs.targets[row] != UNASKED)
        target: list[int] = inputs.targets[row][asked].tolist()
        if inputs.given is not None:
            return inputs.given.ids[row, : inputs.given.lengths[row]].tolist(), target
        start = int(asked[0]) + 1 if len(asked) else int(inputs.lengths[row])
        if target and self.plan.shots and self._break:
            target[-1] = self._break[0]
        return inputs.ids[row, :start].tolist(), target

    def _question(self, prompt: Sequence[int]) -> list[int]:
        """Return a row's prompt without what the tokenizer puts around it."""
        own = [*prompt[self._lead : len(prompt) - len(self._closing)]]
        return own if own or self._base else [*prompt[:1]]  # no prompt is empty

    def _encoded(self, shots: Sequence[Shot]) -> tuple[list[Any], list[Any]]:
        if not shots:
            return [], []
        skip = len(self.plan.before)
        rows: Any = self._tokenizer.written(
            [(shot.text[skip:], None) for shot in shots],
            (self.plan.before, shots[0].behind),
            self._two,
            self.plan.most,
        )
        questions = [self._question(prompt) for prompt in rows.prompts]
        answers = [self._tokenizer.segment(shot.answer) for shot in shots]  # whole, however long
        shown = [[*q, *a, *self._break] for q, a in zip(questions, answers, strict=True)]
        return questions, shown

    @property
    def outputs(self) -> int:
        return 0

    def scores(self, inputs: Any) -> Array:
        raise ModelError("a network that writes in context has no scores; take its likelihoods")
