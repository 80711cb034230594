"""What a linear probe learns from: features and gold answers of all rows, or of drawn characters.

Chosen: of a task that scores characters at most `most` of them are learnt, since each is as long as
the network is wide: 100,000 of 384 numbers are 150 MB, as float32. All characters of the rarer
answers stay and the commonest answer is drawn from (the tag O, or being no edge of an answer); its
bias is then corrected by the logarithm of the share that was drawn, as in a case-control study
(King and Zeng 2001). Where the rarer answers alone are more than half of `most`, all are drawn
alike. It costs that the correction holds for many rows only, and that the batches are held while
the network runs: some 30 bytes a character of the whole part.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mulgil.errors import DataError, ModelError
from mulgil.flow import UNASKED, Array, Batch, Located

Make = Callable[[Sequence[Any]], Iterable[Any]]
"""From the inputs of all batches to their features, a batch each or in one piece."""


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    """What is solved, or checked.

    Attributes:
        features: float32 [N, width], dense or a CSR matrix.
        targets: int64 [N], or float [N, outputs].
        places: int64 [N], which of a token's heads scores the row; None where there is but one.
        correction: what the biases of the outputs are to be corrected by, float64 [outputs].
    """

    features: Any
    targets: Array
    places: Array | None
    correction: Array


def drawn(
    batches: Iterable[Batch],
    make: Make,
    outputs: int,
    places: int,
    most: int,
    seed: Sequence[int],
    fair: bool,
) -> Drawn:
    """Return features and gold answers.

    Args:
        batches: of one part.
        make: makes the features.
        outputs: scores of a row, or of a character.
        places: heads of a token.
        most: characters at most.
        seed: of the draw.
        fair: draw all characters alike, as a check needs it.

    Raises:
        DataError: rows without gold answers.
        ModelError: a feature is no number.
    """
    from scipy import sparse

    rows = list(batches)
    none = np.zeros(outputs)
    if not rows:
        return Drawn(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), None, none)
    if isinstance(rows[0].inputs, Located):
        return _characters([row.inputs for row in rows], make, none, places, most, seed, fair)
    targets = [row.targets for row in rows if row.targets is not None]
    if len(targets) < len(rows):
        raise DataError("method: a linear probe needs rows with labels; give the data a label")
    found = list(make([row.inputs for row in rows]))
    if sparse.issparse(found[0]):
        return Drawn(sparse.vstack(found, format="csr"), np.concatenate(targets), None, none)
    return Drawn(_whole(np.concatenate(found)), np.concatenate(targets), None, none)


def _characters(
    inputs: Sequence[Located],
    make: Make,
    correction: Array,
    places: int,
    most: int,
    seed: Sequence[int],
    fair: bool,
) -> Drawn:
    targets = np.concatenate([_answers(each) for each in inputs])
    edges = targets.ndim == 2  # where answers begin and end, rather than a tag each
    asked = np.arange(len(targets)) if edges else np.flatnonzero(targets != UNASKED)
    if edges:
        number, common = 0, targets.sum(1) == 0
    else:
        number = int(np.bincount(targets[asked]).argmax())
        common = targets[asked] == number
    kept, share = _chosen(asked, common, most, np.random.default_rng(seed), fair)
    if edges:
        correction = correction + math.log(share)
    else:
        correction[number] = -math.log(share)
    heads = np.concatenate([each.places for each in inputs])[kept].clip(max=places - 1)
    return Drawn(_whole(_picked(inputs, make, kept)), targets[kept], heads, correction)


def _answers(inputs: Located) -> Array:
    """Return the tag of each character, int64 [U], or which edges of an answer it is, [U, edges].

    Raises:
        DataError: they are not known.
    """
    if inputs.targets is None:
        raise DataError("method: a linear probe needs rows with answers; give the data some")
    gold: Array = np.asarray(inputs.targets)
    if gold.ndim == 1:
        return gold
    hot = np.zeros((len(inputs.tokens), gold.shape[1]), np.float32)
    begins = np.cumsum(inputs.counts) - inputs.counts
    for edge, places in enumerate(gold.T):
        hot[begins + places, edge] = 1
    return hot


def _chosen(
    asked: Array, common: Array, most: int, draw: np.random.Generator, fair: bool
) -> tuple[Array, float]:
    """Return which characters are kept, in order, and the share of the common ones that is."""
    if len(asked) <= most:
        return asked, 1.0
    rare = asked[~common]
    if fair or len(rare) > most // 2:
        return np.sort(draw.choice(asked, most, replace=False)), 1.0
    left = most - len(rare)
    taken = draw.choice(asked[common], left, replace=False)
    return np.sort(np.concatenate([rare, taken])), left / int(common.sum())


def _picked(inputs: Sequence[Located], make: Make, kept: Array) -> Array:
    """Return the features of the kept characters; no more than one batch of others is held."""
    found: Array | None = None
    ends = np.cumsum([len(each.tokens) for each in inputs])
    cuts = np.searchsorted(kept, [0, *ends])
    for number, each in enumerate(inputs):
        mine = slice(cuts[number], cuts[number + 1])
        if mine.start == mine.stop:
            continue
        (made,) = make([each])
        if found is None:
            found = np.empty((len(kept), made.shape[1]), np.float32)
        found[mine] = made[kept[mine] - (ends[number] - len(each.tokens))]
    if found is None:
        raise DataError("method: no character of the rows is asked for; give the data some text")
    return found


def _whole(features: Array) -> Array:
    """Return dense features as they are.

    Raises:
        ModelError: one is no number, which no solver takes.
    """
    if not np.isfinite(features).all():
        raise ModelError(
            "model: its features hold values that are no numbers; take trainer.precision=fp32, or"
            " another checkpoint"
        )
    return features
