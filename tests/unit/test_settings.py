"""Strict TOML: what is read, what is refused and where, and what is written comes back."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil import settings
from mulgil.errors import SettingError
from mulgil.settings import Settings, Table, build, dump, parse_override


class Pump(Settings):
    """Settings made up for these tests."""

    depth: int = pydantic.Field(3, ge=1, le=9)
    """Metres."""
    flow: float = 0.5
    """Share."""
    source: Annotated[str, settings.PATH] = ""
    """File."""
    mode: Literal["slow", "fast"] = "slow"
    """Speed."""
    names: list[str] | None = None
    """Names."""


class Needy(Settings):
    """Settings with a value that must be given."""

    key: str
    """Needed."""


def refused(text: str, model: type[Settings] = Pump, section: str = "pump") -> str:
    """Read a table and build its section; return the one line of the refusal."""
    table = Table.parse(text, "r.toml")
    with pytest.raises(SettingError) as caught:
        build(model, table.values[section], section, table)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such recipe file"),
        (b"x" * ((1 << 20) + 1), "larger than 1 MiB"),
        ('a = "가"'.encode("cp949"), "not UTF-8"),
        (b"a = \n", ":1: not valid TOML"),
        (b"[pump]\ndepth = 3\ndepth = 4\n", ":3: not valid TOML"),
        (b"[pump]\n[pump]\n", ":2: not valid TOML"),
        (b"[pump]\nquiet = no\n", ":2: not valid TOML"),
        (b"a: 1\n", ":1: not valid TOML"),
        (b"a = " + b"[" * 100_000, "not valid TOML"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: bytes | None, said: str) -> None:
    """CF-02: YAML, duplicate keys, a bare `no`, other encodings, nesting without end."""
    path = tmp_path / "물길.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError, match=said) as caught:
        Table.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="is a folder"):
        Table.read(tmp_path)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b"\xef\xbb\xbf[pump]\ndepth = 4\n")
    assert Table.read(path).values == {"pump": {"depth": 4}}


LINES = '''\
# 펌프
name = "r"

[pump]      # the one
depth = 3
text = """
depth = 4
[pump.no]
"""
"깊이" = 5
'quoted key' = 6
a.b.c = 7
list = [
  1,
]
after = 8

[ pump.inner ]
x = 1

[[many]]
y = 1
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("name", 2),
        ("pump", 4),
        ("pump.depth", 5),
        ("pump.text", 6),
        ("pump.깊이", 10),
        ("pump.quoted key", 11),
        ("pump.a", 12),
        ("pump.a.b", 12),
        ("pump.a.b.c", 12),
        ("pump.after", 16),
        ("pump.inner", 18),
        ("pump.inner.x", 19),
        ("many", 21),
        ("many.y", 22),
        ("pump.unheard", 4),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_key_knows_its_line(key: str, line: int, ending: str) -> None:
    assert Table.parse(LINES.replace("\n", ending), "r.toml").at(key) == f"r.toml:{line}"


def test_no_line_ends_but_those_of_toml_are_counted() -> None:
    """U+2028 and U+0085 may stand in a string; they end no line of TOML."""
    table = Table.parse('note = "가\u2028나\u0085다"\ndepth = 1\n', "r.toml")
    assert table.at("depth") == "r.toml:2"


def test_a_key_that_is_nowhere_has_the_file_as_its_place() -> None:
    assert Table.parse("a = 1\n", "r.toml").at("x.y") == "r.toml"


# ---------------------------------------------------------------- checking


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pump]\n\ndepht = 4", 'r.toml:3: unknown setting pump.depht; did you mean "depth"?'),
        ("[pump]\nzzz = 4", "r.toml:2: unknown setting pump.zzz; known: depth, flow, mode, names"),
        ("[pump]\ndepth = 0", "r.toml:2: pump.depth must be greater than or equal to 1, not 0"),
        ('[pump]\ndepth = "3"', 'r.toml:2: pump.depth must be an integer, not "3"'),
        ("[pump]\ndepth = 3.0", "r.toml:2: pump.depth must be an integer, not 3.0"),
        ("[pump]\ndepth = true", "r.toml:2: pump.depth must be an integer, not True"),
        ("[pump]\ndepth = 2024-01-01", "r.toml:2: pump.depth must be an integer, not 2024-01-01"),
        ("[pump]\nflow = nan", "r.toml:2: pump.flow must be a finite number, not nan"),
        ("[pump]\nflow = inf", "r.toml:2: pump.flow must be a finite number, not inf"),
        ('[pump]\nflow = "1e-4"', 'r.toml:2: pump.flow must be a number, not "1e-4"'),
        ('[pump]\nmode = "fats"', "r.toml:2: pump.mode must be 'slow' or 'fast', not \"fats\""),
        ("[pump]\nnames = [1]", "r.toml:2: pump.names.0 must be a string, not 1"),
        ("[pump]\nnames = 'a\"\\b'", "r.toml:2: pump.names must be a list"),
        ('[pump]\nmode = "a\\nb\\u001b"', 'not "a\\nb\\x1b"'),
        (f'[pump]\nmode = "{"긴" * 99}"', "긴..."),
    ],
)
def test_refusals_name_place_rule_value_and_remedy(text: str, said: str) -> None:
    """CF-01, CF-02, CF-03."""
    assert said in refused(text)


def test_a_missing_value_is_named() -> None:
    assert refused("[pump]\n", Needy) == "r.toml:1: pump.key is missing"


def test_other_keys_of_the_section_are_proposed_too() -> None:
    table = Table.parse("[pump]\nnmae = 1\n", "r.toml")
    with pytest.raises(SettingError, match='did you mean "name"'):
        build(Pump, table.values["pump"], "pump", table, ["name"])


def test_numbers_are_typed_as_toml_says() -> None:
    """CF-02: 1e-4 is a number, an integer does for a float, and nothing is coerced."""
    table = Table.parse("[pump]\nflow = 1e-4\n", "r.toml")
    assert build(Pump, table.values["pump"], "pump", table).flow == 1e-4
    table = Table.parse("[pump]\nflow = 2\n", "r.toml")
    made = build(Pump, table.values["pump"], "pump", table)
    assert (made.flow, type(made.flow)) == (2.0, float)


def test_settings_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError):
        setattr(Pump(), "depth", 4)  # noqa: B010


def test_marks_are_found() -> None:
    assert settings.marked(Pump, settings.PATH) == ["source"]
    assert settings.marked(Pump, settings.PATH_OR_NAME) == []


# ---------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("trainer.seed=8", "trainer.seed", 8),
        ("trainer.learning_rate=1e-4", "trainer.learning_rate", 1e-4),
        ("data.header=false", "data.header", False),
        ("data.train=리뷰.csv", "data.train", "리뷰.csv"),
        ("data.train = a=b.csv", "data.train", "a=b.csv"),
        ('data.label="1"', "data.label", "1"),
        ("task.labels=['긍정', '부정']", "task.labels", ["긍정", "부정"]),
        ("data.train=no", "data.train", "no"),
        ("data.train=", "data.train", ""),
        ("name=a", "name", "a"),
        ("trainer.seed=1\ntrainer.epochs=2", "trainer.seed", "1\ntrainer.epochs=2"),
    ],
)
def test_overrides_are_toml_or_a_bare_word(text: str, key: str, value: Any) -> None:
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("text", ["trainer.seed", "=3", "a b=3", ".seed=3", "가.나=3", "a..b=1"])
def test_overrides_that_are_none(text: str) -> None:
    with pytest.raises(SettingError, match=r"section\.key=value"):
        parse_override(text)


def test_bytes_of_another_encoding_are_refused() -> None:
    """A terminal in CP949 gives lone surrogates, which no recipe can hold."""
    with pytest.raises(SettingError, match="not UTF-8"):
        parse_override("data.train=" + "가.csv".encode("cp949").decode("utf-8", "surrogateescape"))


# ---------------------------------------------------------------- writing

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALAR = TEXT | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans()
VALUE = SCALAR | st.lists(SCALAR, max_size=4) | st.dictionaries(TEXT, SCALAR, max_size=3)


@given(st.dictionaries(st.sampled_from("abcdef"), VALUE | st.none()), SCALAR)
def test_what_is_dumped_is_read_again(values: dict[str, Any], top: Any) -> None:
    """CF-04: quotes, backslashes, Hangul, control characters, lists, tables; None is no key."""
    text = dump({"pump": values}, {"name": top})
    kept = {key: value for key, value in values.items() if value is not None}
    assert tomllib.loads(text) == {"name": top, "pump": kept}
    for key, value in values.items():
        assert (value is None) == (f"# {key} is not set" in text.splitlines())


@given(TEXT)
def test_a_refusal_is_one_line_whatever_the_value(value: str) -> None:
    text = dump({"pump": {"mode": value + "!"}}, {})
    assert refused(text).startswith("r.toml:3: pump.mode must be")
