"""Whatever plugs in keeps its contract: the registry itself says what is tested here.

A new data set, model, task, method, tokenizer, engine or metric is picked up without a line of
change; what of them goes together is tested next door.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from mulgil import hangul, registry
from mulgil.contracts import Tokenizer
from mulgil.examples import SHAPES, Span
from mulgil.flow import Array, Frame, Kind, Schema, Skill
from mulgil.judged import Judged, Likelihood, Rated, Scored, Tagged, Written
from mulgil.objectives import LabelTask, LanguageTask, RowMetric, SpanTask, WritingTask
from mulgil.recipe import LoaderSettings, TrainerSettings
from mulgil.settings import Settings

SPARE = {"rouge-l-morpheme"}
"""Metrics that no task names: they need what is not in the base install."""

EVERY = [(wing, name) for wing in registry.WINGS for name in registry.names(wing)]


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
    assert plugin.shape in {*SHAPES, "any"}
    if name not in {"files", "corpus"}:  # these are the user's own
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
    assert plugin.needs
    assert plugin.needs <= {*get_args(Skill)}
    assert issubclass(plugin, LabelTask | SpanTask | LanguageTask | WritingTask)
    made = plugin(plugin.Settings())
    assert made.fields(Schema(plugin.shape, ("O", "B-가", "I-가")))
    assert {*plugin.metrics} <= {*registry.names("metrics")}
    assert {*made.looked} <= {*plugin.metrics}
    assert registry.load("metrics", made.looked[0]).single, "the first picks the best weights"
    if issubclass(plugin, LanguageTask):
        assert plugin.frame in get_args(Frame)
    if issubclass(plugin, LanguageTask | WritingTask):
        assert plugin.answering <= {*plugin.Settings.model_fields}


@pytest.mark.parametrize("name", registry.names("models"))
def test_every_model_names_its_kind_skills_and_tokenizer(name: str) -> None:
    plugin = registry.load("models", name)
    assert plugin.kind in get_args(Kind)
    assert plugin.skills
    assert plugin.skills <= {*get_args(Skill)}
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
    check_reading(made, opened, korean_texts[:20])


def check_reading(made: Any, opened: Any, texts: list[str]) -> None:
    """Check what a language task asks of a tokenizer, where it offers that: the same again."""
    if type(made).windows is Tokenizer.windows:  # it makes no tokens
        with pytest.raises(NotImplementedError):
            list(made.windows([texts], "sentence"))
        with pytest.raises(NotImplementedError):
            made.around(1)
        return
    assert (made.ends(), made.size, made.special_ids) == (
        opened.ends(),
        opened.size,
        opened.special_ids,
    )
    assert made.pieces() == opened.pieces()
    for name in ("byte_lengths", "begins"):
        found, again = getattr(made, name)(), getattr(opened, name)()
        assert found.shape == (made.size,)
        assert found.tolist() == again.tolist()
    assert not made.byte_lengths()[list(made.ends())].any()
    chunks = [texts[:7], [" ".join(texts)], texts[7:]]
    for frame in get_args(Frame):
        first, second = (joined(tokenizer.windows(chunks, frame)) for tokenizer in (made, opened))
        assert {n: array.tolist() for n, array in first.items()} == {
            n: array.tolist() for n, array in second.items()
        }
        rows = made.framed(first)
        assert (rows.texts, rows.truncated) == (21, 0)
        assert made.max_length - 1 <= rows.lengths.max() <= made.max_length
        size = sum(len(hangul.normalise(text).encode()) for chunk in chunks for text in chunk)
        assert first["bytes"].sum() == size
        assert rejoined(rows, made.ends()) == [
            made.ids(hangul.normalise(text)) for chunk in chunks for text in chunk
        ]
    framed = made.encode(texts[:3]).take(np.arange(3), 1)
    for text, ids, length in zip(texts, framed.ids, framed.lengths, strict=False):
        row, _ = made.around(1).row(made.ids(hangul.normalise(text)))
        assert row[: made.max_length - 1] == ids[: min(length, made.max_length - 1)].tolist()
        assert made.opening() == row[: len(made.opening())]
    for text in texts[:3]:
        assert made.ids(text) == opened.ids(text)
        assert made.decode(made.ids(text)) == opened.decode(opened.ids(text))


def rejoined(rows: Any, ends: tuple[int, int]) -> list[list[int]]:
    """Return the tokens of each text, without those that frame its windows."""
    found: list[list[int]] = [[] for _ in range(rows.texts)]
    taken = rows.take(np.arange(len(rows)), 1)
    for owner, ids, length in zip(rows.owners, taken.ids, taken.lengths, strict=True):
        found[owner] += [n for n in ids[:length].tolist() if n not in ends]
    return found


def joined(chunks: Iterable[dict[str, Array]]) -> dict[str, Array]:
    """Return the arrays of all chunks, owners counted from the first text of all."""
    found = list(chunks)
    whole = {name: np.concatenate([chunk[name] for chunk in found]) for name in found[0]}
    before = np.cumsum([0, *(int(chunk["texts"].sum()) for chunk in found)])
    owners = [chunk["owners"] + start for chunk, start in zip(found, before, strict=False)]
    return whole | {"owners": np.concatenate(owners)}


JUDGED: list[Judged] = [
    Scored(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([[0.9, 0.1]] * 3), ("가", "나")),
    Likelihood(*np.array([[4.0, 2, 1, 6]] * 3).T),
    Rated(np.array([1.0, 2, 4]), np.array([1.0, 3, 3])),
    Tagged(
        ((Span(0, 2, "가"),), (), (Span(1, 3, "나"),)),
        ((Span(0, 2, "가"),), (Span(0, 1, "나"),), ()),
        np.array([5, 4, 3]),
        ("가", "나"),
    ),
    Written((("봄이 왔다",), ("여름",), ()), ("봄이 왔다", "겨울", "")),
]
"""Rows as tasks judge them, one of each sort."""


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_every_metric_has_figures_of_a_number(name: str) -> None:
    """Of rows of the sort that it reads; the first figure of one that picks has its name."""
    plugin = registry.load("metrics", name)
    tasks = [registry.load("tasks", task) for task in registry.names("tasks")]
    assert name in SPARE or any(name in task.metrics for task in tasks), "a task names it"
    way = plugin.rows if issubclass(plugin, RowMetric) else plugin.compute
    wanted = get_type_hints(way)["scored"]
    (judged,) = (rows for rows in JUDGED if isinstance(rows, wanted))
    found = plugin().compute(judged)
    assert all(isinstance(value, float) for value in found.values())
    assert not plugin.single or next(iter(found)) == name
    assert plugin().compute(judged.take(np.array([2, 0, 0]))).keys() == found.keys()


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
    for wing in registry.WINGS:
        half: Callable[..., Any] = type("Half", (registry.contract(wing),), {})
        with pytest.raises(TypeError, match="abstract"):
            half(None) if wing not in {"tokenizers", "engines", "metrics"} else half()
