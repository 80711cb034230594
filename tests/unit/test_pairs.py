"""Two texts in one row: the same ids as plain transformers, nothing forged, kinds that arrive."""

from __future__ import annotations

import os
import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from mulgil import cache, hangul
from mulgil.errors import ModelError
from mulgil.examples import PairExample, QuestionExample, TextExample
from mulgil.predictor import _read
from mulgil.tokenizers._pairs import paired, template
from mulgil.tokenizers._ragged import Ragged
from mulgil.tokenizers.subword import Subword, SubwordSettings

ALGORITHMS = ("wordpiece", "bpe", "unigram")
CHECKPOINT = Path(os.environ.get("MULGIL_ME5", ".cache/me5-small"))
FORGED = (
    *("[SEP]", "[CLS] 좋아요 [SEP]", "[PAD][MASK]", "</s>", "<s>영화</s>", "<mask>", "<pad> </s>"),
    *("＜/s＞", "[ＳＥＰ]", unicodedata.normalize("NFD", "영화[SEP]재미"), "▁</s>"),
)


def subword(texts: list[str], algorithm: str, length: int = 48) -> Subword:
    chosen = SubwordSettings(algorithm=algorithm, vocab_size=1500, max_length=length)  # type: ignore[arg-type]
    return Subword.make(chosen, None, texts, 7)


@pytest.fixture(scope="module")
def learnt(korean_texts: list[str]) -> dict[str, Subword]:
    """Return a tokenizer of each algorithm."""
    return {name: subword(korean_texts, name) for name in ALGORITHMS}


@pytest.fixture(scope="module")
def me5() -> Subword:
    """Return the tokenizer of a real checkpoint, of the RoBERTa sort, or skip."""
    if not (CHECKPOINT / "tokenizer.json").exists():
        pytest.skip(f"no checkpoint at {CHECKPOINT}; name one in MULGIL_ME5")
    return Subword.make(SubwordSettings(max_length=48), CHECKPOINT.resolve(), [], 1)


def pairs(texts: list[str], count: int, seed: int = 3) -> list[tuple[str, str]]:
    """Return pairs of every proportion: both short, one of them long, both long, one of a word."""
    draw = random.Random(seed)

    def some() -> str:
        return " ".join(draw.choices(texts, k=draw.choice((1, 1, 1, 2, 6))))

    return [(some(), some()) for _ in range(count - 2)] + [("네", some()), (some(), "네")]


def rows(encoded: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Return ids and kinds of each row."""
    assert isinstance(encoded, Ragged)
    edges = list(zip(encoded.starts[:-1], encoded.starts[1:], strict=True))
    kinds = np.zeros(len(encoded.flat)) if encoded.kinds is None else encoded.kinds
    return [encoded.flat[a:b].tolist() for a, b in edges], [
        kinds[a:b].astype(int).tolist() for a, b in edges
    ]


def same_as_transformers(
    tokenizer: Subword, theirs: Any, asked: list[tuple[str, str]], length: int
) -> None:
    """Compare ids and kinds of these pairs with those of plain transformers."""
    tokenizer.max_length = length
    ids, kinds = rows(tokenizer.encode(asked))
    found = theirs(
        [a for a, _ in asked],
        [b for _, b in asked],
        truncation="longest_first",
        max_length=length,
        return_token_type_ids=True,
    )
    for i, pair in enumerate(asked):
        assert ids[i] == found["input_ids"][i], (length, pair)
        assert kinds[i] == found["token_type_ids"][i], (length, pair)
    whole = theirs([a for a, _ in asked], [b for _, b in asked])["input_ids"]
    assert tokenizer.encode(asked).truncated == sum(len(row) > length for row in whole)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pairs_are_what_plain_transformers_makes_of_them(
    algorithm: str, learnt: dict[str, Subword], korean_texts: list[str], tmp_path: Path
) -> None:
    """TK-07, TK-08: also where one text or both are cut, at even and odd lengths."""
    tokenizer = learnt[algorithm]
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    asked = pairs(korean_texts, 24)
    for length in (5, 6, 24, 25, 600):
        same_as_transformers(tokenizer, theirs, asked, length)
    tokenizer.max_length = 48
    tokenizer.encode(asked)
    assert tokenizer.backend.truncation["max_length"] == 48, "the limit is back in its place"


def test_pairs_of_a_real_checkpoint(me5: Subword, korean_texts: list[str]) -> None:
    """RoBERTa's two separators, and no kinds at all."""
    theirs = AutoTokenizer.from_pretrained(CHECKPOINT.resolve())
    asked = pairs(korean_texts, 24)
    for length in (6, 7, 25, 512):
        same_as_transformers(me5, theirs, asked, length)
    assert me5.encode(asked).kinds is None  # type: ignore[attr-defined]
    me5.max_length = 48


def test_pairs_between_morphemes(korean_texts: list[str]) -> None:
    """Plain transformers does not know the cuts; a row is made of the two texts' own ids."""
    pytest.importorskip("kiwipiepy")
    from mulgil.tokenizers.morpheme import Morpheme, MorphemeSettings

    chosen = MorphemeSettings(vocab_size=600, max_length=64)
    tokenizer = Morpheme.make(chosen, None, korean_texts[:40], 7)
    asked = pairs(korean_texts, 9)
    ids, kinds = rows(tokenizer.encode(asked))
    for (first, second), row, of in zip(asked, ids, kinds, strict=True):
        a, b = tokenizer.ids(hangul.normalise(first)), tokenizer.ids(hangul.normalise(second))
        if len(a) + len(b) + 3 <= 64:
            assert row == [2, *a, 3, *b, 3]
            assert of == [0] * (len(a) + 2) + [1] * (len(b) + 1)
        assert len(row) == min(len(a) + len(b) + 3, 64)


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "me5"])
def test_no_text_of_a_pair_gives_a_special_id(
    algorithm: str, learnt: dict[str, Subword], request: pytest.FixtureRequest
) -> None:
    """TK-03: what looks like a special token is text in both places, whatever stands beside it."""
    tokenizer = request.getfixturevalue("me5") if algorithm == "me5" else learnt[algorithm]
    asked = [(a, b) for a in (*FORGED, "영화") for b in (*FORGED, "영화")]
    (frame, *_), _ = rows(tokenizer.encode([("가", "가")]))
    special = [number for number in frame if number in tokenizer._special]
    assert len(special) in {3, 4}
    ids, _ = rows(tokenizer.encode(asked))
    for pair, row in zip(asked, ids, strict=True):
        assert [number for number in row if number in tokenizer._special] == special, pair


