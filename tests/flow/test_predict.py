"""Rows in, the same rows with answers out: any size, any text, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _cli import Warm, cold, environment, one_line
from _tiny import Tiny, warm, whole

from mulgil import api
from mulgil.predictor import MAX_CHARACTERS

__all__ = ["warm", "whole"]


@pytest.fixture(scope="session")
def trained(warm: Warm) -> Path:
    """A TF-IDF run on the bundled sample, in `trained/runs/sample-tfidf`."""
    folder = warm.folder / "trained"
    folder.mkdir()
    done = warm.run("train", "sample-tfidf", cwd=folder)
    assert done.code == 0, done.err
    return folder


RUN = "runs/sample-tfidf"


def answers(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# ---------------------------------------------------------------- rows


def test_one_bad_row_in_ten_thousand(warm: Warm, trained: Path, tmp_path: Path) -> None:
    """PR-01: 9,999 answers and an error, in order, with the user's own columns."""
    lines = [f'{i},"{i}번 손님, 정말 좋아요"' for i in range(10_000)]
    lines[6_543] = "6543,둘,셋,넷"
    (tmp_path / "in.csv").write_text("번호,text\n" + "\n".join(lines) + "\n")
    run = str(trained / RUN)
    done = warm.run("predict", run, "in.csv", "-o", "out.csv", cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out == ""
    assert done.err == "10,000 rows: 9,999 answered, 1 error, in out.csv\n"
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10_000
    assert [i for i, row in enumerate(rows) if row["error"]] == [6_543]
    bad = rows.pop(6_543)
    assert "4" in bad["error"]
    assert bad["label"] == bad["probability"] == bad["p_긍정"] == ""
    for row in rows:
        assert row["text"] == f"{row['번호']}번 손님, 정말 좋아요"
        assert float(row["probability"]) == max(
            float(row[f"p_{x}"]) for x in ("긍정", "부정", "중립")
        )
    assert [int(row["번호"]) for row in rows] == [i for i in range(10_000) if i != 6_543]


ODD = {
    "": "empty text",
    "   \t": "empty text",
    "\u3000": "empty text",
    "ㅋㅋㅋ": "",
    "😀👨‍👩‍👧": "",
    "\0": "",
    "a\0b": "",
    "\ud800": "",
    "가" * MAX_CHARACTERS: "",
    "가" * (MAX_CHARACTERS + 1): "1,000,001 characters",
    "[CLS] </s> [SEP]": "",
    "\u1112\u1161\u11ab": "",
    "\u202e\u200b\ufeff": "",
}


@pytest.mark.parametrize("kind", ["tfidf", "encoder"])
def test_any_text_has_an_answer(trained: Path, whole: Tiny, kind: str) -> None:
    """PR-02: empty, spaces, laughter, emoji, NUL, half a character, a megabyte."""
    predictor = api.load(trained / RUN if kind == "tfidf" else whole.run)
    rows = [*ODD, 7, None, b"bytes", ["list"]]
    found = list(predictor.predict(iter(rows)))
    assert len(found) == len(rows)
    for text, answer in zip(ODD, found, strict=False):
        if ODD[text]:
            assert ODD[text] in answer["error"]
            assert len(answer) == 1
        else:
            assert answer["label"] in predictor.schema.labels
            assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    for row, answer in zip(rows[len(ODD) :], found[len(ODD) :], strict=True):
        assert answer == {"error": f"a text must be a string, not {type(row).__name__}"}
    again = list(predictor.predict(rows, chunk=3))
    assert [answer.get("label") for answer in again] == [answer.get("label") for answer in found]


def test_odd_rows_through_a_pipe(warm: Warm, trained: Path) -> None:
    """PR-02: each line has its own answer or error."""
    lines = ["좋아요", "", "   ", "ㅋㅋㅋ", "🙂", "a\0b", "\x1b[31m빨강", "깨진 \udcff 글자"]
    stdin = ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
    done = warm.run("predict", RUN, cwd=trained, stdin=stdin)
    assert done.code == 0, done.err
    found = answers(done.out)
    assert [("label" in one, one.get("error", "")[:18]) for one in found] == [
        (True, ""),
        (False, "empty text"),
        (False, "empty text"),
        (True, ""),
        (True, ""),
        (False, "holds a NUL charac"),
        (True, ""),
        (False, "byte 8 of the line"),
    ]
    assert "8 rows: 4 answered, 4 errors" in done.err
    assert "\x1b" not in done.out


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_every_form_of_output(warm: Warm, trained: Path, tmp_path: Path, ending: str) -> None:
    """The user's columns come first and unchanged; a formula stays a text (RP-02)."""
    rows = [{"text": "정말 좋아요", "label": "내 것"}, {"text": "=1+1 별로", "label": "x"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["predict", str(trained / RUN), "in.jsonl", "-o", f"out.{ending}"]
    assert warm.run(*words, cwd=tmp_path).code == 0
    text = (tmp_path / f"out.{ending}").read_text("utf-8")
    if ending == "jsonl":
        found = answers(text)
        assert found[1]["text"] == "=1+1 별로"
    else:
        found = list(csv.DictReader(text.splitlines(), delimiter="\t" if ending == "tsv" else ","))
        assert found[1]["text"] == "'=1+1 별로"
    assert [row["label"] for row in found] == ["내 것", "x"]
    assert found[0]["predicted_label"] == "긍정"


def test_a_csv_and_a_pipe_give_the_same(warm: Warm, trained: Path, tmp_path: Path) -> None:
    texts = ["정말 좋아요", "너무 별로예요, 다시는 안 가요", "그냥 그래요"]
    (tmp_path / "in.csv").write_text("text\n" + "\n".join(f'"{t}"' for t in texts) + "\n")
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
    run = str(trained / RUN)
    table = answers(warm.run("predict", run, "in.csv", cwd=tmp_path).out)
    plain = answers(warm.run("predict", run, "in.txt", cwd=tmp_path).out)
    pipe = answers(
        warm.run("predict", run, cwd=tmp_path, stdin=(tmp_path / "in.txt").read_bytes()).out
    )
    assert table == plain == pipe
    assert [one["text"] for one in table] == texts


# ---------------------------------------------------------------- again, and the same


@pytest.mark.parametrize("kind", ["tfidf", "encoder"])
def test_dropout_is_off(trained: Path, whole: Tiny, kind: str) -> None:
    """PR-05: twice the same, in the same process and after opening the run again."""
    run = trained / RUN if kind == "tfidf" else whole.run
    texts = [f"{i}번째 후기 진짜 좋아요" for i in range(40)]
    predictor = api.load(run)
    first = list(predictor.predict(texts))
    assert first == list(predictor.predict(texts))
    assert first == list(api.predict(run, texts))


def test_the_run_answers_as_it_was_scored(whole: Tiny) -> None:
    """What `predict` says of a test row is what stands in predictions.jsonl."""
    rows = answers((whole.run / "predictions.jsonl").read_text())
    found = list(api.predict(whole.run, [row["text"] for row in rows]))
    assert [one["label"] for one in found] == [row["predicted"] for row in rows]
    for one, row in zip(found, rows, strict=True):
        assert one["probabilities"] == pytest.approx(row["probabilities"], abs=5e-3)


def test_batch_size_changes_no_figure() -> None:
    """EV-05: 1, 7 or 32 rows a batch, rows in any order."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from mulgil import evaluation
    from mulgil.flow import Schema
    from mulgil.loader import BatchLoader
    from mulgil.models._network import EncoderNetwork
    from mulgil.recipe import LoaderSettings
    from mulgil.tasks.classification import Classification, ClassificationSettings
    from mulgil.tokenizers._ragged import Ragged

    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"vocab_size": 40, "intermediate_size": 32, "max_position_embeddings": 32}
    config = BertConfig(**sizes, num_labels=3)
    network = EncoderNetwork(BertForSequenceClassification(config), "fp32", "cpu")
    task, schema = Classification(ClassificationSettings()), Schema("text", ("가", "나", "다"))
    draw = np.random.default_rng(1)
    lengths = draw.integers(2, 24, 75)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    flat = draw.integers(5, 40, int(starts[-1])).astype(np.int32)
    gold, order = draw.integers(0, 3, 75), draw.permutation(75)

    def figures(rows: int, order: Any) -> dict[str, float]:
        pieces = [flat[starts[i] : starts[i + 1]] for i in order]
        ends = np.concatenate([[0], np.cumsum([len(p) for p in pieces])])
        encoded = Ragged(np.concatenate(pieces), ends, 0, 0, 0.0)
        loader = BatchLoader(encoded, None, LoaderSettings(rows=rows), 0)
        shares = evaluation.measure(network, loader, task, schema)
        scored = task.judge(gold[order], shares, schema)
        return {
            "loss": task.loss_of(gold[order], shares, schema),
            **evaluation.headlines(task, scored),
        }

    expected = figures(32, np.arange(75))
    assert set(expected) == {"loss", "accuracy", "macro-f1", "auc", "ece"}
    for rows in (1, 7, 32):
        for permuted in (np.arange(75), order):
            assert figures(rows, permuted) == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------- whole or not at all


def many(folder: Path, rows: int = 30_000) -> None:
    with open(folder / "many.txt", "w", encoding="utf-8") as file:
        file.writelines(f"{i}번째 영화 정말 좋았어요\n" for i in range(rows))


def test_head_has_seen_enough(trained: Path, tmp_path: Path) -> None:
    """PR-03: `| head` ends it with exit 0 and without a word."""
    many(tmp_path)
    with open(tmp_path / "err", "wb") as err:
        child = subprocess.Popen(
            [sys.executable, "-m", "mulgil", "predict", str(trained / RUN), "many.txt"],
            cwd=tmp_path,
            env=environment(tmp_path / "cache"),
            stdout=subprocess.PIPE,
            stderr=err,
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        child.stdout.close()
        assert child.wait(60) == 0
    assert json.loads(first)["text"] == "0번째 영화 정말 좋았어요"
    assert (tmp_path / "err").read_bytes() == b""


def test_full_disk_under_standard_output(trained: Path, tmp_path: Path) -> None:
    """PR-03: exit 4 and one line, also when Python flushes at its end."""
    many(tmp_path, 3_000)
    for words in (["predict", str(trained / RUN), "many.txt"], ["list"], ["list", "--json"]):
        with open("/dev/full", "wb") as full:
            done = cold(*words, cwd=tmp_path, stdout=full)
        assert "No space left on device" in one_line(done, 4)


def test_full_disk_under_a_file(trained: Path, tmp_path: Path) -> None:
    """PR-03: the old file stays, and nothing half-written beside it."""
    many(tmp_path, 20_000)
    (tmp_path / "out.csv").write_text("yesterday\n")

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    words = ["predict", str(trained / RUN), "many.txt", "-o", "out.csv"]
    line = one_line(cold(*words, cwd=tmp_path, before=small_files), 4)
    assert "out.csv: cannot be written" in line
    assert (tmp_path / "out.csv").read_text() == "yesterday\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == [
        "many.txt",
        "out.csv",
    ]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_killed_in_the_middle(warm: Warm, trained: Path, tmp_path: Path, name: str) -> None:
    """PR-03: no file, or the old one; the next call clears away what a SIGKILL left."""
    (tmp_path / "out.csv").write_text("yesterday\n")
    fifo = tmp_path / "slow"
    os.mkfifo(fifo)
    words = ["predict", str(trained / RUN), "-", "-o", "out.csv"]
    hooks = [["standard_input", str(fifo)]]
    child = warm.start(*words, cwd=tmp_path, hooks=hooks)
    with open(fifo, "w") as pipe:
        for i in range(5_000):
            pipe.write(f"{i}번째 정말 좋았어요\n")
        pipe.flush()
        end = time.monotonic() + 30
        while not list(tmp_path.glob(".mulgil-file-*")) and time.monotonic() < end:
            time.sleep(0.02)
        assert list(tmp_path.glob(".mulgil-file-*"))
        child.kill(getattr(signal, name))
        done = child.wait()
    assert done.code in (-getattr(signal, name), 128 + getattr(signal, name))
    assert (tmp_path / "out.csv").read_text() == "yesterday\n"
    again = warm.run(*words, cwd=tmp_path, stdin=b"a\n")
    assert again.code == 0, again.err
    assert not list(tmp_path.glob(".mulgil-file-*"))
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


def test_a_file_onto_itself(warm: Warm, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\n" + "정말 좋아요\n" * 5_000)
    words = ["predict", str(trained / RUN), "rows.csv", "-o", "rows.csv"]
    assert warm.run(*words, cwd=tmp_path).code == 0
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 5_001


@pytest.mark.parametrize("target", ["/dev/full", "folder.csv", "no/where.csv"])
def test_targets_that_are_no_files(warm: Warm, trained: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "x.csv").symlink_to("/dev/full")
    link = "x.csv" if target == "/dev/full" else target
    words = ["predict", str(trained / RUN), "-", "-o", link]
    done = warm.run(*words, cwd=tmp_path, stdin=b"a\n")
    line = one_line(done, 4 if "where" in target else 2)
    assert target in line


# ---------------------------------------------------------------- endless input


def test_memory_is_flat(warm: Warm, trained: Path, tmp_path: Path) -> None:
    """PR-06: 200,000 rows of a pipe take what 20,000 take."""

    def peak(rows: int) -> float:
        fifo = tmp_path / f"pipe-{rows}"
        os.mkfifo(fifo)

        def feed() -> None:
            with open(fifo, "w", encoding="utf-8") as pipe:
                pipe.writelines(f"{i}번째 좋아요\n" for i in range(rows))

        feeder = threading.Thread(target=feed)
        feeder.start()
        words = ["predict", RUN, "-", "-o", str(tmp_path / f"{rows}.jsonl")]
        done = warm.start(*words, cwd=trained, hooks=[["standard_input", str(fifo)]]).wait(150)
        feeder.join()
        assert done.code == 0, done.err
        assert f"{rows:,} rows: {rows:,} answered, 0 errors" in done.err
        return done.megabytes

    small, large = peak(20_000), peak(200_000)
    assert large < small + 25, (small, large)
    with open(tmp_path / "200000.jsonl", encoding="utf-8") as file:
        assert sum(1 for _ in file) == 200_000


def test_answers_come_before_the_input_ends(warm: Warm, trained: Path) -> None:
    """PR-06: an endless stream is answered chunk by chunk."""
    predictor = api.load(trained / RUN)
    taken = 0

    def long() -> Any:
        nonlocal taken
        for taken in range(1, 10_000):
            yield f"{taken}번째 좋아요"

    found = predictor.predict(long(), chunk=64)
    assert [next(found)["label"] for _ in range(65)]
    assert taken == 128
