"""The loop: what makes a step, when it looks, saves and ends, and what it does when it cannot."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil import training
from mulgil.checkpoint import Checkpoints
from mulgil.errors import DivergedError, StoppedError, StorageError
from mulgil.flow import Batch
from mulgil.recipe import TrainerSettings
from mulgil.rundir import Journal
from mulgil.training import learning_rate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flow"))
from _cli import cold, environment, one_line
from _point import Point, fit, teach
from _tiny import BATCHES, OFTEN, RECIPE, STEPS, Tiny, essence, lines, tiny, warm, whole

__all__ = ["tiny", "warm", "whole"]


# ---------------------------------------------------------------- the learning rate


def expected_rates(epochs: float, batches: int, accumulate: int, peak: float) -> list[float]:
    """The closed form: a line up to `peak` over 6%, a line down to 0, read in a step's middle."""
    rates, epoch, batch = [], 0, 0
    while epoch + batch / batches < epochs:
        group = min(accumulate, batches - batch)
        progress = (epoch + (batch + group / 2) / batches) / epochs
        rates.append(peak * (progress / 0.06 if progress < 0.06 else (1 - progress) / 0.94))
        epoch, batch = (epoch + 1, 0) if batch + group == batches else (epoch, batch + group)
    return rates


@pytest.mark.parametrize(
    ("sizes", "accumulate", "epochs"),
    [([4] * 10, 1, 3.0), ([4] * 10, 4, 3.0), ([4, 3, 4, 4, 1], 2, 4.0), ([2], 8, 5.0)],
)
def test_learning_rate_is_the_formula_at_every_step(
    tmp_path: Path, sizes: list[int], accumulate: int, epochs: float
) -> None:
    """TR-14: with a partial last group of every epoch."""
    _, point, _ = fit(tmp_path / "run", sizes, epochs=epochs, accumulate=accumulate)
    found = [rate for rate, _, _ in point.updates]
    assert found == pytest.approx(expected_rates(epochs, len(sizes), accumulate, 0.1), rel=1e-12)


def test_learning_rate_through_accumulation_and_resumption(tiny: Tiny) -> None:
    """TR-14: of the real thing, killed and resumed."""
    assert tiny.train(OFTEN, hooks=[["at", "updated", 31, "SIGKILL"]]).code == -9
    assert tiny.resume().code == 0
    found = [line["learning_rate"] for line in lines(tiny.run) if line["kind"] == "step"]
    assert len(found) == STEPS
    assert found == pytest.approx(expected_rates(5, BATCHES, 2, 1e-2), rel=1e-12)