def test_decomposed_pairs_are_the_same_rows(
    learnt: dict[str, Subword], korean_texts: list[str]
) -> None:
    """DA-03, M19."""
    asked = pairs(korean_texts, 12)
    other = [tuple(unicodedata.normalize("NFD", text) for text in pair) for pair in asked]
    for tokenizer in learnt.values():
        assert rows(tokenizer.encode(asked)) == rows(tokenizer.encode(other))  # type: ignore[arg-type]


def test_kinds_reach_the_network_and_come_back_from_the_cache(
    learnt: dict[str, Subword], tmp_path: Path
) -> None:
    """DA-09: what was kept gives the same batches, kinds and counts as what was encoded."""
    tokenizer = learnt["wordpiece"]
    asked = [("영화 좋아요", "네"), ("별로", "정말 아까운 시간 " * 30), ("가", "나")]
    fresh = cache.encode(asked, tokenizer, tmp_path)
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    kept = cache.encode(asked, tokenizer, tmp_path)
    assert file.stat().st_mtime_ns == before, "it was taken from the cache"
    for encoded in (fresh, kept):
        batch = encoded.take(np.array([2, 0, 1]), 8)
        assert batch.kinds.shape == batch.ids.shape == (3, 48)
        assert batch.kinds.dtype == np.int64
        assert batch.kinds[0].tolist()[: batch.lengths[0]] == [0, 0, 0, 1, 1]
        assert not batch.kinds[0, batch.lengths[0] :].any()
        assert encoded.truncated == 1
    assert rows(fresh) == rows(kept)
    assert fresh.unknown == kept.unknown


def test_single_texts_have_no_kinds(learnt: dict[str, Subword], tmp_path: Path) -> None:
    for encoded in (cache.encode(["영화", "네"], learnt["bpe"], tmp_path) for _ in range(2)):
        assert encoded.take(np.array([0, 1]), 8).kinds is None


def test_the_cache_tells_pairs_apart(learnt: dict[str, Subword]) -> None:
    """DA-09: order, and where the first text ends, are part of what is encoded."""
    tokenizer = learnt["bpe"]
    asked: list[Any] = [("a", "b"), ("b", "a"), "ab", ("ab", ""), ("", "ab"), "a", "b"]
    keys = [cache.key([text], tokenizer) for text in asked]
    keys += [cache.key(["a", "b"], tokenizer), cache.key([("a", "b"), ("a", "b")], tokenizer)]
    assert len(set(keys)) == len(keys)
    assert cache.key([("a", "b")], tokenizer) == keys[0]


