"""Whatever plugs in keeps its contract: the registry itself says what is tested here.

A new data set, model, task, method, tokenizer, engine or metric is picked up without a line of
change, but for the sizes of a model that would be slow at its defaults.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil import contracts, evaluation, pipeline, recipe, registry
from mulgil.contracts import refusal
from mulgil.errors import SettingError
from mulgil.examples import SHAPES
from mulgil.flow import Array, Schema
from mulgil.predictor import Predictor
from mulgil.recipe import LoaderSettings, TrainerSettings
from mulgil.settings import Settings

EVERY = [(wing, name) for wing in registry.WINGS for name in registry.names(wing)]
SMALL = {
    "encoder": [
        *("model.hidden=32", "model.layers=2", "model.heads=2", "model.positions=48"),
        *("tokenizer.vocab_size=1500", "tokenizer.max_length=48"),
    ],
}
"""Sizes at which a model trains in a second."""

PARTS = list(itertools.product(*(registry.names(wing) for wing in ("tasks", "models", "methods"))))


def why_not(task: str, model: str, method: str) -> str | None:
    """Return why these cannot be combined on the sample, as the contracts say it."""
    names = {"data": "sample", "model": model, "task": task, "method": method}
    plugins = [
        registry.load(f"{wing}s", name)
        for wing, name in (
            ("dataset", "sample"),
            ("model", model),
            ("task", task),
            ("method", method),
        )
    ]
    return refusal(*plugins, names)


ALLOWED = [parts for parts in PARTS if why_not(*parts) is None]
REFUSED = [parts for parts in PARTS if why_not(*parts) is not None]


def chosen(task: str, model: str, method: str, *more: str) -> recipe.Recipe:
    """Return a recipe of some 60 rows of the sample and the smallest sizes."""
    overrides = [
        *(f"task.name={task}", f"model.name={model}", f"method.name={method}"),
        *("data.train_rows=60", "data.test_rows=20", "data.valid_share=0.03"),
        *("trainer.epochs=2", "trainer.precision=fp32", "trainer.learning_rate=1e-3"),
        *SMALL.get(model, []),
        *more,
    ]
    return recipe.read("sample-tfidf", ["name=run", "data.name=sample", *overrides])


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> list[Array]:
    """Return what each network answers for the test rows just before it is saved."""
    found: list[Array] = []
    keep = pipeline._keep

    def answer_and_keep(made: Any, network: Any, folder: Any) -> None:
        test = made.loaders.test
        found.append(
            evaluation.probabilities(network, test.in_order(), len(test), made.task, made.schema)
        )
        keep(made, network, folder)

    monkeypatch.setattr(pipeline, "_keep", answer_and_keep)
    return found


def texts(run: Path) -> list[str]:
    lines = (run / "predictions.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---------------------------------------------------------------- what goes together


@pytest.mark.parametrize("parts", ALLOWED, ids="-".join)
def test_what_may_be_combined_trains_saves_and_answers_the_same(
    parts: tuple[str, str, str], remembered: list[Array], tmp_path: Path
) -> None:
    """TK-07, PR-04, PR-05: in memory, from its files, and from its files again."""
    run = pipeline.run(chosen(*parts), tmp_path)
    assert len(texts(run)) == 20
    for _ in range(2):
        assert np.abs(Predictor(run).probabilities(texts(run)) - remembered[0]).max() < 1e-6
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert result["n"] == 20
    assert list(result["metrics"]) == list(registry.load("tasks", parts[0]).metrics)
    assert result["parameters"]["total"] >= result["parameters"]["trainable"] > 0
    assert result["rows"] | {"valid": 0} == {"train": 60, "valid": 0, "test": 20, "rejected": 0}


@pytest.mark.parametrize("parts", ALLOWED, ids="-".join)
def test_the_same_recipe_gives_the_same_run(parts: tuple[str, str, str], tmp_path: Path) -> None:
    """TR-07, CF-04, EV-11: from the run's own recipe the same weights and figures, bit for bit."""
    first = pipeline.run(chosen(*parts), tmp_path / "one")
    again = recipe.read(str(first / "recipe.toml"))
    second = pipeline.run(again, tmp_path / "two")
    assert files(first / "model") == files(second / "model")
    assert (first / "predictions.jsonl").read_bytes() == (second / "predictions.jsonl").read_bytes()
    results = [json.loads((run / "result.json").read_text("utf-8")) for run in (first, second)]
    for result in results:
        del result["finished"], result["training"]
    assert results[0] == results[1]


