"""Rows with spans for the tests: odd texts, tokenizers of every sort, and a network that is right.

What `Perfect` answers is read off the targets, so that what comes back wrong was lost on the way:
in the map from the user's characters, in the windows, in the units or in the decoding.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mulgil import evaluation, hangul
from mulgil.encoding import batches
from mulgil.examples import EntitiesExample, QuestionExample, Span
from mulgil.flow import UNASKED, Array, Located
from mulgil.objectives import SpanTask, Window
from mulgil.recipe import LoaderSettings
from mulgil.tasks.ner import Ner
from mulgil.tasks.qa import Qa
from mulgil.tokenizers.jamo import Jamo, JamoSettings
from mulgil.tokenizers.subword import Subword, SubwordSettings
from mulgil.tokenizers.syllable import Syllable, SyllableSettings

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [
    *(
        "가",
        "나",
        "영화",
        "서울에서",
        "ㅋㅋ",
        "ㅠ",
        "good",
        "Ａ",
        "1",
        "10점",
        "!",
        "...",
        "?",
        "%",
    ),
    *(" ", "  ", "\t", "\n", "\r\n", "\u3000", "\u00a0", "\u2028", "\x1c", "▁", "¦"),
    *("\u200b", "\u200d", "\ufeff", "\u00ad", "\u2060", "\x00", "\x07", "\ufffd", "\ud83d"),
    *("👍", "👨‍👩‍👧", "👍🏽", "🇰🇷", "𠮷", "𝒜", "é", "e\u0301", "a\u0323\u0307", "\u0301", "İ", "ﬁ"),
    *(
        "ﾡ",
        "＜",
        "①",
        "㈜",
        "㎏",
        "\u1112\u119e\u11ab",
        "\u1100",
        "\u1161",
        "\u11a8",
        "힣",
        "각\u11a8",
    ),
    *("[SEP]", "[CLS]", "[PAD]", "[UNK]", "[MASK]", "</s>"),
]


def text(draw: random.Random, words: Sequence[str], parts: int) -> str:
    """Return a text of so many parts at most, in NFC, in NFD, as it comes, or mixed."""
    forms = [str, str, lambda t: unicodedata.normalize("NFD", t)]
    chosen = [
        draw.choice(forms)(draw.choice(words if draw.random() < 0.5 else PIECES))
        for _ in range(draw.randrange(1, parts + 1))
    ]
    joined = draw.choice(["", " "]).join(chosen)
    return draw.choice([str, lambda t: unicodedata.normalize("NFC", t), forms[2]])(joined)


def spans(draw: random.Random, text: str, most: int, longest: int, labels: Sequence[str]) -> Any:
    """Return spans of the user's own text in order: edges are no white space and no half letter."""
    edges = list(dict.fromkeys(hangul.offsets(text) or [(i, i + 1) for i in range(len(text))]))
    found, after = [], 0
    for _ in range(draw.randrange(1, most + 1)):
        if after >= len(edges):
            break
        first = draw.randrange(after, len(edges))
        last = min(first + draw.randrange(longest), len(edges) - 1)
        start, end = edges[first][0], edges[last][1]
        if text[start:end] == text[start:end].strip():
            found.append(Span(start, end, draw.choice(labels)))
            after = last + 1
    return tuple(found)


def entity_rows(count: int, seed: int, words: Sequence[str]) -> list[EntitiesExample]:
    """Return texts with entities of two kinds, of any length."""
    draw = random.Random(seed)
    found = []
    for i in range(count):
        own = text(draw, words, draw.choice((4, 12, 40)))
        found.append(EntitiesExample(str(i), own, spans(draw, own, 4, 9, ("사람", "곳"))))
    return found


def question_rows(count: int, seed: int, words: Sequence[str]) -> list[QuestionExample]:
    """Return texts with one short answer each."""
    draw = random.Random(seed)
    found = []
    while len(found) < count:
        own = text(draw, words, draw.choice((4, 12, 40)))
        answers = spans(draw, own, 1, 4, ("",))
        asked = text(draw, words, draw.choice((2, 5, 30)))
        if answers and asked.strip():
            found.append(QuestionExample(str(len(found)), asked, own, answers))
    return found


# ---------------------------------------------------------------- a network that is always right


class Perfect:
    """Scores that say what is asked for, at every unit."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs

    def scores(self, inputs: Any) -> Array:
        units = int(inputs.counts.sum())
        found = np.zeros((units, self.outputs), np.float32)
        if inputs.targets.ndim == 1:  # a tag a unit
            asked = np.flatnonzero(inputs.targets != UNASKED)
            found[asked, inputs.targets[asked]] = 25
            return found
        begins = np.cumsum([0, *inputs.counts[:-1]])  # a start and an end a window
        for column in (0, 1):
            found[begins + inputs.targets[:, column], column] = 25
        return found


def measured(rows: Sequence[Any], task: SpanTask, tokenizer: Any) -> tuple[Any, Any, Any]:
    """Return the schema, the gold answers, and what `Perfect` makes of the rows."""
    schema = task.schema(rows)
    chosen = LoaderSettings(prefetch=0)
    loader = batches(rows, task, schema, tokenizer, chosen, "encoder")
    network: Any = Perfect(task.head(schema).outputs)
    return schema, loader.gold, evaluation.measure(network, loader, task, schema)


# ---------------------------------------------------------------- tokenizers


def wrapped(backend: tokenizers.Tokenizer, length: int) -> Subword:
    """Return a pipeline of another making behind the house's rules."""
    files = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    return Subword(files.backend_tokenizer, files, length)