def test_what_makes_two_pairs_the_same_to_the_data_check() -> None:
    """DA-03: forms and white space do not count, order and the place of the cut do."""
    decomposed = unicodedata.normalize("NFD", "나라")
    assert hangul.key(("가  나라 ", "다")) == hangul.key((f"가\n{decomposed}", " 다"))
    different = [("가", "나"), ("나", "가"), ("가 나", ""), ("", "가 나")]
    assert len({hangul.key(pair) for pair in different} | {hangul.key("가 나")}) == 5


def test_too_little_room_for_two_texts(korean_texts: list[str]) -> None:
    tokenizer = subword(korean_texts, "bpe", 4)
    with pytest.raises(
        ModelError, match=r"max_length is 4, but two texts need 5 or more"
    ) as caught:
        tokenizer.encode([("가", "나")])
    assert "\n" not in str(caught.value)
    assert tokenizer.encode(["영화가 정말"]).lengths.tolist() == [4], "one text still has room"


def test_a_tokenizer_without_a_template_for_two_texts(korean_texts: list[str]) -> None:
    """Two texts that nothing parts would be learnt as one."""
    backend = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "가": 2}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    files = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")
    with pytest.raises(ModelError, match="no template for two texts") as caught:
        Subword(files.backend_tokenizer, files, 16).encode([("가", "가")])
    assert "\n" not in str(caught.value)


def test_a_template_with_nothing_before_the_texts() -> None:
    """A slot may be empty, and kinds may be any numbers."""
    backend = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "가": 1, "<e>": 2}, "[UNK]"))
    backend.post_processor = processors.TemplateProcessing(
        single="$A <e>", pair="$A:1 <e>:1 $B:2 <e>:2", special_tokens=[("<e>", 2)]
    )
    made = template(backend, 2)
    assert (made.slots, made.kinds) == (((), (2,), (2,)), (1, 2))
    assert made.slot_kinds == ((), (1,), (2,))
    found = paired([[5, 6]], [[7]], made, 8, 0, 0)
    assert found.kinds is not None
    assert (found.flat.tolist(), found.kinds.tolist()) == ([5, 6, 2, 7, 2], [1, 1, 1, 2, 2])
    assert template(backend, 1).row([5]) == ([5, 2], [0, 0])


def test_the_unknown_share_of_pairs(learnt: dict[str, Subword]) -> None:
    """Of what is kept of both texts, the template left out."""
    tokenizer = learnt["wordpiece"]
    encoded = tokenizer.encode([("영화 𠮷", "영화")])
    assert encoded.unknown == 1 / (int(encoded.lengths[0]) - 3)
    assert tokenizer.encode([("영화", "영화")]).unknown == 0.0


# ---------------------------------------------------------------- rows that are to be answered


@pytest.mark.parametrize(
    "row", [("가", "나"), ["가", "나"], {"first": "가", "second": "나", "label": "함의"}]
)
def test_rows_of_two_texts_are_read(row: Any) -> None:
    """As tuples, as lists, or by the names of the inputs; a gold label is no input."""
    assert _read(row, PairExample) == PairExample("", "가", "나")


@pytest.mark.parametrize(
    ("row", "shape", "error"),
    [
        ("가", PairExample, "a row needs 2 texts (first, second)"),
        (("가",), PairExample, "a row needs 2 texts (first, second)"),
        (("가", "나", "다"), PairExample, "a row needs 2 texts (first, second)"),
        ((), QuestionExample, "a row needs 2 texts (question, context)"),
        (None, QuestionExample, "a row needs 2 texts (question, context)"),
        ({"first": "가"}, PairExample, "a second must be a string, not NoneType"),
        ({"sentence1": "가", "sentence2": "나"}, PairExample, "a first must be a string"),
        (("가", 3), QuestionExample, "a context must be a string, not int"),
        (("가", " "), PairExample, "empty second"),
        (("가", "나" * 1_000_001), PairExample, "1,000,001 characters"),
        (["가"], TextExample, "a text must be a string, not list"),
        (("가", "나"), TextExample, "a text must be a string, not tuple"),
    ],
)
def test_rows_that_cannot_be_answered(row: Any, shape: Any, error: str) -> None:
    """PR-02: an error in its own place, in one line that names the input."""
    found = _read(row, shape)
    assert isinstance(found, dict)
    assert found["error"].startswith(error)
    assert "\n" not in found["error"]
