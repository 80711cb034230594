"""Encodings and lines: identical rows or a named refusal, never mojibake (DA-01, DA-02, G21)."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import locale
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from mulgil.errors import DataError, SettingError
from mulgil.tables.encodings import FREQUENT
from mulgil.tables.formats import Record
from mulgil.tables.lines import MAX_LINE, FileLines, Line, open_file
from mulgil.tables.rows import read_records

TABLE = 'text,label\n오늘 영화는 정말 재미있었어요,긍정\n"시간이 아까운, 지루한 이야기",부정\n'
ROWS = [
    Record(2, {"text": "오늘 영화는 정말 재미있었어요", "label": "긍정"}),
    Record(3, {"text": "시간이 아까운, 지루한 이야기", "label": "부정"}),
]

RECOGNISED = {
    "utf-8": TABLE.encode(),
    "utf-8 bom": TABLE.encode("utf-8-sig"),
    "utf-16 le bom": codecs.BOM_UTF16_LE + TABLE.encode("utf-16-le"),
    "utf-16 be bom": codecs.BOM_UTF16_BE + TABLE.encode("utf-16-be"),
    "utf-16 le": TABLE.encode("utf-16-le"),
    "utf-16 be": TABLE.encode("utf-16-be"),
    "utf-32 bom": codecs.BOM_UTF32_LE + TABLE.encode("utf-32-le"),
    "cp949": TABLE.encode("cp949"),
    "euc-kr": TABLE.encode("euc-kr"),
}

JAPANESE = "text,label\n今日は友達と公園へ散歩に行きました,良い\nこの映画は面白くなかった,悪い\n"
CHINESE = "text,label\n今天天气很好我和朋友去公园散步,好\n这部电影不好看,坏\n"
FRENCH = "text,label\nLe café était fermé,négatif\nDéjà vu l’été,neutre\n"
REFUSED = {
    "johab": TABLE,
    "iso2022_kr": TABLE,
    "iso2022_jp": JAPANESE,
    "euc_jp": JAPANESE,
    "shift_jis": JAPANESE,
    "gb18030": CHINESE,
    "cp1252": FRENCH,
    "mac_roman": FRENCH,
    "utf-32-le": TABLE,
}


def lines(data: bytes, encoding: str = "auto") -> list[Line]:
    return list(FileLines(io.BytesIO(data), "reviews.csv", encoding))


@pytest.mark.parametrize("local", ["US-ASCII", "cp949", "UTF-8"])
@pytest.mark.parametrize("name", RECOGNISED)
def test_same_rows_in_every_encoding_and_locale(tmp_path, monkeypatch, name, local):
    """DA-01, DA-02, G21: a byte order mark is no part of the first column's name either."""
    monkeypatch.setattr(locale, "getpreferredencoding", lambda *_: local)
    monkeypatch.setattr(locale, "getencoding", lambda: local)
    path = tmp_path / "reviews.csv"
    path.write_bytes(RECOGNISED[name])
    assert list(read_records(path)) == ROWS


@pytest.mark.parametrize("name", REFUSED)
def test_other_encodings_are_refused_and_can_be_named(tmp_path, name):
    """DA-01, G21: the refusal names the setting, and the setting reads the file."""
    path = tmp_path / "reviews.csv"
    path.write_bytes(REFUSED[name].encode(name))
    with pytest.raises(DataError, match=r"reviews\.csv: .*data\.encoding"):
        list(read_records(path))
    texts = [record.fields["text"] for record in read_records(path, encoding=name)]
    assert texts == [row[0] for row in csv.reader(REFUSED[name].splitlines())][1:]


def test_the_locale_of_the_process_does_not_matter(tmp_path):
    """DA-01: a process in the C locale, UTF-8 mode off, reads the same rows."""
    paths = []
    for name, data in RECOGNISED.items():
        paths.append(tmp_path / f"{name}.csv")
        paths[-1].write_bytes(data)
    code = (
        "import sys, pathlib; from mulgil.tables.rows import read_records\n"
        "rows = [list(read_records(pathlib.Path(path))) for path in sys.argv[1:]]\n"
        "sys.stdout.write(ascii(rows))"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], env=environment, capture_output=True, text=True
    )
    assert done.stdout == ascii([ROWS] * len(paths)), done.stderr


def test_a_few_bad_bytes_cost_their_lines():
    """DA-01: the other lines are kept, and the place of the bad byte is named."""
    data = "재밌어요\n".encode() * 20 + "재밌".encode()[:-1] + b"\n" + "끝\n".encode()
    found = lines(data)
    assert [number for number, _, reason in found if reason] == [21]
    assert found[20][2] == "byte 4 of the line (0xEB) is not valid utf-8"
    assert found[21] == (22, "끝", "")


def test_bad_bytes_of_a_named_encoding_cost_their_lines():
    data = "재밌어요\n".encode("cp949") + b"\xff\xff\n" + "끝\n".encode("cp949")
    assert [bool(reason) for _, _, reason in lines(data, "cp949")] == [False, True, False]


def test_hangul_after_much_ascii_is_still_recognised():
    """DA-01: the decision waits for the first other byte, wherever it is."""
    data = b"plain words only\n" * 200_000 + "여기부터 한국어로 쓴 리뷰입니다\n".encode("cp949")
    assert lines(data)[-1] == (200_001, "여기부터 한국어로 쓴 리뷰입니다", "")


