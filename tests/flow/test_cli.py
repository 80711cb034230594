"""The real command line: exit codes, help, JSON, what reaches the terminal, and the demo."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from _cli import Done, Warm, cold, environment, one_line
from _tiny import Tiny, essence, tiny, warm

from mulgil import cli

__all__ = ["tiny", "warm"]

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "src" / "mulgil" / "datasets" / "sample.tsv"
STEPS = ["settings", "data", "model", "tokenizer", "loader", "method", "trainer"]

LOOK = """
import io, json, sys
from contextlib import redirect_stdout
from mulgil.cli import main
found = {}
for words in json.loads(sys.argv[1]):
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(said):
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code
    said.seek(0)
    heavy = {"torch", "transformers", "pydantic", "sklearn", "numpy"} & set(sys.modules)
    found[" ".join(words)] = [code, said.read(), sorted(heavy)]
print(json.dumps(found))
"""


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group, by the words that call it."""
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def test_every_help_and_list_without_heavy_imports(tmp_path: Path) -> None:
    """`--help`, `list` and their like say something, and load neither torch nor numpy."""
    calls = [[*path, option] for path in commands(cli.cli) for option in ("--help", "-h")]
    calls += [[], ["data"], ["--version"], ["list"], ["list", "--json"], ["list", "models"]]
    calls += [["tokenizer", verb, "--help"] for verb in ("train", "report")]  # a group by itself
    assert len(calls) > 25
    done = subprocess.run(
        [sys.executable, "-c", LOOK, json.dumps(calls)],
        env=environment(tmp_path / "cache"),
        capture_output=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    for words, (code, said, heavy) in found.items():
        assert (code, heavy) == (0, []), words
        if words.endswith(("-h", "--help")):
            path = words.split()[:-1]
            assert said.startswith(f"Usage: {' '.join(['mulgil', *path])} "), words
            assert len(said.splitlines()) > 3
            assert not re.search(r"[a-z]\.\.\.$", said, re.MULTILINE), "a sentence is cut off"
    assert found[""][1] == found["--help"][1]
    assert found["data"][1] == found["data --help"][1]
    assert found["--version"][1].startswith("mulgil, version 0.")
    assert "linear-probe" in found["list"][1]
    recipes = json.loads(found["list --json"][1])["recipes"]
    assert "sample-tfidf" in recipes
    whole = r".*([.?)]|data\.train=reviews\.csv)"
    assert [text for text in recipes.values() if not re.fullmatch(whole, text)] == []
    assert not list(tmp_path.iterdir())


def test_the_three_doors_are_one(tmp_path: Path) -> None:
    """`mulgil`, `python -m mulgil` and `python -m mulgil.cli`."""
    script = Path(sys.executable).with_name("mulgil")
    doors = [[sys.executable, "-m", "mulgil"], [sys.executable, "-m", "mulgil.cli"], [str(script)]]
    said = {
        subprocess.run(
            [*door, "list", "metrics"],
            env=environment(tmp_path / "cache"),
            capture_output=True,
            check=True,
        ).stdout
        for door in doors
        if Path(door[0]).exists()
    }
    assert len(said) == 1
    assert b"accuracy" in said.pop()


# ---------------------------------------------------------------- exit codes


def test_exit_codes(tiny: Tiny) -> None:
    """0 done, 1 our fault, 2 the input, 3 no number, 4 the disk, 130 and 143 stopped."""
    assert tiny.train("trainer.epoch=1").code == 2
    assert tiny.train(hooks=[["at", "update", 1, "bug"]]).code == 1
    assert tiny.resume(hooks=[["at", "loss", 2, "inf"]]).code == 3
    assert tiny.resume(hooks=[["small_disk", 1]]).code == 4
    assert tiny.resume(hooks=[["at", "update", 3, "SIGINT"]]).code == 130
    assert tiny.resume(hooks=[["at", "update", 5, "SIGTERM"]]).code == 143
    assert tiny.resume().code == 0


def test_interrupted_outside_the_loop(warm: Warm, tiny: Tiny) -> None:
    """A second of tokenising or scoring that is interrupted: 130 and one line."""
    for place in ("keep", "finish"):
        done = tiny.resume("trainer.epochs=1", hooks=[["at", place, 0, "SIGINT"]])
        assert one_line(done, 130) == "mulgil: stopped"
    assert tiny.resume("trainer.epochs=1").code == 0


# ---------------------------------------------------------------- JSON


@pytest.fixture(scope="module")
def place(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data file and a run of it."""
    folder = tmp_path_factory.mktemp("place")
    rows = [
        f"{i}번째 {'정말 좋아요' if i % 2 else '너무 별로'},{'좋음' if i % 2 else '나쁨'}"
        for i in range(90)
    ]
    (folder / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (folder / "new.csv").write_text("text\n또 살래요\n")
    done = warm.run("train", "tfidf", "data.train=reviews.csv", "--json", cwd=folder)
    assert done.code == 0, done.err
    assert (folder / "runs" / "tfidf" / "report.html").stat().st_size > 10_000
    found = done.json
    assert found["run"] == "runs/tfidf"
    assert found["metrics"]["accuracy"]["accuracy"]["value"] == 1
    return folder


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["list"], {"tasks", "methods", "models", "recipes", "datasets"}),
        (["list", "tasks"], {"tasks"}),
        (["check", "tfidf", "data.train=reviews.csv"], {"rows", "labels", "lengths", "plan"}),
        (["check", "--schema"], {"$schema", "properties"}),
        (["evaluate", "runs/tfidf"], {"n", "interval", "metrics", "overlap"}),
        (["evaluate", "runs/tfidf", "--data", "reviews.csv"], {"n", "metrics", "rejected"}),
        (["data", "check", "reviews.csv"], {"rows", "labels", "overlap", "rejected"}),
        (["data", "check", "sample"], {"rows", "labels"}),
        (["doctor"], {"python", "torch", "cores", "cache"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_json_for_machines(warm: Warm, place: Path, words: list[str], keys: set[str]) -> None:
    """Nothing but one JSON value on standard output, nothing at all on standard error."""
    more = [] if "--schema" in words else ["--json"]
    done = warm.run(*words, *more, cwd=place)
    assert (done.code, done.err) == (0, "")
    assert keys <= done.json.keys()
    if words[0] != "check" or "--schema" not in words:
        plain = warm.run(*words, cwd=place)
        assert (plain.code, plain.err) == (0, "")
        assert len(plain.out.splitlines()) > 1


def test_json_lists(warm: Warm, place: Path) -> None:
    assert [one["run"] for one in warm.run("runs", "--json", cwd=place).json] == ["runs/tfidf"]
    names = [one["name"] for one in warm.run("data", "list", "--json", cwd=place).json]
    assert {"files", "sample", "nsmc"} <= set(names)
    assert warm.run("runs", "--root", "none", "--json", cwd=place).json == []
    assert "mulgil demo" in warm.run("runs", "--root", "none", cwd=place).out


def test_evaluate_rerun_is_the_same(warm: Warm, place: Path) -> None:
    """EV-11: byte for byte."""
    words = ["evaluate", "runs/tfidf", "--data", "reviews.csv", "--json"]
    first, second = warm.run(*words, cwd=place), warm.run(*words, cwd=place)
    assert first.out == second.out
    assert first.json["n"] == 90


def test_train_again_gives_the_same_result(warm: Warm, tmp_path: Path) -> None:
    """EV-11, CF-04: from the recipe that the run wrote, in another folder, in another process."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert warm.run("train", "sample-tfidf", "--root", str(first), cwd=tmp_path).code == 0
    recipe = str(first / "sample-tfidf" / "recipe.toml")
    assert cold("train", recipe, "--root", str(second), cwd=tmp_path).code == 0
    for name in ("recipe.toml", "predictions.jsonl", "schema.json"):
        ours, theirs = (root / "sample-tfidf" / name for root in (first, second))
        assert ours.read_bytes() == theirs.read_bytes(), name
    ours, theirs = essence(first / "sample-tfidf"), essence(second / "sample-tfidf")
    assert ours == theirs


# ---------------------------------------------------------------- the terminal


def raw_controls(done: Done) -> list[str]:
    return re.findall(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069]", done.out + done.err
    )


def test_control_characters_do_not_reach_the_terminal(warm: Warm, tmp_path: Path) -> None:
    """RP-03, SV-15: escapes, C1 controls, direction overrides in texts, labels, columns, names."""
    evil = "\x1b[2J\x9b31m\u202e\x07"
    labels = ["좋음", f"나쁨{evil}"]
    rows = [{"text": f"{i}번째 {evil} 후기", "label": labels[i % 2]} for i in range(80)]
    name = f"re{evil}views.jsonl"
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = []
    for words in (
        ["data", "check", name],
        ["data", "show", name],
        ["data", "check", name, "--json"],
        ["check", "tfidf", f"data.train={name}"],
        ["train", "tfidf", f"data.train={name}", "model.min_rows=1"],
        ["evaluate", "runs/tfidf"],
        ["evaluate", "runs/tfidf", "--json"],
        ["evaluate", "runs/tfidf", "--data", name],
        ["predict", "runs/tfidf", name],
        ["predict", "runs/tfidf", name, "-o", f"o{evil}.csv"],
        ["predict", "runs/tfidf", f"none{evil}.csv"],
        ["train", f"none{evil}"],
        ["list", evil],
        [evil],
    ):
        done = warm.run(*words, cwd=tmp_path)
        assert raw_controls(done) == [], words
        said.append(done)
    assert [done.code for done in said] == [0] * 10 + [2] * 4
    assert "나쁨\\u001b[2J\\u009b31m\\u202e\\u0007" in said[0].out
    assert labels[1] in said[2].json["labels"]["train"]
    assert json.loads(said[8].out.splitlines()[3])["text"] == rows[3]["text"]
    assert evil in (tmp_path / f"o{evil}.csv").read_text()


# ---------------------------------------------------------------- the whole way


def test_demo(warm: Warm, tmp_path: Path) -> None:
    """The main job, offline, printed step by step: what upstream is worth to the same recipe."""
    done = warm.run("demo", cwd=tmp_path, limit=240)
    assert (done.code, done.err) == (0, "")
    for number, step in enumerate(STEPS, 1):
        assert len(re.findall(rf"^{number} {step} ", done.out, re.MULTILINE)) == 3
    found = {}
    for name in ("sample-tfidf", "sample-scratch", "sample-mini"):
        run = tmp_path / "runs" / name
        result = json.loads((run / "result.json").read_text())
        assert result["n"] > 100
        assert (run / "report.html").exists()
        found[name] = result["metrics"]["accuracy"]["accuracy"]["value"]
        assert re.search(rf"accuracy {found[name]:.4f}  95% \[0\.", done.out)
    assert found["sample-mini"] > found["sample-scratch"] + 0.05
    assert re.search(r"\[MASK\]: \S+ 0\.\d\d, ", done.out)
    assert "open it in a browser" in done.out
    hint = re.search(r"mulgil (predict \S*runs/\S+ -)$", done.out, re.MULTILINE)
    assert hint
    answer = warm.run(*hint[1].split(), cwd=tmp_path, stdin="정말 재미있게 봤어요\n".encode())
    assert answer.json["label"] in ("긍정", "부정", "중립")


def readme() -> list[str]:
    """Return the `mulgil` lines of README.md's shell blocks that need nothing from outside."""
    page = ROOT / "README.md"
    if not page.exists():
        return []
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    found = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    known = re.compile(r"((echo|printf) ['\"][^'\"]*['\"] \| )?mulgil ")
    outside = re.compile("pretrained|nsmc|recipes/")  # a checkpoint or data that are not bundled
    return [line for line in found if known.match(line) and not outside.search(line)]


def test_readme_commands(warm: Warm, place: Path, tmp_path: Path) -> None:
    """What README.md says to type does what it says, in its order."""
    lines = readme()
    if not lines:
        pytest.skip("README.md has no commands that can be run offline")
    for name in ("reviews.csv", "new.csv"):
        (tmp_path / name).write_bytes((place / name).read_bytes())
    page = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"^```toml upstream.toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert block
    (tmp_path / "upstream.toml").write_text(block[1] + "[trainer]\nepochs = 1\n", "utf-8")
    texts = [row.split("\t")[0] for row in SAMPLE.read_text("utf-8").splitlines()[1:]]
    (tmp_path / "reviews.txt.gz").write_bytes(gzip.compress("\n".join(texts).encode()))
    (tmp_path / "other.txt").write_text("\n".join(texts[:50]), "utf-8")
    pairs = [
        f"{one}\t{two}\t{'같음' if i % 3 else '다름'}"
        for i, (one, two) in enumerate(zip(texts[:40], texts[40:80], strict=True))
    ]
    (tmp_path / "pairs.tsv").write_text("\n".join(["first\tsecond\tlabel", *pairs]), "utf-8")
    ran = 0
    for line in lines:
        said, _, command = line.rpartition("| ")
        words: list[Any] = shlex.split(command)[1:]
        run = next((word for word in words if word.startswith("runs/")), None)
        if run and not (tmp_path / run).exists():
            continue  # trained from a checkpoint that is not here
        text = shlex.split(said)[1].replace("\\n", "\n").encode() if said else b""
        done = warm.run(*words, cwd=tmp_path, limit=240, stdin=text)
        assert done.code == 0, (line, done.err)
        ran += 1
    assert ran
