"""What a user gets wrong is one line: the place, the rule, what was seen, the way out (CF-01)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from _cli import Warm, cold, environment, one_line
from _tiny import Tiny, lines, tiny, warm

__all__ = ["tiny", "warm"]

REVIEWS = "text,label\n" + "".join(
    f"{i}번째 {'정말 좋아요' if i % 2 else '너무 별로예요'},{'긍정' if i % 2 else '부정'}\n"
    for i in range(60)
)


@pytest.fixture(scope="module")
def place(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data file, recipes that are wrong, and a run that is right."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "reviews.csv").write_text(REVIEWS)
    recipes = {
        "key": '[data]\nname = "sample"\n[trainer]\nlearning_rat = 1e-3\n',
        "section": '[data]\nname = "sample"\n[trainr]\nepochs = 1\n',
        "type": '[data]\nname = "sample"\n[trainer]\nepochs = "drei"\n',
        "plugin": '[model]\nname = "tfdif"\n[data]\nname = "sample"\n',
        "toml": "[data\nname = 1\n",
        "twice": '[data]\nname = "sample"\nname = "files"\n',
        "base": 'base = "nowhere"\n',
        "self": 'base = "self"\n',
    }
    for name, text in recipes.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "binary.toml").write_bytes(bytes(range(256)) * 20)
    (folder / "big.toml").write_bytes(b"# " + b"x" * (2 << 20))
    (folder / "cp949.toml").write_bytes('# 한글\nname = "x"\n'.encode("cp949"))
    done = warm.run("train", "tfidf", "data.train=reviews.csv", "name=good", cwd=folder)
    assert done.code == 0, done.err
    return folder


CASES = {
    "recipe, misspelt": (["train", "sample-tfidv"], ['"sample-tfidv"', 'mean "sample-tfidf"?']),
    "recipe, missing file": (["train", "no.toml"], ["no.toml: no such recipe file"]),
    "recipe, a folder": (["train", "runs"], ["runs: is a folder"]),
    "recipe, binary": (["train", "binary.toml"], ["binary.toml", "not UTF-8"]),
    "recipe, too large": (["train", "big.toml"], ["big.toml", "larger than 1 MiB"]),
    "recipe, CP949": (["train", "cp949.toml"], ["cp949.toml", "not UTF-8", "save it as UTF-8"]),
    "recipe, no TOML": (["train", "toml.toml"], ["toml.toml:1: not valid TOML"]),
    "recipe, key twice": (["train", "twice.toml"], ["twice.toml:3: not valid TOML"]),
    "recipe, a data file": (["train", "reviews.csv"], ["reviews.csv:1: not valid TOML"]),
    "base, unknown": (["train", "base.toml"], ["base.toml:1: base", '"nowhere"']),
    "base, itself": (["train", "self.toml"], ["self.toml:1: base is the recipe itself"]),
    "key, misspelt": (
        ["check", "key.toml"],
        ["key.toml:4", "trainer.learning_rat;", 'mean "learning_rate"?'],
    ),
    "section, misspelt": (["check", "section.toml"], ["section.toml:3", 'mean "trainer"?']),
    "type, wrong": (["check", "type.toml"], ["type.toml:4", "trainer.epochs", '"drei"']),
    "plug-in, misspelt": (["check", "plugin.toml"], ["plugin.toml:2", '"tfdif"', '"tfidf"?']),
    "override, no sign": (["train", "tfidf", "epochs"], ['"epochs"', "section.key=value"]),
    "override, misspelt": (
        ["train", "sample-encoder", "trainer.epoch=1"],
        ['override "trainer.epoch=1"', 'mean "epochs"?'],
    ),
    "override, no section": (["train", "tfidf", "epochs=1"], ['override "epochs=1"', "epochs is"]),
    "rate, NaN": (
        ["train", "sample-encoder", "trainer.learning_rate=nan"],
        ["trainer.learning_rate", "finite", "nan"],
    ),
    "rate, infinite": (["check", "sample-encoder", "trainer.learning_rate=inf"], ["finite", "inf"]),
    "rows, 0": (["check", "sample-encoder", "loader.rows=0"], ["loader.rows", "not 0"]),
    "epochs, -1": (["check", "sample-encoder", "trainer.epochs=-1"], ["trainer.epochs", "not -1"]),
    "length, 1e9": (
        ["check", "sample-encoder", "tokenizer.max_length=1000000000"],
        ["tokenizer.max_length", "not 1000000000"],
    ),
    "length, over the positions": (
        ["train", "sample-encoder", "tokenizer.max_length=100"],
        ["tokenizer.max_length is 100", "64", "or less"],
    ),
    "metric, unknown": (["check", "sample-tfidf", "trainer.metric=acuracy"], ['mean "accuracy"?']),
    "combination, impossible": (
        ["train", "sample-tfidf", "method.name=full"],
        ['method "full"', '"tfidf" is of kind features'],
    ),
    "name, out of the folder": (["train", "sample-tfidf", "name=../../x"], ["name must be"]),
    "name, an option": (["train", "sample-tfidf", "name=-rf"], ["name must be"]),
    "name, too long": (["train", "sample-tfidf", f"name={'x' * 300}"], ["name must be"]),
    "data, none": (["train", "tfidf"], ["data.train is missing"]),
    "data, misspelt file": (
        ["train", "tfidf", "data.train=revews.csv"],
        ["revews.csv: no such file", 'mean "reviews.csv"?'],
    ),
    "data, missing column": (
        ["train", "tfidf", "data.train=reviews.csv", "data.label=lable"],
        ['"lable"', "data.label", 'mean "label"?'],
    ),
    "data, a folder": (["train", "tfidf", "data.train=runs"], ["runs"]),
    "data, unknown ending": (["train", "tfidf", "data.train=a.xlsx"], ["a.xlsx", "CSV"]),
    "command, misspelt": (["trian", "tfidf"], ['no command "trian"', 'mean "train"?']),
    "command, unknown": (["frobnicate"], ['no command "frobnicate"', "mulgil --help"]),
    "command of data, misspelt": (["data", "chek", "sample"], ['mean "check"?']),
    "option, misspelt": (["train", "tfidf", "--resum"], ["--resum", "--resume"]),
    "argument, missing": (["train"], ["RECIPE"]),
    "list, unknown": (["list", "taks"], ['no list "taks"', 'mean "tasks"?']),
    "data set, misspelt": (["data", "show", "smple"], ['"smple"', 'mean "sample"?']),
    "data set, to get": (["data", "get", "nsmcc"], ['"nsmcc"', 'mean "nsmc"?']),
    "data check, other section": (
        ["data", "check", "sample", "trainer.epochs=1"],
        ['"trainer.epochs=1"', "data.key=value"],
    ),
    "run, unknown": (["predict", "runs/none"], ["runs/none: is no run folder"]),
    "run, unknown, to score": (["evaluate", "runs/none"], ["runs/none", "is no run folder"]),
    "evaluate, file for nothing": (
        ["evaluate", "runs/good", "data.text=text"],
        ['"data.text=text"', "--data"],
    ),
    "predict, no file": (["predict", "runs/good", "nowhere.csv"], ["nowhere.csv: no such file"]),
    "predict, unknown ending": (
        ["predict", "runs/good", "reviews.csv", "-o", "out.xlsx"],
        ["out.xlsx", ".csv, .tsv, .jsonl"],
    ),
    "predict, no column": (
        ["predict", "runs/good", "reviews.csv", "--text", "txt"],
        ['"txt"', 'mean "text"?'],
    ),
    "predict, unknown encoding": (
        ["predict", "runs/good", "reviews.csv", "--encoding", "utf-88"],
        ["utf-88"],
    ),
    "predict, onto a device": (
        ["predict", "runs/good", "reviews.csv", "-o", "/dev/full.csv/x.csv"],
        ["/dev/full.csv/x.csv"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line(warm: Warm, place: Path, case: str) -> None:
    """Exit 2 (4 where the disk refuses), one line on standard error, and what it must hold."""
    words, wanted = CASES[case]
    done = warm.run(*words, cwd=place)
    line = one_line(done, 4 if "device" in case else 2)
    for part in wanted:
        assert part in line, line


@pytest.mark.parametrize("command", ["train", "check", "evaluate", "predict", "data check"])
def test_a_file_without_a_header(warm: Warm, place: Path, command: str) -> None:
    """The first review must not become the names of the columns in silence."""
    bare = place / "bare.csv"
    bare.write_text(REVIEWS.split("\n", 1)[1])
    words = {
        "train": ["train", "tfidf", "data.train=bare.csv", "name=bare"],
        "check": ["check", "tfidf", "data.train=bare.csv"],
        "evaluate": ["evaluate", "runs/good", "--data", "bare.csv"],
        "predict": ["predict", "runs/good", "bare.csv", "--text", "text"],
        "data check": ["data", "check", "bare.csv"],
    }[command]
    line = one_line(warm.run(*words, cwd=place))
    assert "bare.csv" in line
    assert ("data.header = false" in line) or command == "predict"


def test_a_refused_recipe_is_not_begun(warm: Warm, place: Path) -> None:
    """The mended recipe needs neither --resume nor another name."""
    first = warm.run("train", "tfidf", "data.train=revews.csv", "name=mended", cwd=place)
    one_line(first)
    listed = warm.run("runs", "--json", cwd=place).json
    assert "runs/mended" not in [one["run"] for one in listed]
    done = warm.run("train", "tfidf", "data.train=reviews.csv", "name=mended", cwd=place)
    assert done.code == 0, done.err


def test_a_run_that_exists_is_not_written_over(warm: Warm, place: Path) -> None:
    line = one_line(warm.run("train", "tfidf", "data.train=reviews.csv", "name=good", cwd=place))
    assert "runs/good is finished already" in line
    assert "name=good-2" in line


def broken(place: Path, name: str) -> Path:
    """Return a copy of the good run to break."""
    run = place / "runs" / name
    shutil.copytree(place / "runs" / "good", run)
    return run


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "damaged"),
        ('{"n": 12, "metr', "damaged"),
        ("[1, 2]", "not a table"),
        ("{}", '"n" is missing'),
        ('{"n": 3, "interval": "x", "metrics": 7, "overlap": {}}', '"metrics" is missing or no'),
        ("\udcff", "damaged"),
    ],
)
def test_a_damaged_result(warm: Warm, place: Path, text: str, wanted: str) -> None:
    """One line from `evaluate`; `runs` still lists the others; answering needs it not."""
    run = broken(place, "hurt")
    try:
        (run / "result.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        line = one_line(warm.run("evaluate", "runs/hurt", cwd=place))
        assert "runs/hurt/result.json: " in line
        assert wanted in line
        listed = {one["run"]: one["state"] for one in warm.run("runs", "--json", cwd=place).json}
        assert listed["runs/hurt"] == "damaged"
        assert listed["runs/good"] == "done"
        assert warm.run("runs", cwd=place).code == 0
        assert warm.run("predict", "runs/hurt", cwd=place, stdin=b"a\n").code == 0
    finally:
        shutil.rmtree(run)


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("model/model.safetensors", "has changed since it was saved"),
        ("model/config.json", "has changed since it was saved"),
        ("schema.json", "schema.json: damaged"),
        ("recipe.toml", "recipe.toml"),
    ],
)
def test_a_damaged_run(warm: Warm, place: Path, file: str, wanted: str) -> None:
    """Nothing is answered with files that are not as they were saved."""
    run = broken(place, "torn")
    try:
        content = (run / file).read_bytes()
        cut = content.rindex(b"=") + 1 if file == "recipe.toml" else len(content) // 2
        (run / file).write_bytes(b"{}" if file == "schema.json" else content[:cut])
        line = one_line(warm.run("predict", "runs/torn", cwd=place, stdin=b"a\n"))
        assert wanted in line
    finally:
        shutil.rmtree(run)


def test_an_unfinished_run(warm: Warm, place: Path) -> None:
    run = broken(place, "begun")
    try:
        (run / "result.json").unlink()
        shutil.rmtree(run / "model")
        line = one_line(warm.run("evaluate", "runs/begun", cwd=place))
        assert "is not finished (it has no result.json); go on with mulgil train --resume" in line
        for words in (
            ["predict", "runs/begun"],
            ["evaluate", "runs/begun", "--data", "reviews.csv"],
        ):
            assert "--resume" in one_line(warm.run(*words, cwd=place))
    finally:
        shutil.rmtree(run)


def test_too_many_bad_rows(warm: Warm, place: Path) -> None:
    """The line shows the first of them and the setting that allows more."""
    rows = REVIEWS.splitlines()
    bad = [f"{row},x" if i % 4 == 1 else row for i, row in enumerate(rows)]
    (place / "ragged.csv").write_text("\n".join(bad) + "\n")
    line = one_line(warm.run("train", "tfidf", "data.train=ragged.csv", "name=ragged", cwd=place))
    assert "15 of 60 rows cannot be used" in line
    assert "(ragged.csv:2, ragged.csv:6, ragged.csv:10, ...)" in line
    assert "data.max_rejected" in line


def test_one_label_only(warm: Warm, place: Path) -> None:
    (place / "same.csv").write_text("text,label\n" + "".join(f"글 {i},하나\n" for i in range(50)))
    line = one_line(warm.run("train", "tfidf", "data.train=same.csv", "name=same", cwd=place))
    assert "two labels or more" in line
    assert "하나" in line


def test_messages_cannot_steer_the_terminal(warm: Warm, place: Path) -> None:
    """RP-03, SV-15: escapes and line breaks in names are spelt out, and it stays one line."""
    words = ["predict", "runs/good", "a\x1b]0;x\x07\nmulgil: all is well\u202e.csv"]
    line = one_line(warm.run(*words, cwd=place))
    assert "a\\u001b]0;x\\u0007 mulgil: all is well\\u202e.csv: no such file" in line


@pytest.mark.parametrize("coerced", ["0", "1"])
def test_a_locale_that_is_not_utf8(place: Path, tmp_path: Path, coerced: str) -> None:
    """DA-01: the same Korean in and out, messages too, even where Python believes in ASCII."""
    forced = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": coerced}
    env = environment(tmp_path / "cache", LC_ALL="C", **forced)
    shutil.copytree(place / "runs" / "good", tmp_path / "runs" / "좋은 것")
    (tmp_path / "평.csv").write_text("text\n정말 좋아요\n", encoding="utf-8")
    done = cold("predict", "runs/좋은 것", "평.csv", cwd=tmp_path, env=env)
    assert done.code == 0, done.err
    assert json.loads(done.out)["label"] == "긍정"
    done = cold("predict", "runs/좋은 것", "폄.csv", cwd=tmp_path, env=env)
    assert "폄.csv: no such file" in one_line(done)


# ---------------------------------------------------------------- folders and disks


def test_too_little_room_is_said_before_the_first_step(tiny: Tiny) -> None:
    """TR-16."""
    line = one_line(tiny.train(hooks=[["small_disk", 100_000]]), 4)
    assert "two checkpoints and the model needs" in line
    assert "100,000 free" in line
    assert lines(tiny.run) == []
    assert tiny.steps() == []


@pytest.mark.parametrize("folder", ["한글 폴더", "한글", "a b'c\"d", "길" * 60])
def test_odd_names_of_folders(tiny: Tiny, folder: str) -> None:
    """TR-15: spaces, quotes, decomposed and long Hangul: it just works, and so does answering."""
    done = tiny.train("trainer.epochs=1", "--root", folder)
    assert done.code == 0, done.err
    found = tiny.warm.run("predict", f"{folder}/tiny", cwd=tiny.folder, stdin="좋아요\n".encode())
    assert found.json["label"] in ("긍정", "부정", "중립")


def test_folders_that_cannot_be_written(tiny: Tiny) -> None:
    """TR-15: one line, before any work."""
    (tiny.folder / "file").write_text("")
    assert "file/tiny: cannot be made" in one_line(tiny.train("--root", "file"), 4)
    assert "cannot be made" in one_line(tiny.train("--root", "길" * 90), 4)
    (tiny.folder / "locked").mkdir(mode=0o555)
    done = tiny.train("--root", "locked", hooks=[["nobody"]])
    assert "locked/tiny: cannot be made: Permission denied" in one_line(done, 4)
    assert not any((tiny.folder / "locked").iterdir())