def test_too_little_to_tell_is_refused():
    """G21: no mojibake where both readings are possible; a letter beside it settles it."""
    for data in ("£5\n".encode(), "타,1\n".encode("cp949"), "재밌다\n".encode("cp949")):
        with pytest.raises(DataError, match=r"data\.encoding"):
            lines(data)
    assert lines("café\n".encode()) == [(1, "café", "")]
    assert lines("£5\n".encode(), "utf-8") == [(1, "£5", "")]


def test_every_frequent_syllable_is_in_cp949():
    assert len(FREQUENT) == 100
    assert all(len(syllable.encode("euc-kr")) == 2 for syllable in FREQUENT)


def test_encoding_settings():
    with pytest.raises(SettingError, match=r'"cp94".*did you mean "cp949"'):
        lines(b"a", "cp94")
    with pytest.raises(SettingError, match="rot13"):
        lines(b"a", "rot13")
    with pytest.raises(DataError, match=r"byte order mark of utf-8.*leave the setting out"):
        lines(TABLE.encode("utf-8-sig"), "cp949")
    for encoding in ("utf-16", "auto"):  # its only NUL, in 가, would say big-endian
        with pytest.raises(DataError, match=r"data\.encoding"):
            lines("가나".encode("utf-16-le"), encoding)
    assert lines(TABLE.encode("utf-8-sig"), "UTF8")[0][1] == "text,label"
    assert lines(TABLE.encode("utf-16-be"), "utf-16")[0][1] == "text,label"


def test_odd_characters():
    """DA-04: NUL and half a pair are rejected; the rest stays as it was written."""
    odd = "가\u200b나\u202e다\ufffd\ue000ᄀᆞᆨﾡ\u2028\x0c\x85끝"
    assert lines(f"{odd}\r\n안\0녕\n굿\n".encode()) == [
        (1, f"{odd}\r", ""),
        (2, "안\0녕", "holds a NUL character"),
        (3, "굿", ""),
    ]
    wide = "text\n".encode("utf-16") + b"\x00\xd8" + "\n굿\n".encode("utf-16-le")
    assert [bool(reason) for _, _, reason in lines(wide)] == [False, True, False]
    cut = "첫 줄\n둘째".encode("utf-16")[:-1]
    assert [bool(reason) for _, _, reason in lines(cut)] == [False, True]


def test_nul_in_an_ordinary_file_is_not_utf16():
    found = lines(b"text,label\n" + b"\0a\0b\0c\0d,1\n" + "좋아,1\n".encode())
    assert [bool(reason) for _, _, reason in found] == [False, True, False]


def test_line_ends():
    """Newlines of three kinds; a line over the limit is passed over (DA-06)."""
    assert [text for _, text, _ in lines(b"a\rb\rc")] == ["a", "b", "c"]
    assert [text for _, text, _ in lines(b"a\n\nb\n")] == ["a", "", "b"]
    found = lines(b"a\n" + b"x" * (MAX_LINE + 1) + b"\nb\n" + b"y" * (2 * MAX_LINE))
    assert [(number, bool(reason)) for number, _, reason in found] == [
        (1, False),
        (2, True),
        (3, False),
        (4, True),
    ]
    assert found[2][1] == "b"


def test_endless_input_stays_small():
    """PR-06: memory is that of a block, however much comes."""

    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            block = "짧은 리뷰 한 줄입니다\n".encode() * 2000
            size = min(len(buffer), len(block))
            buffer[:size] = block[:size]
            return size

    source = FileLines(io.BufferedReader(Endless()), "stdin", live=True)
    next(source)
    tracemalloc.start()
    count = sum(1 for _ in itertools.islice(source, 200_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200_000
    assert peak < 12 << 20


def test_no_newline_ever_stays_small():
    """PR-06, DA-11: an endless line, as from /dev/zero through a pipe, is dropped as it comes."""

    class Zeros:
        left = 64

        def read(self, size):
            self.left -= 1
            return b"\0" * size if self.left >= 0 else b""

    tracemalloc.start()
    found = list(FileLines(Zeros(), "stdin", "utf-8"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(1, "", "is a line of more than 8 MiB")]
    assert peak < 40 << 20


def test_what_is_no_file_is_refused_at_once(tmp_path):
    """DA-11: a pipe, a device and a folder neither block nor run on; a link is fine."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    device = tmp_path / "zero.csv"
    device.symlink_to("/dev/zero")
    for path, word in ((pipe, "pipe"), (device, "device"), (tmp_path, "folder")):
        with pytest.raises(DataError, match=f"is a {word}"):
            open_file(path)
    (tmp_path / "reviews.csv").write_text(TABLE, encoding="utf-8")
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "reviews.csv")
    assert list(read_records(link)) == ROWS
    with pytest.raises(DataError, match=r'no such file; did you mean "reviews\.csv"'):
        open_file(tmp_path / "review.csv")
    with pytest.raises(DataError, match="cannot be read"):
        open_file(Path("a\0b.csv"))


def test_gzip(tmp_path):
    path = tmp_path / "reviews.csv.gz"
    path.write_bytes(gzip.compress(RECOGNISED["cp949"]))
    assert list(read_records(path)) == ROWS
    path.write_bytes(gzip.compress(TABLE.encode() * 1000)[:-20])
    with pytest.raises(DataError, match="cannot be read to its end"):
        list(read_records(path))
    path.write_bytes(b"not zipped")
    with pytest.raises(DataError, match="cannot be read to its end"):
        list(read_records(path))


@pytest.mark.parametrize(
    ("magic", "hint"),
    [(b"PK\x03\x04", "Excel"), (b"\x1f\x8b", r"\.gz"), (b"PAR1", r"\.parquet")],
)
def test_files_of_another_kind(magic, hint):
    with pytest.raises(DataError, match=hint):
        lines(magic + b"\0" * 100)
