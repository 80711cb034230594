"""What `mulgil export` writes is what plain transformers opens, and it answers as the run does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from adapters_at_hand import batch, checkpoint, each_row, nats, trained

import mulgil
from mulgil import api, exporting, storage
from mulgil.errors import MulgilError
from mulgil.models._heads import HEAD_FILE
from mulgil.predictor import Predictor

Made = Callable[..., Path]


@pytest.fixture(scope="module")
def made(tiny_encoder: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return what gives the run of a checkpoint, a task and a method; each is made once."""
    home = tmp_path_factory.mktemp("runs")
    known: dict[str, Path] = {}

    def make(kind: str, task: str, name: str, *more: str) -> Path:
        key = f"{kind}-{task}-{name}"
        if key in known:
            return known[key]
        model = {"gpt2": "decoder", "t5": "seq2seq"}.get(kind, "encoder")
        base = tiny_encoder.get(kind) or home / kind
        if model != "encoder" and not base.exists():
            checkpoint(kind, tiny_encoder["bert"], base)
        # `trained` says the method first; what comes later wins.
        chosen = [] if name in {"lora", "prefix"} else [f"method.name={name}"]
        if chosen:
            more = (*more, *chosen)
        known[key] = trained_as(home / key, base, task, model, name, *more)
        return known[key]

    return make


def trained_as(home: Path, base: Path, task: str, model: str, name: str, *more: str) -> Path:
    if name in {"lora", "prefix"}:
        return trained(home, base, task, model, name, *more)
    from mulgil import pipeline, recipe

    words = [
        *("name=run", f"task.name={task}", f"model.name={model}", f"model.pretrained={base}"),
        *("data.train_rows=40", "data.test_rows=12", "data.valid_share=0.03"),
        *("data.test_share=0.25", "tokenizer.max_length=40", "trainer.epochs=2"),
        *("trainer.learning_rate=1e-3", "trainer.precision=bf16", *more),
    ]
    return pipeline.run(recipe.read("sample-tfidf", words), home)


def plainly(family: str, folder: Path) -> Any:
    opened = getattr(transformers, family).from_pretrained(folder, dtype=torch.float32)
    return opened.eval()


