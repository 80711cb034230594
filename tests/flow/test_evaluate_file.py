"""`mulgil evaluate --data`: the file is read as the run's own was, and what it hides is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from _cli import Warm, one_line
from _tiny import warm

from mulgil import api

__all__ = ["warm"]

GOOD = ("향이 은은해서", "배송이 빨라서", "점원이 친절해서", "맛이 깔끔해서", "값이 싸서")
BAD = ("냄새가 심해서", "배송이 늦어서", "점원이 불친절해서", "맛이 밍밍해서", "값이 비싸서")


def rows(count: int, first: int = 0) -> list[tuple[int, str, str, int]]:
    """Number, review, what it is, and a score that an eager reader takes for the label."""
    made = []
    for i in range(first, first + count):
        good = i % 2 == 0
        said = (GOOD if good else BAD)[i // 2 % 5]
        end = "또 오고 싶어요" if good else "다시는 안 가요"
        made.append((i, f"{said} {i}번째 손님은 {end}", "긍정" if good else "부정", i % 3))
    return made


def table(
    found: list[tuple[int, str, str, int]], header: str = "번호,리뷰 내용,결과,rating"
) -> str:
    lines = [header] if header else []
    return "".join(f"{line}\n" for line in [*lines, *(",".join(map(str, row)) for row in found)])


@pytest.fixture(scope="module")
def place(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a table whose label is named, one of a table without a header, and their files."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "named.csv").write_text(table(rows(100)), encoding="utf-8")
    (folder / "bare.csv").write_text(table(rows(100), ""), encoding="utf-8")
    (folder / "new.csv").write_text(table(rows(20, 500)), encoding="utf-8")
    (folder / "new-bare.csv").write_text(table(rows(20, 500), ""), encoding="utf-8")
    for name, more in (
        ("named", ["data.label=결과"]),
        ("bare", ["data.header=false", "data.text=2", "data.label=3"]),
    ):
        words = ["train", "tfidf", f"data.train={name}.csv", f"name={name}", *more]
        done = warm.run(*words, cwd=folder)
        assert done.code == 0, done.err
    return folder


@pytest.mark.parametrize(("run", "file"), [("named", "new.csv"), ("bare", "new-bare.csv")])
def test_a_file_is_read_as_the_runs_own(
    place: Path, monkeypatch: pytest.MonkeyPatch, run: str, file: str
) -> None:
    """Label, text and header are those of the run; nothing is guessed anew."""
    monkeypatch.chdir(place)
    found = api.evaluate(f"runs/{run}", Path(file))
    assert (found["n"], found["rejected"]["count"]) == (20, 0)
    assert not [note for note in found["notes"] if "guessed" in note]
    assert found["overlap"] == {"test in train": 0}


def test_an_override_goes_before_it(
    warm: Warm, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reasons are told by their numbers, with places, and with a remedy that helps."""
    line = one_line(
        warm.run("evaluate", "runs/named", "--data", "new.csv", "data.label=rating", cwd=place)
    )
    assert "20 of 20 rows cannot be used: 7 rows: label " in line
    assert "(new.csv:2, new.csv:5, new.csv:8, ...)" in line
    assert "are these the right columns" in line
    assert "max_rejected" not in line
    monkeypatch.chdir(place)
    named = 'data.columns={ label = "결과" }'
    assert api.evaluate("runs/named", Path("new.csv"), named)["n"] == 20


def test_other_names_are_guessed_and_told(place: Path, warm: Warm) -> None:
    header = "번호,후기,감정,점"
    (place / "other.csv").write_text(table(rows(20, 500), header), encoding="utf-8")
    done = warm.run("evaluate", "runs/named", "--data", "other.csv", cwd=place)
    assert done.code == 0, done.err
    assert 'label = column "감정" (guessed' in done.out


def test_rows_that_training_saw_are_told(
    warm: Warm, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DA-07: counted where the training rows are at hand; where they are not, that is said."""
    done = warm.run("evaluate", "runs/named", "--data", "named.csv", cwd=place)
    assert "test rows have a text that training has seen too" in done.out
    monkeypatch.chdir(place)
    seen = api.evaluate("runs/named", Path("named.csv"))["overlap"]["test in train"]
    assert seen == api._figures(place / "runs/named")["rows"]["train"]
    own = (place / "named.csv").read_text("utf-8")
    try:
        (place / "named.csv").write_text(own.replace("손님", "방문객"), encoding="utf-8")
        found = api.evaluate("runs/named", Path("new.csv"))
        assert "overlap" not in found
        assert any("whether training has seen" in note for note in found["notes"])
    finally:
        (place / "named.csv").write_text(own, encoding="utf-8")


def test_no_first_row_is_lost(warm: Warm, place: Path) -> None:
    """`predict` knows too that the run's tables have no header."""
    done = warm.run("predict", "runs/bare", "new-bare.csv", "-o", "out.csv", cwd=place)
    assert done.err == "20 rows: 20 answered, 0 errors, in out.csv\n"
    lines = (place / "out.csv").read_text("utf-8").splitlines()
    assert lines[0].startswith("1,2,3,4,label,")
    assert lines[1].startswith("500,향이 은은해서 500번째")
    table = "리뷰 내용,번호\n정말 별로라서 다시는 안 가요,3\n".encode()
    piped = warm.run("predict", "runs/named", "-", cwd=place, stdin=table)
    assert piped.out.startswith('{"리뷰 내용": "정말 별로라서 다시는 안 가요", "번호": "3", ')


def test_runs_tells_where_one_stopped(warm: Warm, place: Path) -> None:
    half = place / "runs/half"
    (half / "checkpoints/step-00000120").mkdir(parents=True)
    (half / "checkpoints/step-00000040-1").mkdir()
    (half / "recipe.toml").write_text((place / "runs/named/recipe.toml").read_text("utf-8"))
    done = warm.run("runs", cwd=place)
    assert "begun, step 120, files, tfidf, linear-probe" in done.out


def test_a_list_in_a_shell(warm: Warm, place: Path) -> None:
    words = ["check", "tfidf", "data.train=named.csv", "task.labels=[부정,긍정]"]
    line = one_line(warm.run(*words, cwd=place))
    assert """must be a list, not "[부정,긍정]"; write '["부정", "긍정"]'""" in line


def test_a_folder_that_is_missing(warm: Warm, place: Path) -> None:
    """TR-15: the disk's room says nothing where the folder is missing."""
    words = ["predict", "runs/named", "new.csv", "-o", "no/such/out.csv"]
    line = one_line(warm.run(*words, cwd=place), 4)
    assert line.endswith("cannot be written: the folder no/such is missing; make it first")
