"""What the documentation says is so: links, recipes, commands, examples and reference pages.

A named code block (its name stands behind the language, as in `toml reviews.toml`) is a file that
later blocks of the page may use. A line after `# runs offline` is really run.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from mulgil import cli, clitokenizer, errors, recipe, registry, rundir
from mulgil.tables.rows import FORMATS, OUTPUTS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in (DOCS / "en").glob("*.md"))
GUIDES = [DOCS / language / name for language in ("en", "ko") for name in PAGES]
FRONT = [
    path for name in ("README", "CONTRIBUTING", "SECURITY") for path in ROOT.glob(f"{name}.md")
]
LINKED = sorted({*DOCS.rglob("*.md"), *FRONT})
RUNS = "# runs offline"


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced code block: its language, its name ("" without one) and its text."""

    language: str
    name: str
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    found = re.findall(r"^```(\S*) ?(.*)\n((?s:.*?))^```$", page.read_text("utf-8"), re.MULTILINE)
    return [Block(*each) for each in found if not languages or each[0] in languages]


def headings(page: Path) -> list[tuple[int, str]]:
    """Return level and words of each heading."""
    text = re.sub(r"^```(?s:.*?)^```$", "", page.read_text("utf-8"), flags=re.MULTILINE)
    return [(len(marks), words) for marks, words in re.findall(r"^(#+) (.*)$", text, re.MULTILINE)]


def anchor(heading: str) -> str:
    """Return what a heading is linked by, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------- reference pages


@pytest.fixture(scope="module")
def maker() -> Any:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_up_to_date(maker: Any) -> None:
    assert maker.stale(maker.FOLDER) == [], "run make docs"


def test_check_notices_an_old_page(maker: Any, tmp_path: Path) -> None:
    assert maker.main(["--check", "--folder", str(tmp_path)]) == 1
    assert maker.main(["--folder", str(tmp_path)]) == 0
    assert maker.main(["--check", "--folder", str(tmp_path)]) == 0
    page = tmp_path / "settings.md"
    page.write_text(page.read_text("utf-8").replace("`0.06`", "`0.05`"), "utf-8")
    assert maker.main(["--check", "--folder", str(tmp_path)]) == 1


# ---------------------------------------------------------------- links and languages


@pytest.mark.parametrize("page", LINKED, ids=shown)
def test_relative_links_resolve(page: Path) -> None:
    text = re.sub(r"^```(?s:.*?)^```$", "", page.read_text("utf-8"), flags=re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, place = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target}: no such file"
        if place:
            assert place in {anchor(words) for _, words in headings(file)}, f"{target}: no heading"


def test_both_languages_have_the_same_pages() -> None:
    assert sorted(path.name for path in (DOCS / "ko").glob("*.md")) == PAGES
    assert len(PAGES) >= 11


@pytest.mark.parametrize("name", PAGES)
def test_both_languages_show_the_same(name: str) -> None:
    english, korean = DOCS / "en" / name, DOCS / "ko" / name
    assert [level for level, _ in headings(english)] == [level for level, _ in headings(korean)]
    assert [_code(block) for block in blocks(english)] == [_code(block) for block in blocks(korean)]


def _code(block: Block) -> tuple[str, str, list[str]]:
    """Return what must not differ between languages: everything but comments and drawings."""
    drawing = block.language == "text" and "->" in block.text
    lines = [] if drawing else [re.sub(r"(^| +)#.*", "", line) for line in block.text.splitlines()]
    return block.language, block.name, lines


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").glob("*.md")), ids=shown)
def test_decisions_tell_the_four_things(page: Path) -> None:
    wanted = ["Context", "Decision", "Measurement", "Cost"]
    assert [words for level, words in headings(page) if level == 2] == wanted
    assert re.fullmatch(r"\d{4}-[a-z\-]+\.md", page.name)


# ---------------------------------------------------------------- recipes and commands


def settle(page: Path, folder: Path) -> list[Path]:
    """Write the files of a page into a folder, made-up data included; return its recipes."""
    recipes = []
    for number, block in enumerate(blocks(page, "toml", "text", "python")):
        name = block.name or (f"block-{number}.toml" if block.language == "toml" else "")
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(block.text, "utf-8")
            recipes += [folder / name] if block.language == "toml" else []
    said = [("잘 쓰고 있어요", "긍정"), ("금방 망가졌습니다", "부정")]
    rows = [f"{i}번째 {text},{label}" for i in range(30) for text, label in said]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    (folder / "new.csv").write_text("text\n선물로 또 샀어요\n\n뚜껑이 안 맞습니다\n", "utf-8")
    return [path for path in recipes if path.name != "pyproject.toml"]


def commands(page: Path) -> list[list[str]]:
    """Return the words of each `mulgil` in the page's shell blocks."""
    found = []
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|>&;")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if word[0] not in "|>&;":
                    words.append(word)
                    continue
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                found += [words] if words[:1] == ["mulgil"] else []
                words = []
    return found


