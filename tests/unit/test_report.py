"""report.html: inert whatever the data holds, and no figure that its files do not hold."""

from __future__ import annotations

import html.parser
import json
import math
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil import charts, figures
from mulgil.errors import RunError
from mulgil.metrics.ece import Ece
from mulgil.report import write_report
from mulgil.visible import LONGEST, attribute, clip, visible

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import (  # noqa: E402
    PROVENANCE,
    SEVENTEEN,
    _scored,
    make_run,
    write_lines,
    write_object,
)

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
VOID = {"meta", "br", "img", "link", "input", "hr"}
ALLOWED = set(
    "html head meta title style body header main footer section aside h1 h2 h3 p span strong b i"
    " small dl dt dd div ul ol li figure figcaption table thead tbody tr th td pre code data"
    " svg path polyline circle rect text".split()
)


class Page(html.parser.HTMLParser):
    """What a browser would see: elements with their attributes, and each <data> with its text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.figures: list[tuple[dict[str, str], str]] = []
        self.body: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {key: value or "" for key, value in attrs}
        self.elements.append((tag, known))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "data":
            self.figures.append((known, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "data" in self._open:
            known, text = self.figures[-1]
            self.figures[-1] = (known, text + data)
        if "body" in self._open and data.strip():
            self.body.append(data.strip())

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.body))


def page(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "nsmc-full")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "petitions", SEVENTEEN, 600)


# ---------------------------------------------------------------- inert


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


def check_closed(shown: Page) -> None:
    """Nothing runs, nothing is loaded, and every element is one of the template's own."""
    for tag, attributes in shown.elements:
        assert tag in ALLOWED, tag
        for key, value in attributes.items():
            assert not key.startswith("on")
            assert key not in {"href", "src", "srcset", "action", "formaction", "xlink:href", "ping"}
            if key == "style":
                assert re.fullmatch(r"[\-a-z:.;\d]+", value), value
            if key == "class":
                assert re.fullmatch(r"[a-z0-9 \-]+", value), value


