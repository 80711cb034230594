"""The folder is the registry: the names are pinned, outside packages plug in, mistakes are said."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mulgil import registry
from mulgil.errors import ModelError, SettingError

SNAPSHOT = {
    "datasets": [
        *("chatbot", "corpus", "files", "klue-mrc", "klue-ner", "klue-nli", "klue-re", "klue-sts"),
        *("klue-ynat", "kommongen", "kornli", "korquad", "korsts", "nsmc", "parallel"),
        *("paws-x-ko", "petition-titles", "petitions", "question-pair", "sae4k", "sample"),
        "xquad-en",
    ],
    "models": [
        *("decoder", "elmo", "encoder", "endpoint", "entailment", "recurrent"),
        *("seq2seq", "textcnn", "tfidf", "word2vec"),
    ],
    "tokenizers": ["jamo", "morpheme", "subword", "syllable", "text", "words"],
    "tasks": [
        *(
            "bidirectional-lm",
            "causal-lm",
            "classification",
            "generation",
            "masked-lm",
            "ner",
            "nli",
            "qa",
        ),
        *("skip-gram", "sts", "summarization", "translation"),
    ],
    "methods": [
        *("few-shot", "full", "linear-probe", "lora", "one-shot", "prompt-tuning", "zero-shot"),
    ],
    "engines": ["local"],
    "metrics": [
        *(
            "accuracy",
            "auc",
            "bits-per-byte",
            "bleu",
            "character-f1",
            "chrf",
            "confusion",
            "distinct",
        ),
        *("ece", "entity-f1", "exact-match", "korquad-f1", "loss", "macro-f1", "matthews"),
        *("pair-accuracy", "pearson", "per-class", "per-entity", "perplexity", "rmse", "rouge-l"),
        *("rouge-l-character", "rouge-l-morpheme", "spearman", "squad-f1", "token-accuracy"),
    ],
}
"""Every name that a recipe or a user may have written down; a new plug-in adds its own here."""

Outside = Callable[..., None]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    """Install a package from outside: `outside(name, source, wing=...)`."""
    points: list[importlib.metadata.EntryPoint] = []
    real = importlib.metadata.entry_points
    monkeypatch.syspath_prepend(str(tmp_path))

    def entry_points(**wanted: str) -> object:
        group = wanted["group"]
        return [p for p in points if p.group == group] or real(**wanted)

    def install(name: str, source: str | None, wing: str = "metrics", value: str = "") -> None:
        module = value or f"outside_{name.replace('-', '_')}"
        if source is not None:
            (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        points.append(importlib.metadata.EntryPoint(name, module, f"mulgil.{wing}"))
        registry.modules.cache_clear()

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    yield install
    for module in [name for name in sys.modules if name.startswith("outside_")]:
        del sys.modules[module]
    registry.modules.cache_clear()


METRIC = '''\
"""Share of rows that are all right."""

from mulgil.objectives import Metric
from mulgil.judged import Scored


class {name}(Metric):
    def compute(self, scored: Scored) -> dict[str, float]:
        return {{"{name}": 1.0}}
'''


@pytest.mark.parametrize("wing", registry.WINGS)
def test_no_plug_in_disappears(wing: str) -> None:
    assert registry.names(wing) == SNAPSHOT[wing]


@pytest.mark.parametrize(("wing", "name"), [(w, n) for w, names in SNAPSHOT.items() for n in names])
def test_every_name_loads_one_class_of_its_contract(wing: str, name: str) -> None:
    plugin = registry.load(wing, name)
    assert issubclass(plugin, registry.contract(wing))
    assert not getattr(plugin, "__abstractmethods__", frozenset())


def test_helpers_of_a_wing_are_no_plug_ins() -> None:
    assert not any(
        name.startswith(("_", "-")) for w in registry.WINGS for name in registry.names(w)
    )


@pytest.mark.parametrize(
    ("wing", "wrong", "said"),
    [
        ("tasks", "clasification", 'unknown task "clasification"; did you mean "classification"?'),
        ("methods", "linear_probe", 'did you mean "linear-probe"?'),
        ("methods", "Full", 'did you mean "full"?'),
        ("datasets", "zzz", 'unknown dataset "zzz"; known: chatbot, corpus, files, klue-mrc, '),
        ("metrics", "f1_macro", 'unknown metric "f1_macro"; '),
    ],
)
def test_a_misspelt_name_has_a_remedy(wing: str, wrong: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        registry.load(wing, wrong)
    assert said in str(caught.value)


def test_describing_imports_no_plug_in() -> None:
    before = {name for name in sys.modules if name.startswith("mulgil.")}
    for wing in registry.WINGS:
        assert all(registry.describe(wing).values())
    assert {name for name in sys.modules if name.startswith("mulgil.")} == before


# ---------------------------------------------------------------- packages from outside


def test_a_package_from_outside_plugs_in(outside: Outside) -> None:
    outside("all-right", METRIC.format(name="AllRight"))
    assert registry.names("metrics") == sorted([*SNAPSHOT["metrics"], "all-right"])
    assert registry.describe("metrics")["all-right"] == "Share of rows that are all right."
    assert "outside_all_right" not in sys.modules
    assert registry.load("metrics", "all-right").__name__ == "AllRight"


def test_a_package_from_outside_takes_no_name_of_ours(outside: Outside) -> None:
    outside("accuracy", METRIC.format(name="AllRight"))
    assert registry.load("metrics", "accuracy").__module__ == "mulgil.metrics.accuracy"


def test_a_module_has_exactly_one_plug_in_class(outside: Outside) -> None:
    """Two are refused by name; a class that is only imported, or private, does not count."""
    two = METRIC.format(name="One") + METRIC.format(name="Two").partition("Scored\n")[2]
    outside("two", two)
    outside("none", '"""Nothing."""\n\nfrom mulgil.metrics.accuracy import Accuracy\n')
    outside("hidden", METRIC.format(name="One") + "\n\nclass _Two(One):\n    pass\n")
    with pytest.raises(ModelError, match="exactly one public Metric; found One, Two"):
        registry.load("metrics", "two")
    with pytest.raises(ModelError, match="exactly one public Metric; found none"):
        registry.load("metrics", "none")
    assert registry.load("metrics", "hidden").__name__ == "One"


def test_a_broken_package_breaks_only_itself(outside: Outside) -> None:
    """The list is shown without a word for it, and loading it says what is wrong in one line."""
    outside("gone", None, value="outside_gone.inner")
    outside("needy", '"""Needs more."""\n\nimport outside_nowhere\n')
    outside("odd", '"""Not Python.\n')
    found = registry.describe("metrics")
    assert (found["gone"], found["needy"], found["odd"]) == ("", "Needs more.", "")
    assert found["accuracy"]
    for name in ("gone", "needy"):
        with pytest.raises(ModelError, match=f"metric {name} cannot be imported") as caught:
            registry.load("metrics", name)
        assert "\n" not in str(caught.value)
