"""report.html in a real browser: nothing runs, nothing is fetched, Hangul is drawn, it fits."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mulgil.report.page import write_report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import SEVENTEEN, make_language_run, make_run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ATTACKS = (
    "<script>document.title='ran'</script>",
    "<img src=x onerror=\"document.title='ran'\">",
    "<img src='https://evil.invalid/p.png'>",
    "<svg onload=\"document.title='ran'\"></svg>",
    "</style><link rel=stylesheet href='https://evil.invalid/x.css'>",
    "<iframe srcdoc=\"<script>parent.document.title='ran'</script>\"></iframe>",
    "<meta http-equiv=refresh content='0;url=https://evil.invalid/'>",
    "\u202e뒤집힌 글\u202c <b onmouseover=alert(1)>굵게</b>",
)
HANGUL = (
    "됬어요 뷁 꿹 힣 ㅋㅋ ㅠㅠ",
    unicodedata.normalize("NFD", "분해된 한글도 그려진다"),
    "나랏말ᄊᆞ미 ᄒᆞᆫ글",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"],
            )
        except sync_api.Error as error:
            pytest.skip(f"chromium does not start here: {str(error).splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("runs") / "nsmc-full", texts=ATTACKS + HANGUL)
    return write_report(run)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("runs") / "petitions", SEVENTEEN, 300)
    return write_report(run)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_language_run(tmp_path_factory.mktemp("runs") / "mini", texts=ATTACKS[4:] + HANGUL)
    return write_report(run)


def opened(browser: Any, report: Path, **settings: Any) -> Any:
    page = browser.new_context(**settings).new_page()
    page.goto(report.as_uri())
    page.evaluate("() => document.fonts.ready.then(() => null)")
    return page


@pytest.mark.parametrize("bypass", [False, True])
def test_nothing_runs_and_nothing_is_fetched(bypass: bool, browser: Any, report: Path) -> None:
    """RP-01: with the page's own policy, and without it: the markup itself is inert."""
    page = browser.new_context(bypass_csp=bypass).new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
    page.goto(report.as_uri(), wait_until="networkidle")
    assert [url for url in asked if not url.startswith("data:font/woff2")] == [report.as_uri()]
    assert said == []
    assert page.title() == "nsmc-full · Mulgil"
    assert page.evaluate("() => document.scripts.length + document.images.length") == 0
    assert "<script>document.title='ran'</script>" in page.inner_text("body")


def test_hangul_is_drawn_by_the_embedded_font(browser: Any, report: Path) -> None:
    """RP-06: modern, decomposed and old Hangul; no box for a missing glyph."""
    page = opened(browser, report)
    faces = page.evaluate("() => [...document.fonts].map(f => [f.family, f.status])")
    assert faces == [["Mulgil Sans KR", "loaded"]] or faces == [['"Mulgil Sans KR"', "loaded"]]
    devtools = page.context.new_cdp_session(page)
    devtools.send("DOM.enable")
    devtools.send("CSS.enable")
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    found = devtools.send("DOM.querySelectorAll", {"nodeId": root, "selector": ".mistakes .text"})
    nodes = found["nodeIds"][len(ATTACKS) : len(ATTACKS) + len(HANGUL)]
    assert len(nodes) == len(HANGUL)
    for node in nodes:
        used = devtools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        assert [(f["familyName"], f["isCustomFont"]) for f in used] == [("Mulgil Sans KR", True)]


def test_language_page_is_inert_and_drawn(browser: Any, pretrained: Path) -> None:
    """RP-01, RP-06: hostile texts among the hardest run nothing; Hangul has the page's own font."""
    page = browser.new_context(bypass_csp=True).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pretrained.as_uri(), wait_until="networkidle")
    assert [url for url in asked if not url.startswith("data:font/woff2")] == [pretrained.as_uri()]
    assert page.title() == "mini · Mulgil"
    devtools = page.context.new_cdp_session(page)
    devtools.send("DOM.enable")
    devtools.send("CSS.enable")
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    selector = {"nodeId": root, "selector": ".hard .text, .easy .text"}
    nodes = devtools.send("DOM.querySelectorAll", selector)["nodeIds"]
    shown = page.inner_text("main")
    assert "됬어요 뷁 꿹 힣" in shown
    assert "<iframe srcdoc=" in shown
    assert len(nodes) == 16
    for node in nodes:
        used = devtools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        assert "Mulgil Sans KR" in {font["familyName"] for font in used if font["isCustomFont"]}


def test_glyphs_differ_from_a_missing_one(browser: Any, report: Path) -> None:
    """RP-06: drawn on a canvas, syllables differ from each other and from the missing glyph."""
    drawn = opened(browser, report).evaluate(
        """() => {
            const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
            return ["가", "뷁", "ㆍ", "\\u{10FFFD}"].map(c => {
                pen.clearRect(0, 0, 300, 150);
                pen.font = '60px "Mulgil Sans KR"';
                pen.fillText(c, 20, 100);
                return canvas.toDataURL();
            });
        }"""
    )
    assert len(set(drawn)) == 4


def channel(value: float) -> float:
    value /= 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def luminance(colour: list[float]) -> float:
    red, green, blue = (channel(value) for value in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


COLOURS = """(selectors) => selectors.map(s => {
    const element = document.querySelector(s);
    return getComputedStyle(element).color.match(/[\\d.]+/g).map(Number);
}).concat([getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number)])"""
READ = ["body", ".soft", ".ko", ".verdict strong", ".aware li", ".sure", ".line .right b", "small"]


def test_light_and_dark_are_both_legible(browser: Any, report: Path) -> None:
    """The two schemes differ, and every colour of words has the contrast of WCAG AA."""
    pictures = []
    for scheme, lightest in (("light", 1.0), ("dark", 0.02)):
        page = opened(browser, report, color_scheme=scheme)
        *words, paper = page.evaluate(COLOURS, READ)
        ground = luminance(paper)
        assert (ground > 0.8) if scheme == "light" else (ground < lightest)
        for selector, colour in zip(READ, words, strict=True):
            high, low = sorted((luminance(colour), ground), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, selector)
        pictures.append(page.screenshot())
    assert pictures[0] != pictures[1]


def test_print_is_on_white(browser: Any, report: Path) -> None:
    """Printed from a dark desktop, the paper stays white and the words dark."""
    page = opened(browser, report, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    words, paper = page.evaluate(COLOURS, ["body"])
    assert paper == [255, 255, 255]
    assert luminance(words) < 0.1


@pytest.mark.parametrize("which", ["report", "wide", "pretrained"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_page_is_no_wider_than_the_screen(
    which: str, width: int, browser: Any, request: pytest.FixtureRequest
) -> None:
    """Wide tables scroll inside their own frame."""
    page = opened(browser, request.getfixturevalue(which), viewport={"width": width, "height": 800})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
