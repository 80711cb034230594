"""Encoders: plain transformers opens a run and gives the same scores; what is unsafe is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from mulgil import pipeline, recipe
from mulgil.errors import ModelError, SettingError
from mulgil.flow import Array, Head
from mulgil.models._heads import HEAD_FILE
from mulgil.models._network import EncoderNetwork, MeanPooled
from mulgil.models.encoder import Encoder, EncoderSettings
from mulgil.predictor import Predictor
from mulgil.tokenizers.subword import Subword, SubwordSettings

OWN = ("bert", "roberta", "electra", "distilbert")
"""Checkpoints that keep their class's own head."""
ALL = (*OWN, "bert-no-pooler")
TEXTS = [
    "정말 재밌는 영화",
    "돈이 아깝다",
    "그저 그렇다. 한 번은 볼 만하지만 두 번은 아니다",
    "ㅋㅋ",
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def train(root: Path, folder: Path | None, *overrides: str, recipe_name: str = "finetune") -> Path:
    """Make a few training steps on rows of the sample and return the run folder."""
    chosen = [
        "name=run",
        "data.name=sample",
        "data.train_rows=48",
        "data.test_rows=8",
        "data.valid_share=0.02",
        "tokenizer.max_length=32",
        "trainer.epochs=2",
        "trainer.learning_rate=1e-3",
        "trainer.precision=fp32",
        *([f"model.pretrained={folder}"] if folder else []),
    ]
    return pipeline.run(recipe.read(recipe_name, [*chosen, *overrides]), root)


def opened(
    folder: Path, outputs: int = 3, precision: str = "fp32", **settings: Any
) -> tuple[Subword, EncoderNetwork]:
    """Open a checkpoint with a new head."""
    model = Encoder(EncoderSettings(pretrained=str(folder), **settings))
    tokenizer = Subword.make(SubwordSettings(max_length=32), model.source(), [], 1)
    network = model.build(tokenizer, Head("pool", outputs), precision, "cpu", 5)
    assert isinstance(network, EncoderNetwork)
    return tokenizer, network


def inputs(tokenizer: Any, texts: list[str] = TEXTS) -> Any:
    return tokenizer.encode(texts).take(np.arange(len(texts)), 8)


def theirs(folder: Path, texts: list[str] = TEXTS) -> Array:
    """Return the logits that plain transformers gives."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    batch = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        logits: Array = model(**batch).logits.numpy()
    return logits


# ---------------------------------------------------------------- interoperability


@pytest.mark.parametrize("name", OWN)
def test_plain_transformers_gives_the_same_scores(
    name: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """The contract that users see: a full fine-tune is a checkpoint like any other."""
    run = train(tmp_path, tiny_encoder[name])
    predictor = Predictor(run)
    ours = predictor.network.scores(inputs(predictor.tokenizer))
    assert np.abs(ours - theirs(run / "model")).max() < 1e-5
    assert ours.std() > 1e-3, "scores that are all alike would prove nothing"
    config = json.loads((run / "model" / "config.json").read_text("utf-8"))
    assert list(config["id2label"].values()) == ["긍정", "부정", "중립"], "EV-10: mapped by name"
    assert config["label2id"] == {"긍정": 0, "부정": 1, "중립": 2}
    before = safetensors.torch.load_file(tiny_encoder[name] / "model.safetensors")
    after = safetensors.torch.load_file(run / "model" / "model.safetensors")
    key = next(key for key in after if "layer.1." in key and key.endswith("weight"))
    old = before[key] if key in before else before[key.partition(".")[2]]
    assert not torch.equal(old, after[key]), "it was trained"


def test_a_fresh_encoder_is_opened_by_plain_transformers(tmp_path: Path) -> None:
    sizes = ["model.hidden=32", "model.layers=2", "model.heads=2", "model.positions=40"]
    run = train(tmp_path, None, *sizes, "tokenizer.vocab_size=1200", recipe_name="sample-encoder")
    predictor = Predictor(run)
    ours = predictor.network.scores(inputs(predictor.tokenizer))
    assert np.abs(ours - theirs(run / "model")).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "settings"), [("bert-no-pooler", {}), ("bert", {"pooling": "mean"})]
)
def test_without_a_pooler_the_mean_of_the_tokens_is_taken(
    name: str, settings: dict[str, str], tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """A pooler of random weights would cost accuracy; body and head are opened again the same."""
    overrides = [f"model.{key}={value}" for key, value in settings.items()]
    run = train(tmp_path, tiny_encoder[name], *overrides)
    assert (run / "model" / HEAD_FILE).exists()
    predictor = Predictor(run)
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    body = AutoModel.from_pretrained(run / "model").eval()
    head = safetensors.torch.load_file(run / "model" / HEAD_FILE)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        hidden = body(**batch)[0]
    mask = batch["attention_mask"][..., None].float()
    mean = (hidden * mask).sum(1) / mask.sum(1)
    expected = mean @ head["weight"].T + head["bias"]
    found = predictor.network.scores(inputs(predictor.tokenizer))
    assert np.abs(found - expected.numpy()).max() < 1e-5
    assert (
        np.abs(predictor.network.features(inputs(predictor.tokenizer)) - mean.numpy()).max() < 1e-5
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("method", ["full", "linear-probe"])
def test_a_saved_run_answers_as_it_did(
    name: str, method: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """TK-07, PR-04: what result.json says of the test rows is what the opened run says."""
    run = train(tmp_path, tiny_encoder[name], f"method.name={method}")
    lines = (run / "predictions.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    answers = list(Predictor(run).predict([row["text"] for row in rows]))
    for row, answer in zip(rows, answers, strict=True):
        assert answer["label"] == row["predicted"]
        assert answer["probabilities"] == pytest.approx(row["probabilities"], abs=2e-6)


# ---------------------------------------------------------------- the network


@pytest.mark.parametrize("name", ALL)
def test_the_fast_path_is_the_plain_path(name: str, tiny_encoder: dict[str, Path]) -> None:
    tokenizer, network = opened(tiny_encoder[name])
    assert (network._fast is not None) == (name in {"bert", "bert-no-pooler", "roberta"})
    network.module.eval()
    with torch.no_grad():
        fast, plain = network.forward(inputs(tokenizer)), network._plain(inputs(tokenizer))
    assert float((fast - plain).abs().max()) < 1e-5
    assert float(plain.std()) > 1e-3


@pytest.mark.parametrize("name", ALL)
def test_neither_padding_nor_neighbours_change_a_score(
    name: str, tiny_encoder: dict[str, Path]
) -> None:
    """EV-02, EV-05, PR-05: alone, in a batch, in a wider batch, and twice: the same."""
    tokenizer, network = opened(tiny_encoder[name])
    together = network.scores(inputs(tokenizer))
    assert network.scores(inputs(tokenizer)).tolist() == together.tolist()
    for i, text in enumerate(TEXTS):
        alone = network.scores(inputs(tokenizer, [text]))
        assert np.abs(alone[0] - together[i]).max() < 1e-5
    wide = tokenizer.encode(TEXTS).take(np.arange(len(TEXTS)), 32)
    assert np.abs(network.scores(wide) - together).max() < 1e-5


def test_the_seed_decides_the_new_weights(tiny_encoder: dict[str, Path]) -> None:
    """TR-07."""
    model = Encoder(EncoderSettings(pretrained=str(tiny_encoder["bert"])))
    tokenizer = Subword.make(SubwordSettings(), model.source(), [], 1)
    heads = []
    for seed in (1, 1, 2):
        network = model.build(tokenizer, Head("pool", 3), "fp32", "cpu", seed)
        assert isinstance(network, EncoderNetwork)
        heads.append(network.module.classifier.weight.tolist())
    assert heads[0] == heads[1] != heads[2]


@pytest.mark.parametrize("name", OWN)
def test_a_solved_head_needs_the_mean(name: str, tiny_encoder: dict[str, Path]) -> None:
    _, network = opened(tiny_encoder[name])
    with pytest.raises(ModelError, match="needs the mean"):
        network.set_head(np.zeros((3, 32)), np.zeros(3))


def test_lengths_that_the_positions_allow(tiny_encoder: dict[str, Path], tmp_path: Path) -> None:
    """RoBERTa's positions begin behind its padding id; a longer row is refused before the work."""
    for name, longest in (("bert", 80), ("roberta", 78), ("distilbert", 80)):
        model = Encoder(EncoderSettings(pretrained=str(tiny_encoder[name])))
        assert model.longest() == longest
    with pytest.raises(SettingError, match=r"max_length is 79, but the model reads 78 tokens"):
        train(tmp_path, tiny_encoder["roberta"], "tokenizer.max_length=79")
    run = train(tmp_path, tiny_encoder["roberta"], "name=longest", "tokenizer.max_length=78")
    (answer,) = Predictor(run).predict(["영화 " * 500])
    assert "label" in answer


# ---------------------------------------------------------------- precision


def rounded(weights: dict[str, torch.Tensor]) -> float:
    """Return the share of weights that bf16 holds exactly."""
    flat = torch.cat([w.flatten() for w in weights.values() if w.ndim == 2])
    return float((flat.bfloat16().float() == flat).float().mean())


@pytest.mark.parametrize("name", ["bert", "bert-no-pooler", "distilbert"])
def test_bf16_trains_fp32_masters(name: str, tiny_encoder: dict[str, Path], tmp_path: Path) -> None:
    run = train(tmp_path, tiny_encoder[name], "trainer.precision=bf16")
    weights = safetensors.torch.load_file(run / "model" / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float32}
    assert rounded(weights) < 0.05
    assert json.loads((run / "provenance.json").read_text("utf-8"))["precision"] == "bf16"


def test_a_frozen_body_is_kept_as_it_was(tiny_encoder: dict[str, Path], tmp_path: Path) -> None:
    """A probe computes in bf16, but the run's copy of the checkpoint is not rounded."""
    run = train(
        tmp_path, tiny_encoder["roberta"], "trainer.precision=bf16", "method.name=linear-probe"
    )
    before = safetensors.torch.load_file(tiny_encoder["roberta"] / "model.safetensors")
    after = safetensors.torch.load_file(run / "model" / "model.safetensors")
    assert after
    for key, weight in after.items():
        assert torch.equal(weight, before[f"roberta.{key}"]), key
    head = safetensors.torch.load_file(run / "model" / HEAD_FILE)
    assert head["weight"].dtype == torch.float32
    assert rounded(head) < 0.05


@pytest.mark.parametrize("name", ["bert", "bert-no-pooler", "electra"])
def test_bf16_answers_are_close(name: str, tiny_encoder: dict[str, Path]) -> None:
    tokenizer, network = opened(tiny_encoder[name])
    exact = network.scores(inputs(tokenizer))
    tokenizer, network = opened(tiny_encoder[name], precision="bf16")
    found = network.scores(inputs(tokenizer))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < 0.1


def test_saving_does_not_round_what_has_answered(
    tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    _, network = opened(tiny_encoder["bert"], precision="bf16")
    tokenizer, _ = opened(tiny_encoder["bert"])
    network.scores(inputs(tokenizer))
    network.save(tmp_path, ["가", "나", "다"])
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    before = safetensors.torch.load_file(tiny_encoder["bert"] / "model.safetensors")
    assert all(torch.equal(weights[f"bert.{key}"], weight) for key, weight in before.items())


# ---------------------------------------------------------------- what is refused


Damage = Callable[[Path], None]


def edit(**changes: Any) -> Damage:
    """Return a damage that changes config.json."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes))

    return change


def only_renamed(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def reweigh(change: Callable[[dict[str, torch.Tensor]], None]) -> Damage:
    def rewrite(folder: Path) -> None:
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        change(weights)
        safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return rewrite


def lose_a_layer(weights: dict[str, torch.Tensor]) -> None:
    for key in [key for key in weights if "layer.1." in key]:
        del weights[key]


def fewer_rows(weights: dict[str, torch.Tensor]) -> None:
    key = next(key for key in weights if "word_embeddings" in key)
    weights[key] = weights[key][:-9].clone()


def other_names(weights: dict[str, torch.Tensor]) -> None:
    for key in list(weights):
        weights[f"strange.{key}"] = weights.pop(key)


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


REFUSED: dict[str, tuple[Damage, str]] = {
    "code of its own": (edit(auto_map={"AutoModel": "evil.Evil"}), r"code of its own \(auto_map"),
    "an empty auto_map": (edit(auto_map={}), r"code of its own \(auto_map"),
    "a .bin that torch never wrote": (only_renamed, "not written by torch.save"),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        r"neither \*\.safetensors nor pytorch_model",
    ),
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "a damaged config": (lambda f: (f / "config.json").write_text("{"), "cannot be read"),  # type: ignore[arg-type, return-value]
    "a config of another kind": (
        lambda f: (f / "config.json").write_text("[]"),
        "not a model's config",
    ),  # type: ignore[arg-type, return-value]
    "an unknown architecture": (edit(model_type="nothing"), "cannot be opened"),
    "a smaller embedding table": (edit(vocab_size=500), "tokens, its embedding table"),
    "a larger embedding table": (edit(vocab_size=5000), "do not fit its config.json"),
    "more layers than weights": (edit(num_hidden_layers=3), "do not fit its config.json"),
    "a missing layer": (reweigh(lose_a_layer), "do not fit its config.json"),
    "fewer rows": (reweigh(fewer_rows), "do not fit its config.json"),
    "weights of another model": (reweigh(other_names), "do not fit its config.json"),
    "a cut file": (cut_short, "cannot be opened"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", ["bert", "bert-no-pooler", "roberta"])
def test_checkpoints_that_are_refused(
    kind: str, name: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """CF-06, CK-11, TK-06: nothing is run, unpickled or filled up with random weights."""
    folder, canary = tmp_path / "checkpoint", tmp_path / "ran"
    shutil.copytree(tiny_encoder[name], folder)
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Evil: ...\n")
    damage, said = REFUSED[kind]
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)
    assert "checkpoint" in str(caught.value)
    assert not canary.exists()


def test_a_checkpoint_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        opened(tmp_path / "nowhere")


def test_a_hub_id_without_a_network_is_refused_in_one_line() -> None:
    """DL-13: offline, and not in the hub's cache."""
    model = Encoder(EncoderSettings(pretrained="klue/no-such-model"))
    with pytest.raises(ModelError, match="klue/no-such-model") as caught:
        model.source()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_head_of_another_size_is_replaced(tiny_encoder: dict[str, Path], tmp_path: Path) -> None:
    """A checkpoint that was tuned for other labels lends its body; its head starts anew."""
    run = train(tmp_path, tiny_encoder["roberta"])
    tokenizer, network = opened(run / "model", outputs=5)
    assert network.scores(inputs(tokenizer)).shape == (4, 5)
    assert not isinstance(network.module, MeanPooled)


@pytest.mark.parametrize(
    "key", ["classifier.out_proj.weight", "roberta.encoder.layer.1.output.dense.bias"]
)
def test_a_run_that_lost_a_weight_is_refused(
    key: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """RS-07: of a trained model not even the head may be missing."""
    run = train(tmp_path, tiny_encoder["roberta"])
    reweigh(lambda weights: weights.__delitem__(key))(run / "model")
    with pytest.raises(ModelError, match=key.replace(".", r"\.")):
        Encoder.load(run / "model", Head("pool", 3), "fp32", "cpu")
