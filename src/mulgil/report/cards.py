"""The key figures of a run: how each is called, counted and rounded, and what is good.

Chosen: perplexity has four digits and shares are percentages, so that a figure and its interval can
be told apart; a metric that is not known here is shown under its own name, with three decimals.
"""

from __future__ import annotations

from mulgil.report.figures import RESULT, Figures, Row

TITLES = {
    "accuracy": ("Accuracy", "정확도"),
    "macro-f1": ("Macro-F1", "라벨 평균"),
    "ece": ("ECE", "확신 오차"),
    "loss": ("Loss", "손실"),
    "perplexity": ("Perplexity", "혼란도"),
    "bits-per-byte": ("Bits a byte", "바이트당 비트"),
    "token-accuracy": ("Token accuracy", "토큰 정확도"),
}
"""What figures are called, in English and Korean."""
_GOOD = {
    "ece": "calibration error, 0 is honest",
    "loss": "nats a token, lower is better",
    "perplexity": "tokens it wavers between, lower is better; for one tokenizer only",
    "bits-per-byte": "of UTF-8, lower is better; compares tokenizers too",
    "masked-lm/bits-per-byte": "of the pieces asked for, lower is better; compares tokenizers"
    " roughly",
    "token-accuracy": "first guesses that are right, higher is better",
}
"""The unit of a figure, and which way is good; with a task before it, where that differs."""
_STYLES = {"accuracy": "percent", "token-accuracy": "percent", "perplexity": "digits"}
_APART = frozenset({"per-class", "confusion"})
"""Metrics that have a section of their own."""


def cards(fig: Figures) -> list[Row]:
    """Return the key figures: every metric but those that have a section of their own."""
    found = []
    task = fig.get(RESULT, "task")
    for metric in fig.keys(RESULT, "metrics"):
        for name in fig.keys(RESULT, "metrics", metric) if metric not in _APART else ():
            title, korean = TITLES.get(name, (name, ""))
            place = (RESULT, "metrics", metric, name)
            style = _STYLES.get(name, "score")
            reach = "bare" if style == "percent" else style
            found.append(
                {
                    "name": name,
                    "title": title,
                    "korean": korean,
                    "good": _GOOD.get(f"{task}/{name}") or _GOOD.get(name, ""),
                    "value": fig(style, *place, "value"),
                    "low": fig(reach, *place, "low"),
                    "high": fig(reach, *place, "high"),
                    "reaches": fig.number(*place, "low") is not None,
                }
            )
    return found
