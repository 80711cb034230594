"""Run folders of pairs, ratings, entities and questions, made up from a seed; no training."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mulgil import registry, statistics
from mulgil.examples import Span
from mulgil.judged import Rated, Tagged, Written

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fake_run import make_run, scored_rows, write_lines, write_object

Rows = list[dict[str, Any]]

KINDS = ("DT", "LC", "OG", "PS", "QT", "TI")
RELATIONS = ("contradiction", "entailment", "neutral")
_NAMES = {
    "DT": ("지난해 봄", "3월 1일", "월요일"),
    "LC": ("서울", "제주도", "한강"),
    "OG": ("한빛은행", "시청", "가람대학교"),
    "PS": ("김하늘", "이도윤", "박서준"),
    "QT": ("세 명", "40퍼센트", "두 시간"),
    "TI": ("오전 9시", "한밤", "정오"),
}
_FILLERS = ("은 어제부터", "에서 열린 행사에", "를 찾은 사람은", " 무렵까지", "의 발표에 따르면")
_FIRSTS = ("방이 넓고 깨끗했어요.", "비가 와서 소풍을 미뤘다.", "배송이 하루 만에 왔습니다.")
_SECONDS = ("숙소가 쾌적했습니다.", "소풍은 예정대로 갔다.", "택배가 일주일 걸렸다.")
_FACTS = (
    ("그 다리는 1998년 가을에 열렸다.", "1998년 가을"),
    ("설계는 윤가람 교수가 맡았다.", "윤가람 교수"),
    ("길이는 모두 412미터이다.", "412미터"),
    ("강 북쪽의 시장과 남쪽의 역을 잇는다.", "남쪽의 역"),
)


def make_pair_run(folder: Path, rows: int = 300, texts: tuple[str, ...] = ()) -> Path:
    """Write a run of nli; the first rows get `texts` and wrong, sure answers."""
    run = make_run(folder, RELATIONS, rows, texts=texts)
    draw = random.Random(3)
    lines = _lines(run / "predictions.jsonl")
    for i, line in enumerate(lines):
        text = line.pop("text")
        line["first"] = text if i < len(texts) else draw.choice(_FIRSTS)
        line["second"] = f"뒤 {text}" if i < len(texts) else draw.choice(_SECONDS)
    names = ("accuracy", "macro-f1", "matthews", "ece", "per-class", "confusion")
    judged = scored_rows(RELATIONS, lines)
    return _finish(run, "nli", "pair", RELATIONS, lines, _figures(names, judged))


def make_rated_run(folder: Path, rows: int = 519, texts: tuple[str, ...] = ()) -> Path:
    """Write a run of sts; the first rows get `texts` and ratings far off."""
    draw = random.Random(4)
    lines: Rows = []
    for i in range(rows):
        gold = round(draw.choice([draw.uniform(0, 5), draw.uniform(3, 5), 0.0]), 1)
        said = min(max(0.35 + 0.85 * gold + draw.gauss(0, 0.45), 0), 5)
        pair = {"first": draw.choice(_FIRSTS), "second": draw.choice(_SECONDS)}
        if i < len(texts):
            gold, said = 5.0, 0.1 + i / 1000
            pair = {"first": texts[i], "second": f"뒤 {texts[i]}"}
        lines.append({"id": f"v1_{i:05d}", **pair, "gold": gold, "predicted": round(said, 4)})
    gold, said = (np.array([line[key] for line in lines]) for key in ("gold", "predicted"))
    figures = _figures(("pearson", "spearman", "rmse"), Rated(gold, said))
    return _finish(make_run(folder, rows=0), "sts", "rated-pair", ("rating",), lines, figures)


def make_entities_run(
    folder: Path, rows: int = 300, texts: tuple[str, ...] = (), kinds: tuple[str, ...] = KINDS
) -> Path:
    """Write a run of ner; the first rows get `texts`, their first letter taken for an entity."""
    draw = random.Random(5)
    lines = []
    for i in range(rows):
        text, gold = _sentence(draw, kinds)
        said = [found for span in gold for found in _found(draw, text, span, kinds)]
        if i < len(texts):
            text, gold = texts[i], []
            said = [_span(text, 0, 1, kinds[0], 0.999)]
        lines.append({"id": f"ner-{i}", "text": text, "gold": gold, "predicted": said})
    judged = Tagged(
        tuple(_spans(line["gold"]) for line in lines),
        tuple(_spans(line["predicted"]) for line in lines),
        np.array([len(line["text"]) for line in lines], np.int64),
        kinds,
    )
    figures = _figures(("entity-f1", "character-f1", "per-entity"), judged)
    tags = ("O", *(f"{b}-{kind}" for kind in kinds for b in "BI"))
    return _finish(make_run(folder, rows=0), "ner", "entities", tags, lines, figures)


def make_questions_run(folder: Path, rows: int = 300, texts: tuple[str, ...] = ()) -> Path:
    """Write a run of qa; the first rows get `texts` in question, passage and sure, wrong answer."""
    draw = random.Random(6)
    lines: Rows = []
    for i in range(rows):
        facts = draw.sample(_FACTS, 3)
        passage = " ".join(
            fact for fact, _ in facts
        ) + " 사람들이 자주 지나다닌다." * draw.randrange(30)
        gold = draw.choice(facts)[1]
        chance = round(draw.betavariate(4, 1.5), 6)
        wrong = draw.random() > chance
        said = draw.choice([gold + "에", gold[1:], "사람들", "", gold[:-1]]) if wrong else gold
        question = "그 다리를 두고 본문이 말하는 것은?"
        if i < len(texts):
            passage, question, said = f"{texts[i]} {passage}", texts[i], texts[i]
            chance = 0.999
        answer = {"gold": [gold], "predicted": said, "probability": chance}
        lines.append({"id": f"q{i}", "question": question, "context": passage, **answer})
    judged = Written(
        tuple(tuple(line["gold"]) for line in lines), tuple(line["predicted"] for line in lines)
    )
    figures = _figures(("korquad-f1", "squad-f1"), judged)
    return _finish(make_run(folder, rows=0), "qa", "question", ("start", "end"), lines, figures)


def make_writing_run(folder: Path, rows: int = 100, texts: tuple[str, ...] = ()) -> Path:
    """Write a run of summarization; the first rows get `texts` in all three places."""
    draw = random.Random(8)
    lines: Rows = []
    for i in range(rows):
        facts = [fact for fact, _ in draw.sample(_FACTS, 3)]
        source, gold, said = " ".join(facts), facts[0], draw.choice([facts[0], facts[1], ""])
        if i < len(texts):
            source = gold = said = texts[i]
        chances = {"log_probability": -draw.random() * 9, "gold_log_probability": -draw.random()}
        lines.append({"id": f"w{i}", "source": source, "gold": gold, "predicted": said, **chances})
    judged = Written(
        tuple((line["gold"],) for line in lines), tuple(line["predicted"] for line in lines)
    )
    figures = _figures(("rouge-l", "exact-match"), judged)
    return _finish(make_run(folder, rows=0), "summarization", "writing", (), lines, figures)


def _figures(names: tuple[str, ...], judged: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names if len(judged) else ():
        metric = registry.load("metrics", name)()
        whole = statistics.bootstrap(
            lambda taken, metric=metric: metric.compute(judged.take(taken)),
            len(judged),
            seed=7,
            resamples=40,
        )
        found[name] = {key: value.as_dict() for key, value in whole.items()}
    return found


def _finish(
    run: Path, task: str, shape: str, labels: tuple[str, ...], lines: Rows, figures: dict[str, Any]
) -> Path:
    write_lines(run / "predictions.jsonl", lines)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    result |= {"task": task, "data": f"klue-{task}", "labels": list(labels), "metrics": figures}
    result |= {"n": len(lines), "valid": {next(iter(figures), "loss"): 0.8}}
    result["interval"] = f"95% bootstrap over {len(lines):,} test rows"
    result["rows"]["test"] = len(lines)
    write_object(run / "result.json", result)
    schema = {"shape": shape, "labels": list(labels), "multi_label": False, "threshold": 0.5}
    write_object(run / "schema.json", schema)
    return run


def _lines(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _sentence(draw: random.Random, kinds: tuple[str, ...]) -> tuple[str, Rows]:
    text, gold = "", []
    for kind in draw.sample(kinds, min(draw.randrange(1, 5), len(kinds))):
        name = draw.choice(_NAMES.get(kind, (f"이름{kind}",)))
        gold.append(_span(text + name, len(text), len(text) + len(name), kind))
        text += name + draw.choice(_FILLERS) + " "
    return text + "모였다.", gold


def _found(draw: random.Random, text: str, span: dict[str, Any], kinds: tuple[str, ...]) -> Rows:
    """Return what was found for a gold entity: mostly itself."""
    start, end, kind = span["start"], span["end"], span["label"]
    chance, turn = round(draw.betavariate(8, 1.2), 6), draw.random()
    if turn > 0.3:
        return [_span(text, start, end, kind, chance)]
    if turn > 0.2:
        return [_span(text, start, end, draw.choice(kinds), chance)]
    if turn > 0.1:
        return [_span(text, start, min(end + 1, len(text)), kind, chance)]
    return [] if turn > 0.04 else [_span(text, end + 1, end + 3, kind, chance)]


def _span(
    text: str, start: int, end: int, kind: str, chance: float | None = None
) -> dict[str, Any]:
    span = {"text": text[start:end], "label": kind, "start": start, "end": end}
    return span if chance is None else span | {"probability": chance}


def _spans(spans: Rows) -> tuple[Span, ...]:
    return tuple(Span(span["start"], span["end"], span["label"]) for span in spans)
