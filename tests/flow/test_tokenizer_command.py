"""`mulgil tokenizer train|report`, as people type it."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from _cli import Done, Warm, one_line
from _tiny import warm

from mulgil import api, hangul, vocabulary
from mulgil.errors import ModelError, SettingError
from mulgil.storage import verify_folder

__all__ = ["warm"]

BPE = ["tokenizer.algorithm=bpe", "tokenizer.byte_fallback=true"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, korean_texts: list[str]) -> Path:
    """Return a folder with texts in it."""
    folder = tmp_path_factory.mktemp("texts")
    lines = korean_texts[:400]
    (folder / "a.txt").write_text("\n".join(lines) + "\n", "utf-8")
    with gzip.open(folder / "b.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(korean_texts[400:500]) + "\n")
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in korean_texts[500:550]]
    (folder / "c.jsonl").write_text("\n".join(rows), "utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "new" / "bpe"
    api.tokenizer_train([str(texts)], out, *BPE, "tokenizer.vocab_size=1000")
    return out


def run(warm: Warm, *words: str, cwd: Path) -> Done:
    return warm.run("tokenizer", *words, cwd=cwd)


def test_training_and_comparing(warm: Warm, texts: Path, tmp_path: Path) -> None:
    """From several files to a folder, and from the folder to a table."""
    words = ["a.txt", "b.txt.gz", "c.jsonl", "--out", str(tmp_path / "deep" / "t")]
    done = run(warm, "train", *words, *BPE, "tokenizer.vocab_size=1000", cwd=texts)
    assert done.code == 0, done.err
    assert "550 rows" in done.out or "passages" in done.out
    assert "subword, 1,000 pieces, " in done.out
    verify_folder(tmp_path / "deep" / "t")
    again = run(warm, "train", *words, cwd=texts)
    assert "is there already; name a new folder" in one_line(again)
    table = run(
        warm, "report", str(tmp_path / "deep" / "t"), "syllable", "--text", "a.txt", cwd=texts
    )
    assert table.code == 0, table.err
    assert "syllable  (learnt from this text itself)" in table.out
    assert "lines that round-trip      100.00%     100.00%" in table.out


def test_help_and_wrong_words(warm: Warm, texts: Path) -> None:
    assert "train" in run(warm, cwd=texts).out
    assert "tokenizer.pretrained=FOLDER" in run(warm, "train", "--help", cwd=texts).out
    assert 'did you mean "train"' in one_line(run(warm, "trian", cwd=texts))
    assert "--out" in one_line(run(warm, "train", "a.txt", cwd=texts))
    assert "name a file" in one_line(run(warm, "train", "--out", "x", cwd=texts))
    assert "--text" in one_line(run(warm, "report", "syllable", cwd=texts))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"\n\n", "blank"),
        (b"\x00\x01\x02\xff" * 5000, "binary"),
        (b"\xff\xfe\xfd\n" * 40, "valid"),
    ],
)
def test_files_that_are_no_texts(
    content: bytes | None,
    rule: str,
    warm: Warm,
    tmp_path: Path,
) -> None:
    """DA-01, DA-06: one line, and nothing is left behind."""
    if content is not None:
        (tmp_path / "x.txt").write_bytes(content)
    done = run(warm, "train", "x.txt", "--out", "deep/t", cwd=tmp_path)
    one_line(done)
    assert rule in done.err or rule == "valid"
    assert not (tmp_path / "deep").exists()


def test_lines_that_cannot_be_used_are_counted(
    warm: Warm,
    texts: Path,
    tmp_path: Path,
) -> None:
    """DA-01, DA-04, DA-06: invalid UTF-8, and a line of 10 MB; the rest is learnt."""
    good = (texts / "a.txt").read_bytes()
    (tmp_path / "x.txt").write_bytes(
        good + b"\xff\xfe bad\n" + "가나 ".encode() * 1_500_000 + b"\n"
    )
    words = ["train", "x.txt", "--out", "t", *BPE, "tokenizer.vocab_size=800", "--json"]
    done = run(warm, *words, cwd=tmp_path)
    assert done.code == 0, done.err
    notes = " ".join(done.json["notes"])
    assert "2 lines" in notes
    assert "not valid utf-8" in notes
    assert done.megabytes < 700


def test_a_vocabulary_that_the_texts_do_not_support(texts: Path, tmp_path: Path) -> None:
    """The remedy is the size that comes out, and with it it goes."""
    for words in (["tokenizer.algorithm=bpe"], ["tokenizer.name=subword"], BPE):
        with pytest.raises(ModelError, match="the texts support a vocabulary of") as caught:
            api.tokenizer_train([str(texts)], tmp_path / "t", *words, "tokenizer.vocab_size=90000")
        assert not (tmp_path / "t").exists()
        size = str(caught.value).partition("set tokenizer.vocab_size=")[2].partition(",")[0]
        out = tmp_path / size
        made = api.tokenizer_train([str(texts)], out, *words, f"tokenizer.vocab_size={size}")
        assert made["pieces"] == int(size)


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["tokenizer.vocab_sise=9"], 'did you mean "vocab_size"'),
        (["tokenizer.name=morphem"], 'did you mean "morpheme"'),
        (["trainer.seed=1"], "only tokenizer.key=value"),
        (["tokenizer.pretrained=x"], "has none"),
        (["tokenizer.vocab_size=many"], "must be"),
    ],
)
def test_settings_that_are_wrong(words: list[str], rule: str, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=rule):
        api.tokenizer_train([str(texts)], tmp_path / "t", *words)
    with pytest.raises(ModelError, match='"words" has no vocabulary'):
        api.tokenizer_train([str(texts)], tmp_path / "t", "tokenizer.name=words")


# ---------------------------------------------------------------- the figures


def test_the_figures_are_counted_over_the_whole_text(trained: Path, tmp_path: Path) -> None:
    """Each figure against a plain count of it; composed and decomposed lines are alike."""
    lines = [
        "영화 정말 좋다",
        "영화▁는 good 👍",
        "  a  b",
        unicodedata.normalize("NFD", "정말"),
        "가",
    ]
    path = tmp_path / "x.txt"
    path.write_text("\n".join([*lines, "", "\x00"]) + "\n", "utf-8")
    found = api.tokenizer_report([str(trained), "jamo", "subword,vocab_size=100"], path)
    plain = [hangul.normalise(line) for line in lines]
    assert found["text"] == {
        "file": str(path),
        "lines": 5,
        "skipped": 2,
        "words": 10,
        "syllables": 12,
        "characters": sum(map(len, plain)),
        "bytes": sum(len(line.encode()) for line in plain),
    }
    ours, jamo, wordpiece = found["tokenizers"]
    assert [one["kind"] for one in found["tokenizers"]] == ["subword", "jamo", "subword"]
    assert [one["learnt_here"] for one in found["tokenizers"]] == [False, True, True]
    assert [one["lossless"] for one in found["tokenizers"]] == [True, True, False]
    assert (ours["vocabulary"], ours["round_trip"], jamo["round_trip"]) == (1000, 1.0, 1.0)
    assert wordpiece["round_trip"] < 1
    for one in found["tokenizers"]:
        sizes = [len(line["pieces"]) for line in one["sample"]]
        assert (sum(sizes), max(sizes)) == (one["tokens"], one["longest_line"])
        assert one["fertility"] == one["tokens"] / 10
        assert one["tokens_a_syllable"] == one["tokens"] / 12
        assert one["bytes_a_token"] == found["text"]["bytes"] / one["tokens"]
        lost = sum(line["pieces"].count("[UNK]") for line in one["sample"])
        assert one["unknown"] == lost / one["tokens"]
    whole = sum(  # a letter that is spelt in its one byte is one token too
        re.sub("<0x([0-7].)>", lambda found: chr(int(found[1], 16)), piece).removeprefix("▁")
        in plain[at].split()
        for at, line in enumerate(ours["sample"])
        for piece in line["pieces"]
    )
    assert ours["whole_words"] == whole / 10 > 0


@pytest.mark.parametrize(
    ("line", "spans", "count"),
    [
        ("가 나", [(0, 1), (1, 3)], 2),
        ("가 나", [(0, 1), (1, 2), (2, 3)], 2),
        ("가나 다", [(0, 1), (1, 2), (2, 4)], 1),
        ("가 나", [(0, 3)], 0),
        ("👍", [(0, 1)] * 4, 0),
        ("", [], 0),
        ("  가", [(0, 1), (1, 3)], 1),
    ],
)
def test_words_of_one_token(line: str, spans: list[tuple[int, int]], count: int) -> None:
    assert vocabulary._whole_words(line, spans) == count


def test_whatever_is_no_tokenizer(warm: Warm, texts: Path, tmp_path: Path) -> None:
    """TK-06: one line each."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_text('name = "run"\n')
    text = str(texts / "a.txt")
    for word, rule in (
        ("nowhere", "is no folder of a tokenizer"),
        ("empty", "tokenizer"),
        ("run", "no model yet"),
        ("words", "has no vocabulary"),
        ("syllable,size=3", "unknown setting"),
    ):
        done = run(warm, "report", word, "--text", text, cwd=tmp_path)
        assert rule in one_line(done)
    assert "no such file" in one_line(run(warm, "report", "jamo", "--text", "no.txt", cwd=tmp_path))


def test_a_run_with_the_folder(warm: Warm, texts: Path, trained: Path, tmp_path: Path) -> None:
    """A tokenizer made beforehand goes into a run, and the run's own copy is compared with it."""
    small = ["model.hidden=32", "model.layers=1", "model.heads=2", "trainer.epochs=1"]
    words = ["data.name=sample", "data.train_rows=60", "name=r", "model.name=encoder", *small]
    done = warm.run(
        *("train", "sample-tfidf", *words, f"tokenizer.pretrained={trained}"),
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    found: dict[str, Any] = run(
        warm,
        "report",
        "runs/r",
        str(trained),
        "--text",
        str(texts / "a.txt"),
        "--json",
        cwd=tmp_path,
    ).json
    first, second = ({**one, "name": ""} for one in found["tokenizers"])
    assert first == second