def digest(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shown(folder: Path) -> str:
    """Run the code of an export's README.md in its folder; return what it printed."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.S)
    said, before = io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(code, "README.md", "exec"), {})
    finally:
        os.chdir(before)
    return said.getvalue()


TEXT = "배송이 빨라서 좋아요"


# ---------------------------------------------------------------- it answers as the run does


@pytest.mark.parametrize(
    ("kind", "name"),
    [("bert", "lora"), ("roberta", "lora"), ("distilbert", "full"), ("gpt2", "lora")],
)
def test_labels(kind: str, name: str, made: Made, tmp_path: Path) -> None:
    """EX-02: weights in one file, label names and tokenizer with them; no adapter is left."""
    run, out = made(kind, "classification", name), tmp_path / "out"
    told = mulgil.export(run, out)
    assert (told["rows"], told["figure"]) == (12, "probabilities")
    assert told["difference"] < 1e-5
    module = plainly("AutoModelForSequenceClassification", out)
    labels = json.loads((run / "schema.json").read_text("utf-8"))["labels"]
    assert list(module.config.id2label.values()) == labels
    predictor = Predictor(run)
    inputs = batch(predictor)
    with torch.inference_mode():
        theirs = torch.cat([module(**row).logits for row in each_row(module, inputs)]).numpy()
    scores = predictor.network.scores(inputs)
    assert np.abs(theirs - scores).max() < (1e-5 if name == "lora" else 0.1)  # the run is in bf16
    assert np.ptp(scores, axis=0).max() > 1e-3
    assert not list(out.glob("adapter*"))
    assert not [path for path in out.iterdir() if b"/pytest-" in path.read_bytes()], "no places"
    answer = eval_one(shown(out))
    (ours,) = predictor.predict([TEXT])
    assert answer == pytest.approx(ours["probabilities"], abs=1e-5 if name == "lora" else 0.02)
    storage.verify_folder(out)


def eval_one(text: str) -> Any:
    """Read what a line of README.md printed."""
    return json.loads(text.replace("'", '"'))


@pytest.mark.parametrize("name", ["full", "linear-probe", "lora"])
def test_a_head_on_the_mean_lies_beside_the_body(name: str, made: Made, tmp_path: Path) -> None:
    kind = "bert" if name == "linear-probe" else "bert-no-pooler"
    run, out = made(kind, "classification", name), tmp_path / "out"
    assert mulgil.export(run, out)["difference"] < 1e-5
    head = safetensors.torch.load_file(out / HEAD_FILE)
    predictor = Predictor(run)
    inputs = batch(predictor)
    module, rows = plainly("AutoModel", out), []
    for row in each_row(module, inputs):
        with torch.inference_mode():
            rows.append(module(**row)[0].mean(1) @ head["weight"].T + head["bias"])
    close = 1e-5 if name == "lora" else 0.3
    assert np.abs(torch.cat(rows).numpy() - predictor.network.scores(inputs)).max() < close
    (ours,) = predictor.predict([TEXT])
    assert eval_one(shown(out)) == pytest.approx(ours["probabilities"], abs=0.02)


def test_a_full_run_is_written_as_it_is(made: Made, tmp_path: Path) -> None:
    """EX-07: what lies in model/, byte for byte, and twice the same."""
    run = made("bert", "ner", "full")
    for name in ("one", "two"):
        mulgil.export(run, tmp_path / name)
    one, two = digest(tmp_path / "one"), digest(tmp_path / "two")
    assert one == two
    kept = digest(run / "model")
    for name in kept.keys() - {storage.MANIFEST}:
        assert one[name] == kept[name], name
    assert one.keys() - kept.keys() == {exporting.README}


def test_entities(made: Made, tmp_path: Path) -> None:
    run, out = made("bert", "ner", "full"), tmp_path / "out"
    told = mulgil.export(run, out)
    assert (told["figure"], told["rows"]) == ("scores of characters", 12)
    assert told["difference"] < 1e-4
    module = plainly("AutoModelForTokenClassification", out)
    predictor = Predictor(run)
    network: Any = predictor.network
    outputs, places = network.head.outputs, network.head.places
    assert module.config.id2label[0] == "0:O"
    inputs: Any = batch(predictor)
    rows = []
    for i, row in enumerate(each_row(module, inputs)):
        length = row["input_ids"].shape[1]
        with torch.inference_mode():
            logits = module(**row).logits[0]
        units = inputs.tokens // inputs.ids.shape[1] == i
        tokens = torch.from_numpy(inputs.tokens[units] % inputs.ids.shape[1])
        which = torch.from_numpy(inputs.places[units]).clamp(max=places - 1)
        rows.append(logits.reshape(length, places, outputs)[tokens, which])
    assert np.abs(torch.cat(rows).numpy() - network.scores(inputs)).max() < 0.3  # bf16
    assert shown(out).startswith("[CLS] ")


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_texts(kind: str, made: Made, tmp_path: Path) -> None:
    """As likely, and written alike, greedily, by the code of README.md."""
    run, out = made(kind, "generation", "lora"), tmp_path / "out"
    told = mulgil.export(run, out)
    assert told["figure"] == "log-probabilities of tokens"
    assert told["difference"] < 1e-4
    family = "AutoModelForCausalLM" if kind == "gpt2" else "AutoModelForSeq2SeqLM"
    module = plainly(family, out)
    predictor = Predictor(run, ["task.temperature=0"])
    inputs, network = batch(predictor), predictor.network
    network_: Any = network
    theirs = nats(module, inputs, getattr(network, "begins", None))
    assert np.abs(theirs - network_.nats(inputs)[0]).max() < 1e-4
    (ours,) = predictor.predict([TEXT])
    assert shown(out).strip() == ours["output"]


@pytest.mark.parametrize(
    ("task", "figure"),
    [("nli", "probabilities"), ("sts", "ratings"), ("qa", "scores of characters")],
)
def test_pairs(task: str, figure: str, made: Made, tmp_path: Path) -> None:
    """Of which text a token is goes with it; a rating is scaled as the run scales it."""
    more = ["task.no_answer=true"] if task == "qa" else []
    run, out = made("bert", task, "lora", *more), tmp_path / "out"
    told = mulgil.export(run, out)
    assert told["figure"] == figure
    assert told["difference"] < 1e-4
    said = shown(out)
    (ours,) = Predictor(run).predict([(TEXT, TEXT)])
    if task == "nli":
        assert eval_one(said) == pytest.approx(ours["probabilities"], abs=1e-5)
    elif task == "sts":
        assert json.loads(said)[0] == pytest.approx(ours["rating"], abs=1e-3)


def test_what_comes_with_the_package_is_exported(tmp_path: Path) -> None:
    """Masked words; without rows of its own, it is asked rows of the sample."""
    told = mulgil.export("mulgil/mini", tmp_path / "mini")
    assert (told["rows"], told["figure"]) == (64, "log-probabilities of tokens")
    assert told["difference"] < 1e-3
    assert shown(tmp_path / "mini").startswith("[")


# ---------------------------------------------------------------- what is refused


def refused(run: Path | str, out: Path, to: str = "hf") -> str:
    there = out.exists()
    with pytest.raises(MulgilError) as caught:
        api.export(run, out, to)
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.exit_code == 2
    assert out.exists() == there
    return line


def test_what_cannot_be_exported_is_refused_in_one_line(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "plain peft opens" in refused(made("bert", "classification", "prefix"), out)
    run = made("bert", "classification", "lora")
    assert 'no format "hff" to export to; did you mean "hf"?' in refused(run, out, "hff")
    near = run.parent / "rum"
    assert f'{near}: is no run folder (it has no recipe.toml); did you mean "run"?' in refused(
        near, out
    )
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(run / "recipe.toml", begun)
    assert "has no model yet; go on with mulgil train --resume" in refused(begun, out)
    changed = tmp_path / "changed"
    shutil.copytree(run, changed)
    (changed / "model" / "tokenizer.json").write_text("{}")
    assert "has changed since it was saved" in refused(changed, out)
    shutil.copytree(run, tmp_path / "damaged")
    (tmp_path / "damaged" / "predictions.jsonl").write_text('{"id": 3}\n')
    assert "predictions.jsonl: damaged" in refused(tmp_path / "damaged", out)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".mulgil-")]


def test_models_that_are_none_of_transformers_are_refused(tmp_path: Path) -> None:
    words = ["data.train_rows=60", "data.test_rows=20", "model.min_rows=1"]
    run = api.train("sample-tfidf", *words, root=tmp_path)
    line = refused(run, tmp_path / "out")
    assert 'model "tfidf" cannot be exported to hf: its counts are no model' in line
    words = ["model.name=textcnn", "method.name=full", "tokenizer.name=subword", "name=cnn"]
    few = ["data.train_rows=40", "data.test_rows=8", "trainer.epochs=1", "tokenizer.vocab_size=200"]
    line = refused(api.train("sample-tfidf", *words, *few, root=tmp_path), tmp_path / "out")
    assert 'model "textcnn" cannot be exported to hf: its body is of Mulgil' in line
    asked = ["method.name=zero-shot", "model.name=decoder", "model.pretrained=mulgil/mini-gpt"]
    few = ["data.test_rows=4", "data.train_rows=40", "name=asked"]
    line = refused(api.train("sample-mini", *asked, *few, root=tmp_path), tmp_path / "out")
    assert "nothing of its model was changed, so there is nothing to export" in line


def test_a_tokenizer_that_parts_texts_before_is_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files alone would read texts otherwise, and nobody would notice."""
    from mulgil.tokenizers.subword import Subword

    run = made("bert", "classification", "lora")
    monkeypatch.setattr(Subword, "_parted", lambda self, texts: [" ".join(t) for t in texts])
    assert "parts texts before its vocabulary reads them" in refused(run, tmp_path / "out")


def test_a_folder_with_something_in_it_is_left_alone(made: Made, tmp_path: Path) -> None:
    """EX-06: a file, a full folder, a link; an empty folder is taken."""
    run = made("bert", "classification", "lora")
    full, empty, file = tmp_path / "full", tmp_path / "empty", tmp_path / "file"
    full.mkdir()
    (full / "mine.txt").write_text("내 글")
    empty.mkdir()
    file.write_text("")
    (tmp_path / "link").symlink_to(empty)
    assert "not empty; give another name with -o" in refused(run, full)
    assert (full / "mine.txt").read_text() == "내 글"
    assert "is no folder" in refused(run, file)
    assert "is no folder" in refused(run, tmp_path / "link")
    mulgil.export(run, empty)
    assert (empty / "model.safetensors").exists()


def test_an_export_that_answers_otherwise_is_not_kept(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EX-05: a weight that is lost on the way, labels in another order, NaN."""
    from mulgil.models._network import EncoderNetwork

    run, out = made("bert", "classification", "lora"), tmp_path / "out"
    save = EncoderNetwork.save

    def spoil(change: Callable[[dict[str, torch.Tensor]], None]) -> None:
        def saved(self: Any, folder: Path, labels: Any) -> None:
            save(self, folder, labels)
            path = folder / "model.safetensors"
            weights = safetensors.torch.load_file(path)
            change(weights)
            safetensors.torch.save_file(weights, path, {"format": "pt"})

        monkeypatch.setattr(EncoderNetwork, "save", saved)

    spoil(lambda weights: weights["classifier.bias"].add_(torch.tensor([0.1, 0, 0])))
    assert "answers otherwise: probabilities differ by 0.0" in refused(run, out)
    spoil(lambda weights: weights["classifier.weight"].copy_(weights["classifier.weight"].flip(0)))
    assert "answers otherwise" in refused(run, out)
    spoil(lambda weights: weights["classifier.bias"].fill_(torch.nan))
    assert "differ by nan" in refused(run, out)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(EncoderNetwork, "save", save)
    assert mulgil.export(run, out)["difference"] < 1e-5


# ---------------------------------------------------------------- killed, or refused by the disk


@pytest.mark.parametrize("place", ["write", "compare", "readme", "seal"])
def test_killed_half_way_leaves_nothing(
    place: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EX-04: the whole folder or none; what a killed export left, the next one clears away."""
    run, out = made("bert", "classification", "lora"), tmp_path / "out"
    from mulgil.formats.hf import HuggingFace

    owner, name = {
        "write": (HuggingFace, "reopened"),
        "compare": (exporting, "_compare"),
        "readme": (exporting, "_readme"),
        "seal": (storage, "_seal"),
    }[place]
    pid = os.fork()
    if pid == 0:
        setattr(owner, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with contextlib.suppress(BaseException):
            api.export(run, out)
        os._exit(3)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert not out.exists()
    assert len([path for path in tmp_path.iterdir() if path.name.startswith(".mulgil-")]) == 1
    mulgil.export(run, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    storage.verify_folder(out)


def test_a_disk_that_refuses_is_said_in_one_line(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EX-04: no space before the work, none in the middle of it."""
    run, out = made("bert", "classification", "lora"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
        with pytest.raises(MulgilError, match=r"the export needs .* bytes") as caught:
            api.export(run, out)
    assert caught.value.exit_code == 4

    def full(*_: Any) -> str:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(exporting, "_readme", full)
    with pytest.raises(MulgilError, match="No space left on device") as caught:
        api.export(run, out)
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []
