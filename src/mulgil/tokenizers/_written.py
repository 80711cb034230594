"""Texts from which another text is to be written: what a model reads, what it shall write.

Chosen: what stands around the user's text in the prompt is never cut, the text gives way at its
end; a model of one part reads prompt and target in one row, the target and its end alone are asked
for; a model of two parts reads the prompt first. A target that is cut has no end, for nobody shall
learn to stop in the middle of a sentence. It costs room: as many tokens as may be written are kept
free of the text, in training too, so that a text is read alike in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mulgil.errors import SettingError
from mulgil.flow import UNASKED, Array, Blanks, Given, Template
from mulgil.tokenizers._ragged import Ragged
from mulgil.tokenizers._rows import Rows


class WrittenRows(Rows):
    """Prompts and targets; `take` gives `Blanks`.

    Args:
        prompts: ids that are read, with all that stands around them.
        targets: ids that are written, their end included where they are whole; empty where there is
            no target.
        bytes_: length of each target in UTF-8.
        two: whether prompt and target are read by two parts of the model.
        pad: id that fills a batch up.
        truncated: rows of which something was cut.
        unknown: share of unknown tokens.
        most: the longest row that is read, and the longest that is written by itself.
    """

    def __init__(
        self,
        prompts: list[list[int]],
        targets: list[list[int]],
        bytes_: Sequence[float],
        two: bool,
        pad: int,
        truncated: int,
        unknown: float,
        most: tuple[int, int],
    ) -> None:
        sizes = [len(p) + len(t) for p, t in zip(prompts, targets, strict=True)]
        super().__init__(sizes, truncated, unknown)
        self.prompts = prompts
        self._targets = targets
        self._bytes = np.array(bytes_, np.float64)
        self._two = two
        self._pad = pad
        self._most = most

    def take(self, rows: Array, multiple: int) -> Blanks:
        prompts = [self.prompts[row] for row in rows.tolist()]
        targets = [self._targets[row] for row in rows.tolist()]
        if self._two:
            ids, lengths = self._block(prompts, multiple, self._most[0])
            asked, sizes = self._block(targets, multiple, self._most[1])
            wanted = np.where(np.arange(asked.shape[1]) < sizes[:, None], asked, UNASKED)
            return Blanks(asked, sizes, wanted, self._bytes[rows], Given(ids, lengths))
        whole = [[*p, *t[:-1]] for p, t in zip(prompts, targets, strict=True)]
        ids, lengths = self._block(whole, multiple, self._most[0])
        wanted = np.full(ids.shape, UNASKED, np.int64)
        for i, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
            wanted[i, len(prompt) - 1 : len(prompt) - 1 + len(target)] = target
        return Blanks(ids, lengths, wanted, self._bytes[rows])

    def _block(self, rows: list[list[int]], multiple: int, most: int) -> tuple[Array, Array]:
        starts = np.cumsum([0, *map(len, rows)])
        flat = np.array([number for row in rows for number in row], np.int32)
        ragged = Ragged(flat, starts, self._pad, 0, 0.0, most=most)
        taken = ragged.take(np.arange(len(rows)), multiple)
        return taken.ids, taken.lengths


def put_together(
    rows: Sequence[tuple[str, str | None]],
    prompt: tuple[list[int], list[int]],
    read: Sequence[list[int]],
    wanted: Sequence[list[int]],
    frame: Template,
    end: int,
    *,
    two: bool,
    most: int,
    max_length: int,
    pad: int,
    unknown: int | None,
) -> WrittenRows:
    """Return the rows of texts and targets that are encoded.

    Args:
        rows: (text, target), None where the target is not known.
        prompt: ids before the text and behind it.
        read: ids of the texts.
        wanted: ids of the targets.
        frame: special tokens around a prompt.
        end: id that ends a target.
        two: whether the model has a part that reads and a part that writes.
        most: tokens of a target at most, its end included.
        max_length: of a prompt, and of prompt and target in one row.
        pad: id that fills a batch up.
        unknown: id of what the vocabulary lacks.

    Raises:
        SettingError: there is no room for a text.
    """
    before, after = prompt
    taken = frame.size + len(before) + len(after) + (0 if two else most)
    room = max_length - taken
    if room < 1:
        parts = "the prompt" if two else f"the prompt and task.max_new = {most}"
        raise SettingError(
            f"tokenizer.max_length is {max_length}, but {parts} take {taken} of it and leave no"
            " room for a text; raise the one or lower the other"
        )
    prompts, targets, sizes, cut, lost, own = [], [], [], 0, 0, 0
    for (_, target), ids, asked in zip(rows, read, wanted, strict=True):
        prompts.append(frame.row([*before, *ids[:room], *after])[0])
        kept = asked[:most]
        targets.append([] if target is None else [*asked, end][:most])
        whole = len((target or "").encode("utf-8", "surrogatepass"))
        sizes.append(whole * len(kept) / len(asked) if asked else 0.0)
        cut += len(ids) > room or len(asked) >= most  # of one as long as may be, the end
        own += min(len(ids), room) + len(kept)
        lost += ids[:room].count(unknown) + kept.count(unknown) if unknown is not None else 0
    share = lost / own if own else 0.0
    return WrittenRows(prompts, targets, sizes, two, pad, cut, share, (max_length, most))
