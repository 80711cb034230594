"""What goes together trains, saves and answers: the registry itself says what is tested here.

A new model, task or method is picked up without a line of change, but for the sizes of a model
that would be slow at its defaults, and a data set for a new shape of rows.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil import evaluation, pipeline, recipe, registry
from mulgil.answers import _flat as answers_flat
from mulgil.contracts import refusal
from mulgil.errors import SettingError
from mulgil.examples import SHAPES, Example
from mulgil.flow import Array
from mulgil.judged import Attempts
from mulgil.predictor import Predictor

TINY = [
    *("model.hidden=32", "model.layers=2", "model.heads=2", "model.positions=48"),
    *("tokenizer.vocab_size=1500", "tokenizer.max_length=48"),
]
SMALL = {"encoder": TINY, "decoder": TINY, "seq2seq": TINY}
SMALL["word2vec"] = ["model.dimensions=16", "model.min_count=1", *TINY[4:]]
SMALL["textcnn"] = ["model.embedding=16", "model.filters=8", *TINY[4:]]
SMALL["recurrent"] = ["model.embedding=16", "model.hidden=8", *TINY[4:]]
SMALL["elmo"] = ["model.projection=16", "model.cells=24", *TINY[4:]]
"""Sizes at which a model trains in a second."""

ASKED = {"qa": ["task.no_answer=true"], "generation": ["task.max_new=8"]}
ASKED |= {name: ["task.max_new=8"] for name in ("summarization", "translation")}
"""What a task needs to read the sample's rows, or to be done in a second."""

PARTS = list(itertools.product(*(registry.names(wing) for wing in ("tasks", "models", "methods"))))


def why_not(task: str, model: str, method: str) -> str | None:
    """Return why these cannot be combined on small data, as the contracts say it."""
    data = source(task)
    names = {"data": data, "model": model, "task": task, "method": method}
    plugins = [
        registry.load(f"{wing}s", name)
        for wing, name in (
            ("dataset", data),
            ("model", model),
            ("task", task),
            ("method", method),
        )
    ]
    return refusal(*plugins, names)


def source(task: str) -> str:
    """Return a data set for the shape of rows that a task reads."""
    return "corpus" if registry.load("tasks", task).shape == "passage" else "sample"


SERVED = {"endpoint"}
"""Models that need a server, whose own tests have one."""

ALLOWED = [parts for parts in PARTS if why_not(*parts) is None and parts[1] not in SERVED]
REFUSED = [parts for parts in PARTS if why_not(*parts) is not None]
SEVERAL = [
    p for p in ALLOWED if p[0] == "classification" and not registry.load("methods", p[2]).prompts
]

Remembered = list[tuple[list[Example], Any]]


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory, korean_texts: list[str]) -> Path:
    """Return a file with the texts of the bundled sample, one a line."""
    path = tmp_path_factory.mktemp("corpus") / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in korean_texts), encoding="utf-8")
    return path


def chosen(
    task: str, model: str, method: str, *more: str, passages: Path = Path("none.txt")
) -> recipe.Recipe:
    """Return a recipe of some 40 rows of the sample and the smallest sizes."""
    data = source(task)
    overrides = [
        *(f"task.name={task}", f"model.name={model}", f"method.name={method}"),
        *("data.train_rows=40", "data.test_rows=12", "data.valid_share=0.03"),
        "data.test_share=0.25",
        *("trainer.epochs=2", "trainer.precision=fp32", "trainer.learning_rate=1e-3"),
        *([f"data.paths={passages}", "data.test_share=0.1"] if data == "corpus" else []),
        *SMALL.get(model, []),
        *ASKED.get(task, []),
        *more,
    ]
    return recipe.read("sample-tfidf", ["name=run", f"data.name={data}", *overrides])


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, passages: Path) -> dict[str, Path]:
    """Return a small checkpoint of each family, for methods that add to one."""
    home = tmp_path_factory.mktemp("bases")
    learnt = {"encoder": "masked-lm", "decoder": "causal-lm", "seq2seq": "generation"}
    spelt = ["tokenizer.algorithm=bpe", "tokenizer.byte_fallback=true"]  # no label is unknown
    made = {
        model: pipeline.run(chosen(task, model, "full", *spelt, passages=passages), home / model)
        / "model"
        for model, task in learnt.items()
    }
    made["textcnn"] = pipeline.run(chosen("ner", "textcnn", "full"), home / "textcnn") / "model"
    inferring = pipeline.run(chosen("nli", "encoder", "full", *spelt), home / "entailment")
    path = inferring / "model" / "config.json"
    told = json.loads(path.read_text("utf-8"))
    told["id2label"] = {
        n: "entailment" if name == "함의" else name for n, name in told["id2label"].items()
    }
    path.write_text(json.dumps(told), "utf-8")
    return made | {"entailment": inferring / "model"}