def refused(words: list[str], folder: Path) -> str:
    """Return why the command line would refuse these words, "" when it would not."""
    command: click.Command = cli.cli
    name, rest = words[0], words[1:]
    try:
        while isinstance(command, click.Group):
            name, found, rest = command.resolve_command(click.Context(command), rest)
            command = found or command
            if command is cli.tokenizer:  # hands its words on to a group of its own
                command = clitokenizer.tokenizer
        given = command.make_context(str(name), list(rest)).params
        check_settings(str(name), given, folder)
    except click.exceptions.Exit:
        return ""  # --help
    except click.ClickException as error:
        return error.format_message()
    except errors.UserError as error:
        return str(error)
    return ""


def check_settings(verb: str, given: dict[str, Any], folder: Path) -> None:
    """Raise what the command would raise for its recipe, its data and its settings."""
    settings = given.get("settings", ())
    if given.get("recipe"):
        places = [place / given["recipe"] for place in (folder, ROOT)]
        found = [str(place) for place in places if place.is_file()]
        recipe.read(found[0] if found else given["recipe"], settings)
    elif verb == "predict":
        for text in settings:
            answers(text)
    elif "words" in given:
        mine = [word for word in given["words"] if re.match(r"(tokenizer|data)\.\w+=", word)]
        kind = [word for word in mine if word.startswith("tokenizer.")]
        recipe.read("sample-encoder", kind)
        recipe.section("data", ["data.name=corpus", *(word for word in mine if word not in kind)])
    else:
        known = given.get("name") in registry.names("datasets")
        task = [text for text in settings if not text.startswith("data.")]
        if task and (verb not in {"check", "show"} or not task[0].startswith("task.name=")):
            raise errors.SettingError(f"{task[0]}: does not say how to read a file")
        recipe.section("task", task or ["task.name=classification"])  # what the rows are for
        settings = [text for text in settings if text.startswith("data.")]
        recipe.section("data", [f"data.name={given['name'] if known else 'files'}", *settings])


def answers(text: str) -> None:
    """Refuse what is no setting of how some language task answers."""
    key = text.partition("=")[0].removeprefix("task.")
    tasks = [name for name in registry.names("tasks") if key in answering(name)]
    if not tasks:
        raise errors.SettingError(f"{text}: is no setting of how to answer")
    recipe.section("task", [f"task.name={tasks[0]}", text])


def answering(task: str) -> frozenset[str]:
    return frozenset(getattr(registry.load("tasks", task), "answering", ()))


def test_wrong_commands_are_noticed(tmp_path: Path) -> None:
    wrong = [
        "mulgil trian tfidf",
        "mulgil train",
        "mulgil train tfidf --epochs 3",
        "mulgil train tfidf trainer.epoch=3",
        "mulgil train absent.toml",
        "mulgil predict runs/x a.csv b.csv",
        "mulgil predict mulgil/mini - task.temprature=0",
        "mulgil predict mulgil/mini - trainer.seed=3",
        "mulgil evaluate runs/x data.colum=y",
        "mulgil data chek reviews.csv",
        "mulgil data check corpus data.path=texts",
        "mulgil data check a.csv task.name=nil",
        "mulgil data check a.csv task.labels=x",
        "mulgil data get a.csv task.name=nli",
        "mulgil tokenizer trian a.txt --out t",
        "mulgil tokenizer train a.txt",
        "mulgil tokenizer train a.txt --out t tokenizer.vocabsize=9",
        "mulgil tokenizer train a.txt --out t data.units=line",
        "mulgil tokenizer report t",
    ]
    assert [line for line in wrong if not refused(line.split(), tmp_path)] == []


@pytest.mark.parametrize("page", [*GUIDES, *FRONT], ids=shown)
def test_recipes_and_commands_are_valid(page: Path, tmp_path: Path) -> None:
    recipes = settle(page, tmp_path)
    if page.name == "extending.md":
        return  # names plug-ins that are not installed here; it is run as a whole below
    for path in recipes:
        recipe.read(str(path))
    for words in commands(page):
        assert refused(words, tmp_path) == "", shlex.join(words)


@pytest.mark.parametrize("page", [*GUIDES, *FRONT], ids=shown)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block.text)


