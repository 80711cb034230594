"""Recipes: bundled ones, paths, bases, overrides, names, and that what is run is written out."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_files import refused, written

from mulgil import recipe
from mulgil.errors import SettingError
from mulgil.recipe import WINGS, bundled, read
from mulgil.settings import Table, dump, toml

BUNDLED = sorted(bundled())


def values(made: recipe.Recipe) -> dict[str, Any]:
    """Return everything that a recipe says, as plain data."""
    parts = {section: getattr(made, section) for section in WINGS}
    return {
        **{section: (part.name, part.settings.model_dump()) for section, part in parts.items()},
        "loader": made.loader.model_dump(),
        "trainer": made.trainer.model_dump(),
    }


# ---------------------------------------------------------------- bundled recipes, and writing out


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_recipes_are_read(name: str) -> None:
    made = read(name)
    assert made.name == name
    assert made.data.make().settings is made.data.settings


@pytest.mark.parametrize("name", BUNDLED)
def test_what_is_run_is_written_out_whole(name: str, tmp_path: Path) -> None:
    """CF-04: the resolved recipe gives equal settings, and writing it again gives the same bytes.

    Every default stands in it.
    """
    made = read(name, ["data.train_rows=50", "trainer.learning_rate=3e-5"])
    text = made.dump(tmp_path)
    again = read(written(tmp_path, text))
    assert values(again) == values(made)
    assert again.name == made.name
    assert again.dump(tmp_path) == text
    for section in WINGS:
        fields = type(getattr(made, section).settings).model_fields
        assert all(f"\n{key} = " in text or f"\n# {key} is not set" in text for key in fields)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(TEXT, min_size=1, max_size=3), TEXT)
def test_odd_strings_survive_the_writing(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], column: str
) -> None:
    """CF-04: quotes, backslashes, Hangul, control characters."""
    folder = tmp_path_factory.getbasetemp()
    names = list(dict.fromkeys(unicodedata.normalize("NFC", label.strip()) for label in labels))
    text = dump({"task": {"labels": names}, "data": {"text": column}}, {})
    made = read(written(folder, text, "odd.toml"))
    again = read(written(folder, made.dump(folder), "odd2.toml"))
    assert again.task.settings.labels == names
    assert again.data.settings.text == column


def test_a_name_that_is_none_lists_the_recipes() -> None:
    assert 'did you mean "nsmc"?' in refused("nscm")
    assert all(name in refused("?" * 9) for name in BUNDLED)
    assert "no such recipe file" in refused("nowhere/r.toml")
    assert "no recipe file" in refused("x" * 400)


# ---------------------------------------------------------------- names (CF-05, CF-07)


@pytest.mark.parametrize(
    "name",
    ["../../x", "-rf", "--help", ".hidden", "..", "", "a/b", "a\\b", "a b", "x" * 101, "가" * 80],
)
def test_names_that_are_no_folder_are_refused(tmp_path: Path, name: str) -> None:
    """CF-07: ways out of the folder, options, dots, and names too long for a file system."""
    source = written(tmp_path, f"name = {toml(name)}\n")
    assert refused(source).startswith(f"{source}:1: name must be")


@pytest.mark.parametrize("value", ["3", "true", "[]", "{}"])
def test_names_that_are_no_text_are_refused(tmp_path: Path, value: str) -> None:
    assert ":1: name must be" in refused(written(tmp_path, f"name = {value}\n"))


@pytest.mark.parametrize("name", ["물길-1", "a.b_c", "x" * 100, "2024", "가" * 60])
def test_names_that_are_folders(tmp_path: Path, name: str) -> None:
    assert read(written(tmp_path, f'name = "{name}"\n')).name == name
    assert read(written(tmp_path, ""), [f'name="{name}"']).name == name


def test_a_decomposed_name_is_composed(tmp_path: Path) -> None:
    """CF-05: one folder, whichever keyboard or file system the name came from."""
    name = unicodedata.normalize("NFD", "물길")
    assert read(written(tmp_path, f'name = "{name}"\n')).name == "물길"
    assert read(written(tmp_path, "", f"{name}.toml")).name == "물길"


# ---------------------------------------------------------------- paths


def test_paths_are_relative_to_what_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path in a file is relative to that file, one in an override to the current folder."""
    there, here = tmp_path / "there", tmp_path / "here"
    source = written(tmp_path, '[data]\ntrain = "a/리뷰.csv"\ntest = "../t.csv"\n', "there/r.toml")
    here.mkdir()
    monkeypatch.chdir(here)
    made = read(source, ["data.valid=v.csv"]).data.settings
    assert Path(made.train) == there / "a" / "리뷰.csv"
    assert Path(os.path.normpath(made.test)) == tmp_path / "t.csv"
    assert Path(made.valid) == here / "v.csv"


