"""In-context methods on the command line: a tiny decoder that is asked, and a served model."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from _cli import Warm, one_line
from _tiny import CAUSAL, warm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from endpoint_server import Server

__all__ = ["warm"]

RECIPE = """\
name = "asked"

[data]
name = "sample"
train_rows = 120
test_rows = 20
valid_share = 0.05

[model]
name = "{model}"
pretrained = "{pretrained}"

[tokenizer]
max_length = 120

[task]
prompt = "리뷰: {{text}}\\n감정:"
instruction = "리뷰의 감정을 고르시오."

[method]
name = "few-shot"
shots = 3
"""
BIG = ["model.positions=640", "trainer.epochs=2", "tokenizer.algorithm=bpe"]
BIG += ["tokenizer.byte_fallback=true", "tokenizer.vocab_size=600"]


@pytest.fixture(scope="module")
def place(warm: Warm, tmp_path_factory: pytest.TempPathFactory, korean_texts: list[str]) -> Path:
    """A folder with a tiny decoder that has learnt some words, and a recipe that asks it."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "texts.txt").write_text("".join(f"{line}\n" for line in korean_texts[:300]))
    (folder / "causal.toml").write_text(CAUSAL.replace('"tiny"', '"writer"'))
    done = warm.run("train", "causal.toml", *BIG, cwd=folder)
    assert done.code == 0, done.err
    recipe = RECIPE.format(model="decoder", pretrained="runs/writer/model")
    (folder / "asked.toml").write_text(recipe)
    done = warm.run("train", "asked.toml", "method.draws=3", cwd=folder)
    assert done.code == 0, done.err
    return folder


def stored(run: Path, name: str = "result.json") -> Any:
    return json.loads((run / name).read_text("utf-8"))


def test_draws_are_told_with_mean_and_deviation(place: Path) -> None:
    """TK-07, EV-08: every draw, their mean and deviation; the first is what the run answers."""
    result = stored(place / "runs/asked")
    draws = result["draws"]["accuracy"]
    assert len(draws["each"]) == 3
    assert draws["mean"] == pytest.approx(sum(draws["each"]) / 3)
    spread = sum((one - draws["mean"]) ** 2 for one in draws["each"]) / 2
    assert draws["deviation"] == pytest.approx(spread**0.5)
    assert draws["each"][0] == result["metrics"]["accuracy"]["accuracy"]["value"]
    assert result["prompts"]["shortened"] == 0
    assert result["parameters"]["trainable"] == 0
    told = stored(place / "runs/asked/model", "prompts.json")
    assert len({tuple(s["text"] for s in draw["shots"]) for draw in told["draws"]}) == 3
    shown = {shot["text"] for draw in told["draws"] for shot in draw["shots"]}
    lines = (place / "runs/asked/predictions.jsonl").read_text("utf-8").splitlines()
    assert not shown & {f"리뷰: {json.loads(line)['text']}" for line in lines}


def test_the_page_of_such_a_run_is_drawn(place: Path) -> None:
    page = (place / "runs/asked/report.html").read_text("utf-8")
    assert page.count("<svg") >= 1
    assert "few-shot" in page


def test_it_answers_and_is_evaluated(warm: Warm, place: Path) -> None:
    (place / "new.txt").write_text("정말 좋았어요\n\n다시는 안 사요\n")
    done = warm.run("predict", "runs/asked", "new.txt", cwd=place)
    assert done.code == 0, done.err
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [sorted(a) for a in answers].count(["error"]) == 0
    asked = [a for a in answers if "label" in a]
    assert len(asked) == 2
    assert all(abs(sum(p for n, p in a.items() if n[:2] == "p_") - 1) < 1e-5 for a in asked)
    rows = [json.loads(line) for line in (place / "runs/asked/predictions.jsonl").open()]
    lines = "".join(f"{json.dumps({'text': r['text'], 'label': r['gold']})}\n" for r in rows)
    (place / "gold.jsonl").write_text(lines)
    done = warm.run("evaluate", "runs/asked", "--data", "gold.jsonl", "--json", cwd=place)
    assert done.code == 0, done.err
    figure = stored(place / "runs/asked")["metrics"]["accuracy"]["accuracy"]["value"]
    assert json.loads(done.out)["metrics"]["accuracy"]["accuracy"]["value"] == figure


