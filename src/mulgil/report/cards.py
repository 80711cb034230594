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
    "auc": ("AUC", "곡선 아래 면적"),
    "loss": ("Loss", "손실"),
    "perplexity": ("Perplexity", "혼란도"),
    "bits-per-byte": ("Bits a byte", "바이트당 비트"),
    "token-accuracy": ("Token accuracy", "토큰 정확도"),
    "matthews": ("Matthews", "매슈스 상관"),
    "pearson": ("Pearson", "피어슨 상관"),
    "spearman": ("Spearman", "순위 상관"),
    "rmse": ("RMSE", "평균 제곱근 오차"),
    "entity-f1": ("Entity F1", "개체 F1"),
    "entity-precision": ("Precision", "정밀도"),
    "entity-recall": ("Recall", "재현율"),
    "entity-macro-f1": ("Macro-F1", "종류 평균"),
    "character-f1": ("Character F1", "글자 F1"),
    "korquad-f1": ("KorQuAD F1", "글자 F1"),
    "korquad-em": ("KorQuAD exact", "정답 일치"),
    "squad-f1": ("SQuAD F1", "어절 F1"),
    "squad-em": ("SQuAD exact", "정답 일치"),
    "exact-match": ("Exact match", "정답 일치"),
    "rouge-l": ("ROUGE-L", "어절"),
    "rouge-1": ("ROUGE-1", "어절"),
    "rouge-2": ("ROUGE-2", "어절"),
    "rouge-l-character": ("ROUGE-L", "글자"),
    "rouge-1-character": ("ROUGE-1", "글자"),
    "rouge-2-character": ("ROUGE-2", "글자"),
    "bleu": ("BLEU", "13a"),
    "bleu-character": ("BLEU", "글자"),
    "chrf": ("chrF++", "글자와 어절"),
    "distinct-1": ("Distinct-1", "서로 다른 어절"),
    "distinct-2": ("Distinct-2", "서로 다른 어절 쌍"),
}
"""What figures are called, in English and Korean."""
_GOOD = {
    "ece": "calibration error, 0 is honest",
    "auc": "how often a label's row ranks above another's; 0.5 is chance",
    "loss": "nats a token, lower is better",
    "perplexity": "tokens it wavers between, lower is better; for one tokenizer only",
    "bits-per-byte": "of UTF-8, lower is better; compares tokenizers too",
    "masked-lm/bits-per-byte": "of the pieces asked for, lower is better; compares tokenizers"
    " roughly",
    "token-accuracy": "first guesses that are right, higher is better",
    "matthews": "1 is perfect, 0 is chance",
    "pearson": "1 when answers lie on a line of the gold ratings",
    "spearman": "1 when they are in the same order",
    "rmse": "how far ratings are off, 0 is perfect",
    "entity-f1": "borders and kind both right",
    "entity-precision": "of what was found",
    "entity-recall": "of what was to be found",
    "entity-macro-f1": "each kind counts alike",
    "character-f1": "as KLUE counts: mean over B and I of each kind",
    "korquad-f1": "characters shared with a right answer",
    "korquad-em": "the whole answer, but for punctuation",
    "squad-f1": "words shared: a wrong particle is a wrong word",
    "squad-em": "as the English script counts",
    "rouge-l": "order of words kept, 1 is the right text",
    "chrf": "runs of characters and words shared, 1 is the right text",
    "bleu": "runs of words shared, 1 is the right text",
    "distinct-1": "different words for each word written",
}
"""The unit of a figure, and which way is good; with a task before it, where that differs."""
_SHARES = ("accuracy", "token-accuracy", "korquad-em", "squad-em", "exact-match")
_STYLES = {**dict.fromkeys(_SHARES, "percent"), "perplexity": "digits"}
_APART = frozenset({"per-class", "confusion", "per-entity"})
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