# ---------------------------------------------------------------- what is really run


def run(line: str, folder: Path, **more: str) -> str:
    """Run a line of shell, offline and with a cache of its own; return what it wrote."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MULGIL", "PYTHON"))}
    own = {"PATH": path, "HF_HUB_OFFLINE": "1", "MULGIL_CACHE": str(folder / "cache")}
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env=kept | own | more,
        capture_output=True,
        text=True,
        timeout=300,  # a line may train, and the machine may be busy
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-1000:]}{done.stderr[-1000:]}"
    return done.stdout + done.stderr


def marked(page: Path) -> list[str]:
    lines = [line for block in blocks(page, "sh") for line in block.text.splitlines()]
    return [line for mark, line in itertools.pairwise(lines) if mark == RUNS]


@pytest.mark.parametrize("name", [name for name in PAGES if marked(DOCS / "en" / name)])
def test_marked_commands_run(name: str, tmp_path: Path) -> None:
    page = DOCS / "en" / name
    settle(page, tmp_path)
    said = [run(line, tmp_path) for line in marked(page)]
    if name == "first-run.md":
        assert len(said) == 5
        answered = (tmp_path / "answered.csv").read_text("utf-8").splitlines()
        assert answered[0] == "text,label,probability,p_긍정,p_부정,error"
        assert len(answered) == 3
    if name == "pretraining.md":
        assert "bits-per-byte" in said[-1]
    if name == "tokenizers.md":
        assert "promises round trip" in said[-1]
    if name == "pairs.md":
        assert '"rating": ' in said[1]
        assert '"error": "needs 2 texts with a tab between (first, second), has 1"' in said[1]
        assert "label      모순: 1 (33.3%)" in said[2]
    if name == "entities.md":
        assert said[1].startswith('{"text": "한가람 씨는 3월 2일에 대구로 간다.", "entities": [')
        assert "rejected   0 rows" in said[2].splitlines()
        assert "tagged.tsv: tags read as IOB2, tokens as words" in said[3]
    if name == "answers.md":
        assert said[1].count('"start": ') == 3  # the answer's own, and those of the two best
        assert "label      without an answer: 1 (33.3%)" in said[2]
    if name == "writing.md":
        assert said[1].count('"log_probability": -') == 2
        assert "label      target of under 20 characters: 2 (100.0%)" in said[2]
    if name == "predicting.md":
        assert '"error": "empty text"' in said[-1]
        assert "3 rows: 2 answered, 1 error" in said[-1]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_example_of_a_plug_in_runs(language: str, tmp_path: Path) -> None:
    page = DOCS / language / "extending.md"
    settle(page, tmp_path)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text("utf-8"))["project"]
    info = tmp_path / f"mulgil_extra-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = []
    for group, entries in project["entry-points"].items():
        points += [f"[{group}]", *(f"{name} = {module}" for name, module in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(points) + "\n")

    place = {"PYTHONPATH": str(tmp_path), "MULGIL_DATA": str(tmp_path)}
    listed = run("mulgil list metrics", tmp_path, **place)
    assert "accuracy as if every label had as many rows" in listed
    if language == "ko":
        return  # the same code, as another test makes sure of
    lines = [shlex.join(words) for words in commands(page)]
    assert len(lines) == 2
    said = "".join(run(line, tmp_path, **place) for line in lines)
    assert "balanced-accuracy" in said
    figures = rundir.read_json(tmp_path / "runs" / "guestbook" / "result.json")
    assert next(iter(figures["metrics"])) == "balanced-accuracy"
    assert figures["labels"] == ["만족", "불만"]


# ---------------------------------------------------------------- facts that could grow old


@pytest.mark.parametrize("language", ["en", "ko"])
def test_lists_on_the_pages_are_those_of_the_code(language: str) -> None:
    page = {name: (DOCS / language / name).read_text("utf-8") for name in PAGES}
    named = re.findall(r"`((?:trainer|loader)\.\w+)`", page["training.md"])
    assert set(named) >= rundir.MAY_CHANGE
    for ending in FORMATS:
        assert f"`.{ending}`" in page["data.md"]
    for ending in OUTPUTS:
        assert f"`.{ending}`" in page["predicting.md"]
    codes = {error.exit_code for error in vars(errors).values() if hasattr(error, "exit_code")}
    for code in codes:
        assert re.search(rf"^\| {code} \|", page["training.md"], re.MULTILINE)
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    for variable in {*re.findall(r'"(MULGIL_[A-Z]+)"', source)}:
        assert f"`{variable}`" in page["running.md"]