def test_policy_and_style_load_nothing(binary: Path) -> None:
    """RP-01: the policy forbids everything but the page's own style and font."""
    source = write_report(binary).read_text(encoding="utf-8")
    policy = next(a["content"] for t, a in Page(source).elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; font-src data:;")
    assert "<script" not in source.lower()
    style = source[source.index("<style>") : source.index("</style>")]
    assert "@import" not in style
    assert re.findall(r"url\((?!data:font/woff2;base64,d09GMg)", style) == []


@pytest.mark.parametrize(
    "odd",
    list("\u202e\u2066\u200b\u200d\u2060\ufeff\x1b\x00\x07\x7f\x85\xad\u2028\u3164\u115f\ue000\ufffd")
    + ["\U000e0041", "\ud800", "\udfff"],
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
    plain = "".join(c for c in unicodedata.normalize("NFC", text) if c.isalnum() and ord(c) < 0x1000)
    assert [c for c in plain if c not in str(visible(text))] == []


def test_unseen_characters_in_a_whole_page(tmp_path: Path) -> None:
    """RP-03: no raw control or bidi character is left anywhere in the file."""
    words = [f"말{chr(c)}{i}" for i, c in enumerate([0x202E, 0x200B, 0x1B, 0xFEFF, 0x2066] * 4)]
    source = write_report(with_everywhere(tmp_path / "run", words)).read_text(encoding="utf-8")
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", source) == []


# ---------------------------------------------------------------- Hangul


def test_decomposed_hangul_is_shown_composed() -> None:
    """RP-06: NFD is drawn by the syllables of the embedded font."""
    assert visible(unicodedata.normalize("NFD", "됬어요 뷁")) == "됬어요 뷁"


def test_old_hangul_is_shown_as_letters() -> None:
    """RP-06: letters that every Korean font has, the code points in the tooltip."""
    assert visible("ᄒᆞᆫ글") == '<span class="jamo" title="U+1112 U+119E U+11AB">ㅎㆍㄴ</span>글'
    assert "ㆁ</span>" in visible("\u1100\u1161\u11f0")
    assert "[U+A960]" in visible("\ua960")


def test_font_has_every_syllable_under_its_own_name(binary: Path) -> None:
    """RP-06 and the font's licence: all syllables, no reserved name, the copyright kept."""
    pytest.importorskip("brotli", reason="reading woff2 needs brotli")
    ttlib = pytest.importorskip("fontTools.ttLib", reason="reading a font needs fonttools")
    folder = Path(figures.__file__).parent / "assets"
    font = ttlib.TTFont(folder / "mulgil-sans-kr.woff2")
    wanted = {*range(0x20, 0x7F), *range(0xAC00, 0xD7A4), *range(0x3131, 0x318F), *map(ord, "–·…→“”")}
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


# ---------------------------------------------------------------- figures


def stored(run: Path, file: str) -> Any:
    text = (run / file).read_text(encoding="utf-8")
    if file.endswith(".jsonl"):
        return {str(i): json.loads(line) for i, line in enumerate(text.splitlines())}
    return json.loads(text)


def at(run: Path, place: str) -> float:
    """Follow `file#/key/key` (JSON pointer) in the run's files."""
    file, _, pointer = place.partition("#/")
    value = stored(run, file)
    for key in pointer.split("/"):
        value = value[key.replace("~1", "/").replace("~0", "~")]
    return value


def rounded(text: str) -> tuple[float, float]:
    """Return the number that a figure shows and half of its last place."""
    number = text.replace(",", "").removesuffix(" M").removesuffix(" s").removesuffix("%")
    mantissa, _, power = number.partition("e")
    decimals = len(mantissa.partition(".")[2])
    unit = 1e6 if text.endswith(" M") else 10 ** int(power or 0)
    return float(number) * (1e6 if text.endswith(" M") else 1), 0.5000001 * unit * 10**-decimals


@pytest.mark.parametrize("kind", ["binary", "many"])
def test_every_figure_comes_from_the_files(kind: str, request: pytest.FixtureRequest) -> None:
    """RP-04: exact value at the stated place, and what is shown is that value rounded."""
    run = request.getfixturevalue(kind)
    cited = [(a, text) for a, text in page(run).figures if "data-at" in a]
    assert len(cited) > 60
    for attributes, text in cited:
        value = float(attributes["value"])
        assert value == at(run, attributes["data-at"]), attributes
        if "min" in text:
            assert text == "4 min 12 s"
            assert value == 252.4
            continue
        shown, slack = rounded(text)
        # A share may be shown as a percentage, with or without the sign.
        fits = [abs(shown - value) <= slack, abs(shown - 100 * value) <= slack]
        assert any(fits), (attributes, text)
        if text.endswith("%"):
            assert fits[1], (attributes, text)


def test_verdict_says_the_stored_figures(binary: Path) -> None:
    """RP-04: the first sentence, word for word."""
    metrics = stored(binary, "result.json")["metrics"]
    accuracy, f1 = metrics["accuracy"]["accuracy"], metrics["macro-f1"]["macro-f1"]
    text = re.sub(r"\s+([,.)%])", r"\1", page(binary).text)
    assert (
        f"{accuracy['value']:.1%} of 400 test rows right"
        f" (95% interval {100 * accuracy['low']:.1f} – {100 * accuracy['high']:.1f}),"
        f" macro-F1 {f1['value']:.3f}, trained on 12,800 rows in 4 min 12 s."
    ) in text
    assert "11 test rows also stand in other parts" in text


def test_rows_are_called_unseen_only_when_they_are(tmp_path: Path) -> None:
    """The sentence depends on the overlap that was counted."""
    run = make_run(tmp_path / "clean", rows=40)
    result = stored(run, "result.json")
    result["overlap"] = {"train-test exact": 0}
    write_object(run / "result.json", result)
    text = page(run).text
    assert "unseen rows right" in text
    assert "figures may flatter" not in text


@pytest.mark.parametrize("multi", [False, True])
def test_calibration_error_agrees_with_the_metric(multi: bool, tmp_path: Path) -> None:
    """RP-04: the bins drawn from predictions.jsonl give the metric's own figure."""
    run = make_run(tmp_path / "run", ("가", "나", "다"), 300, multi_label=multi)
    rows = list(stored(run, "predictions.jsonl").values())
    expected = Ece().compute(_scored(("가", "나", "다"), rows))["ece"]
    shown = next(a for a, _ in page(run).figures if a.get("data-of") == "ece")
    assert float(shown["value"]) == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(at(run, "result.json#/metrics/ece/ece/value"), abs=1e-12)


def test_files_of_different_runs_are_noticed(tmp_path: Path) -> None:
    """RP-04: predictions that do not belong to the result are said, not drawn silently."""
    run = make_run(tmp_path / "run", rows=200)
    result = stored(run, "result.json")
    result["metrics"]["ece"]["ece"]["value"] += 0.05
    write_object(run / "result.json", result)
    assert "gives a calibration error of" in page(run).text
    lines = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (run / "predictions.jsonl").write_text("".join(lines[:150]), encoding="utf-8")
    assert "has 150 rows, but result.json speaks of 200" in page(run).text


def test_worst_mistakes_are_the_surest(binary: Path) -> None:
    """The list is that of a plain sort over all wrong rows."""
    rows = stored(binary, "predictions.jsonl").values()
    wrong = [r for r in rows if r["gold"] != r["predicted"]]
    wrong.sort(key=lambda r: -r["probabilities"][r["predicted"]])
    shown = [
        float(a["value"])
        for a, _ in page(binary).figures
        if a.get("data-of", "").startswith("confidence of line")
    ]
    assert shown == [r["probabilities"][r["predicted"]] for r in wrong[:20]]


def test_confusion_matrix_is_complete(many: Path) -> None:
    """RP-04: 17 x 17 cells in the order of the labels, with the stored counts."""
    cells = [a["data-at"] for a, _ in page(many).figures if "/confusion/" in a.get("data-at", "")]
    expected = [
        f"result.json#/metrics/confusion/{gold}→{said}/value"
        for gold in SEVENTEEN
        for said in SEVENTEEN
    ]
    assert cells == expected


def test_many_labels_get_a_list_of_confusions(tmp_path: Path) -> None:
    """Above 20 labels a matrix cannot be read; the commonest wrong pairs can."""
    run = make_run(tmp_path / "run", tuple(f"라벨{i}" for i in range(25)), 300)
    shown = page(run)
    assert "Commonest confusions" in shown.text
    counts = [
        float(a["value"]) for a, _ in shown.figures if "/confusion/" in a.get("data-at", "")
    ]
    assert 0 < len(counts) <= 20
    assert counts == sorted(counts, reverse=True)


# ---------------------------------------------------------------- runs that went otherwise


def test_unfinished_run_is_said_first(tmp_path: Path) -> None:
    """RP-05: the first words of the page, its title, and how to go on."""
    run = make_run(tmp_path / "run", finished=False)
    shown = page(run)
    assert shown.body[0] == "Unfinished run."
    assert "The journal ends at step 1,200 with a loss of" in shown.text
    assert "--resume" in shown.text
    assert "mulgil evaluate" not in shown.text
    assert "<title>Unfinished: run" in (run / "report.html").read_text(encoding="utf-8")


def test_diverged_run_is_said_first(tmp_path: Path) -> None:
    """RP-05: a loss that is no longer a number is named with its step."""
    run = make_run(tmp_path / "run", finished=False)
    with (run / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": "step", "step": 1210, "loss": math.nan}) + "\n")
    text = page(run).text
    assert re.search(r"stopped being a number at step 1,210\s?: the training diverged", text)


def test_broken_result_is_said_first(tmp_path: Path) -> None:
    """RP-05: half a result.json is no result."""
    run = make_run(tmp_path / "run")
    text = (run / "result.json").read_text(encoding="utf-8")
    (run / "result.json").write_text(text[: len(text) // 2], encoding="utf-8")
    shown = page(run)
    assert shown.body[0] == "Unfinished run."
    assert "result.json is not a JSON object and was left out." in shown.text


def test_finished_run_has_no_banner(binary: Path) -> None:
    assert "Unfinished" not in page(binary).text


def test_torn_last_line_is_ignored_and_others_are_said(tmp_path: Path) -> None:
    """RP-05: what a killed process leaves is not worth a word; a hole in the middle is."""
    run = make_run(tmp_path / "run", rows=50)
    journal = (run / "journal.jsonl").read_text(encoding="utf-8")
    (run / "journal.jsonl").write_text(journal + '{"kind": "step", "st', encoding="utf-8")
    assert "broken lines" not in page(run).text
    (run / "journal.jsonl").write_text('{"kind"\n[1]\n' + journal, encoding="utf-8")
    assert "journal.jsonl: 2 broken lines were left out." in page(run).text


def test_rows_without_an_answer_are_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", rows=5)
    rows = list(stored(run, "predictions.jsonl").values())
    bad: list[dict[str, Any]] = [{"id": "x"}, rows[0] | {"probabilities": {"부정": math.nan}}]
    bad += [rows[0] | {"gold": None}, rows[0] | {"predicted": "없음"}, rows[0] | {"probabilities": [1]}]
    write_lines(run / "predictions.jsonl", rows + bad)
    assert "predictions.jsonl: 5 rows lack an answer" in page(run).text


def test_nearly_empty_runs_have_a_page(tmp_path: Path) -> None:
    """RP-05: no file at all, no test rows, one label."""
    (tmp_path / "bare").mkdir()
    bare = page(tmp_path / "bare")
    assert bare.body[0] == "Unfinished run."
    assert "The journal has no training step." in bare.text
    empty = page(make_run(tmp_path / "empty", rows=0))
    assert "No test rows, so nothing was measured" in empty.text
    one = page(make_run(tmp_path / "one", ("하나",), 30))
    assert "F1" in one.text
    for shown in (bare, empty, one):
        check_closed(shown)


def test_solved_run_shows_its_figures_without_curves(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", rows=30)
    write_lines(run / "journal.jsonl", [{"kind": "solve", "seconds": 3.1, "regularisation": 0.5}])
    shown = page(run)
    assert "Solved at once, without steps." in shown.text
    assert ("journal.jsonl#/0/seconds", "3.1 s") in [(a.get("data-at"), t) for a, t in shown.figures]


def test_no_folder_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        write_report(tmp_path / "nothing")


def test_same_run_gives_the_same_bytes(binary: Path) -> None:
    first = write_report(binary).read_bytes()
    assert write_report(binary).read_bytes() == first
    assert len(first) < 700_000


# ---------------------------------------------------------------- what stays out


def test_person_and_machine_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RP-07: no home folder, host, user name or token, wherever the files have them."""
    home = tmp_path / "canary-home"
    monkeypatch.setenv("HOME", str(home))
    run = make_run(tmp_path / "run")
    result = stored(run, "result.json")
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
    assert "… 1,400 more characters" in re.sub("<[^>]+>", "", clip("가" * (LONGEST + 1400)))
    assert clip("가" * LONGEST) == "가" * LONGEST


# ---------------------------------------------------------------- charts


@pytest.mark.parametrize(
    ("least", "most"), [(0, 1), (0.8, 0.873), (0, 0), (5, 5), (-3, 7), (0, 1234567), (1e-6, 5e-5)]
)
def test_ticks_are_round_and_reach_around(least: float, most: float) -> None:
    marks = charts.ticks(least, most)
    assert 2 <= len(marks) <= 8
    assert marks[0] <= least
    assert marks[-1] >= most
    assert np.allclose(np.diff(marks), marks[1] - marks[0])


def test_thinning_keeps_spikes() -> None:
    points = [(float(i), 1.0) for i in range(10_000)]
    points[4321] = (4321.0, 99.0)
    kept = charts.thin(points)
    assert len(kept) <= charts.MOST_POINTS
    assert (4321.0, 99.0) in kept
    assert kept == sorted(kept)


def test_smoothing_is_the_centred_mean() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=200)
    means = charts.smooth([(float(i), float(v)) for i, v in enumerate(values)])
    assert means[100][1] == pytest.approx(values[95:106].mean())
    assert means[0][1] == pytest.approx(values[:6].mean())


def test_what_is_not_a_number_is_not_drawn() -> None:
    drawn = charts.lines([charts.Series("raw", [(1, math.nan), (2, math.inf), (3, 1.0)])], "loss")
    assert drawn is not None
    assert "nan" not in drawn
    assert "inf" not in drawn
    assert charts.lines([charts.Series("raw", [(1, math.nan)])], "loss") is None


def test_grid_figures_share_their_decimals() -> None:
    assert charts.labels([0.75, 0.8, 0.85], share=False) == ["0.75", "0.80", "0.85"]
    assert charts.labels([0, 500, 1000], share=False) == ["0", "500", "1,000"]
    assert charts.labels([0.25, 1], share=True) == ["25%", "100%"]

