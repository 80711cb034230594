"""Choices of models that read both ways, against a plain forward pass of transformers for each.

Encoders with a masked-LM head, encoder-decoders, and classifiers of pairs; tiny ones, made here.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from seq2seq_at_hand import ALL, WORDS, checkpoints, theirs
from seq2seq_at_hand import tokenizer as numbers

from mulgil.errors import ModelError
from mulgil.flow import Array, Head
from mulgil.models import _masked_choosing, _seq2seq_choosing, _together
from mulgil.models.encoder import Encoder, EncoderSettings
from mulgil.models.entailment import Entailment, EntailmentSettings
from mulgil.models.seq2seq import Seq2Seq, Seq2SeqSettings
from mulgil.tokenizers.subword import Subword, SubwordSettings

HEAD = Head("choose", 5)
CHOICES = [[5], [6, 7], [5, 8, 9], [40, 41], [88]]
END = 2
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}


def some(count: int, seed: int) -> list[int]:
    found: list[int] = np.random.default_rng(seed).integers(3, WORDS, count).tolist()
    return found


QUERIES = [some(n, 10 + n) for n in (9, 1, 3, 14, 2, 7)]


def chance(logits: Any, wanted: list[int]) -> float:
    """Return the sum of ln p of tokens, each at its place of logits [n, V]."""
    logs = torch.log_softmax(logits.double(), 1)
    return sum(float(logs[i, token]) for i, token in enumerate(wanted))


# ---------------------------------------------------------------- encoder-decoders


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return checkpoints(tmp_path_factory.mktemp("two-sides"))


def two_sides(folder: Path, precision: str = "fp32") -> Any:
    tokenizer = numbers()
    tokenizer.around = lambda texts: SimpleNamespace(slots=((), (END,)))
    model = Seq2Seq(Seq2SeqSettings(pretrained=str(folder)))
    return model.build(tokenizer, HEAD, precision, "cpu", 3)


def written(module: Any, begins: int, prefix: list[int], queries: list[list[int]]) -> Array:
    """Return ln p [queries, choices], a whole pass of both sides for each."""
    found = np.empty((len(queries), len(CHOICES)))
    for i, query in enumerate(queries):
        for j, choice in enumerate(CHOICES):
            with torch.no_grad():
                logits = module(
                    input_ids=torch.tensor([[*prefix, *query, END]]),
                    decoder_input_ids=torch.tensor([[begins, *choice[:-1]]]),
                ).logits[0]
            found[i, j] = chance(logits, choice)
    return found


@pytest.mark.parametrize("name", ALL)
def test_an_encoder_decoder_chooses_as_a_plain_forward_pass(
    name: str, folders: dict[str, Path]
) -> None:
    """EV-07: rows of 1 to 14 tokens, choices of 1 to 3; the end token stands behind each row."""
    network, prefix = two_sides(folders[name]), some(4, 1)
    found = network.choose(prefix, QUERIES, CHOICES)
    exact = written(theirs(folders[name]), network.begins, prefix, QUERIES)
    assert found.dtype == np.float64
    assert np.abs(found - exact).max() < 1e-4
    assert exact.std(0).min() > 1e-3  # rows differ: the check can fail
    without = written(theirs(folders[name]), network.begins, prefix[1:], QUERIES)
    assert np.abs(found - without).max() > 1e-3


def test_the_encoder_runs_once_a_query_and_no_batch_changes_a_number(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = two_sides(folders["t5"])
    rows: list[int] = []
    encoder = network.module.get_encoder()
    real = encoder.forward

    def forward(*args: Any, **more: Any) -> Any:
        rows.append(len(more["input_ids"]))
        return real(*args, **more)

    monkeypatch.setattr(encoder, "forward", forward)
    whole = network.choose([], QUERIES, CHOICES)
    assert rows == [len(QUERIES)]
    monkeypatch.setattr(_together, "TOKENS", 20)
    assert np.abs(network.choose([], QUERIES, CHOICES) - whole).max() < 2e-5
    assert len(rows) > 3
    assert sum(rows) == 2 * len(QUERIES)
    monkeypatch.setattr(_seq2seq_choosing, "_SCORES", 1)
    assert np.abs(network.choose([], QUERIES, CHOICES) - whole).max() < 2e-5
    assert rows[-len(QUERIES) :] == [1] * len(QUERIES)
    assert network.choose([], [], CHOICES).shape == (0, len(CHOICES))


def test_bf16_is_near(folders: dict[str, Path]) -> None:
    exact = written(theirs(folders["t5"]), 0, [], QUERIES)
    found = two_sides(folders["t5"], "bf16").choose([], QUERIES, CHOICES)
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


# ---------------------------------------------------------------- encoders

TEXTS = ("음악만 기억난다", "졸다가 나왔다", "두 번 봐도 재미있다, 정말로", "배우가 아깝다")


@pytest.fixture(scope="module")
def spelt(korean_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    chosen = SubwordSettings(vocab_size=400, max_length=40)
    Subword.make(chosen, None, [*korean_texts[:300], *TEXTS * 3], 1).save(folder)
    return folder


def made(kind: str, head: str, spelt: Path, folder: Path, **more: Any) -> Subword:
    """Write a tiny checkpoint with random weights and this tokenizer; return that."""
    tokenizer = Subword.load(spelt)
    torch.manual_seed(4)
    values = SIZES | {"vocab_size": tokenizer.size, "pad_token_id": tokenizer.pad} | more
    if kind == "Electra":
        values |= {"embedding_size": 16}
    if kind == "Roberta":
        values["max_position_embeddings"] += tokenizer.pad + 1
        values["type_vocab_size"] = 1
    config = getattr(transformers, f"{kind}Config")(**values)
    module = getattr(transformers, f"{kind}For{head}")(config)
    for name, weight in module.named_parameters():
        if name.endswith("bias"):  # what starts as zeros, checkpoints have learnt
            torch.nn.init.normal_(weight, std=0.3)
    module.save_pretrained(folder)
    tokenizer.save(folder)
    return tokenizer


def encoder(folder: Path, tokenizer: Any, precision: str = "fp32") -> Any:
    model = Encoder(EncoderSettings(pretrained=str(folder)))
    return model.build(tokenizer, HEAD, precision, "cpu", 3)


def filled(folder: Path, tokenizer: Any, rows: list[list[int]], choices: list[list[int]]) -> Array:
    """Return ln p [rows, choices] at masks behind each row, by hand."""
    module = transformers.AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    special = tokenizer.special_ids
    found = np.empty((len(rows), len(choices)))
    for i, row in enumerate(rows):
        for j, choice in enumerate(choices):
            ids = [*row, *[special["mask"]] * len(choice), special["sep"]]
            with torch.no_grad():
                logits = module(input_ids=torch.tensor([ids])).logits[0]
            found[i, j] = chance(logits[len(row) : len(row) + len(choice)], choice)
    return found


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "Electra", "DistilBert"])
def test_an_encoder_fills_blanks_as_a_plain_forward_pass(
    kind: str, spelt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EV-07: packed or as transformers wrote it; choices of one to three tokens."""
    tokenizer = made(kind, "MaskedLM", spelt, tmp_path)
    network = encoder(tmp_path, tokenizer)
    prefix = [*tokenizer.opening(), *tokenizer.segment("감정을 고르시오.")]
    queries = [tokenizer.segment(f"리뷰: {text}\n감정:") for text in TEXTS]
    exact = filled(tmp_path, tokenizer, [[*prefix, *query] for query in queries], CHOICES)
    found = network.choose(prefix, queries, CHOICES)
    assert found.dtype == np.float64
    assert np.abs(found - exact).max() < 1e-4
    assert exact.std(0).min() > 1e-3
    monkeypatch.setattr(_together, "TOKENS", 30)
    assert np.abs(network.choose(prefix, queries, CHOICES) - found).max() < 2e-5
    monkeypatch.setattr(_masked_choosing, "_SCORES", 1)
    assert np.abs(network.choose(prefix, queries, CHOICES) - found).max() < 2e-5
    assert network.choose(prefix, [], CHOICES).shape == (0, len(CHOICES))


