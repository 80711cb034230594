"""A run that is killed, stopped or starved anywhere, and gone on with, ends with the same bits."""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from mulgil.checkpoint import Checkpoints

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flow"))
from _cli import Warm, one_line
from _tiny import (
    BATCHES,
    CAUSAL,
    MASKED,
    OFTEN,
    RECIPE,
    STEPS,
    Tiny,
    essence,
    lines,
    snapshot,
    tiny,
    warm,
    whole,
)

__all__ = ["tiny", "warm", "whole"]

KILLS = [
    ("backward", 1, OFTEN),  # before anything was saved
    ("updated", 7, ""),  # mid-epoch
    ("updated", 11, OFTEN),  # the boundary of the first epoch, and a step to each side
    ("updated", 12, OFTEN),
    ("backward", 13, ""),
    ("partial", 18, OFTEN),  # one of two batches accumulated
    ("look", 24, ""),  # RS-04: within a look
    ("looked", 29, ""),  # RS-04: the best one is known and not yet saved
    ("save", 34, OFTEN),  # the checkpoint is half written
    ("saved", 39, ""),
    ("journal", 41, OFTEN),  # half a line in the journal
    ("updated", 60, ""),  # the last step
    ("keep", 0, ""),  # after the last look
    ("finish", 0, ""),  # model/ is there, the score is not
]


@pytest.mark.parametrize(("where", "step", "often"), KILLS)
def test_killed_anywhere_and_resumed_is_bit_identical(
    tiny: Tiny, whole: Tiny, where: str, step: int, often: str
) -> None:
    """RS-01, RS-02, RS-03, RS-04: weights, optimizer, random numbers, journal, score."""
    settings = [often] if often else []
    killed = tiny.train(*settings, hooks=[["at", where, step, "SIGKILL"]])
    assert killed.code == -9, killed.err
    assert not (tiny.run / "result.json").exists()
    assert tiny.resume(*settings).code == 0
    assert essence(tiny.run) == essence(whole.run)


def test_five_kills_in_one_run(tiny: Tiny, whole: Tiny) -> None:
    """RS-05, RS-08, RS-12: the same end, each step once in the journal, each row once an epoch."""
    draw = random.Random(5)
    ledger = ["ledger", str(tiny.folder / "rows.jsonl")]
    steps = sorted(draw.sample(range(2, STEPS), 5))
    for number, step in enumerate(steps):
        where = draw.choice(["backward", "partial", "updated", "journal"])
        where = "backward" if step % 12 == 0 and where == "partial" else where  # it has one batch
        again = ["--resume"] if number else []
        settings = [OFTEN] if number % 2 else []
        done = tiny.train(*again, *settings, hooks=[ledger, ["at", where, step, "SIGKILL"]])
        assert done.code == -9, (where, step, done.err)
    assert tiny.resume(hooks=[ledger]).code == 0
    assert essence(tiny.run) == essence(whole.run)
    logged = [line["step"] for line in lines(tiny.run) if line["kind"] == "step"]
    assert logged == list(range(1, STEPS + 1))
    epochs = learnt(tiny.folder / "rows.jsonl")
    assert len(epochs) == 5
    for rows in epochs:
        assert sorted(rows) == list(range(180))
    assert epochs[0] != epochs[1]


def learnt(ledger: Path) -> list[list[int]]:
    """The rows that count, by epoch: of a step that was made again, the last attempt."""
    entries: list[Any] = [json.loads(line) for line in ledger.read_text().splitlines()]
    attempts: dict[int, tuple[int, list[int]]] = {}
    for alive, process in itertools.groupby(entries, key=lambda entry: entry is not None):
        for step, batches in itertools.groupby(process if alive else (), key=lambda e: e[0]):
            found = list(batches)
            attempts[step] = found[0][1], [row for entry in found for row in entry[2]]
    epochs: dict[int, list[int]] = {}
    for _, (epoch, rows) in sorted(attempts.items()):
        epochs.setdefault(epoch, []).extend(rows)
    return [epochs[epoch] for epoch in sorted(epochs)]


BOTH = MASKED.replace("masked-lm", "bidirectional-lm").replace(
    'name = "encoder"\nhidden = 16\nlayers = 1\nheads = 2\npositions = 24\n',
    'name = "elmo"\nprojection = 8\ncells = 12\n',
)


ONWARD = CAUSAL.replace(
    'name = "decoder"\nhidden = 16\nlayers = 1\nheads = 2\npositions = 24\n',
    'name = "recurrent"\nembedding = 8\nhidden = 12\n',
)


