"""The plan, the data check and a run's figures as lines for people."""

from __future__ import annotations

from typing import Any

from mulgil import result


def rows(found: dict[str, Any]) -> list[str]:
    """Return the data check (`inspect.report`) as lines."""
    counts = found["rows"]
    shown = ["rows       " + ", ".join(f"{name} {count:,}" for name, count in counts.items())]
    shown += [f"           {note}" for note in (*found["notes"], *found.get("tokenizer_notes", ()))]
    labels = found.get("labels", {}).get("train", {})
    whole = sum(labels.values())
    for label, count in labels.items():
        share = count / max(whole, 1)
        shown.append(f"label      {label}: {count:,} ({share:.1%})")
    for name, values in found.get("lengths", {}).items():
        if values:
            tokens = f", {values['tokens']:,} tokens in all" if "tokens" in values else ""
            shown.append(
                f"lengths    {name}: median {values['median']:g}, 95% {values['p95']:g},"
                f" longest {values['longest']:g}; truncated {values['truncated_share']:.2%},"
                f" unknown tokens {values['unknown_share']:.3%}{tokens}"
            )
    if "duplicates" in found:
        repeats = ", ".join(f"{count:,} in {name}" for name, count in found["duplicates"].items())
        shown.append(
            f"repeats    {repeats}; {found['conflicts']:,} train texts with several labels"
        )
        leaks = ", ".join(f"{name} {count:,}" for name, count in found["overlap"].items())
        shown.append(f"overlap    {leaks} (equal after NFC, spaces folded)")
    if found["odd"]:
        shown.append("odd        " + ", ".join(f"{n}: {c:,} rows" for n, c in found["odd"].items()))
    shown.append(f"rejected   {found['rejected']['count']:,} rows")
    shown += [f"           {line}" for line in found["rejected"]["first"]]
    return shown


def plan(title: str, found: dict[str, Any]) -> list[str]:
    """Return the plan of a recipe (`plan.plan`) as lines."""
    work = found["plan"]
    steps = f"{work['steps']:,} steps" if work["steps"] else "solved at once"
    steps = "rows are asked" if "prompt" in work else steps
    time = "not measured, since asking may cost" if work["seconds"] is None else ""
    time = time or f"about {_span(work['seconds'])}"
    return [
        f"plan of {title}",
        *rows(found),
        *_prompt(work.get("prompt")),
        f"work       {steps}, {time}, {work['precision']}",
        f"memory     about {work['memory_gb']:g} GB ({work['free_memory_gb']:g} GB are free)",
    ]


def _prompt(told: dict[str, Any] | None) -> list[str]:
    """Return what asking in prompts will read, as lines."""
    if told is None:
        return []
    shared, each, asked, unit = (told[name] for name in ("shared", "question", "asked", "unit"))
    whole = round(asked * (shared + each))
    return [
        f"prompt     {shared:,} {unit} before a question, {each:,.1f} in one on average",
        f"asked      {asked:,} questions, {whole:,} {unit} if none are shared",
    ]


def figures(found: dict[str, Any]) -> list[str]:
    """Return what `api.evaluate` found as lines."""
    if not found["n"]:
        return ["no test rows, so no figures"]
    shown = ["", f"test rows  {found['n']:,}  ({found['interval']})"]
    metrics = {name: values for name, values in found["metrics"].items() if name != "confusion"}
    for values in metrics.values():
        plain = {name: value for name, value in values.items() if ":" not in name}
        shown += [f"{name:<10} {_figure(value)}" for name, value in plain.items()]
    each = metrics.get("per-class") or metrics.get("per-entity") or {}
    for label in dict.fromkeys(name.partition(":")[2] for name in each):
        parts = [f"{name} {_figure(each[f'{name}:{label}'])}" for name in ("precision", "recall")]
        rows = f"rows {each[f'support:{label}']['value']:,.0f}"
        shown += [label, "           " + "  ".join([*parts, rows])]
    shown += [f"note       {line}" for line in result.spoken(found)]
    leaks = found.get("overlap", {}).get("test in train", 0)
    if leaks:
        shown.append(f"note       {leaks:,} test rows have a text that training has seen too")
    if found.get("rejected", {}).get("count"):
        shown.append(f"rejected   {found['rejected']['count']:,} rows")
    return shown


def _figure(value: dict[str, float]) -> str:
    return f"{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
