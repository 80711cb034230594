"""TF-IDF of character and word n-grams, with a linear head: the classic that networks must beat.

Chosen: character 1- to 4-grams within the text (spaces counted), because Korean glues particles to
nouns and reviewers space words as they like; word n-grams can be added, but on film reviews they
cost accuracy (0.868 with word 1-2-grams, 0.875 without, on 15,000 validation rows of NSMC). Term
counts are dampened (1 + ln tf), idf is smoothed, each row has length one, as in scikit-learn, whose
vectorizer does the counting. Weights are kept as safetensors and the vocabulary as JSON: nothing is
unpickled. Two texts are counted by one vocabulary, learnt from both, and compared n-gram by n-gram
(`_compared`). Where the tokenizer gives morphemes, they are the words of `word_ngrams`. It costs
memory: 0.7 million n-grams for 135,000 reviews, 1 GB while they are counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic
import safetensors.numpy

from mulgil import settings
from mulgil.contracts import Model
from mulgil.errors import ModelError
from mulgil.flow import Array, Head, Kind, Skill
from mulgil.models import _compared
from mulgil.networks import Network

SAME = 0.8
"""Of two n-grams, one within the other, the lighter one is not told where it has this share of the
heavier one's weight or more: they then mostly stand in the same rows and say one thing."""

_LOOKED = 50
"""How many n-grams are looked at for each that is told."""