def standing(parts: tuple[str, str, str], bases: dict[str, Path]) -> list[str]:
    """Return what a recipe of these needs more."""
    if not registry.load("methods", parts[2]).stands:
        return []
    short = {"prompt-tuning": ["method.tokens=5", "tokenizer.max_length=40"]}
    short |= {name: ["tokenizer.max_length=24"] for name in ("zero-shot", "one-shot", "few-shot")}
    return [f"model.pretrained={bases[parts[1]]}", *short.get(parts[2], [])]


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> Remembered:
    """Return the test rows and what each network makes of them just before it is saved."""
    found: Remembered = []
    keep = pipeline._keep

    def answer_and_keep(made: Any, network: Any, folder: Any) -> None:
        measured = evaluation.measure(
            network, made.loaders.test, made.task, made.schema, tokenizer=made.tokenizer
        )
        found.append((list(made.splits.test), measured))
        keep(made, network, folder)

    monkeypatch.setattr(pipeline, "_keep", answer_and_keep)
    return found


def texts(run: Path) -> list[Any]:
    """Return what was read of the test rows: a string, or a tuple of two."""
    lines = (run / "predictions.jsonl").read_text("utf-8").splitlines()
    shape = registry.load("tasks", recipe.read(str(run / "recipe.toml")).task.name).shape
    read = [tuple(json.loads(line)[name] for name in SHAPES[shape].inputs) for line in lines]
    return [row[0] if len(row) == 1 else row for row in read]


def figures(measured: Any) -> Array:
    """Return all numbers of what was measured, whatever the sort of task."""
    if isinstance(measured, Attempts):
        return np.column_stack([measured.figures, measured.chances])
    if isinstance(measured, list):
        return np.concatenate([scores for windows in measured for _, scores in windows])
    return np.asarray(measured)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---------------------------------------------------------------- what goes together


@pytest.mark.parametrize("parts", ALLOWED, ids="-".join)
def test_what_may_be_combined_trains_saves_and_answers_the_same(
    parts: tuple[str, str, str],
    remembered: Remembered,
    passages: Path,
    bases: dict[str, Path],
    tmp_path: Path,
) -> None:
    """TK-07, PR-04, PR-05: in memory, from its files, and from its files again."""
    run = pipeline.run(chosen(*parts, *standing(parts, bases), passages=passages), tmp_path)
    assert len(texts(run)) == 12
    rows, measured = remembered[0]
    asked = texts(run)[:5]
    if parts[0] == "masked-lm":
        asked = [f"{text} [MASK]" for text in asked]
    answers = []
    for _ in range(2):
        predictor = Predictor(run)
        again, before = figures(predictor.score(rows)[1]), figures(measured)
        assert np.abs(again - before).max() < 1e-5 * max(1.0, np.abs(before).max())
        answers += [list(predictor.predict(asked)), list(predictor.predict(asked))]
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert not any("error" in answer for answer in answers[0])
    if predictor.writes:
        alone = next(predictor.predict(asked[:1]))
        assert "".join(predictor.stream(asked[0])) == next(iter(alone.values()))
    else:
        with pytest.raises(SettingError, match="writes no text"):
            predictor.stream(asked[0])
    fields = predictor.task.fields(predictor.schema)
    assert all(tuple(answers_flat(answer)) == fields for answer in answers[0])
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert result["n"] == 12
    assert list(result["metrics"]) == list(registry.load("tasks", parts[0]).metrics)
    learns = not registry.load("methods", parts[2]).prompts
    assert result["parameters"]["total"] >= result["parameters"]["trainable"] >= learns
    assert result["rows"] | {"valid": 0} == {"train": 40, "valid": 0, "test": 12, "rejected": 0}


