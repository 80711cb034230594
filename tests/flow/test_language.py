"""Language models on the command line: learn from texts, fill blanks, go on, be fine-tuned."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from _cli import Done, Warm, environment, one_line
from _tiny import CAUSAL, MASKED, SENTENCES, warm

__all__ = ["warm"]

FILLER, WRITER = "runs/filler", "runs/writer"
SMALL = ["trainer.epochs=4"]


@pytest.fixture(scope="module")
def place(warm: Warm, tmp_path_factory: pytest.TempPathFactory, korean_texts: list[str]) -> Path:
    """A folder with texts, a tokenizer learnt from other texts, and a run of each task."""
    folder = tmp_path_factory.mktemp("language")
    (folder / "reviews.txt").write_text("".join(f"{line}\n" for line in korean_texts))
    (folder / "texts.txt").write_text("".join(f"{line}\n" for line in SENTENCES))
    (folder / "masked.toml").write_text(MASKED.replace('"tiny"', '"filler"'))
    (folder / "causal.toml").write_text(CAUSAL.replace('"tiny"', '"writer"'))
    learn = ["reviews.txt", "texts.txt", "--out", "pieces", "tokenizer.vocab_size=600"]
    sort = ["tokenizer.algorithm=bpe", "tokenizer.byte_fallback=true"]
    done = warm.run("tokenizer", "train", *learn, *sort, cwd=folder)
    assert done.code == 0, done.err
    for recipe in ("masked.toml", "causal.toml"):
        done = warm.run("train", recipe, *SMALL, "tokenizer.pretrained=pieces", cwd=folder)
        assert done.code == 0, done.err
    return folder


def answers(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def figures(run: Path) -> Any:
    return json.loads((run / "result.json").read_text())


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("run", [FILLER, WRITER])
def test_a_run_learns_and_says_how_well(place: Path, run: str) -> None:
    """EV-11: loss, perplexity, bits a byte and right guesses, with intervals; no label anywhere."""
    result = figures(place / run)
    assert list(result["metrics"]) == ["loss", "perplexity", "bits-per-byte", "token-accuracy"]
    assert result["labels"] == []
    assert result["overlap"] == {}
    assert result["rows"]["train"] + result["rows"]["valid"] + result["rows"]["test"] == 60
    loss = result["metrics"]["loss"]["loss"]
    assert 0 < loss["low"] <= loss["value"] <= loss["high"] < 10
    journal = [json.loads(line) for line in (place / run / "journal.jsonl").open()]
    looks = [line["loss"] for line in journal if line["kind"] == "valid"]
    assert looks[-1] < 0.9 * looks[0]
    lines = [json.loads(line) for line in (place / run / "predictions.jsonl").open()]
    assert len(lines) == result["n"] == result["rows"]["test"]
    assert {*lines[0]} == {"id", "text", "nats", "tokens", "right", "bytes"}
    nats, tokens = (sum(line[key] for line in lines) for key in ("nats", "tokens"))
    assert nats / tokens == pytest.approx(loss["value"], abs=1e-3)
    if run == WRITER:
        assert all(line["bytes"] == len(line["text"].encode()) for line in lines)
    assert (place / run / "report.html").exists()


def test_the_plan_counts_tokens_and_windows(warm: Warm, place: Path) -> None:
    done = warm.run("check", "causal.toml", cwd=place)
    assert done.code == 0, done.err
    assert "tokens in all" in done.out
    assert "train" in done.out
    assert "label" not in done.out
    found = warm.run("check", "masked.toml", "--json", cwd=place).json
    lengths = found["lengths"]["train"]
    assert lengths["tokens"] > 60 * 5
    assert lengths["truncated"] == 0
    assert found["plan"]["steps"] > 0
    trained = warm.run("train", "causal.toml", "name=spoken", "trainer.epochs=0.1", cwd=place)
    assert "windows of" in trained.out
    assert "tokens in" in trained.out


@pytest.mark.parametrize("run", [FILLER, WRITER])
def test_any_text_can_be_scored(warm: Warm, place: Path, run: str) -> None:
    """EV-05: a text that is repeated counts as often; the run's own figures need no file."""
    (place / "other.txt").write_text("".join(f"{line}\n" for line in SENTENCES[:7] * 2))
    found = warm.run("evaluate", run, "--data", "other.txt", "--json", cwd=place)
    assert found.code == 0, found.err
    assert found.json["n"] == 14
    assert found.json["metrics"]["perplexity"]["perplexity"]["value"] > 1
    again = warm.run("evaluate", run, "--data", "other.txt", "--json", cwd=place).json
    assert again["metrics"] == found.json["metrics"]
    own = warm.run("evaluate", run, "--json", cwd=place).json
    assert own["metrics"] == figures(place / run)["metrics"]