@pytest.mark.parametrize("more", [["method.pick=nearest"], ["method.calibration=labelled"]])
def test_the_same_recipe_is_the_same_run(warm: Warm, place: Path, more: list[str]) -> None:
    """EV-11: prompts and answers bit for bit."""
    for name in ("one", "two"):
        done = warm.run("train", "asked.toml", *more, f"name={name}{len(more[0])}", cwd=place)
        assert done.code == 0, done.err
    one, two = (place / "runs" / f"{name}{len(more[0])}" for name in ("one", "two"))
    for name in ("model/prompts.json", "predictions.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["task.prompt=리뷰:"], "task.prompt must hold {text}, each once"),
        (["task.words={ \"긍적\" = '좋음' }"], 'task.words: no label "긍적"'),
        (["task.words={ \"긍정\" = '좋음', \"부정\" = '좋음' }"], '"좋음" and "좋음" are the same'),
        (["model.pretrained=runs/none/model"], "runs/none/model"),
        (["task.multi_label=true"], "task.multi_label"),
        (["method.shots=500"], "method.shots is 500, but only"),
        (["tokenizer.max_length=640"], "tokenizer.max_length is 640"),
        (["model.name=textcnn"], 'needs a model with the skill choose; "textcnn" has'),
        (["model.name=recurrent"], 'needs a model with the skill choose; "recurrent" has'),
        (["task.name=sts"], 'task "sts"'),
        (["method.pick=nearest", "method.pool=2"], "pool must be 3"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    warm: Warm, place: Path, words: list[str], told: str
) -> None:
    name = f"name=refused-{len(told)}-{len(words[0])}"
    done = warm.run("train", "asked.toml", name, *words, cwd=place)
    assert told in one_line(done)


def test_a_model_of_nothing_is_refused(warm: Warm, place: Path) -> None:
    recipe = (place / "asked.toml").read_text().replace('pretrained = "runs/writer/model"\n', "")
    (place / "fresh.toml").write_text(recipe)
    line = one_line(warm.run("train", "fresh.toml", "name=refused2", cwd=place))
    assert 'method "few-shot" stands on what a model has learnt' in line


# ---------------------------------------------------------------- served models


def asked(server: Server) -> list[str]:
    return [json.dumps(body, sort_keys=True) for _, body in server.asked]


def test_a_served_model_is_killed_and_asks_nothing_twice(warm: Warm, tmp_path: Path) -> None:
    """TR-07: what was paid for is in the cache; killed in the middle, it goes on from there."""
    recipe = RECIPE.format(model="endpoint", pretrained="HCX-007")
    (tmp_path / "asked.toml").write_text(recipe)
    with Server() as server:
        server.meet = lambda body: time.sleep(0.01)
        words = [f"model.url={server.url}", "model.concurrency=1"]
        words += ["model.price_in=1000.0", "model.price_out=2000.0"]
        plan = warm.run("check", "asked.toml", *words, cwd=tmp_path)
        assert "cost       about" in plan.out, plan.err
        assert not server.asked
        child = warm.start("train", "asked.toml", *words, cwd=tmp_path)
        end = time.monotonic() + 60
        while len(server.asked) < 25 and time.monotonic() < end:
            time.sleep(0.01)
        child.kill(signal.SIGKILL)
        assert child.wait().code == -signal.SIGKILL
        first = len(server.asked)
        assert first >= 25
        done = warm.run("train", "asked.toml", "--resume", *words, cwd=tmp_path)
        assert done.code == 0, done.err
        every = asked(server)
        assert len(every) > first
        assert len(every) - len({*every}) <= 1  # the one that was under way
        result = stored(tmp_path / "runs/asked")
        assert result["n"] == 20
        assert result["metrics"]["accuracy"]
        usage = result["usage"]
        assert 0 < usage["requests"] <= len(every)
        assert usage["prompt_tokens"] > 0
        spent = usage["prompt_tokens"] * 1000 + usage["completion_tokens"] * 2000
        assert usage["cost"] == pytest.approx(spent / 1e6)
        assert f"{usage['prompt_tokens']:,} tokens read" in done.out
        held = {json.loads(one)["prompt"].split("\n\n")[-1].split("\n")[0] for one in every}
        tested = (tmp_path / "runs/asked/predictions.jsonl").read_text("utf-8").splitlines()
        assert {f"리뷰: {json.loads(line)['text']}" for line in tested} <= held
        count = len(server.asked)
        answer = warm.run("predict", "runs/asked", "-", cwd=tmp_path, stdin="참 좋다\n".encode())
        assert answer.code == 0, answer.err
        assert json.loads(answer.out)["label"] in {"긍정", "부정", "중립"}
        assert 0 < len(server.asked) - count <= 3
        again = warm.run("predict", "runs/asked", "-", cwd=tmp_path, stdin="참 좋다\n".encode())
        assert again.out == answer.out
        assert len(server.asked) - count <= 3  # from the cache
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert (tmp_path / "runs/asked/model/prompts.json") in files