def test_schedules() -> None:
    """TR-14: where they begin, turn and end."""
    for schedule, half, end in [("linear", 0.5, 0.0), ("cosine", 0.5, 0.0), ("constant", 1, 1)]:
        chosen = TrainerSettings(learning_rate=2.0, warmup=0.2, schedule=schedule)  # type: ignore[arg-type]
        found = [learning_rate(p, chosen) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
        assert found == pytest.approx([0, 1, 2, 2 * half, 2 * end], abs=1e-12), schedule
    quarter = learning_rate(0.4, TrainerSettings(learning_rate=2.0, warmup=0.2, schedule="cosine"))
    assert quarter == pytest.approx(1 + math.cos(math.pi / 4), rel=1e-12)
    assert learning_rate(0.0, TrainerSettings(learning_rate=2.0, warmup=0.0)) == 2.0


# ---------------------------------------------------------------- what makes a step


def test_a_group_weighs_by_its_rows(tmp_path: Path) -> None:
    """TR-03: the last, smaller group of an epoch is the mean over its own rows."""
    _, point, _ = fit(tmp_path / "run", [4, 4, 4, 2, 1], accumulate=2, epochs=1)
    assert [weight for _, weight, _ in point.updates] == [8, 6, 1]
    value, seen = 0.0, 0
    for rate, weight, gradient in point.updates:
        rows = np.arange(seen, seen + int(weight))
        assert gradient == pytest.approx(float(np.mean(value - rows)), rel=1e-12)
        value, seen = value - rate * gradient, seen + int(weight)
    assert seen == 15


@pytest.mark.parametrize(
    ("epochs", "steps", "passed"), [(0.5, 3, 0.6), (1.0, 5, 1.0), (2.3, 12, 2.4), (0.01, 1, 0.2)]
)
def test_fractions_of_an_epoch(tmp_path: Path, epochs: float, steps: int, passed: float) -> None:
    outcome, point, _ = fit(tmp_path / "run", [2] * 5, epochs=epochs)
    assert (outcome.steps, outcome.epochs, outcome.stopped) == (steps, passed, "finished")
    assert len(point.updates) == steps
    assert all(rate >= 0 for rate, _, _ in point.updates)


def small_bert(dropout: float) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        num_labels=3,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertForSequenceClassification(config)


def torch_gradient(sizes: list[int]) -> tuple[dict[str, Any], float]:
    """One step over the same 8 rows in batches of these sizes: AdamW's first moments, and norm."""
    import torch

    from mulgil.methods._gradient import GradientLearner
    from mulgil.models._network import EncoderNetwork
    from mulgil.tasks.classification import Classification, ClassificationSettings
    from mulgil.tokenizers._ragged import TokenInputs

    torch.manual_seed(3)
    network = EncoderNetwork(small_bert(dropout=0.0), "fp32", "cpu")
    task = Classification(ClassificationSettings())
    learner = GradientLearner(task, network, None, TrainerSettings())
    lengths = np.array([3, 17, 5, 9, 2, 24, 11, 7])
    ids = np.random.default_rng(1).integers(5, 40, (8, 24))
    labels, start, norm = np.arange(8) % 3, 0, 0.0
    weight = 0.0
    for size in sizes:
        rows = np.arange(start, start + size)
        width = int(lengths[rows].max())
        inputs = TokenInputs(ids[rows, :width], lengths[rows])
        weight += learner.backward(Batch(rows, inputs, labels[rows]))[1]
        start += size
    norm = learner.update(1e-3, 1e9, weight)
    return {k: v for k, v in learner.state().items() if k.endswith(".first")}, norm


@pytest.mark.parametrize("sizes", [[4, 4], [2] * 4, [1] * 8, [5, 1, 2]])
def test_accumulation_changes_no_gradient(sizes: list[int]) -> None:
    """TR-04: 8x1 = 4x2 = 1x8 in fp32, lengths ragged."""
    expected, norm = torch_gradient([8])
    found, other = torch_gradient(sizes)
    assert other == pytest.approx(norm, rel=1e-6)
    assert found.keys() == expected.keys()
    assert sum(array.size for array in found.values()) > 3000
    for name, array in expected.items():
        assert np.abs(array).max() > 0
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-6 * norm, err_msg=name)


# ---------------------------------------------------------------- when it ends, and with what


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    """Patience counts looks since the best; the best look's weights come back."""
    figures = [0.1, 0.5, 0.3, 0.5, 0.4, 0.9]  # the second 0.5 is a tie, and no better
    outcome, point, folder = fit(tmp_path / "run", [2] * 5, figures, epochs=9, patience=3)
    assert (outcome.stopped, outcome.steps, outcome.best) == ("early stopping", 25, 0.5)
    value = 0.0
    for rate, _, gradient in point.updates[:10]:
        value -= rate * gradient
    assert point.value[0] == value
    assert "     weights of step 10 kept: best figure on valid" in folder.said


@pytest.mark.parametrize("kill", [3, 4, 5])
def test_early_stopping_after_a_kill(tmp_path: Path, kill: int) -> None:
    """RS-04: killed just after the look that ends the patience, or one before: the same stop."""
    figures = [0.1, 0.5, 0.3, 0.4, 0.2, 0.9]
    _, reference, _ = fit(tmp_path / "whole", [2] * 5, figures, epochs=9, patience=3)

    class Killed(BaseException):
        pass

    real, saves = Checkpoints.save, []

    def save(*args: Any, **options: Any) -> Path:
        found = real(*args, **options)
        saves.append(found)
        if len(saves) == kill:
            raise Killed
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save)
        with pytest.raises(Killed):
            fit(tmp_path / "run", [2] * 5, figures, epochs=9, patience=3)
    outcome, point, _ = fit(tmp_path / "run", [2] * 5, figures, epochs=9, patience=3)
    assert (outcome.stopped, outcome.steps, outcome.best) == ("early stopping", 25, 0.5)
    assert point.value[0] == reference.value[0]
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")


def test_figures_that_are_no_numbers_are_never_best(tmp_path: Path) -> None:
    """CK-09: NaN first, NaN later."""
    figures = [math.nan, 0.2, math.nan, 0.1]
    outcome, _, folder = fit(tmp_path / "run", [2] * 5, figures, epochs=4)
    assert outcome.best == 0.2
    best = folder.checkpoints.best()
    assert best is not None
    assert best.step == 10
    outcome, _, folder = fit(tmp_path / "none", [2] * 5, [math.inf], epochs=2)
    assert outcome.best is None
    assert folder.checkpoints.best() is None


