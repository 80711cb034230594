"""What `lora` and `prompt-tuning` keep of an encoder is what plain peft opens, and all of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
import transformers
from adapters_at_hand import METHODS, TOKENS, VARIANTS, batch, chosen, each_row, theirs, trained

from mulgil import evaluation, pipeline, recipe
from mulgil.errors import ModelError
from mulgil.flow import Array
from mulgil.models._heads import HEAD_FILE
from mulgil.predictor import Predictor

ADAPTER = "adapter_model.safetensors"
KINDS = [
    *(("bert", name) for name in METHODS),
    *(("bert-no-pooler", name) for name in METHODS),
    *(("roberta", name) for name in METHODS),
    *(("electra", name) for name in ("lora", "prefix", "prompt")),
    *(("distilbert", name) for name in ("lora", "p-tuning")),
]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def names(path: Path) -> dict[str, list[int]]:
    """Return the shapes of what a file of weights holds."""
    with safetensors.safe_open(path, framework="np") as file:
        return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def size(shapes: dict[str, list[int]]) -> int:
    return sum(int(np.prod(shape)) for shape in shapes.values())


def their_scores(base: Path, run: Path, inputs: Any, merged: bool = False) -> Array:
    """Return the scores of plain transformers and plain peft, row by row."""
    labels = json.loads((run / "result.json").read_text("utf-8"))["labels"]
    if not (run / "model" / HEAD_FILE).exists():
        more = {"num_labels": len(labels)}
        module = theirs("AutoModelForSequenceClassification", base, run, **more)
        module = module.merge_and_unload() if merged else module
        with torch.inference_mode():
            return torch.cat([module(**row).logits for row in each_row(module, inputs)]).numpy()
    module = theirs("AutoModel", base, run)
    head = safetensors.torch.load_file(run / "model" / HEAD_FILE)
    found = []
    for row in each_row(module, inputs):
        with torch.inference_mode():
            hidden = module(**row)[0][:, -row["input_ids"].shape[1] :]  # behind learnt vectors
        found.append(hidden.mean(1) @ head["weight"].T + head["bias"])
    return torch.cat(found).numpy()


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_plain_peft_gives_the_scores_of_a_run(
    kind: str, name: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """TK-07: three labels, the head with it; only what moved is kept, in model/ and on the way."""
    base = tiny_encoder[kind]
    before = digests(base)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run = trained(tmp_path, base, "classification", "encoder", name)
        predictor = Predictor(run)
    inputs = batch(predictor)
    scores = predictor.network.scores(inputs)
    assert np.abs(their_scores(base, run, inputs) - scores).max() < 1e-5
    assert np.ptp(scores, axis=0).max() > 1e-3
    if name == "lora" and kind != "bert-no-pooler":
        assert np.abs(their_scores(base, run, inputs, merged=True) - scores).max() < 1e-5
    assert digests(base) == before

    kept = names(run / "model" / ADAPTER)
    known = ("lora_A", "lora_B", "prompt_embeddings", "classifier")
    assert [n for n in kept if not any(word in n for word in known)] == []
    head = names(run / "model" / HEAD_FILE) if (run / "model" / HEAD_FILE).exists() else {}
    assert head or any("classifier" in n for n in kept)
    result = json.loads((run / "result.json").read_text("utf-8"))
    if name != "p-tuning":  # keeps the vectors, and not what made them
        assert size(kept) + size(head) == result["parameters"]["trainable"]
    whole = size(names(base / "model.safetensors"))
    assert size(kept) + size(head) < whole / 4
    assert {path.name for path in (run / "model").iterdir()} >= {"base.json", "adapter_config.json"}
    assert not (run / "model" / "model.safetensors").exists()
    for folder in (run / "checkpoints").glob("step-*"):
        arrays = names(folder / "arrays.safetensors")
        learnt = {n: shape for n, shape in arrays.items() if "random" not in n}
        assert size(learnt) < 3.2 * result["parameters"]["trainable"]


@pytest.mark.parametrize("name", ["lora", "prefix", "prompt"])
def test_plain_peft_gives_the_entities_of_a_run(
    name: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    base = tiny_encoder["bert"]
    run = trained(tmp_path, base, "ner", "encoder", name)
    predictor = Predictor(run)
    inputs: Any = batch(predictor)
    network: Any = predictor.network
    outputs, places = network.head.outputs, network.head.places
    more = {"num_labels": outputs * places}
    module = theirs("AutoModelForTokenClassification", base, run, **more)
    rows = []
    for i, row in enumerate(each_row(module, inputs)):
        length = row["input_ids"].shape[1]
        with torch.inference_mode():
            logits = module(**row).logits[0, -length:]
        units = inputs.tokens // inputs.ids.shape[1] == i
        tokens = torch.from_numpy(inputs.tokens[units] % inputs.ids.shape[1])
        which = torch.from_numpy(inputs.places[units]).clamp(max=places - 1)
        rows.append(logits.reshape(length, places, outputs)[tokens, which])
    scores = network.scores(inputs)
    assert np.abs(torch.cat(rows).numpy() - scores).max() < 1e-5
    assert len(scores) > 50


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["bert", "bert-no-pooler"])
def test_of_which_text_a_token_is_is_heeded(
    kind: str, name: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """Plain peft drops it for a bare body, with a warning; told past it, it gives our scores."""
    base = tiny_encoder[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run = trained(tmp_path, base, "nli", "encoder", name)
        predictor = Predictor(run)
        (answer,) = predictor.predict([("비가 온다", "날이 맑다")])
    assert "error" not in answer
    inputs: Any = batch(predictor)
    scores = predictor.network.scores(inputs)
    one = dataclasses.replace(inputs, kinds=np.zeros_like(inputs.kinds))
    assert np.abs(predictor.network.scores(one) - scores).max() > 1e-3
    if kind == "bert" or name == "lora":
        assert np.abs(their_scores(base, run, inputs) - scores).max() < 1e-5
        return
    module = theirs("AutoModel", base, run)
    head = safetensors.torch.load_file(run / "model" / HEAD_FILE)
    taken = 0 if name == "prefix" else TOKENS
    told: list[torch.Tensor] = []

    def tell(_: Any, args: Any, keywords: Any) -> Any:
        return args, {**keywords, "token_type_ids": told[-1]}

    module.base_model.register_forward_pre_hook(tell, with_kwargs=True)
    for row, score in zip(each_row(module, inputs), scores, strict=True):
        told.append(torch.nn.functional.pad(row.pop("token_type_ids"), (taken, 0)))
        with torch.inference_mode():
            hidden = module(**row)[0][:, taken:]
        wanted = hidden.mean(1) @ head["weight"].T + head["bias"]
        assert np.abs(wanted[0].numpy() - score).max() < 1e-5


# ---------------------------------------------------------------- heads


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("several", [False, True])
def test_the_head_comes_back_with_what_was_added(
    name: str,
    several: bool,
    tiny_encoder: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five labels, one or several of them a row: the same in memory and from the files."""
    path = tmp_path / "rows.jsonl"
    words = ["재미", "음악", "연기", "영상", "결말"]
    lines = []
    for i in range(80):
        label: Any = [words[i % 5], words[i % 3]][: 1 + (i % 3 != i % 5)]
        row = {"text": f"{words[i % 5]} 이야기 {i}번째", "label": label if several else label[0]}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), "utf-8")
    remembered: list[Array] = []
    keep = pipeline._keep

    def answer_and_keep(made: Any, network: Any, folder: Any) -> None:
        found = evaluation.measure(network, made.loaders.test, made.task, made.schema)
        remembered.append(np.asarray(found))
        keep(made, network, folder)

    monkeypatch.setattr(pipeline, "_keep", answer_and_keep)
    more = ["data.name=files", f"data.train={path}", f"task.multi_label={str(several).lower()}"]
    run = trained(tmp_path / "runs", tiny_encoder["bert"], "classification", "encoder", name, *more)
    texts = [
        json.loads(line)["text"]
        for line in (run / "predictions.jsonl").read_text("utf-8").splitlines()
    ]
    shares = Predictor(run).probabilities(texts)
    assert shares.shape == (12, 5)
    assert np.abs(shares - remembered[0]).max() < 1e-6


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_a_head_of_words_that_is_new_is_kept(
    kind: str, tiny_encoder: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masked words on a checkpoint without that head: drawn with the seed, it must be kept."""
    base = tmp_path / "base"
    transformers.AutoModel.from_pretrained(tiny_encoder[kind]).save_pretrained(base)
    for path in tiny_encoder[kind].glob("*token*"):
        shutil.copy(path, base)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"{i}번째 영화는 정말 재미있었다\n" for i in range(40)), "utf-8")
    remembered: list[Any] = []
    keep = pipeline._keep

    def answer_and_keep(made: Any, network: Any, folder: Any) -> None:
        inputs = next(iter(made.loaders.test.in_order())).inputs
        remembered.append((inputs, network.nats(inputs)[0]))
        keep(made, network, folder)

    monkeypatch.setattr(pipeline, "_keep", answer_and_keep)
    data = ["data.name=corpus", f"data.paths={corpus}", "data.test_share=0.2"]
    run = trained(tmp_path / "runs", base, "masked-lm", "encoder", "lora", *data)
    inputs, before = remembered[0]
    network: Any = Predictor(run).network
    assert np.abs(network.nats(inputs)[0] - before).max() < 1e-5
    module = theirs("AutoModelForMaskedLM", base, run)
    asked = [i for i, row in enumerate(inputs.targets) if (row >= 0).any()]
    found = []
    for i in asked:
        length = int(inputs.lengths[i])
        ids = torch.from_numpy(inputs.ids[i : i + 1, :length])
        targets = torch.from_numpy(inputs.targets[i, :length])
        with torch.inference_mode():
            logits = module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].double()
        chances = torch.log_softmax(logits, 1)[targets >= 0]
        found.append(-chances.gather(1, targets[targets >= 0][:, None])[:, 0])
    assert np.abs(torch.cat(found).numpy() - before).max() < 1e-5


# ---------------------------------------------------------------- what a run stands on


def test_a_base_that_is_another_or_gone_is_said_in_one_line(
    tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """CK-06: changed, replaced, moved away; a run itself may be moved, deeper or beside."""
    base = tmp_path / "base"
    shutil.copytree(tiny_encoder["bert"], base)
    run = trained(tmp_path / "runs", base, "classification", "encoder", "lora")
    want = Predictor(run).probabilities(["재미있다", "졸립다"])
    elsewhere = tmp_path / "elsewhere" / "copy"
    shutil.copytree(run, elsewhere)
    deeper = tmp_path / "a" / "b" / "c" / "copy"
    shutil.copytree(run, deeper)
    shutil.rmtree(run)
    assert np.array_equal(Predictor(deeper).probabilities(["재미있다", "졸립다"]), want)
    assert np.array_equal(Predictor(elsewhere).probabilities(["재미있다", "졸립다"]), want)

    weights = base / "model.safetensors"
    whole = weights.read_bytes()
    content = bytearray(whole)
    content[-5] ^= 1
    weights.write_bytes(content)
    line = refused(elsewhere)
    told = json.loads((elsewhere / "model" / "base.json").read_text("utf-8"))
    assert f"was made with {base} of weights {told['sha256'][:12]}" in line
    shutil.copy(tiny_encoder["roberta"] / "model.safetensors", weights)
    assert "but found" in refused(elsewhere)
    weights.unlink()
    assert "safetensors" in refused(elsewhere)
    weights.write_bytes(whole)
    assert np.array_equal(Predictor(elsewhere).probabilities(["재미있다", "졸립다"]), want)
    base.rename(tmp_path / "moved")
    for folder in (elsewhere, deeper):
        assert f"stands on {base}, which is not there" in refused(folder)


def refused(run: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Predictor(run)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", ["prefix", "lora"])
def test_a_run_says_what_it_stands_on(
    name: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    run = trained(tmp_path, tiny_encoder["bert"], "classification", "encoder", name)
    told = json.loads((run / "model" / "adapter_config.json").read_text("utf-8"))
    assert told["base_model_name_or_path"] == str(tiny_encoder["bert"])
    assert told["task_type"] == "SEQ_CLS"
    assert told["peft_type"] == {"prefix": "PREFIX_TUNING", "lora": "LORA"}[name]


def test_keys_where_none_are_taken_are_refused(
    tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="takes no keys and values") as caught:
        trained(tmp_path, tiny_encoder["distilbert"], "classification", "encoder", "prefix")
    assert 'set method.variant = "prompt"' in str(caught.value)


def test_the_recipe_of_a_run_is_that_of_full_but_for_the_method(
    tiny_encoder: dict[str, Path],
) -> None:
    """One line switches: everything else may stay as it is."""
    made = [chosen(tiny_encoder["bert"], "classification", "encoder", name) for name in VARIANTS]
    plain = recipe.read("sample-mini")
    assert plain.method.name == "full"
    assert {each.method.name for each in made} == {"prompt-tuning"}
    assert recipe.read("sample-mini", ["method.name=lora"]).method.name == "lora"