@pytest.mark.parametrize(
    "recipe",
    [MASKED, CAUSAL, BOTH, ONWARD],
    ids=["masked-lm", "causal-lm", "bidirectional-lm", "causal-lm-recurrent"],
)
def test_a_language_run_that_is_killed_and_stopped(warm: Warm, tmp_path: Path, recipe: str) -> None:
    """RS-01, RS-02, RS-04, RS-05: what is hidden of a batch is the same again, too."""
    undisturbed = Tiny(warm, tmp_path / "undisturbed", recipe)
    assert undisturbed.train().code == 0
    steps = [line["step"] for line in lines(undisturbed.run) if line["kind"] == "step"]
    looks = [line["step"] for line in lines(undisturbed.run) if line["kind"] == "valid"]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 50
    disturbed = Tiny(warm, tmp_path / "disturbed", recipe)
    draw = random.Random(len(recipe))
    kills = sorted(draw.sample(range(3, len(steps)), 4))
    kills[2] = min(look for look in looks if look > kills[1])
    accidents = [
        ("backward", "SIGKILL", -9),
        ("journal", "SIGKILL", -9),
        ("look", "SIGTERM", 143),
        ("updated", "SIGKILL", -9),
    ]
    kills[3] = max(kills[3], kills[2] + 1)
    for number, (step, (where, what, code)) in enumerate(zip(kills, accidents, strict=True)):
        again = ["--resume"] if number else []
        settings = [OFTEN] if number % 2 else []
        done = disturbed.train(*again, *settings, hooks=[["at", where, step, what]])
        assert done.code == code, (where, step, done.err)
        assert not (disturbed.run / "result.json").exists()
    assert disturbed.resume().code == 0
    assert essence(disturbed.run) == essence(undisturbed.run)


SIZES = 'name = "encoder"\nhidden = 32\nlayers = 1\nheads = 2\npositions = 32\npooling = "mean"\n'
CLASSIC = {
    "textcnn": RECIPE.replace(SIZES, 'name = "textcnn"\nembedding = 16\nfilters = 8\n'),
    "recurrent": RECIPE.replace(SIZES, 'name = "recurrent"\nembedding = 16\nhidden = 8\n'),
}
CLASSIC["recurrent-writing"] = (
    CLASSIC["recurrent"].replace("rows = 8", "rows = 3")
    + '\n[task]\nname = "generation"\nmax_new = 6\n'
)


@pytest.mark.parametrize("family", CLASSIC)
def test_a_body_of_the_house_that_is_killed_and_stopped(
    warm: Warm, tmp_path: Path, family: str
) -> None:
    """RS-01, RS-02, RS-05: words that learn by rows and torch's own dropout go on, too."""
    assert SIZES in RECIPE
    undisturbed = Tiny(warm, tmp_path / "undisturbed", CLASSIC[family])
    assert undisturbed.train("trainer.epochs=3").code == 0
    disturbed = Tiny(warm, tmp_path / "disturbed", CLASSIC[family])
    kills = [("backward", 9, "SIGKILL", -9), ("updated", 22, "SIGTERM", 143)]
    for number, (where, step, what, code) in enumerate(kills):
        again = ["--resume"] if number else []
        hooks = [["at", where, step, what]]
        done = disturbed.train(*again, "trainer.epochs=3", hooks=hooks)
        assert done.code == code, done.err
    assert disturbed.resume("trainer.epochs=3").code == 0
    assert essence(disturbed.run) == essence(undisturbed.run)


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize(
    ("name", "code", "where", "step", "saved"),
    [
        ("SIGTERM", 143, "backward", 7, 7),
        ("SIGINT", 130, "partial", 13, 13),
        ("SIGHUP", 129, "look", 24, 24),
        ("SIGINT", 130, "look", 60, 60),  # the last look must not be forgotten
        ("SIGTERM", 143, "updated", 60, 60),
        ("SIGTERM", 143, "save", 34, 34),
        ("SIGTERM", 143, "save", 60, 60),  # nothing comes after it
    ],
)
def test_a_signal_saves_and_leaves(
    tiny: Tiny, whole: Tiny, name: str, code: int, where: str, step: int, saved: int
) -> None:
    """TR-12: saved within a step, its exit code, one line; going on gives the same end."""
    stopped = tiny.train(hooks=[["at", where, step, name]])
    line = one_line(stopped, code)
    assert name in line
    assert "--resume" in line
    assert tiny.steps()[-1] == saved
    assert not (tiny.run / "model").exists()
    assert tiny.resume().code == 0
    assert essence(tiny.run) == essence(whole.run)


