"""Steps 4 and 5 for the rows of one part: encoded as the task wants them, cut into batches.

Chosen: one way for training, scoring and answering, so that what is answered was read exactly as
what was learnt. It costs a look at the sort of the task here, the one place that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mulgil import cache
from mulgil.contracts import Tokenizer
from mulgil.examples import Example
from mulgil.flow import Kind, Schema
from mulgil.loader import BatchLoader
from mulgil.objectives import LabelTask, LanguageTask, SpanTask, Task, WritingTask


def batches(
    rows: Sequence[Example],
    task: Task,
    schema: Schema,
    tokenizer: Tokenizer,
    settings: Any,
    kind: Kind,
    *,
    seed: int = 0,
    folder: Path | None = None,
    scored: bool = True,
    prompts: bool = False,
) -> BatchLoader:
    """Return the batches of these rows.

    Args:
        rows: of the task's shape, none of which `task.problem` refuses.
        task: says what is read and asked of them.
        schema: label names.
        tokenizer: encodes them.
        settings: the recipe's loader settings.
        kind: of the model.
        seed: of the order in training.
        folder: where encoded rows are kept between runs; None does without.
        scored: whether the rows have gold answers, which the batches then bring.
        prompts: whether they are asked as questions of a prompt.
    """
    if isinstance(task, LanguageTask):
        encoded = cache.windows(rows, task, tokenizer, folder)
        return BatchLoader(encoded, None, settings, seed, task.asker(tokenizer))
    gold: Any = None
    if prompts and isinstance(task, LabelTask):
        encoded = tokenizer.asked([task.question(row) for row in rows])
        return BatchLoader(encoded, task.targets(rows, schema) if scored else None, settings, seed)
    texts = [task.text(row) for row in rows]
    if isinstance(task, SpanTask):
        encoded = tokenizer.located(texts, task.stride)
        if not scored:
            return BatchLoader(encoded, None, settings, seed)
        gold = task.gold(rows, schema)
        return BatchLoader(encoded, gold, settings, seed, task.asker(encoded, gold, schema))
    if isinstance(task, WritingTask):
        gold = task.gold(rows, schema) if scored else None
        asked = list(zip(map(str, texts), gold or [None] * len(texts), strict=True))
        most = task.sampling.max_new
        two = kind in {"seq2seq", "classic"}  # what writes in the house's own way reads apart, too
        encoded = tokenizer.written(asked, task.prompt, two, most)
        return BatchLoader(encoded, gold, settings, seed)
    encoded = cache.encode(texts, tokenizer, folder)
    if scored and isinstance(task, LabelTask):
        gold = task.targets(rows, schema)
    return BatchLoader(encoded, gold, settings, seed)