class TfidfSettings(settings.Settings):
    """Settings of the TF-IDF family."""

    char_ngrams: list[int] = pydantic.Field([1, 4], min_length=2, max_length=2)
    """Shortest and longest character n-gram; [0, 0] counts none."""
    word_ngrams: list[int] = pydantic.Field([0, 0], min_length=2, max_length=2)
    """Shortest and longest word n-gram; [0, 0] counts none. With `tokenizer.morphemes` the words
    are morphemes."""
    min_rows: int = pydantic.Field(2, ge=1, le=1 << 31)
    """An n-gram that occurs in fewer training rows (of two texts a row: in fewer texts) is not
    counted."""
    ordered: bool = True
    """Of two texts: whether it matters which is the first. Set it to false where nothing depends
    on that, as with `sts`: fewer weights then learn the same."""
    max_features: int = pydantic.Field(1_000_000, ge=1, le=1 << 31)
    """Most n-grams of each sort; the more frequent ones are kept."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> TfidfSettings:
        for low, high in (self.char_ngrams, self.word_ngrams):
            if not (low == high == 0 or 1 <= low <= high <= 20):
                raise ValueError("n-grams must be [shortest, longest] from 1 to 20, or [0, 0]")
        if self.char_ngrams[1] + self.word_ngrams[1] == 0:
            raise ValueError("one of char_ngrams and word_ngrams must count something")
        return self


class TfidfNetwork(Network):
    """Vectorizers and a linear head.

    Attributes:
        texts: of a row, 1 or 2; known when features are learnt.
    """

    def __init__(self, chosen: TfidfSettings, outputs: int) -> None:
        self.chosen = chosen
        self.texts = 1
        self.parts = [_vectorizer(chosen, sort) for sort in _sorts(chosen)]
        self.weight: Array = np.zeros((outputs, 0), np.float32)  # [outputs, width]
        self.bias: Array = np.zeros(outputs, np.float32)  # [outputs]

    @property
    def outputs(self) -> int:
        return len(self.bias)

    @property
    def parameters_total(self) -> int:
        return int(self.weight.size + self.bias.size)

    def first_features(self, inputs: Sequence[Any]) -> list[Any]:
        """Learn vocabulary and idf, and return the rows' counts.

        Raises:
            ModelError: no n-gram occurs in `min_rows` rows.
        """
        from scipy import sparse

        rows = [row for batch in inputs for row in batch]
        self.texts = 2 if rows and isinstance(rows[0], tuple) else 1
        texts = rows if self.texts == 1 else [text for row in rows for text in row]
        try:
            found = [part.fit_transform(texts) for part in self.parts]
        except ValueError as error:
            raise ModelError(
                f"model.min_rows: no n-gram occurs in {self.chosen.min_rows} training rows;"
                " lower it or give more rows"
            ) from error
        if self.texts == 2:
            first, second = [c[::2] for c in found], [c[1::2] for c in found]
            return [_compared.compared(first, second, rows, self.chosen.ordered)]
        return [sparse.hstack(found, format="csr")]

    def features(self, inputs: Any) -> Any:
        from scipy import sparse

        if self.texts == 2:
            first, second = (
                [part.transform([row[number] for row in inputs]) for part in self.parts]
                for number in (0, 1)
            )
            return _compared.compared(first, second, inputs, self.chosen.ordered)
        return sparse.hstack([part.transform(inputs) for part in self.parts], format="csr")

    def set_head(self, weight: Array, bias: Array) -> None:
        self.weight = weight.astype(np.float32)
        self.bias = bias.astype(np.float32)

    def scores(self, inputs: Any) -> Array:
        found: Array = self.features(inputs) @ self.weight.T + self.bias
        return np.asarray(found, np.float32)

    def telling(self, count: int, lowering: bool = False) -> list[dict[str, float]]:
        """Return for each output the n-grams that raise its score most, the heaviest first.

        An n-gram's figure is what it adds to the score where it stands once in a text, before the
        row is brought to length one: its weight times its idf (squared, of two texts that both have
        it). Of two texts a name begins with how it was counted: `both:`, then `first:` and
        `second:`, or `one:` where the order does not matter. An n-gram that is counted both as
        characters and as words is told once.

        Args:
            count: n-grams at most; fewer where fewer raise the score.
            lowering: those that lower it instead.
        """
        names = np.concatenate([part.get_feature_names_out() for part in self.parts])
        idf = np.concatenate([part.idf_ for part in self.parts])
        size = len(names)
        ways = [f"{way}:" for way in _compared.ways(self.chosen.ordered)]
        scale = np.concatenate([idf**2, *[idf] * (len(ways) - 1)]) if self.texts == 2 else idf
        sign, found = -1 if lowering else 1, []
        for weight in self.weight:
            added = sign * weight[: len(scale)] * scale
            best = np.argsort(-added, kind="stable")[: _LOOKED * count]
            told: list[tuple[str, str, float]] = []
            for i in best[added[best] > 0]:
                way = "" if self.texts == 1 else ways[i // size]
                one = way, str(names[i % size]), float(added[i])
                if len(told) < count and not any(_repeats(one, other) for other in told):
                    told.append(one)
            found.append({way + name: round(sign * value, 4) for way, name, value in told})
        return found

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        arrays = {"weight": self.weight, "bias": self.bias}
        terms = {}
        for sort, part in zip(_sorts(self.chosen), self.parts, strict=True):
            arrays[f"idf.{sort}"] = part.idf_.astype(np.float32)
            terms[sort] = part.get_feature_names_out().tolist()
        chosen = self.chosen.model_dump()
        config = {"model": "tfidf", "labels": list(labels), "texts": self.texts, **chosen}
        safetensors.numpy.save_file(arrays, folder / "model.safetensors")
        for name, value in (("config.json", config), ("vocabulary.json", terms)):
            text = json.dumps(value, ensure_ascii=False) + "\n"
            (folder / name).write_text(text, encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> TfidfNetwork:
        """Open what `save` wrote.

        Raises:
            ModelError: a file is missing, or the files do not fit together.
        """
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            terms = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
            arrays = safetensors.numpy.load_file(folder / "model.safetensors")
            return cls._of(config, terms, arrays)
        except (OSError, LookupError, TypeError, ValueError, safetensors.SafetensorError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ModelError(
                f"{folder.name}: cannot be opened ({reason}); use a whole copy of the run"
            ) from error

    @classmethod
    def _of(cls, config: dict[str, Any], terms: Any, arrays: dict[str, Array]) -> TfidfNetwork:
        old = {"ordered": True, "texts": 1} | config  # runs from before two texts could be read
        chosen = TfidfSettings(**{k: old[k] for k in TfidfSettings.model_fields})
        network = cls(chosen, len(arrays["bias"]))
        network.parts = [
            _vectorizer(chosen, sort, terms[sort], arrays[f"idf.{sort}"]) for sort in _sorts(chosen)
        ]
        network.weight, network.bias = arrays["weight"], arrays["bias"]
        network.texts = {1: 1, 2: 2}[old["texts"]]
        sizes = [len(terms[sort]) for sort in _sorts(chosen)]
        width = sum(sizes) if network.texts == 1 else _compared.width(sizes, chosen.ordered)
        shape = (len(network.bias), width)
        if network.weight.shape != shape:
            raise ValueError(f"weights {network.weight.shape}, labels and n-grams {shape}")
        return network


class Tfidf(Model):
    """The family: nothing is pretrained."""

    Settings: ClassVar[type[settings.Settings]] = TfidfSettings
    kind: ClassVar[Kind] = "features"
    skills: ClassVar[frozenset[Skill]] = frozenset({"pool", "pair", "rate"})
    tokenizer: ClassVar[str] = "words"

    def source(self) -> Path | None:
        return None

    def build(self, tokenizer: Any, head: Head, precision: str, device: str, seed: int) -> Network:
        chosen = getattr(tokenizer, "settings", None)
        if getattr(chosen, "morphemes", False) and not self.settings.word_ngrams[1]:
            raise ModelError(
                "tokenizer.morphemes: model.word_ngrams is [0, 0], so no morpheme is counted; set"
                " model.word_ngrams=[1, 2]"
            )
        return TfidfNetwork(self.settings, head.outputs)

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        return TfidfNetwork.open(folder)


def _sorts(chosen: TfidfSettings) -> list[str]:
    sizes = {"char": chosen.char_ngrams, "word": chosen.word_ngrams}
    return [sort for sort, (_, longest) in sizes.items() if longest]


def _repeats(one: tuple[str, str, float], told: tuple[str, str, float]) -> bool:
    """Say whether an n-gram says again what a heavier one has told; see `SAME`."""
    (way, name, value), (before, other, heavier) = one, told
    if way != before or not (name in other or other in name):
        return False
    return name == other or value >= SAME * heavier


def _vectorizer(
    chosen: TfidfSettings, sort: str, terms: list[str] | None = None, idf: Array | None = None
) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    made = TfidfVectorizer(
        analyzer=sort,
        preprocessor=_compared.words if sort == "word" else _compared.letters,
        ngram_range=tuple(getattr(chosen, f"{sort}_ngrams")),
        token_pattern=r"(?u)\S+" if sort == "word" else None,
        lowercase=False,
        sublinear_tf=True,
        min_df=chosen.min_rows,
        max_features=chosen.max_features,
        dtype=np.float32,
        vocabulary=terms,
    )
    if idf is not None:
        made.idf_ = idf
    return made