@pytest.mark.parametrize("parts", ALLOWED, ids="-".join)
def test_the_same_recipe_gives_the_same_run(
    parts: tuple[str, str, str], passages: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    """TR-07, CF-04, EV-11: from the run's own recipe the same weights and figures, bit for bit."""
    more = standing(parts, bases)
    first = pipeline.run(chosen(*parts, *more, passages=passages), tmp_path / "one")
    again = recipe.read(str(first / "recipe.toml"))
    second = pipeline.run(again, tmp_path / "two")
    assert files(first / "model") == files(second / "model")
    assert (first / "predictions.jsonl").read_bytes() == (second / "predictions.jsonl").read_bytes()
    results = [json.loads((run / "result.json").read_text("utf-8")) for run in (first, second)]
    for result in results:
        del result["finished"], result["training"]
    assert results[0] == results[1]


@pytest.mark.parametrize("parts", SEVERAL, ids="-".join)
def test_several_labels_a_row(
    parts: tuple[str, str, str], remembered: Remembered, bases: dict[str, Path], tmp_path: Path
) -> None:
    """Multi-label, from a file: lists of labels, an empty one among them."""
    names = [["재미"], ["재미", "음악"], [], ["연기", "음악"], ["연기"]]
    words = ["웃기다", "웃기고 노래가 좋다", "그냥 봤다", "배우와 노래가 좋다", "배우가 좋다"]
    path = tmp_path / "rows.jsonl"
    lines = [{"text": f"{words[i % 5]} {i // 5}번째", "label": names[i % 5]} for i in range(100)]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    several = ["data.name=files", f"data.train={path}", "task.multi_label=true"]
    several += standing(parts, bases)
    run = pipeline.run(chosen(*parts, *several, "data.test_share=0.2"), tmp_path / "runs")
    shares = Predictor(run).probabilities(texts(run))
    assert np.abs(shares - remembered[0][1]).max() < 1e-6
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert (result["multi_label"], result["labels"]) == (True, ["연기", "음악", "재미"])
    answers = list(Predictor(run).predict(texts(run)))
    for answer, row in zip(answers, shares, strict=True):
        assert answer["labels"] == [
            n for n, p in zip(result["labels"], row, strict=True) if p >= 0.5
        ]


@pytest.mark.parametrize("parts", REFUSED, ids="-".join)
def test_what_may_not_be_combined_is_refused_with_the_reason(
    parts: tuple[str, str, str], tmp_path: Path
) -> None:
    """Before the data is read, and in the words of the contracts."""
    with pytest.raises(SettingError) as caught:
        pipeline.prepare(chosen(*parts))
    assert str(caught.value) == why_not(*parts)
    for name in parts[1:]:
        assert name in str(caught.value) or parts[0] in str(caught.value)


@pytest.mark.parametrize("method", ["one-shot", "few-shot"])
def test_a_model_of_pairs_is_shown_no_example(method: str) -> None:
    """It is refused by the rules, not when the first row is asked."""
    told = f'method "{method}" works on decoder, encoder, endpoint, seq2seq models;'
    assert why_not("classification", "entailment", method) == f'{told} "entailment" is of kind nli'
    assert why_not("classification", "entailment", "zero-shot") is None


def test_the_three_rules() -> None:
    """Shape, skill, kind: each alone is a reason."""
    names = {"data": "d", "model": "m", "task": "t", "method": "x"}

    def rule(**changes: Any) -> str | None:
        parts: dict[str, Any] = {"shape": "text", "reads": "text", "kind": "encoder"} | changes
        dataset = type("D", (), {"shape": parts["shape"]})
        model = type("M", (), {"skills": frozenset({"pool"}), "kind": parts["kind"]})
        needs = frozenset(parts.get("needs", {"pool"}))
        task = type("T", (), {"shape": parts["reads"], "needs": needs})
        rest = {"serves": None, "asks": staticmethod(lambda needs: needs)}
        method = type("X", (), {"works_on": frozenset({"encoder"}), **rest})
        return refusal(dataset, model, task, method, names)  # type: ignore[arg-type]

    assert rule() is None
    assert rule(shape="pair") == 'task "t" reads rows of shape "text", but data "d" gives "pair"'
    assert rule(needs={"score"}) == 'task "t" needs a model with the skill score; "m" has pool'
    assert rule(kind="features") == 'method "x" works on encoder models; "m" is of kind features'


@pytest.mark.parametrize("metric", ["confusion", "per-class", "acuracy", "f1"])
def test_a_metric_that_cannot_pick_the_best_is_refused_before_the_work(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CF-03: a table of figures, or no metric of the task."""

    def read(*_: Any) -> None:
        raise AssertionError("the data was read")

    monkeypatch.setattr(pipeline, "load_splits", read)
    parts = ("classification", "tfidf", "linear-probe")
    with pytest.raises(SettingError, match=r"trainer\.metric"):
        pipeline.prepare(chosen(*parts, f"trainer.metric={metric}"))


def single(task: str) -> list[str]:
    """Return what can pick the best weights of a task."""
    names = [n for n in registry.load("tasks", task).metrics if registry.load("metrics", n).single]
    return list(dict.fromkeys(["auto", "loss", *names]))


PICKS = [
    (task, model, metric)
    for task, model in (("classification", "encoder"), ("causal-lm", "decoder"))
    for metric in single(task)
]


@pytest.mark.parametrize(("task", "model", "metric"), PICKS)
def test_metrics_that_pick_the_best(
    task: str, model: str, metric: str, passages: Path, tmp_path: Path
) -> None:
    recipe = chosen(task, model, "full", f"trainer.metric={metric}", passages=passages)
    run = pipeline.run(recipe, tmp_path)
    result = json.loads((run / "result.json").read_text("utf-8"))
    journal = [json.loads(line) for line in (run / "journal.jsonl").read_text("utf-8").splitlines()]
    name = registry.load("tasks", task).metrics[0] if metric == "auto" else metric
    looks = [line[name] for line in journal if line["kind"] == "valid"]
    lower = {"loss", "ece", "perplexity", "bits-per-byte"}
    best = min(looks) if name in lower else max(looks)
    assert result["valid"] == {name: pytest.approx(best)}