@pytest.mark.parametrize("parts", ALLOWED, ids="-".join)
def test_several_labels_a_row(
    parts: tuple[str, str, str], remembered: list[Array], tmp_path: Path
) -> None:
    """Multi-label, from a file: lists of labels, an empty one among them."""
    names = [["재미"], ["재미", "음악"], [], ["연기", "음악"], ["연기"]]
    words = ["웃기다", "웃기고 노래가 좋다", "그냥 봤다", "배우와 노래가 좋다", "배우가 좋다"]
    path = tmp_path / "rows.jsonl"
    lines = [{"text": f"{words[i % 5]} {i // 5}번째", "label": names[i % 5]} for i in range(100)]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    several = ["data.name=files", f"data.train={path}", "task.multi_label=true"]
    run = pipeline.run(chosen(*parts, *several, "data.test_share=0.2"), tmp_path / "runs")
    shares = Predictor(run).probabilities(texts(run))
    assert np.abs(shares - remembered[0]).max() < 1e-6
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


def test_the_three_rules() -> None:
    """Shape, skill, kind: each alone is a reason."""
    names = {"data": "d", "model": "m", "task": "t", "method": "x"}

    def rule(**changes: Any) -> str | None:
        parts: dict[str, Any] = {"shape": "text", "reads": "text", "kind": "encoder"} | changes
        dataset = type("D", (), {"shape": parts["shape"]})
        model = type("M", (), {"skills": frozenset({"pool"}), "kind": parts["kind"]})
        needs = frozenset(parts.get("needs", {"pool"}))
        task = type("T", (), {"shape": parts["reads"], "needs": needs})
        method = type("X", (), {"works_on": frozenset({"encoder"})})
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


@pytest.mark.parametrize("metric", ["auto", "loss", "accuracy", "macro-f1", "ece"])
def test_metrics_that_pick_the_best(metric: str, tmp_path: Path) -> None:
    parts = ("classification", "encoder", "full")
    run = pipeline.run(chosen(*parts, f"trainer.metric={metric}"), tmp_path)
    result = json.loads((run / "result.json").read_text("utf-8"))
    journal = [json.loads(line) for line in (run / "journal.jsonl").read_text("utf-8").splitlines()]
    name = "accuracy" if metric == "auto" else metric
    looks = [line[name] for line in journal if line["kind"] == "valid"]
    best = min(looks) if name in {"loss", "ece"} else max(looks)
    assert result["valid"] == {name: pytest.approx(best)}


# ---------------------------------------------------------------- what every plug-in says of itself


@pytest.mark.parametrize(("wing", "name"), EVERY)
def test_every_plug_in_is_described(wing: str, name: str) -> None:
    """What `mulgil list` prints: one sentence, short enough for a line."""
    line = registry.describe(wing)[name]
    assert 10 < len(line) <= 100
    assert line.endswith((".", ")", "다")) or line[-1].isalnum()
    plugin = registry.load(wing, name)
    assert plugin.__doc__, "the class has a docstring too"


@pytest.mark.parametrize(("wing", "name"), EVERY)
def test_every_setting_is_described_and_has_a_sound_default(wing: str, name: str) -> None:
    model = getattr(registry.load(wing, name), "Settings", None)
    if model is None:
        return
    assert issubclass(model, Settings)
    check_fields(model)
    model()


@pytest.mark.parametrize("model", [LoaderSettings, TrainerSettings])
def test_the_settings_of_loader_and_trainer(model: type[Settings]) -> None:
    check_fields(model)
    model()


