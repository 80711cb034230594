"""The corpus: which files are found, and which passages they become."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from corpus_files import Read, ids, note, reader, sentences, texts

from mulgil import recipe
from mulgil.datasets.corpus import Corpus
from mulgil.errors import DataError, SettingError
from mulgil.examples import PassageExample


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own."""
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    return tmp_path / "texts"


@pytest.fixture
def read(folder: Path) -> Read:
    return reader(folder)


# ---------------------------------------------------------------- files


def test_files_folders_and_globs_in_one_order(read: Read, folder: Path) -> None:
    files: dict[str, str | bytes] = {
        "나.txt": "나의 글\n",
        "b/c.txt": "깊은 글\n",
        "b/d.txt.gz": "묶인 글\n",
        "b/plain": "이름뿐인 글\n",
        "b/d.gz": "묶인 이름\n",
        "a.txt": "처음 글\n둘째 글\n",
        ".hidden.txt": "숨은 글\n",
        "picture.png": b"\x89PNG",
    }
    parts = read(files)
    assert ids(parts) == [
        *("a.txt:1", "a.txt:2", "c.txt:1", "d.gz:1", "d.txt.gz:1", "plain:1", "나.txt:1")
    ]
    assert parts.rows["train"][3] == PassageExample("d.gz:1", "묶인 이름")
    assert note(parts, "1 files of other kinds").endswith("such as picture.png")
    mixed = [f"{folder}/b/*.gz", f"{folder}/**/c.txt", f"{folder}/?.txt", f"{folder}/b/c.txt"]
    assert ids(read(paths=mixed))[2:] == ["c.txt:1", "d.gz:1", "d.txt.gz:1", "나.txt:1"]
    found = Corpus(Corpus.Settings(paths=mixed)).files()
    assert [path.name for path in found] == ["a.txt", "c.txt", "d.gz", "d.txt.gz", "나.txt"]


def test_files_of_one_name_are_told_apart(read: Read) -> None:
    parts = read({"a/x/t.txt": "하나\n", "b/x/t.txt": "둘이\n", "b/u.txt": "셋이\n"})
    assert ids(parts) == ["a/x/t.txt:1", "u.txt:1", "b/x/t.txt:1"]


def test_records_of_other_formats(read: Read, folder: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        arrow.table({"n": [1, 2], "본문": ["파케이 글", None]}), folder / "d.parquet"
    )
    lines = [{"id": 1, "document": "제이슨 글"}, {"id": 2, "document": ""}, {"id": 3}]
    parts = read(
        {
            "a.jsonl.gz": "\n".join(map(json.dumps, lines)) + "\n{bad\n",
            "b.csv": 'id,text\n1,"쉼표, 글\n두 줄"\n',
            "c.tsv": "id\tdocument\tlabel\n1\t탭 글\t0\n",
        }
    )
    assert texts(parts) == ["제이슨 글", "쉼표, 글\n두 줄", "탭 글", "파케이 글"]
    assert ids(parts) == ["a.jsonl.gz:1", "b.csv:2", "c.tsv:2", "d.parquet:1"]
    assert [row.id for row in parts.rejected] == ["a.jsonl.gz:3", "a.jsonl.gz:4", "d.parquet:2"]
    assert 'a.jsonl.gz and 1 files more: text = column "document" (guessed)' in parts.notes
    with pytest.raises(DataError, match=r'no column is called "body" \(data\.text\)'):
        read(text="body")