# ---------------------------------------------------------------- filling


BLANKS = ["비 [MASK]를 걸었다", "[MASK] 날 [MASK] 골랐다"]


def check_filled(found: dict[str, Any], text: str) -> None:
    """Check an answer: as many blanks as were asked, probabilities of each in falling order."""
    blanks = found["blanks"]
    blanks = json.loads(blanks) if isinstance(blanks, str) else blanks
    assert len(blanks) == text.count("[MASK]")
    product = 1.0
    for blank in blanks:
        shares = list(blank.values())
        assert 1 <= len(shares) <= 5
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1
        product *= shares[0]
    assert float(found["probability"]) == pytest.approx(product, abs=1e-4)
    parts = [re.escape(part.strip(" ")) for part in text.split("[MASK]")]
    assert re.fullmatch(".*".join(parts), found["filled"]), "the rest of the text stays as it is"


@pytest.mark.parametrize("form", ["txt", "csv", "jsonl", "-"])
def test_blanks_are_filled_from_any_source(warm: Warm, place: Path, form: str) -> None:
    """PR-01: also a text without a blank, an empty one, and one that is too long."""
    rows = [BLANKS[0], "빈칸이 없는 글", BLANKS[1], "강가 " * 40 + "[MASK]"]
    content = {
        "txt": "".join(f"{row}\n" for row in rows),
        "csv": "번호,text\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows)),
        "jsonl": "".join(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in rows),
    }
    source = "-" if form == "-" else f"blanks.{form}"
    if form != "-":
        (place / source).write_text(content[form])
    stdin = content["txt"].encode() if form == "-" else b""
    done = warm.run("predict", FILLER, source, cwd=place, stdin=stdin)
    assert done.code == 0, done.err
    found = answers(done.out)
    assert len(found) == 4
    check_filled(found[0], rows[0])
    check_filled(found[2], rows[2])
    assert "[MASK]" in found[1]["error"]
    assert "24" in found[3]["error"], "the longest row is said"
    assert "2 errors" in done.err


def test_filled_blanks_as_a_table(warm: Warm, place: Path) -> None:
    """PR-01: the user's own columns, then the answer's; each row is one row."""
    (place / "table.csv").write_text(f'번호,글\n1,"{BLANKS[0]}"\n2,없다\n3,"{BLANKS[1]}"\n')
    words = ["predict", FILLER, "table.csv", "task.top=2", "--text", "글", "-o", "out.csv"]
    done = warm.run(*words, cwd=place)
    assert done.code == 0, done.err
    with open(place / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["번호"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0])[:2] == ["번호", "글"]
    assert {"filled", "probability", "blanks", "error"} <= {*rows[0]}
    assert rows[1]["error"]
    assert rows[1]["filled"] == ""
    for row in (rows[0], rows[2]):
        check_filled(row, row["글"])
        assert all(len(blank) <= 2 for blank in json.loads(row["blanks"]))


# ---------------------------------------------------------------- going on


def go_on(warm: Warm, place: Path, *settings: str) -> list[dict[str, Any]]:
    stdin = "새벽에 할머니는\n주말이면\n".encode()
    done = warm.run("predict", WRITER, "-", *settings, cwd=place, stdin=stdin)
    assert done.code == 0, done.err
    return answers(done.out)