def _framed(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


def _byte_level(texts: list[str]) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=900,
            special_tokens=SPECIALS,
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return _framed(backend)


def _dropping(texts: list[str]) -> tokenizers.Tokenizer:
    """Return WordPiece behind a normaliser that drops accents, controls and zero-width letters."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(tokenizers.Regex("[\u200b-\u200d\u2060\ufeff\u00ad.가]"), ""),
            normalizers.BertNormalizer(strip_accents=True, lowercase=True),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=SPECIALS, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return _framed(backend)


def _folding(texts: list[str]) -> tokenizers.Tokenizer:
    """Return Unigram behind NFKC, which makes several letters of one."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=900, special_tokens=SPECIALS, unk_token="[UNK]", show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return _framed(backend)


def every_tokenizer(texts: list[str], length: int) -> dict[str, Subword]:
    """Return a tokenizer of each sort, learnt from these texts."""

    def learnt(algorithm: Any, byte_fallback: bool = False) -> Subword:
        chosen = SubwordSettings(
            algorithm=algorithm,
            vocab_size=1200,
            byte_fallback=byte_fallback,
            max_length=length,
        )
        return Subword.make(chosen, None, texts, 7)

    return {
        "wordpiece": learnt("wordpiece"),
        "bpe": learnt("bpe"),
        "bpe with bytes": learnt("bpe", True),
        "unigram": learnt("unigram"),
        "unigram with bytes": learnt("unigram", True),
        "syllable": Syllable.make(
            SyllableSettings(vocab_size=300, byte_fallback=False, max_length=length), None, texts, 7
        ),
        "jamo": Jamo.make(JamoSettings(vocab_size=600, max_length=length), None, texts, 7),
        "byte-level": wrapped(_byte_level(texts), length),
        "dropping": wrapped(_dropping(texts), length),
        "folding": wrapped(_folding(texts), length),
    }


# ---------------------------------------------------------------- there and back


def trimmed(text: str, span: Span) -> Span:
    """Return a span without white space at its edges, which nothing stands for."""
    piece = text[span.start : span.end]
    left, right = len(piece) - len(piece.lstrip()), len(piece) - len(piece.rstrip())
    return Span(span.start + left, span.end - right, span.label)


def lost_entities(tokenizer: Subword, rows: list[EntitiesExample], task: Ner) -> list[Any]:
    """Return what did not come back as it was: (text, gold, found)."""
    schema, gold, found = measured(rows, task, tokenizer)
    wrong = []
    for row, each in zip(rows, found, strict=True):
        answers = task.answer(each, row, schema)["entities"]
        spans = tuple(Span(a["start"], a["end"], a["label"]) for a in answers)
        right = tuple(trimmed(row.text, span) for span in row.entities or ())
        texts = [row.text[span.start : span.end] for span in right]
        if spans != right or [a["text"] for a in answers] != texts:
            wrong.append((row.text, row.entities, answers))
    judged: Any = task.judge(gold, found, schema)
    assert wrong or judged.gold == judged.predicted
    return wrong


def lost_answers(tokenizer: Subword, rows: list[QuestionExample], task: Qa) -> list[Any]:
    """Return what did not come back as it was: (context, gold, found)."""
    schema, gold, found = measured(rows, task, tokenizer)
    wrong = []
    for row, each in zip(rows, found, strict=True):
        answer, (gold_span, *_) = task.answer(each, row, schema), row.answers or ()
        span = trimmed(row.context, gold_span)
        here = (answer["start"], answer["end"], answer["answer"])
        if here != (span.start, span.end, row.context[span.start : span.end]):
            wrong.append((row.context, span, answer))
    judged: Any = task.judge(gold, found, schema)
    assert wrong or [g[0] for g in judged.gold] == list(judged.predicted)
    return wrong


# ---------------------------------------------------------------- batches made by hand

TEXT = "김민수는 서울에 산다"
NFD = unicodedata.normalize("NFD", TEXT)
PLACES = [len(unicodedata.normalize("NFD", TEXT[:i])) for i in range(len(TEXT) + 1)]
"""Where each character of `TEXT` begins in `NFD`."""


def characters(text: str) -> Array:
    """Return the characters of the one window of a composed text."""
    return np.array([-1, *(i for i, c in enumerate(text) if not c.isspace())])


class Windows:
    """Encoded rows as a task's asker reads them."""

    def __init__(self, parts: list[Array], owners: list[int]) -> None:
        self.parts, self.owners = parts, owners

    def units(self, window: int) -> Array:
        return self.parts[window]


def batch(parts: list[Array]) -> Located:
    counts = np.array([len(part) for part in parts])
    nothing = np.zeros(int(counts.sum()), np.int64)
    return Located(np.zeros((len(parts), 1)), np.ones(len(parts)), None, nothing, nothing, counts)


def scored(parts: list[Array], outputs: int, seed: int = 3) -> tuple[Array, list[Window]]:
    """Return random scores of all units, and the same by window."""
    count = sum(map(len, parts))
    scores = np.random.default_rng(seed).normal(size=(count, outputs)).astype(np.float32)
    edges = np.cumsum([len(part) for part in parts])[:-1]
    return scores, list(zip(parts, np.split(scores, edges), strict=True))