def test_a_base_keeps_its_own_paths(tmp_path: Path) -> None:
    written(tmp_path, '[data]\ntrain = "a.csv"\n', "lib/base.toml")
    source = written(tmp_path, 'base = "../lib/base.toml"\n[data]\ntest = "t.csv"\n', "my/r.toml")
    made = read(source).data.settings
    assert Path(os.path.normpath(made.train)) == tmp_path / "lib" / "a.csv"
    assert Path(made.test) == tmp_path / "my" / "t.csv"


def test_a_checkpoint_is_a_folder_where_there_is_one_and_else_a_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    found = {}
    for value in ("mine", "klue/roberta-base", "./none", "x" * 300):
        source = written(tmp_path, f'[model]\npretrained = "{value}"\n')
        found[value] = read(source).model.settings.pretrained
    assert found["mine"] == str(tmp_path / "mine")
    assert found["klue/roberta-base"] == "klue/roberta-base"
    assert found["./none"] == str(tmp_path / "none")
    assert found["x" * 300] == "x" * 300


def test_paths_are_written_relative_to_the_run(tmp_path: Path) -> None:
    """A project folder that is moved as a whole still works; a hub id stays what it is."""
    (tmp_path / "mine").mkdir()
    source = written(tmp_path, '[data]\ntrain = "a.csv"\n[model]\npretrained = "mine"\n')
    text = read(source).dump(tmp_path / "runs" / "r")
    assert 'train = "../../a.csv"' in text
    assert 'pretrained = "../../mine"' in text
    assert 'pretrained = "klue/roberta-base"' in read("nsmc").dump(tmp_path)


# ---------------------------------------------------------------- bases


def test_a_recipe_stands_on_a_bundled_one(tmp_path: Path) -> None:
    made = read(written(tmp_path, 'base = "sample-encoder"\n[trainer]\nepochs = 2\n'))
    assert (made.name, made.trainer.epochs, made.trainer.patience) == ("r", 2.0, 4)
    assert made.model.settings.hidden == 128


@pytest.mark.parametrize("named", ['name = "encoder"\n', ""])
def test_another_plug_in_drops_the_keys_of_the_base(tmp_path: Path, named: str) -> None:
    """Also where the base named none and took the default."""
    written(tmp_path, f"[model]\n{named}hidden = 64\n[data]\nseed = 3\n", "b.toml")
    source = written(tmp_path, 'base = "b"\n[model]\nname = "tfidf"\n')
    made = read(source)
    assert (made.model.name, made.data.settings.seed) == ("tfidf", 3)
    same = read(written(tmp_path, 'base = "b"\n[model]\nname = "encoder"\n'))
    assert same.model.settings.hidden == 64


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ('base = "b"', "stands on a base itself; one level only"),
        ('base = "r"', "base is the recipe itself"),
        ('base = "r.toml"', "base is the recipe itself"),
        ('base = "nmsc"', 'did you mean "nsmc"?'),
        ("base = 3", "base must be a recipe's name or file, not 3"),
        ('base = "none/x.toml"', "no such recipe file"),
        ('base = ""', "is a folder"),
        ('base = "broken"', "broken.toml:2: not valid TOML"),
    ],
)
def test_bases_that_cannot_be_stood_on(tmp_path: Path, base: str, said: str) -> None:
    written(tmp_path, 'base = "nsmc"\n', "b.toml")
    written(tmp_path, "[data]\nx\n", "broken.toml")
    source = written(tmp_path, f"\n{base}\n")
    message = refused(source)
    assert message.startswith(f"{source}:2: ")
    assert said in message


def test_a_mistake_in_the_base_is_placed_in_the_base(tmp_path: Path) -> None:
    below = written(tmp_path, "\n[trainer]\nepoch = 3\n", "b.toml")
    message = refused(written(tmp_path, 'base = "b"\n[trainer]\nseed = 3\n'))
    assert message.startswith(f'{below}:3: unknown setting trainer.epoch; did you mean "epochs"?')


# ---------------------------------------------------------------- overrides


def test_the_later_override_wins() -> None:
    made = read("sample-encoder", ["trainer.seed=1", "trainer.epochs=1", "trainer.seed=2"])
    assert (made.trainer.seed, made.trainer.epochs) == (2, 1.0)


@pytest.mark.parametrize(
    "order", [["data.name=files", "data.train=a.csv"], ["data.train=a.csv", "data.name=files"]]
)
def test_the_order_of_overrides_does_not_lose_any(order: list[str]) -> None:
    """A plug-in's name drops the file's keys of the section, not those on the command line."""
    made = read("sample-encoder", order)
    assert made.data.settings.train == str(Path.cwd() / "a.csv")


@pytest.mark.parametrize(
    "order",
    [
        ["model.name=tfidf", "tokenizer.name=words", "method.name=linear-probe"],
        ["tokenizer.name=words", "method.name=linear-probe", "model.name=tfidf"],
    ],
)
def test_another_plug_in_drops_the_keys_of_the_file(order: list[str]) -> None:
    """Also of a section that named none, as the tokenizer's in this recipe."""
    made = read("sample-encoder", order)
    assert (made.model.name, made.tokenizer.name) == ("tfidf", "words")
    same = read("sample-encoder", ["model.name=encoder", "tokenizer.name=subword"])
    assert (same.model.settings.hidden, same.tokenizer.settings.vocab_size) == (128, 3000)