def test_a_prompt_that_fills_the_model_loses_its_front_alone(spelt: Path, tmp_path: Path) -> None:
    """EV-06: nothing stands in a place that the model has not; the question's end is whole."""
    tokenizer = made("Bert", "MaskedLM", spelt, tmp_path, max_position_embeddings=16)
    network, before = encoder(tmp_path, tokenizer), tokenizer.opening()
    query = some(14, 3)
    exact = filled(tmp_path, tokenizer, [[*before, *query[1:]]], [[5]])
    cut = filled(tmp_path, tokenizer, [[*before, *query[2:]]], [[6, 7]])
    found = network.choose(before, [query], [[5], [6, 7]])
    assert np.abs(found - np.hstack([exact, cut])).max() < 1e-4


@pytest.mark.parametrize(("kind", "head"), [("Bert", "SequenceClassification"), ("Electra", "")])
def test_a_fresh_head_is_not_asked(kind: str, head: str, spelt: Path, tmp_path: Path) -> None:
    """What transformers would fill with random weights: one line, and what is missing."""
    tokenizer = made(kind, head or "PreTraining", spelt, tmp_path)
    with pytest.raises(ModelError, match=r"has no masked-LM head \(\S+ is missing\)") as caught:
        encoder(tmp_path, tokenizer)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="a fresh encoder has learnt nothing"):
        Encoder(EncoderSettings()).build(tokenizer, HEAD, "fp32", "cpu", 3)