def test_texts_go_on(warm: Warm, place: Path) -> None:
    """The likeliest is always the same; a draw is that of its seed."""
    greedy = go_on(warm, place, "task.temperature=0", "task.max_new=8")
    assert greedy == go_on(warm, place, "task.temperature=0", "task.max_new=8", "task.seed=9")
    for answer in greedy:
        assert 1 <= answer["tokens"] <= 8
        assert answer["log_probability"] < 0
        assert isinstance(answer["continuation"], str)
    hot = ["task.temperature=3", "task.max_new=12"]
    drawn = go_on(warm, place, *hot)
    assert drawn == go_on(warm, place, *hot, "task.seed=7")
    assert drawn != go_on(warm, place, *hot, "task.seed=8")
    assert drawn != greedy


def typed(place: Path, run: str, *lines: str) -> list[str]:
    """Type lines at a terminal; return what the screen shows behind each."""
    ours, theirs = pty.openpty()
    quiet = termios.tcgetattr(theirs)
    quiet[1], quiet[3] = quiet[1] & ~termios.OPOST, quiet[3] & ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, quiet)
    words = [sys.executable, "-m", "mulgil", "predict", run, "-", "task.temperature=0"]
    words = words[:-1] if run == FILLER else words
    env = environment(place / "cache")
    with subprocess.Popen(words, cwd=place, env=env, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        for line in lines:
            os.write(ours, f"{line}\n".encode())
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody is there any more
            while chunk := os.read(ours, 1024):
                shown += chunk
                if shown.count(b"> ") > len(lines):
                    os.write(ours, b"\x04")
    os.close(ours)
    return [part.strip("\n") for part in shown.decode().split("> ")]


def test_a_person_who_types_is_answered_line_by_line(warm: Warm, place: Path) -> None:
    first, empty, again = typed(place, WRITER, "새벽에 할머니는", "", "주말이면")[1:4]
    alone = go_on(warm, place, "task.temperature=0")
    assert [first, again] == [answer["continuation"] for answer in alone]
    assert json.loads(empty) == {"error": "empty text"}
    (filled,) = typed(place, FILLER, "새벽에 [MASK]는")[1:2]
    assert json.loads(filled)["blanks"]


@pytest.mark.parametrize(
    ("run", "setting", "said"),
    [
        (WRITER, "task.temprature=0", 'mean "task.temperature"?'),
        (WRITER, "task.temperature=-1", "task.temperature"),
        (WRITER, "task.temperature=warm", "task.temperature"),
        (WRITER, "trainer.epochs=1", "settings of how to answer only"),
        (FILLER, "task.rate=0.5", "settings of how to answer only"),
        (FILLER, "task.whole_words=true", "task.top"),
        (FILLER, "task.top=0", "task.top"),
        (FILLER, "top=3", "task.top"),
    ],
)
def test_only_how_to_answer_may_be_set(
    warm: Warm, place: Path, run: str, setting: str, said: str
) -> None:
    """CF-01: whatever shaped the training is refused."""
    (place / "some.txt").write_text("새벽에 [MASK]\n")
    assert said in one_line(warm.run("predict", run, "some.txt", setting, cwd=place))


# ---------------------------------------------------------------- further on


def test_what_was_pretrained_is_fine_tuned(warm: Warm, place: Path) -> None:
    """CK-01: a classifier begins where masked-lm ended, with its tokenizer."""
    tuned = ["data.name=sample", "data.train_rows=40", "data.test_rows=10", "trainer.epochs=1"]
    base = [f"model.pretrained={FILLER}/model", "tokenizer.max_length=24", "name=tuned"]
    done = warm.run("train", "finetune", *base, *tuned, cwd=place)
    assert done.code == 0, done.err
    result = figures(place / "runs/tuned")
    assert result["task"] == "classification"
    assert result["pretrained"] == f"{FILLER.rpartition('/')[2]}/model"
    done = warm.run("predict", "runs/tuned", cwd=place, stdin="정말 좋아요\n".encode())
    assert answers(done.out)[0]["label"] in {"긍정", "부정", "중립"}


def test_pretraining_goes_on_from_a_run(warm: Warm, place: Path) -> None:
    """A second corpus, the same tokenizer, a loss that is no worse than a fresh one's."""
    more = ["model.pretrained=runs/writer/model", "name=on", "trainer.epochs=0.1"]
    assert warm.run("train", "causal.toml", *more, cwd=place).code == 0
    fresh = ["tokenizer.pretrained=pieces", "name=anew", "trainer.epochs=0.1"]
    assert warm.run("train", "causal.toml", *fresh, cwd=place).code == 0
    on, anew = (
        figures(place / "runs" / name)["metrics"]["loss"]["loss"]["value"]
        for name in ("on", "anew")
    )
    assert on < anew


# ---------------------------------------------------------------- bad input


def learn(warm: Warm, place: Path, name: str, *more: str) -> Done:
    paths = [f"data.paths={name}", f"name={Path(name).stem}", "trainer.epochs=0.2"]
    return warm.run("train", "masked.toml", *paths, *more, cwd=place)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.txt", b"", "empty.txt"),
        ("blank.txt", b"\n \n\t\n" * 30, "blank.txt"),
        ("binary.txt", bytes(range(256)) * 300, "binary.txt"),
        ("columns.csv", b"a,b\n", "columns.csv"),
    ],
    ids=["empty", "blank", "binary", "header only"],
)
def test_texts_that_are_none(warm: Warm, place: Path, name: str, content: bytes, said: str) -> None:
    """DA-01, DA-06: one line that names the file."""
    (place / name).write_bytes(content)
    assert said in one_line(learn(warm, place, name))
    assert not (place / "runs" / Path(name).stem / "model").exists()


