"""Own-written files of three data sets of KLUE that the user brings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mulgil import registry
from mulgil.contracts import Dataset
from mulgil.flow import Parts

NAMES = {"klue-ynat": "ynat-v1.1", "klue-re": "klue-re-v1.1", "klue-mrc": "klue-mrc-v1.1"}
"""The data sets, and what their files are called."""


def brought(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let MULGIL_DATA name a folder, with `klue` in it."""
    monkeypatch.setenv("MULGIL_DATA", str(folder))
    (folder / "klue").mkdir()
    return folder


def made(name: str) -> Dataset:
    plugin = registry.load("datasets", name)
    dataset: Dataset = plugin(plugin.Settings())
    return dataset


def write(folder: Path, name: str, part: str, content: Any) -> Path:
    """Write a file of a data set: text as it is, anything else as JSON."""
    path = folder / "klue" / f"{NAMES[name]}_{part}.json"
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, name: str, *entries: Any, test: Any = None) -> Parts:
    """Read a data set that has these entries to train; `test` is the other file, or nothing."""
    content: Any = list(entries)
    if name == "klue-mrc":
        content = articles(*entries)
        test = test or articles()
    write(folder, name, "train", content)
    write(folder, name, "dev", test or [])
    return made(name).read({})


def headline(**fields: Any) -> dict[str, Any]:
    own = {
        "guid": "own-1",
        "title": "호숫가 마을, 봄맞이 장터 연다",
        "predefined_news_category": "사회",
        "label": "생활문화",
        "annotations": {"annotators": ["1"]},
        "url": "",
        "date": "",
    }
    return own | fields


SENTENCE = "나루는 봄마을에서 배를 만든다."


def entity(word: Any, start: Any, end: Any, kind: Any = "PER") -> dict[str, Any]:
    return {"word": word, "start_idx": start, "end_idx": end, "type": kind}


def related(**fields: Any) -> dict[str, Any]:
    own = {
        "guid": "own-1",
        "sentence": SENTENCE,
        "subject_entity": entity("나루", 0, 1),
        "object_entity": entity("봄마을", 4, 6, "LOC"),
        "label": "per:place_of_residence",
        "source": "own",
    }
    return own | fields


RIVER = "너른내는 세 고을을 지난다. 너른내는 길다."


def asked(*answers: tuple[Any, Any], **fields: Any) -> dict[str, Any]:
    own = {
        "guid": "own-1",
        "question": "어느 내가 세 고을을 지나나?",
        "question_type": 1,
        "is_impossible": False,
        "answers": [{"text": text, "answer_start": start} for text, start in answers],
    }
    return own | fields


def articles(*questions: Any, context: Any = RIVER) -> dict[str, Any]:
    paragraphs = [{"context": context, "qas": list(questions)}]
    return {"version": "own", "data": [{"title": "내", "paragraphs": paragraphs}]}


def answered(**fields: Any) -> dict[str, Any]:
    return asked(("길다", 21), **fields)


Entry = Callable[..., dict[str, Any]]
ENTRIES: dict[str, Entry] = {"klue-ynat": headline, "klue-re": related, "klue-mrc": answered}