def test_a_tokenizer_without_a_mask_is_refused(spelt: Path, tmp_path: Path) -> None:
    tokenizer = made("Bert", "MaskedLM", spelt, tmp_path)
    without = {role: n for role, n in tokenizer.special_ids.items() if role != "mask"}
    other = SimpleNamespace(size=tokenizer.size, special_ids=without, around=tokenizer.around)
    with pytest.raises(ModelError, match="has no mask token"):
        encoder(tmp_path, other)


# ---------------------------------------------------------------- entailment

NAMES = {0: "CONTRADICTION", 1: "neutral", 2: "Entailment"}
LABELS = ["긍정", "아주 부정적인 느낌", "음악"]


def inferring(folder: Path, spelt: Path, kind: str = "Bert", names: Any = None) -> Any:
    return made(kind, "SequenceClassification", spelt, folder, id2label=names or NAMES)


def judged(folder: Path, tokenizer: Any) -> Any:
    model = Entailment(EntailmentSettings(pretrained=str(folder)))
    return model.build(tokenizer, HEAD, "fp32", "cpu", 3)


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "Electra"])
@pytest.mark.parametrize("ending", ["\n이 글의 느낌은", " (리뷰)\n이 글의 느낌은", "\n"])
def test_entailment_is_that_of_the_checkpoints_own_pairs(
    kind: str, ending: str, spelt: Path, tmp_path: Path
) -> None:
    """By hand: the checkpoint's tokenizer makes the pair, its classifier says what follows."""
    tokenizer = inferring(tmp_path, spelt, kind)
    texts = [*TEXTS, "첫 줄\n둘째 줄", "[SEP] 라고 쓴 글", ""]
    module = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    between, _, line = ending.rpartition("\n")
    exact = np.empty((len(texts), len(LABELS)))
    for i, text in enumerate(texts):
        for j, label in enumerate(LABELS):
            pair = theirs(
                text + between,
                f"{line} {label}",
                return_tensors="pt",
                return_token_type_ids=kind != "Roberta",  # it has no kinds of tokens
                split_special_tokens=True,  # "[SEP]" in a text is text
            )
            with torch.no_grad():
                exact[i, j] = chance(module(**pair).logits, [2])
    questions = tokenizer.asked([(text, ending) for text in texts])
    words = [tokenizer.segment(f" {label}") for label in LABELS]
    found = judged(tmp_path, tokenizer).choose(
        tokenizer.opening(), questions.take(np.arange(len(texts)), 8), words
    )
    assert np.abs(found - exact).max() < 1e-4
    assert exact.std(0).min() > 1e-3
    assert exact.std(1).min() > 1e-3