def test_a_second_signal_forces_out(tiny: Tiny, whole: Tiny) -> None:
    """TR-12: in the middle of a step, without saving; what was saved before is whole."""
    hooks = [["at", "backward", 8, "SIGTERM"], ["at", "partial", 8, "SIGINT"]]
    line = one_line(tiny.train(hooks=hooks), 130)
    assert "second" in line
    assert tiny.steps()[-1] == 5
    assert tiny.resume().code == 0
    assert essence(tiny.run) == essence(whole.run)


def test_nohup_is_heeded(tiny: Tiny) -> None:
    """TR-12: a hang-up that was ignored when the run started stays ignored."""
    done = tiny.train(
        "trainer.epochs=1", hooks=[["ignore", "SIGHUP"], ["at", "updated", 7, "SIGHUP"]]
    )
    assert done.code == 0, done.err


def test_stopped_and_continued_while_another_wants_in(tiny: Tiny, whole: Tiny) -> None:
    """TR-13: SIGSTOP and SIGCONT change nothing. TR-11: meanwhile a second run is refused."""
    first = tiny.warm.start(*tiny.words(), cwd=tiny.folder, hooks=[["at", "updated", 9, "SIGSTOP"]])
    first.until("T")
    for again in ([], ["--resume"]):
        line = one_line(tiny.train(*again))
        assert f"in use by process {first.pid} on " in line
    first.kill(18)  # SIGCONT
    assert first.wait().code == 0
    assert essence(tiny.run) == essence(whole.run)


# ---------------------------------------------------------------- what must not have changed


def test_changed_settings_are_refused_with_the_difference(tiny: Tiny, whole: Tiny) -> None:
    """RS-06: nothing is touched; what does not shape a step may change."""
    assert tiny.train(hooks=[["at", "updated", 7, "SIGTERM"]]).code == 143
    before = snapshot(tiny.run)
    for setting, was, now in [
        ("trainer.learning_rate", "0.01", "0.02"),
        ("trainer.epochs", "5.0", "6.0"),
        ("trainer.accumulate", "2", "4"),
        ("trainer.seed", "7", "8"),
        ("loader.rows", "8", "16"),
        ("model.dropout", "0.1", "0.2"),
        ("data.train_rows", "180", "170"),
    ]:
        line = one_line(tiny.resume(f"{setting}={now}"))
        assert f"{setting} was {was}, is {now}" in line
    line = one_line(tiny.resume("trainer.seed=9", "loader.rows=4"))
    assert "loader.rows was 8, is 4; trainer.seed was 7, is 9" in line
    assert "--resume" in one_line(tiny.train())
    assert snapshot(tiny.run) == before
    done = tiny.resume("loader.prefetch=0", "trainer.patience=50", OFTEN, "loader.cache=false")
    assert done.code == 0, done.err
    assert essence(tiny.run) == essence(whole.run)


def test_changed_data_is_refused_by_name(tiny: Tiny) -> None:
    """DA-08: a byte of the user's file changed between save and resume."""
    reviews = tiny.folder / "reviews.csv"
    rows = [f"{i}번 영화 {'정말 좋아요' if i % 2 else '너무 별로'},{i % 2}" for i in range(120)]
    reviews.write_text("text,label\n" + "\n".join(rows) + "\n")
    data = ["data.name=files", "data.train=reviews.csv", "trainer.evaluate_every=0.5"]
    assert tiny.train(*data, hooks=[["at", "updated", 5, "SIGTERM"]]).code == 143
    before = snapshot(tiny.run)
    whole = reviews.read_bytes()
    reviews.write_bytes(whole.replace("77번".encode(), "78번".encode()))
    line = one_line(tiny.resume(*data))
    assert "the data (reviews.csv) changed" in line
    assert " was " in line
    assert snapshot(tiny.run) == before
    reviews.write_bytes(whole)
    assert tiny.resume(*data).code == 0


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(tiny: Tiny) -> None:
    """RS-07: what is missing, unknown or of another size."""
    assert tiny.train(hooks=[["at", "updated", 7, "SIGTERM"]]).code == 143
    folder = tiny.run / "checkpoints"
    newest = Checkpoints(folder).newest()
    assert newest is not None
    arrays, position = newest.arrays, newest.state["position"]

    def refusal(step: int, arrays: dict[str, Any], position: dict[str, Any]) -> str:
        position = {**position, "step": step}
        Checkpoints(folder).save(step, arrays, {"position": position}, None)
        return one_line(tiny.resume())

    name = "optimizer.decay.first"  # the learner calls it decay.first
    line = refusal(8, {k: v for k, v in arrays.items() if k != name}, position)
    assert "'decay.first'" in line
    assert "does not fit" in refusal(9, {**arrays, name: arrays[name][:-1]}, position)
    assert "does not fit" in refusal(10, {**arrays, "calls": arrays["calls"][:0]}, position)
    assert ": looks;" in refusal(11, arrays, {k: v for k, v in position.items() if k != "looks"})
    assert ": rank;" in refusal(12, arrays, {**position, "rank": 3})


