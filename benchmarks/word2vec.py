"""How much slower word vectors are learnt here than by gensim called by hand.

    python benchmarks/word2vec.py [--rows 100000] [--rounds 3] [--threads 1] [--epochs 5]

Ours is the whole of step 7: windows out of the loader with their pairs asked, rows put back in
order, gensim, the tables in the vocabulary's order. By hand is `gensim.models.Word2Vec` on lists
of the same tokens that lie ready. Tokens are drawn by Zipf's law, 16,000 pieces, rows as long as
film reviews in morphemes; they are cut already, for cutting them is not what is compared. Every
round runs both ways, in turns of order, and the ratio is that of the medians. With one thread both
must give the same vectors, which is checked.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from gensim.models import Word2Vec

from mulgil.loader import BatchLoader
from mulgil.methods.full import Full
from mulgil.models._word2vec import PairNetwork
from mulgil.models.word2vec import Word2vecSettings
from mulgil.objectives import Lesson
from mulgil.quiet import quiet
from mulgil.recipe import LoaderSettings, TrainerSettings
from mulgil.tasks.skip_gram import SkipGram, SkipGramSettings
from mulgil.tokenizers._ragged import Windows

PIECES = 16_000
SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}


def corpus(rows: int) -> Windows:
    """Return windows of drawn tokens in their frame."""
    draw = np.random.default_rng(7)
    lengths = draw.geometric(1 / 18, rows) + 2
    chances = 1 / np.arange(1, PIECES - 4)
    tokens = draw.choice(np.arange(5, PIECES), int(lengths.sum()), p=chances / chances.sum())
    ends = np.cumsum(lengths)
    tokens[ends - lengths], tokens[ends - 1] = SPECIAL["cls"], SPECIAL["sep"]
    arrays = {
        "tokens": tokens.astype(np.int32),
        "lengths": lengths.astype(np.int32),
        "owners": np.arange(rows),
        "bytes": lengths.astype(np.int32),
        "lost": np.zeros(1, np.int64),
        "texts": np.array([rows]),
    }
    return Windows(arrays, SPECIAL["pad"])


def ours(encoded: Windows, options: Any) -> tuple[float, Any]:
    task = SkipGram(SkipGramSettings())
    tokenizer = SimpleNamespace(special_ids=SPECIAL)
    loader = BatchLoader(encoded, None, LoaderSettings(), 7, task.asker(tokenizer))
    pieces = [None if number < 5 else str(number) for number in range(PIECES)]
    network = PairNetwork.fresh(Word2vecSettings(threads=options.threads), pieces)
    trainer = TrainerSettings(epochs=options.epochs)
    started = time.perf_counter()
    Full(None).learner(network, Lesson(task, trainer)).solve(loader.in_order(), [])  # type: ignore[attr-defined]
    return time.perf_counter() - started, network.vectors


def by_hand(sequences: list[list[int]], options: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    with quiet("gensim"):
        made = Word2Vec(
            sequences, sg=1, workers=options.threads, epochs=options.epochs, seed=7
        )  # all else is the same by default
    seconds = time.perf_counter() - started
    vectors = np.zeros((PIECES, made.vector_size), np.float32)
    vectors[made.wv.index_to_key] = made.wv.vectors
    return seconds, vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rows", 100_000), ("rounds", 3), ("threads", 1), ("epochs", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    encoded = corpus(options.rows)
    starts = encoded.starts
    sequences = [encoded.flat[a + 1 : b - 1].tolist() for a, b in itertools.pairwise(starts)]
    found: dict[str, list[float]] = {"ours": [], "by hand": []}
    for number in range(options.rounds):
        turns = ["ours", "by hand"] if number % 2 == 0 else ["by hand", "ours"]
        vectors = {}
        for name in turns:
            run = ours(encoded, options) if name == "ours" else by_hand(sequences, options)
            found[name].append(run[0])
            vectors[name] = run[1]
        if options.threads == 1 and not np.array_equal(*vectors.values()):
            raise SystemExit("the vectors differ: the two ways do not learn the same")
    middle = {name: statistics.median(seconds) for name, seconds in found.items()}
    tokens = sum(map(len, sequences)) * options.epochs
    for name, seconds in found.items():
        shown = ", ".join(f"{each:.2f}" for each in seconds)
        print(
            f"{name:<8} {middle[name]:8.2f} s  {tokens / middle[name]:12,.0f} tokens/s  ({shown})"
        )
    print(f"ratio    {middle['ours'] / middle['by hand']:8.3f}  (goal: at most 1.2)")


if __name__ == "__main__":
    main()