@pytest.mark.parametrize("wrong", ["instruction", "example", "one line"])
def test_what_no_pair_has_room_for_is_refused(wrong: str, spelt: Path, tmp_path: Path) -> None:
    tokenizer = inferring(tmp_path, spelt)
    ending = "\n느낌은" if wrong != "one line" else " 느낌은"
    (query,) = tokenizer.asked([(TEXTS[0], ending)]).segments
    more, prefix = tokenizer.segment("고르시오."), tokenizer.opening()
    network = judged(tmp_path, tokenizer)
    rule = "no line break stands behind" if wrong == "one line" else "take method zero-shot"
    with pytest.raises(ModelError, match=rule) as caught:
        network.choose(
            [*prefix, *more] if wrong == "instruction" else prefix,
            [more + query if wrong == "example" else query],  # type: ignore[operator]
            [[5], [6]],
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "seen"),
    [({0: "모순", 1: "중립", 2: "함의"}, "모순, 중립, 함의"), ({0: "a\nb"}, r"a\\nb")],
)
def test_a_checkpoint_that_names_no_entailment_is_refused(
    names: Any, seen: str, spelt: Path, tmp_path: Path
) -> None:
    """EV-10: labels are found by their names, never by their order."""
    inferring(tmp_path, spelt, names=names)
    with pytest.raises(ModelError, match=rf"its labels: {seen}\)") as caught:
        Entailment(EntailmentSettings(pretrained=str(tmp_path))).source()
    assert "\n" not in str(caught.value)


def test_the_label_is_found_whatever_its_number(spelt: Path, tmp_path: Path) -> None:
    """EV-10: the same weights with the names in another order give another label's score."""
    tokenizer = inferring(tmp_path, spelt)
    questions = tokenizer.asked([(text, "\n느낌은") for text in TEXTS]).segments
    words = [tokenizer.segment(f" {label}") for label in LABELS]
    total = np.zeros((len(TEXTS), len(LABELS)))
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    for place in range(3):
        names = {str(n): "entailment" if n == place else f"other {n}" for n in range(3)}
        changed = config | {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
        (tmp_path / "config.json").write_text(json.dumps(changed), encoding="utf-8")
        scores = judged(tmp_path, tokenizer).choose(tokenizer.opening(), questions, words)
        total += np.exp(scores)
    assert np.abs(total - 1).max() < 1e-5


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "unigram"])
def test_a_word_behind_a_space_has_the_tokens_that_it_has_in_a_text(
    algorithm: Any, korean_texts: list[str]
) -> None:
    """TK-07: where a text's beginning is marked as a space is, the mark does not come twice."""
    chosen = SubwordSettings(vocab_size=2000, algorithm=algorithm)
    tokenizer = Subword.make(chosen, None, korean_texts[:300], 1)
    whole = tokenizer.segment("리뷰 느낌: 긍정")
    assert whole == tokenizer.segment("리뷰 느낌:") + tokenizer.segment(" 긍정")
    assert tokenizer.segment(" ") == tokenizer.ids(" ")


def test_a_space_that_is_a_token_by_itself_stays() -> None:
    """Bytes: without a merge of space and letter, a space begins a word and none begins a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: number for number, letter in enumerate(["<pad>", *letters])}
    backend = Tokenizer(models.BPE(vocab=words, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    files = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>")
    tokenizer = Subword(files.backend_tokenizer, files, 40)
    assert tokenizer.segment(" 가") == [words["Ġ"], *tokenizer.segment("가")]


def test_a_model_must_be_given() -> None:
    with pytest.raises(ModelError, match=r"model\.pretrained is missing"):
        Entailment(EntailmentSettings()).source()
    with pytest.raises(ModelError, match="open it with the run's recipe"):
        Entailment.load(Path("x"), HEAD, "fp32", "cpu")