def test_lines_that_cannot_be_used_are_counted(warm: Warm, place: Path) -> None:
    """DA-01, DA-04, DA-06: 10 MB, no UTF-8, NUL: rejected with line and reason, others are used."""
    texts = [f"{line}\n".encode() for line in SENTENCES]
    texts[10] = ("가" * 3_500_000 + "\n").encode()
    texts[20] = b"\xff\xfe\x80 \xed\xa0\x80\n"
    (place / "damaged.txt").write_bytes(b"".join(texts))
    line = one_line(learn(warm, place, "damaged.txt", "data.max_rejected=0.01"))
    assert "2 of 60" in line
    assert "data.max_rejected" in line
    done = learn(warm, place, "damaged.txt", "tokenizer.pretrained=pieces", "name=usable")
    assert done.code == 0, done.err
    rows = figures(place / "runs/usable")["rows"]
    assert rows["rejected"] == 2
    assert rows["train"] + rows["valid"] + rows["test"] == 58
    found = warm.run("evaluate", FILLER, "--data", "damaged.txt", "--json", cwd=place).json
    assert found["n"] == 58
    assert found["rejected"]["count"] == 2
    assert any("damaged.txt:11" in place for place in found["rejected"]["first"])


def test_no_texts_are_named(warm: Warm, place: Path) -> None:
    """CF-01, DA-06: nothing named, nothing there."""
    words = ["train", "masked.toml", "name=nothing"]
    assert "data.paths" in one_line(warm.run(*words, "data.paths=[]", cwd=place))
    assert 'mean "texts.txt"?' in one_line(warm.run(*words, "data.paths=text.txt", cwd=place))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["model.name=decoder"], 'task "masked-lm" needs a model with the skill fill'),
        (["task.name=causal-lm"], 'task "causal-lm" needs a model with the skill score'),
        (["model.name=tfidf", "tokenizer.name=words"], "needs a model with the skill fill"),
        (["data.name=petitions"], 'reads rows of shape "passage"'),
    ],
)
def test_what_does_not_go_together(warm: Warm, place: Path, parts: list[str], said: str) -> None:
    """CF-03: before the work, in one line."""
    data = 'name = "corpus"\npaths = ["texts.txt"]'
    if "data.name=petitions" in parts:
        data, parts = 'name = "petitions"', []
    (place / "plain.toml").write_text(f'[data]\n{data}\n[task]\nname = "masked-lm"\n')
    assert said in one_line(warm.run("check", "plain.toml", *parts, cwd=place))