# ---------------------------------------------------------------- damage, and the end


def test_a_damaged_checkpoint_is_passed_over_and_said(tiny: Tiny, whole: Tiny) -> None:
    """RS-10: the one before it is used."""
    assert tiny.train(OFTEN, hooks=[["at", "saved", 45, "SIGKILL"]]).code == -9
    best, newest = tiny.steps()
    assert best < newest == 45
    flip(tiny.run / "checkpoints" / f"step-{newest:08d}" / "arrays.safetensors")
    done = tiny.resume(OFTEN)
    assert done.code == 0, done.err
    assert f"step-{newest:08d}/arrays.safetensors: has changed since it was saved" in done.out
    assert f"resumed at step {best}," in done.out
    found, expected = essence(tiny.run), essence(whole.run)
    assert {name: found[name] for name in expected} == expected


def test_with_no_whole_checkpoint_it_begins_again_and_says_so(tiny: Tiny, whole: Tiny) -> None:
    """RS-10: nothing is left of the damaged one's steps, neither in weights nor in the journal."""
    assert tiny.train(hooks=[["at", "updated", 7, "SIGKILL"]]).code == -9
    flip(tiny.run / "checkpoints" / "step-00000005" / "arrays.safetensors")
    done = tiny.resume()
    assert done.code == 0, done.err
    assert "checkpoint passed over" in done.out
    assert "resumed at" not in done.out
    found, expected = essence(tiny.run), essence(whole.run)
    assert {name: found[name] for name in expected} == expected


def test_a_damaged_best_checkpoint_is_said(tiny: Tiny) -> None:
    """CK-06: weights of another step are kept, and not in silence."""
    assert tiny.train(hooks=[["at", "saved", 58, "SIGKILL"]]).code == -9
    best, _ = tiny.steps()
    flip(tiny.run / "checkpoints" / f"step-{best:08d}" / "arrays.safetensors")
    done = tiny.resume()
    assert done.code == 0, done.err
    assert f"step-{best:08d}/arrays.safetensors: has changed since it was saved" in done.out


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_a_finished_run_is_left_as_it_is(tiny: Tiny) -> None:
    """RS-11: no step, exit 0, nothing rewritten, whatever may change is asked for."""
    assert tiny.train("trainer.epochs=1").code == 0
    before = snapshot(tiny.run)
    for more in ([], ["trainer.log_every=3", "trainer.patience=1"]):
        done = tiny.resume("trainer.epochs=1", *more)
        assert done.code == 0, done.err
        assert "is finished; nothing to do" in done.out
        assert snapshot(tiny.run) == before


def test_order_is_by_step_whatever_the_clock_says(tiny: Tiny, whole: Tiny) -> None:
    """TR-09: a clock that runs backwards, files that claim to be of another year."""
    killed = tiny.train(OFTEN, hooks=[["mad_clock"], ["at", "saved", 45, "SIGKILL"]])
    assert killed.code == -9, killed.err
    for number, path in enumerate(sorted(tiny.run.glob("checkpoints/step-*"), reverse=True)):
        for file in (path, *path.iterdir()):
            os.utime(file, (86400 * (number + 1), 86400 * (number + 1)))
    done = tiny.resume(OFTEN, hooks=[["mad_clock"]])
    assert done.code == 0, done.err
    assert "resumed at step 45," in done.out
    assert essence(tiny.run) == essence(whole.run)


def test_the_whole_run_is_what_the_others_are_measured_by(whole: Tiny) -> None:
    """RS-02: ragged groups, several epochs, a best step that is not the last, dropout on."""
    steps = [line for line in lines(whole.run) if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert len(steps) == 5 * -(-BATCHES // 2)
    assert BATCHES % 2 == 1
    looks = [line for line in lines(whole.run) if line["kind"] == "valid"]
    best = min(looks, key=lambda line: line["loss"])
    assert 12 < best["step"] < STEPS
    assert whole.steps() == [best["step"], STEPS]
    result = json.loads((whole.run / "result.json").read_text())
    assert result["valid"] == {"loss": best["loss"]}