def test_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops, looks once more, and the time of earlier parts counts."""
    clock = iter(range(0, 10**6, 1))
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    outcome, _, folder = fit(tmp_path / "run", [2] * 50, [0.5], epochs=9, time_limit=2.0)
    assert outcome.stopped == "time limit"
    assert 120 <= outcome.seconds < 140
    assert 10 < outcome.steps < 50
    looks = [line for line in lines(folder.path) if line["kind"] == "valid"]
    assert [line["step"] for line in looks] == [outcome.steps]
    again, _, folder = fit(tmp_path / "run", [2] * 50, [0.5], epochs=9, time_limit=2.0)
    assert (again.steps, again.stopped) == (outcome.steps, "time limit")
    assert len([line for line in lines(folder.path) if line["kind"] == "valid"]) == 1


@pytest.mark.parametrize("limit", [None, 0.2])
def test_a_signal_in_the_last_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float | None
) -> None:
    """TR-12: at the end, and at the end of the time: the look is saved, and it leaves."""
    clock = iter(range(10**6))
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    point = Point()
    point.in_look = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StoppedError, match="SIGTERM") as stopped:
        teach(tmp_path / "run", point, [2] * 5, [0.5], epochs=1, time_limit=limit)
    assert stopped.value.exit_code == 143
    newest = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    assert newest is not None
    assert (newest.step, newest.metric) == (len(point.updates), 0.5)
    assert newest.step == 5 if limit is None else 0 < newest.step < 5
    outcome, again, _ = fit(tmp_path / "run", [2] * 5, [0.5], epochs=1, time_limit=limit)
    assert (outcome.steps, again.updates) == (newest.step, [])


def test_without_validation_rows(tmp_path: Path) -> None:
    """It saves where it would look, keeps the last weights and knows how long it took."""
    outcome, point, folder = fit(tmp_path / "run", [2] * 5, epochs=2.5)
    assert outcome.best is None
    assert outcome.seconds > 0
    newest = folder.checkpoints.newest()
    assert newest is not None
    assert (newest.step, newest.metric) == (13, None)
    again, other, _ = fit(tmp_path / "run", [2] * 5, epochs=2.5)
    assert (again.steps, other.value[0], other.updates) == (13, point.value[0], [])


def test_looks_and_checkpoints_come_when_they_should(tmp_path: Path) -> None:
    """Every 0.4 epochs, and once at the end."""
    _, _, folder = fit(tmp_path / "run", [2] * 5, [0.5], epochs=2.5, evaluate_every=0.4)
    looks = [line["step"] for line in lines(folder.path) if line["kind"] == "valid"]
    assert looks == [2, 4, 6, 8, 10, 12, 13]


# ---------------------------------------------------------------- when it cannot go on


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_the_update(tmp_path: Path, wrong: float) -> None:
    """TR-01: though the gradient is finite."""
    point = Point()
    point.broken = {7: wrong}  # in the fourth batch
    with pytest.raises(DivergedError, match=r"step 2: loss (nan|inf) is no finite .*row:4, row:5"):
        teach(tmp_path / "run", point, [2] * 5, [0.5], epochs=2, accumulate=2, save_minutes=1e-9)
    assert len(point.updates) == 1
    found = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert found == {"step": 2, "rows": ["row:4", "row:5", "row:6", "row:7"]}
    newest = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    assert newest is not None
    assert newest.step == 1


@pytest.mark.parametrize(
    ("what", "value", "step"),
    [("loss", "nan", 17), ("gradient", "inf", 24), ("gradient", "nan", 1)],
)
def test_divergence_of_a_network(tiny: Tiny, whole: Tiny, what: str, value: str, step: int) -> None:
    """TR-01: exit 3, row ids on the disk, a finite checkpoint, and nothing was updated."""
    line = one_line(tiny.train(OFTEN, hooks=[["at", what, step, value]]), 3)
    assert f"step {step}: " in line
    assert "sample:" in line
    found = json.loads((tiny.run / "diverged.json").read_text())
    assert found["step"] == step
    assert len(found["rows"]) in ((8,) if step % 12 == 0 else (12, 16))
    assert all(row.startswith("sample:") for row in found["rows"])
    newest = Checkpoints(tiny.run / "checkpoints").newest()
    assert (newest.step if newest else 0) == step - 1
    for array in newest.arrays.values() if newest else ():
        assert np.isfinite(array).all()
    assert tiny.resume(OFTEN).code == 0
    assert essence(tiny.run) == essence(whole.run)


@pytest.mark.parametrize("what", ["memory", "torch memory"])
def test_out_of_memory(tiny: Tiny, whole: Tiny, what: str) -> None:
    """TR-05: it names rows and length, changes nothing by itself, and the checkpoint is whole."""
    line = one_line(tiny.train(hooks=[["at", "partial", 16, what]]))
    assert "out of memory on a batch of 8 rows of " in line
    assert "loader.tokens" in line
    assert tiny.steps()[-1] == 15
    assert tiny.resume().code == 0
    assert essence(tiny.run) == essence(whole.run)


def test_a_full_disk_under_the_journal(tiny: Tiny, whole: Tiny) -> None:
    """TR-10: exit 4 and one line; the checkpoints are as they were, and it can go on."""
    journal = tiny.run / "journal.jsonl"
    assert tiny.train(hooks=[["at", "updated", 7, "SIGTERM"]]).code == 143
    kept = journal.read_bytes()
    journal.unlink()
    journal.symlink_to("/dev/full")
    line = one_line(tiny.resume(), 4)
    assert "journal.jsonl: cannot be written: No space left on device" in line
    newest = Checkpoints(tiny.run / "checkpoints").newest()
    assert newest is not None
    assert newest.step == 7
    journal.unlink()
    journal.write_bytes(kept)
    assert tiny.resume().code == 0
    assert essence(tiny.run) == essence(whole.run)


def test_a_full_disk_under_the_first_line(tiny: Tiny) -> None:
    """TR-10: nothing was saved yet."""
    tiny.run.mkdir(parents=True)
    (tiny.run / "journal.jsonl").symlink_to("/dev/full")
    assert "journal.jsonl: cannot be written" in one_line(tiny.train(), 4)


def test_a_closed_journal(tmp_path: Path) -> None:
    """TR-10: a refused line is an error once, not again when the file is closed."""
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    journal = Journal(tmp_path / "journal.jsonl")
    journal.cut(0)
    with pytest.raises(StorageError, match="No space left"):
        journal.write("step", step=1)
    journal.close()


def test_a_bug_of_ours_is_one_line_and_exit_1(tiny: Tiny) -> None:
    done = tiny.train(hooks=[["at", "update", 2, "bug"]])
    assert done.code == 1
    assert done.err.splitlines() == [
        "mulgil: our fault: ZeroDivisionError: a bug of two lines (MULGIL_TRACEBACK=1 shows where)"
    ]


# ---------------------------------------------------------------- the same again


def test_the_same_seed_gives_the_same_bits_everywhere(whole: Tiny, tmp_path: Path) -> None:
    """TR-07, EV-11: another process, hash seed, folder, time zone, locale and clock."""
    folder = tmp_path / "somewhere else"
    folder.mkdir()
    (folder / "tiny.toml").write_text(RECIPE)
    env = environment(tmp_path / "cache", PYTHONHASHSEED="4242", TZ="Asia/Seoul", LC_ALL="C")
    words = ["train", str(folder / "tiny.toml"), "--root", str(folder / "runs")]
    done = cold(*words, cwd=Path("/"), env=env)
    assert done.code == 0, done.err
    assert essence(folder / "runs" / "tiny") == essence(whole.run)


def test_another_seed_gives_other_bits(tiny: Tiny, whole: Tiny) -> None:
    """TR-07: the comparison above can fail."""
    assert tiny.train("trainer.seed=8").code == 0
    ours, theirs = essence(tiny.run), essence(whole.run)
    assert ours["model/model.safetensors"] != theirs["model/model.safetensors"]
    assert ours["model/tokenizer.json"] == theirs["model/tokenizer.json"]


@pytest.mark.parametrize("algorithm", ["bpe", "wordpiece", "unigram"])
def test_a_learnt_vocabulary_is_the_same_each_time(algorithm: str) -> None:
    """TR-07: a resumed run learns it again, and must find the same."""
    from mulgil.datasets.sample import Sample
    from mulgil.tokenizers.subword import Subword, SubwordSettings

    texts = [row.text for row in Sample(None).read({}).rows["all"][:300]]  # type: ignore[attr-defined]
    chosen = SubwordSettings(algorithm=algorithm, vocab_size=1500)  # type: ignore[arg-type]
    prints = {Subword.make(chosen, None, texts, 7).fingerprint() for _ in range(3)}
    assert len(prints) == 1