def check_fields(model: type[Settings]) -> None:
    for field, info in model.model_fields.items():
        assert info.description, f"{model.__name__}.{field} has no docstring"
        assert re.fullmatch(r"[a-z][a-z0-9_]*", field)
        assert field not in {"name", "base"}, "the recipe takes these"


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_every_data_set_says_what_it_is_and_may_be_used_for(name: str) -> None:
    plugin = registry.load("datasets", name)
    assert plugin.title
    assert plugin.shape in SHAPES
    if name != "files":  # these are the user's own
        assert plugin.licence
        assert plugin.citation
    for source in plugin.sources:
        assert source.url.startswith("https://")
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.size > 0
        assert not Path(source.path).is_absolute()
        assert ".." not in Path(source.path).parts


@pytest.mark.parametrize("name", registry.names("tasks"))
def test_every_task_names_metrics_and_skills_that_there_are(name: str) -> None:
    plugin = registry.load("tasks", name)
    assert plugin.shape in SHAPES
    assert plugin.needs <= {"pool", "tokens", "score", "generate"}
    assert {*plugin.metrics} <= {*registry.names("metrics")}
    assert registry.load("metrics", plugin.metrics[0]).single, "the first picks the best weights"


@pytest.mark.parametrize("name", registry.names("models"))
def test_every_model_names_its_kind_skills_and_tokenizer(name: str) -> None:
    plugin = registry.load("models", name)
    assert plugin.kind in {"encoder", "decoder", "seq2seq", "features"}
    assert plugin.skills
    assert plugin.tokenizer in registry.names("tokenizers")


@pytest.mark.parametrize("name", registry.names("tokenizers"))
def test_every_tokenizer_comes_back_from_its_files(
    name: str, korean_texts: list[str], tmp_path: Path
) -> None:
    """TK-07, DA-09: the same fingerprint; rows that are kept are revived as they were."""
    plugin = registry.load("tokenizers", name)
    made = plugin.make(plugin.Settings(), None, korean_texts[:300], 7)
    made.save(tmp_path)
    opened = plugin.load(tmp_path)
    assert opened.fingerprint() == made.fingerprint()
    rows = np.arange(20)
    first, second = (t.encode(korean_texts[:20]) for t in (made, opened))
    kept = first.arrays()
    revived = first if kept is None else opened.revive(kept)
    with np.printoptions(threshold=10**9):
        wanted = repr(first.take(rows, 8))
        assert repr(second.take(rows, 8)) == wanted
        assert repr(revived.take(rows, 8)) == wanted
    if kept is not None:
        assert (revived.truncated, revived.unknown) == (first.truncated, first.unknown)
    with pytest.raises((TypeError, AttributeError)):
        made.encode([3])


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_every_metric_has_figures_of_a_number(name: str) -> None:
    schema = Schema("text", ("가", "나"))
    task = registry.load("tasks", "classification")(None)
    scored = evaluation.judge(task, schema, np.array([0, 1, 1]), np.array([[0.9, 0.1]] * 3))
    plugin = registry.load("metrics", name)
    found = plugin().compute(scored)
    assert all(isinstance(value, float) for value in found.values())
    assert plugin.single == (len(found) == 1)


@pytest.mark.parametrize(("wing", "name"), EVERY)
def test_no_wing_imports_another(wing: str, name: str) -> None:
    """The floors: a plug-in stands on contracts and helpers of its own wing, on no other wing."""
    module = importlib.import_module(registry.modules(wing)[name])
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    others = {f"mulgil.{other}" for other in registry.WINGS} - {f"mulgil.{wing}"}
    assert not {name for name in imported if name.startswith(tuple(others))}
    assert not {name for name in imported if name.split(".")[0] in {"pickle", "yaml", "dill"}}


def test_a_plug_in_that_forgets_a_method_cannot_be_made() -> None:
    """It fails when it is made, not in the middle of a run."""
    for contract in registry.WINGS.values():
        half: Callable[..., Any] = type("Half", (getattr(contracts, contract),), {})
        with pytest.raises(TypeError, match="abstract"):
            half(None) if contract not in {"Tokenizer", "Engine", "Metric"} else half()
