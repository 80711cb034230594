"""A report as a browser sees it: elements, attributes, figures and words; for tests."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

from mulgil.report.page import write_report

VOID = {"meta", "br", "img", "link", "input", "hr"}
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section"),
    *("aside", "h1", "h2", "h3", "p", "span", "strong", "b", "i", "small", "dl", "dt", "dd"),
    *("div", "ul", "ol", "li", "figure", "figcaption", "table", "thead", "tbody", "tr", "th"),
    *("td", "pre", "code", "data", "svg", "path", "polyline", "circle", "rect", "text"),
}
"""Elements that the template has."""


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


def check_closed(shown: Page) -> None:
    """Nothing runs, nothing is loaded, and every element is one of the template's own."""
    for tag, attributes in shown.elements:
        assert tag in ALLOWED, tag
        for key, value in attributes.items():
            assert not key.startswith("on")
            assert key not in {
                "href",
                "src",
                "srcset",
                "action",
                "formaction",
                "xlink:href",
                "ping",
            }
            if key == "style":
                assert re.fullmatch(r"[\-a-z:.;\d]+", value), value
            if key == "class":
                assert re.fullmatch(r"[a-z0-9 \-]+", value), value


def stored(run: Path, file: str) -> Any:
    """Return what a file of the run holds; lines by their number."""
    text = (run / file).read_text(encoding="utf-8")
    if file.endswith(".jsonl"):
        return {str(i): json.loads(line) for i, line in enumerate(text.splitlines())}
    return json.loads(text)


def at(run: Path, place: str, held: dict[str, Any]) -> float:
    """Follow `file#/key/key` (JSON pointer) in the run's files; `held` keeps what was read."""
    file, _, pointer = place.partition("#/")
    if file not in held:
        held[file] = stored(run, file)
    value = held[file]
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


def check_figures(run: Path) -> int:
    """Check that each cited figure is that of the file, and shown rounded; return how many."""
    cited = [(a, text) for a, text in page(run).figures if "data-at" in a]
    held: dict[str, Any] = {}
    for attributes, text in cited:
        value = float(attributes["value"])
        assert value == at(run, attributes["data-at"], held), attributes
        if "min" in text:
            minutes, seconds = re.findall(r"\d+", text)
            assert 60 * int(minutes) + int(seconds) == int(value)
            continue
        shown, slack = rounded(text)
        # A share may be shown as a percentage, with or without the sign.
        fits = [abs(shown - value) <= slack, abs(shown - 100 * value) <= slack]
        assert any(fits), (attributes, text)
        if text.endswith("%"):
            assert fits[1], (attributes, text)
    return len(cited)