def test_a_path_may_begin_with_the_data_folder(
    read: Read, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.txt").write_text("물길\n", "utf-8")
    with pytest.raises(SettingError, match=r"\$MULGIL_DATA/a\.txt: the environment variable MULG"):
        read(paths=["$MULGIL_DATA/a.txt"])
    monkeypatch.setenv("MULGIL_DATA", str(folder))
    for path in ("$MULGIL_DATA/a.txt", "${MULGIL_DATA}/*.txt", "$MULGIL_DATA"):
        assert texts(read(paths=[path])) == ["물길"]
    with pytest.raises(SettingError, match=r"\$HOME/a: only \$MULGIL_DATA is known here"):
        read(paths=["$HOME/a"])


def test_paths_in_a_recipe(folder: Path, tmp_path: Path) -> None:
    """CF: relative to the recipe's file; a variable stays as the user wrote it."""
    text = '[data]\nname = "corpus"\npaths = ["texts/*.txt", "$MULGIL_DATA/b"]\nexclude = "c.tsv"\n'
    (tmp_path / "r.toml").write_text(text, "utf-8")
    part = recipe.read(str(tmp_path / "r.toml")).data
    assert part.settings.paths == [str(folder / "*.txt"), "$MULGIL_DATA/b"]
    assert part.settings.exclude == [str(tmp_path / "c.tsv")]
    dumped = recipe.read(str(tmp_path / "r.toml")).dump(tmp_path / "runs")
    assert 'paths = ["../texts/*.txt", "$MULGIL_DATA/b"]' in dumped
    assert 'exclude = ["../c.tsv"]' in dumped
    part = recipe.section("data", ["data.name=corpus", f"data.paths={folder}"])
    assert part.settings.paths == [str(folder)]
    with pytest.raises(SettingError, match=r"data\.paths\.0 must be a string, not 5"):
        recipe.section("data", ["data.name=corpus", "data.paths=[5]"])


@pytest.mark.parametrize(
    ("paths", "kind", "said"),
    [
        ([], SettingError, r"data\.paths is missing: name files"),
        ([""], SettingError, r"data\.paths: a path is empty"),
        (
            ["{}/new.txt"],
            DataError,
            r'new\.txt: no such file or folder; did you mean "news\.txt"\?',
        ),
        (["{}/x/a.txt"], DataError, r"there is no folder .*x; mend the path"),
        (
            ["$MULGIL_DATA/film_reviews.gz"],
            DataError,
            r"no such file .*one a line: data\.paths=your\.txt",
        ),
        (["$MULGIL_DATA/x/x.txt"], DataError, r"no folder .*one a line: data\.paths=your\.txt"),
        (["{}/zzz*.gz"], DataError, r"zzz\*\.gz: matches no file; mend the pattern"),
        (["{}/newz*.txt"], DataError, r'matches no file; did you mean "news\.txt"\?'),
        (["{}/empty"], DataError, r"empty: no file is in there"),
        (["{}/only"], DataError, r"none of the 1 files found can be read, such as .*a\.doc"),
        (["{}/only/a.doc"], DataError, r"the name must end in \.csv"),
    ],
)
def test_paths_that_bring_up_nothing(
    read: Read,
    folder: Path,
    paths: list[str],
    kind: type[Exception],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MULGIL_DATA", str(folder))
    for name in ("empty", "only"):
        (folder / name).mkdir()
    (folder / "only" / "a.doc").touch()
    with pytest.raises(kind, match=said) as caught:
        read({"news.txt": "글이다\n"}, paths=[path.format(folder) for path in paths])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["{}", "{}/*", "{}/**/*.txt", "{}/**"])
def test_what_leads_out_or_never_ends_is_refused(
    read: Read, folder: Path, tmp_path: Path, path: str
) -> None:
    """DA-11: in less than a second."""
    (tmp_path / "secret.txt").write_text("비밀\n", "utf-8")
    (folder / "a.txt").write_text("글이다\n", "utf-8")
    wanted = [path.format(folder)]
    start = time.perf_counter()
    for target, said in (
        (tmp_path / "secret.txt", "is a link that leads out of its folder"),
        (tmp_path, "is a link that leads out of its folder"),
        (Path("/dev/zero"), "is a link that leads out of its folder"),
        (folder / "nothing", "is a link to nothing"),
    ):
        (folder / "link.txt").symlink_to(target)
        with pytest.raises(DataError, match=f"link.txt: {said}"):
            read(paths=wanted)
        (folder / "link.txt").unlink()
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(DataError, match=r"pipe\.txt: is a pipe, not a file"):
        read(paths=wanted)
    with pytest.raises(DataError, match=r"pipe\.txt: is a pipe, not a file"):
        read(paths=[str(folder / "pipe.txt")])
    (folder / "pipe.txt").unlink()
    (folder / "same.txt").symlink_to(folder / "a.txt")
    (folder / "b").mkdir()
    for name in ("here", "there", "b/up"):  # circles
        (folder / name).symlink_to(folder)
    assert ids(read(paths=wanted)) == ["a.txt:1"], "a link within the folder is the file itself"
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert texts(read(paths=[str(folder / "link.txt")])) == ["비밀"], "the user's own choice"
    assert time.perf_counter() - start < 1


# ---------------------------------------------------------------- passages


def test_lines_keep_the_user_s_own_characters(read: Read) -> None:
    parts = read({"a.txt": "  앞뒤 빈칸\t \r\n\n \n짧\n둘이\u200b 다\n끝에 줄바꿈 없음"})
    assert texts(parts) == ["  앞뒤 빈칸\t ", "둘이\u200b 다", "끝에 줄바꿈 없음"]
    assert ids(parts) == ["a.txt:1", "a.txt:5", "a.txt:6"]
    assert "left out: 2 blank lines" in parts.notes
    assert "left out: 1 passages that are too short" in parts.notes
    assert parts.rejected == []


def test_paragraphs_and_whole_files(read: Read) -> None:
    content = "\n첫 문단\n둘째 줄\n \n\n둘째 문단\r\n\n"
    parts = read({"a.txt": content}, unit="paragraph")
    assert [*zip(ids(parts), texts(parts), strict=True)] == [
        ("a.txt:2", "첫 문단\n둘째 줄"),
        ("a.txt:6", "둘째 문단"),
    ]
    parts = read(unit="file")
    assert texts(parts) == ["첫 문단\n둘째 줄\n \n\n둘째 문단"]
    assert ids(parts) == ["a.txt:2"]


@pytest.mark.parametrize("unit", ["paragraph", "file"])
def test_long_documents_are_cut_at_line_ends(read: Read, unit: str) -> None:
    lines = [f"줄 번호 {at:02}" for at in range(10)]
    longer = json.dumps({"text": "\n".join(lines) + "\n" + "가" * 40})
    files: dict[str, str | bytes] = {"a.txt": "\n".join(lines), "b.jsonl": longer}
    parts = read(files, unit=unit, max_characters=24, duplicates="keep")
    assert [len(text) for text in texts(parts)] == [23] * 3 + [7] + [23] * 3 + [7]
    assert "\n".join(texts(parts)[:4]) == "\n".join(lines)
    assert ids(parts)[:4] == ["a.txt:1", "a.txt:4", "a.txt:7", "a.txt:10"]
    assert [(row.id, row.reason[:29]) for row in parts.rejected] == [
        ("b.jsonl:1", "is a line of 40 characters (d")
    ]


def test_a_line_of_ten_megabytes_costs_itself(read: Read) -> None:
    """DA-06."""
    parts = read({"a.txt": "앞이다\n" + "가" * 3_500_000 + "\n" + "나" * 200_000 + "\n뒤다\n"})
    assert ids(parts) == ["a.txt:1", "a.txt:4"]
    assert [(row.id, row.reason) for row in parts.rejected] == [
        ("a.txt:2", "is a line of more than 8 MiB"),
        ("a.txt:3", "is a line of 200,000 characters (data.max_characters is 100,000)"),
    ]


@pytest.mark.parametrize("unit", ["line", "paragraph", "file"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp949", "euc-kr"]
)
def test_encodings_are_recognised(read: Read, unit: str, encoding: str) -> None:
    """DA-01, DA-02: the same rows, whatever the bytes and the locale."""
    content = "".join(f"물길은 산에서 바다로 {at}번 흐르고 있다\n\n" for at in range(60))
    wanted = texts(read({"a.txt": content}, unit=unit))
    assert len(wanted) == (1 if unit == "file" else 60)
    parts = read({"a.txt": content.encode(encoding)}, unit=unit)
    assert texts(parts) == wanted
    if not encoding.startswith("utf-8"):
        assert note(parts, "a.txt: read as")


def test_an_encoding_that_cannot_be_told_is_not_guessed(read: Read) -> None:
    """DA-01."""
    content = "水は山から海へ流れる\n".encode("shift_jis") * 50
    with pytest.raises(
        DataError, match=r"a\.txt: the encoding is not UTF-8, and not CP949 for sure"
    ):
        read({"a.txt": content})
    assert texts(read(encoding="shift_jis")) == ["水は山から海へ流れる"]


def test_bad_bytes_cost_their_lines(read: Read) -> None:
    """DA-01, DA-06: never a crash, never other characters."""
    good = [f"바른 줄 {at}" for at in range(100)]
    raw = [line.encode() for line in good]
    raw[50], raw[70] = "깨진".encode()[:-1], "널\0이 든 줄".encode()
    parts = read({"a.txt": b"\n".join(raw)}, max_rejected=0.02)
    assert texts(parts) == good[:50] + good[51:70] + good[71:]
    assert [row.id for row in parts.rejected] == ["a.txt:51", "a.txt:71"]
    assert "not valid utf-8" in note(parts, "left out: 2 lines or documents that cannot be used")
    with pytest.raises(DataError, match=r"2 of 100 lines .*a\.txt:51: byte .*data\.max_rejected"):
        read(max_rejected=0.01)


def test_a_binary_file(read: Read, folder: Path) -> None:
    """DA-06: counted when it came up by itself, an error when somebody named it."""
    raw = np.random.default_rng(3).bytes(100_000)
    parts = read({"a.txt": "글이다\n", "b.bin.txt": raw, "c.txt.gz": raw})
    assert ids(parts) == ["a.txt:1"]
    assert "left out: 2 binary files (b.bin.txt)" in parts.notes
    for name in ("b.bin.txt", "c.txt.gz"):
        with pytest.raises(DataError, match=rf"{name}: is a binary file \(NUL bytes\)"):
            read(paths=[str(folder / name)])


def test_a_damaged_gzip_is_an_error(read: Read, folder: Path, cache: Path) -> None:
    raw = gzip.compress("\n".join(sentences(20_000)).encode())
    (folder / "a.txt.gz").write_bytes(raw[:-1000])
    with pytest.raises(DataError, match=r"a\.txt\.gz: cannot be read to its end"):
        read()
    assert list(cache.iterdir()) == []


def test_nothing_is_left(read: Read) -> None:
    """DA-06: says what was left out, and why."""
    with pytest.raises(
        DataError, match=r"nothing is left of 1 files such as a\.txt: the files are"
    ):
        read({"a.txt": ""})
    with pytest.raises(
        DataError, match=r"2 passages that are too short, 1 blank lines, 1 unusable lines \(a"
    ):
        read({"a.txt": "가\n\n나\n".encode() + b"\xff\xfe\xfd\n"}, encoding="utf-8")
