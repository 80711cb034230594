"""`mulgil export` on the command line: lines, JSON, exit codes, one-line refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from _cli import Warm, one_line
from _tiny import Tiny, warm, whole

__all__ = ["warm", "whole"]


def test_export(warm: Warm, whole: Tiny, tmp_path: Path) -> None:
    """EX-02: for people and for machines, with labels, tokenizer and checksums."""
    run = str(whole.run)
    done = warm.run("export", run, "-o", "new/out", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    exported, checked, use = done.out.splitlines()
    assert exported.startswith("exported   new/out: hf, ")
    assert checked.startswith("checked    40 rows: probabilities differ by ")
    assert use == "use        new/out/README.md"
    page = (tmp_path / "new" / "out" / "README.md").read_text("utf-8")
    assert "- run: tiny\n- task: classification\n- model: encoder, from scratch\n" in page
    assert '- labels: ["긍정", "부정", "중립"]\n- longest row: 24 tokens\n' in page
    assert str(tmp_path) not in page
    done = warm.run("export", run, "--to", "hf", "--out", "again", "--json", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    told = done.json
    assert told["folder"] == str(tmp_path / "again")
    assert told["rows"] == 40
    assert 0 <= told["difference"] < 1e-5 < told["most"]
    assert {"README.md", "config.json", "head.safetensors"} <= {*told["files"]}
    assert (tmp_path / "again" / "MANIFEST.json").exists()
    assert json.loads((tmp_path / "again" / "config.json").read_text("utf-8"))["id2label"]["0"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["RUN", "-o", "out", "--to", "hff"], 'no format "hff" to export to; did you mean "hf"?'),
        (["RUN"], "Missing option '-o'"),
        (["RUN", "-o", "there"], "is there already and not empty; give another name with -o"),
        (["none", "-o", "out"], "none: is no run folder (it has no recipe.toml)"),
        (["mulgil/minni", "-o", "out"], 'no model "mulgil/minni" comes with the package'),
    ],
)
def test_refused_in_one_line(
    warm: Warm, whole: Tiny, tmp_path: Path, words: list[str], said: str
) -> None:
    """EX-06: exit code 2, and nothing is left."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("내 글", "utf-8")
    words = [str(whole.run) if word == "RUN" else word for word in words]
    assert said in one_line(warm.run("export", *words, cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["there"]
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["mine.txt"]
