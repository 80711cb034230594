"""Recipes with a mistake in them: each misspelt key, each senseless number (CF-01, CF-03, G26)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from recipe_files import refused, written

from mulgil import recipe, registry
from mulgil.errors import SettingError
from mulgil.recipe import WINGS, LoaderSettings, TrainerSettings, bundled, read
from mulgil.settings import Settings

BUNDLED = sorted(bundled())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[modell]\n", ':1: unknown section modell; did you mean "model"?'),
        ("[mo.del]\n", ":1: unknown section mo"),
        ("[[model]]\n", ":1: model must be a table: [model]"),
        ("model = 3\n", ":1: model must be a table: [model]"),
        ('[model]\nnmae = "tfidf"\n', ':2: unknown setting model.nmae; did you mean "name"?'),
        ('[model]\n"na.me" = "tfidf"\n', ':2: unknown setting model.na.me; did you mean "name"?'),
        ('model = { nmae = "tfidf" }\n', ':1: unknown setting model.nmae; did you mean "name"?'),
        ('[model]\n"숨김" = 3\n', ":2: unknown setting model.숨김; known: "),
        ('[model]\nname = "tfdif"\n', ':2: unknown model "tfdif"; did you mean "tfidf"?'),
        ("[model]\nname = 3\n", ":2: model.name must be a name"),
        ('[trainer]\nengine = "x"\n', ':2: unknown engine "x"; known: local'),
        ("[model]\nhidden = 30\n", ":1: model: hidden 30 must be a multiple of heads 4"),
        ('[task]\nlabels = ["가", "가"]\n', ":2: task.labels must name each label once"),
        ("[task]\nlabels = []\n", ":2: task.labels must name each label once"),
    ],
)
def test_mistakes_are_placed(tmp_path: Path, text: str, said: str) -> None:
    """CF-01: file, line, and the nearest name."""
    source = written(tmp_path, text)
    message = refused(source)
    assert source in message
    assert said in message


LETTERS = "aenrst_-. 0"


def mutations(key: str) -> set[str]:
    """Return every single edit of a key: a letter less, more, other, or two of them swapped."""
    found = {key[:i] + key[i + 1 :] for i in range(len(key))}
    found |= {key[:i] + x + key[i:] for i in range(len(key) + 1) for x in LETTERS}
    found |= {key[:i] + x + key[i + 1 :] for i in range(len(key)) for x in LETTERS}
    found |= {key[:i] + key[i + 1] + key[i] + key[i + 2 :] for i in range(len(key) - 1)}
    return found - {key}


def known_keys(made: recipe.Recipe, section: str) -> set[str]:
    if section in WINGS:
        return {"name", *type(getattr(made, section).settings).model_fields}
    return set(type(getattr(made, section)).model_fields) if section else {"name", "base"}


@pytest.mark.parametrize("name", BUNDLED)
def test_every_misspelt_key_is_refused(name: str, tmp_path: Path) -> None:
    """CF-01, G26: each single edit of each key and table of each bundled recipe.

    It is refused at its own line, with the nearest name where it is still TOML; or it is valid:
    white space only, or the name of another setting.
    """
    text = bundled()[name].read_text(encoding="utf-8")
    lines, made, section, tried, path = text.splitlines(), read(name), "", 0, tmp_path / "r.toml"
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        header = line.startswith("[")
        key = line.strip("[]") if header else line.partition(" =")[0]
        section = key if header else section
        known = {*WINGS, "loader", "trainer"} if header else known_keys(made, section)
        for wrong in mutations(key):
            changed = [*lines]
            changed[number - 1] = line.replace(key, wrong, 1)
            path.write_text("\n".join(changed), encoding="utf-8")
            tried += 1
            try:
                read(str(path))
            except SettingError as error:
                message = str(error)
            else:
                assert wrong.strip() in known, changed[number - 1]
                continue
            assert message.startswith(f"{path}:{number}: "), (wrong, message)
            assert "not valid TOML" in message or "did you mean" in message or "known: " in message
            assert "\n" not in message
    assert tried > 300


# ---------------------------------------------------------------- numbers (CF-03)


def sections() -> dict[str, tuple[str, type[Settings]]]:
    """Return `{title: (lines that choose it, settings)}` of every settings class of a recipe."""
    found: dict[str, tuple[str, type[Settings]]] = {
        "loader": ("[loader]\n", LoaderSettings),
        "trainer": ("[trainer]\n", TrainerSettings),
    }
    for section, wing in WINGS.items():
        for name in registry.names(wing):
            lines = f'[{section}]\nname = "{name}"\n'
            found[f"{section}.{name}"] = lines, registry.load(wing, name).Settings
    return found


def numeric(model: type[Settings]) -> list[str]:
    """Return the fields that hold a number."""
    kinds = {int, float, int | None, float | None}
    return [name for name, field in model.model_fields.items() if field.annotation in kinds]


MAY_BE_ZERO = {"valid_share", "test_share", "max_rejected", "seed", "dropout", "prefetch"} | {
    "warmup",
    "weight_decay",
    "patience",
    "temperature",
    "top_k",
    "stride",
}
SIGNED = {"task.sts.lowest", "task.sts.highest"}
"""Fields that may be below zero."""
ZERO_HERE = {"task.masked-lm.hidden", "task.masked-lm.random"}
ZERO_HERE |= {f"model.endpoint.{name}" for name in ("retries", "price_in", "price_out")}
ZERO_HERE |= {"model.elmo.highways", "model.elmo.top_words", "model.word2vec.sample"}
"""Fields whose name means something else elsewhere."""


@pytest.mark.parametrize("title", sorted(sections()))
def test_numbers_that_make_no_sense_are_refused(title: str, tmp_path: Path) -> None:
    """CF-03: nan, inf, -1 and the huge are refused everywhere, 0 where it means nothing."""
    lines, model = sections()[title]
    for field in numeric(model):
        for value in (math.nan, math.inf, -math.inf, -1, 0, 10**30, 10**18, 1e300):
            source = written(tmp_path, f"{lines}{field} = {value}\n")
            place = f"{source}:{lines.count(chr(10)) + 1}: {title.partition('.')[0]}.{field} must"
            if f"{title}.{field}" in SIGNED and abs(value) <= 1:
                continue
            if value == 0 and (field in MAY_BE_ZERO or f"{title}.{field}" in ZERO_HERE):
                read(source)
            else:
                assert refused(source).startswith(place)


def test_every_number_was_tried() -> None:
    assert len({field for _, model in sections().values() for field in numeric(model)}) > 25
    assert {f for _, model in sections().values() for f in numeric(model)} >= MAY_BE_ZERO
    whole = {f"{title}.{f}" for title, (_, model) in sections().items() for f in numeric(model)}
    assert whole >= ZERO_HERE


@pytest.mark.parametrize("value", ["[0.0]", "[-1.0]", "[nan]", "[1e300]", "[1, true]"])
def test_lists_of_numbers_are_checked_too(value: str, tmp_path: Path) -> None:
    """CF-03."""
    source = written(tmp_path, f'[method]\nname = "linear-probe"\nstrengths = {value}\n')
    assert f"{source}:3: method.strengths" in refused(source)