def test_a_number_on_the_command_line_is_text_where_text_is_wanted() -> None:
    """The columns of a file without a header are called "1", "2" and so on."""
    made = read("tfidf", ["data.header=false", "data.label=1", 'data.text="2"', "name=2024"])
    assert (made.data.settings.label, made.data.settings.text, made.name) == ("1", "2", "2024")
    assert "must be a string" in refused("tfidf", "task.labels=[1, 2]")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.sed=3", 'unknown setting trainer.sed; did you mean "seed"?'),
        ("trianer.seed=3", 'is not a setting; did you mean "trainer"?'),
        ("seed=3", "seed is not a setting"),
        ("base=nsmc", "base is not a setting"),
        ("trainer=3", "trainer is not a setting"),
        ("trainer.seed.x=3", "unknown setting trainer.seed.x"),
        ("trainer.engine=lcal", 'unknown engine "lcal"; did you mean "local"?'),
        ("model.name=encodr", 'unknown model "encodr"; did you mean "encoder"?'),
        ("model.name=3", "model.name must be a name"),
        ("trainer.epochs=nan", "trainer.epochs must be a finite number, not nan"),
        ("task.labels=가\n나", 'task.labels must be a list, not "가\\n나"'),
    ],
)
def test_overrides_that_are_refused(override: str, said: str) -> None:
    """CF-01: the override stands in the message as the place."""
    message = refused("nsmc", override)
    assert "override" in message
    assert said in message


# ---------------------------------------------------------------- one section, and the schema


def test_a_section_by_itself() -> None:
    part = recipe.section("data", ["data.name=sample", "data.train_rows=5"])
    assert (part.name, part.settings.train_rows) == ("sample", 5)
    with pytest.raises(SettingError, match='did you mean "train_rows"'):
        recipe.section("data", ["data.name=sample", "data.trainrows=5"])


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Check a value against the part of JSON schema that pydantic writes."""
    types: dict[str, Any] = {"string": str, "integer": int, "number": (int, float)}
    types |= {"boolean": bool, "array": list, "object": dict, "null": type(None)}
    checks: dict[str, Any] = {
        "const": lambda wanted: value == wanted,
        "enum": lambda wanted: value in wanted,
        "anyOf": lambda choices: any(fits(choice, value) for choice in choices),
        "type": lambda kind: (
            isinstance(value, types[kind]) and (kind == "boolean" or not isinstance(value, bool))
        ),
        "minimum": lambda least: value >= least,
        "maximum": lambda most: value <= most,
        "exclusiveMinimum": lambda least: value > least,
        "exclusiveMaximum": lambda most: value < most,
        "minItems": lambda least: len(value) >= least,
        "maxItems": lambda most: len(value) <= most,
        "items": lambda inner: all(fits(inner, item) for item in value),
        "properties": lambda inner: all(fits(inner[k], v) for k, v in value.items() if k in inner),
        "required": lambda keys: all(key in value for key in keys),
        "additionalProperties": lambda yes: yes or not {*value} - {*schema.get("properties", {})},
    }
    order = sorted(schema, key=lambda key: key != "type")  # a number is not asked for its items
    said = {"$schema", "title", "description", "default"}
    return all(checks[key](schema[key]) for key in order if key not in said)


@pytest.mark.parametrize("name", BUNDLED)
def test_the_schema_for_editors_accepts_what_is_read(name: str, tmp_path: Path) -> None:
    schema = recipe.schema()
    assert fits(schema, Table.read(bundled()[name]).values)
    assert fits(schema, Table.parse(read(name).dump(tmp_path), "r").values)


@pytest.mark.parametrize(
    "text",
    [
        "[modell]",
        "[model]\nhiden = 3",
        '[model]\nname = "tfidf"\nhidden = 8',
        "[trainer]\nepochs = 0",
        "[trainer]\nseed = 1.5",
        '[trainer]\nschedule = "linea"',
        "name = 3",
        '[data]\nname = "nothing"',
        '[model]\nname = "tfidf"\nchar_ngrams = [1]',
    ],
)
def test_the_schema_for_editors_refuses_what_is_refused(text: str, tmp_path: Path) -> None:
    assert not fits(recipe.schema(), Table.parse(text, "r").values)
    refused(written(tmp_path, text + "\n"))


def test_the_schema_describes_every_setting() -> None:
    schema = recipe.schema()
    tables = [t for section in WINGS for t in schema["properties"][section]["anyOf"]]
    tables += [schema["properties"]["loader"], schema["properties"]["trainer"]]
    for table in tables:
        for name, field in table["properties"].items():
            assert name == "name" or field["description"], name
