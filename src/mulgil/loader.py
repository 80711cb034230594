"""Step 5, loader: batches of similar length under a budget of tokens, in a resumable order.

Chosen: rows are shuffled by (seed, epoch), taken in windows of some batches, sorted by length
within a window, cut into batches of at most `rows` rows and `tokens` padded tokens, and the
batches of a window shuffled again. The order is a function of the seed and the epoch alone, so
the exact position is two integers and a resume skips nothing it has to read. Lengths are
rounded up to a multiple, because every new tensor shape costs a kernel build. It costs batches
whose rows are not independent draws: rows of like length meet more often, inside a window only.
Rows that the network packs (windows of a corpus) cost their own length only: they stay in the
drawn order. What a language task hides of a batch is drawn by (seed, epoch, place of the batch)
here, in the thread that makes batches ready, so that the loop need not know of it.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from mulgil.contracts import Encoded
from mulgil.flow import Array, Asker, Batch

Plan = list[Array]

Draw = tuple[int, int, int] | None

BULK = 8192
"""Rows in a batch of `in_order` where a batch has no width."""


class BatchLoader:
    """Batches of one split.

    Args:
        encoded: the rows after step 4.
        gold: what answers are compared with, None without: an array [N] or [N, labels], of which
            each batch gets its rows, or what `ask` puts into them.
        settings: the recipe's loader settings.
        seed: of the order.
        ask: says what is asked of a batch of windows.
    """

    def __init__(
        self,
        encoded: Encoded,
        gold: Any,
        settings: Any,
        seed: int,
        ask: Asker | None = None,
    ) -> None:
        self.encoded = encoded
        self.gold = gold
        self.settings = settings
        self.seed = seed
        self.ask = ask
        self._planned: tuple[int, Plan] | None = None

    def __len__(self) -> int:
        return len(self.encoded)

    def batches(self, epoch: int) -> int:
        return len(self._plan(epoch))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        plan = self._plan(epoch)
        draws = [(self.seed, epoch, number) for number in range(start, len(plan))]
        return self._ahead(list(zip(plan[start:], draws, strict=True)))

    def in_order(self) -> Iterator[Batch]:
        """Yield every row once, longest rows first, in batches under the same budget."""
        order = np.argsort(-self.encoded.lengths, kind="stable")
        if self.encoded.width == "none":
            plan = [order[i : i + BULK] for i in range(0, len(order), BULK)]
        else:
            plan = self._cut(order)
        return self._ahead([(rows, None) for rows in plan])

    def _plan(self, epoch: int) -> Plan:
        if self._planned is None or self._planned[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            order = generator.permutation(len(self.encoded))
            size = self.settings.rows * self.settings.window
            plan: Plan = []
            for start in range(0, len(order), size):
                window = order[start : start + size]
                if self.settings.window > 1 and self.encoded.width != "sum":
                    window = window[np.argsort(self.encoded.lengths[window], kind="stable")]
                batches = self._cut(window)
                plan += [batches[i] for i in generator.permutation(len(batches))]
            self._planned = (epoch, plan)
        return self._planned[1]

    def _cut(self, order: Array) -> Plan:
        """Cut rows, in this order, into batches under both budgets (at least one row each)."""
        if self.encoded.width == "sum":
            return self._cut_packed(order)
        multiple = self.settings.multiple
        padded = -(-self.encoded.lengths[order] // multiple) * multiple
        batches: Plan = []
        start, width = 0, 0
        for i, length in enumerate(padded):
            wider = max(width, int(length))
            count = i - start + 1
            if count > 1 and (count > self.settings.rows or wider * count > self.settings.tokens):
                batches.append(order[start:i])
                start, wider = i, int(length)
            width = wider
        if start < len(order):
            batches.append(order[start:])
        return batches

    def _cut_packed(self, order: Array) -> Plan:
        """Cut rows, in this order, where the sum of their lengths fills the budget of tokens."""
        batches: Plan = []
        ends = np.cumsum(self.encoded.lengths[order])
        start = 0
        while start < len(order):
            before = int(ends[start - 1]) if start else 0
            stop = int(np.searchsorted(ends, before + self.settings.tokens, side="right"))
            stop = max(stop, start + 1)
            batches.append(order[start:stop])
            start = stop
        return batches

    def _batch(self, rows: Array, draw: Draw) -> Batch:
        inputs = self.encoded.take(rows, self.settings.multiple)
        if self.ask is not None:
            inputs = self.ask(inputs, rows, draw)
        targets = self.gold[rows] if isinstance(self.gold, np.ndarray) else None
        return Batch(rows, inputs, targets)

    def _ahead(self, plan: list[tuple[Array, Draw]]) -> Iterator[Batch]:
        """Make batches ready in a thread; an error there is raised here."""
        if self.settings.prefetch == 0:
            yield from itertools.starmap(self._batch, plan)
            return
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(self.settings.prefetch)
        stop = threading.Event()

        def put(item: Batch | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def work() -> None:
            try:
                for rows, draw in plan:
                    if stop.is_set():
                        return
                    put(self._batch(rows, draw))
                put(None)
            except BaseException as error:  # handed over to the loop, which raises it
                put(error)

        thread = threading.Thread(target=work, name="mulgil-prefetch", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()
