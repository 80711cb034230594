"""The plan, the data check and a run's figures as lines for people."""

from __future__ import annotations

from typing import Any

from mulgil import result
from mulgil.classes import MANY


def rows(found: dict[str, Any]) -> list[str]:
    """Return the data check (`inspect.report`) as lines."""
    counts = found["rows"]
    shown = ["rows       " + ", ".join(f"{name} {count:,}" for name, count in counts.items())]
    shown += [f"           {note}" for note in (*found["notes"], *found.get("tokenizer_notes", ()))]
    labels = found.get("labels", {}).get("train", {})
    total = sum(labels.values())
    for label, count in list(labels.items())[:MANY]:
        share = count / max(total, 1)
        shown.append(f"label      {label}: {count:,} ({share:.1%})")
    if len(labels) > MANY:
        shown.append(f"           {len(labels) - MANY:,} more labels")
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
        places = dict(found["places"])
        shown += _places("several labels", places.pop("conflicts"))
        whole = {name: count for name, count in found["overlap"].items() if not _field(name)}
        leaks = ", ".join(f"{name} {count:,}" for name, count in whole.items())
        shown.append(f"overlap    {leaks} (equal after NFC, spaces folded)")
        parts = {name: count for name, count in found["overlap"].items() if _field(name) and count}
        if parts:
            shown.append("           " + ", ".join(f"{n} {c:,}" for n, c in parts.items()))
        for name, known in places.items():
            shown += _places(name, known)
    if found["odd"]:
        shown.append("odd        " + ", ".join(f"{n}: {c:,} rows" for n, c in found["odd"].items()))
    shown.append(f"rejected   {found['rejected']['count']:,} rows")
    shown += [f"           {line}" for line in found["rejected"]["places"]]
    return shown


def _field(name: str) -> str:
    """Return what rows of two parts share: "context" of "test context in train", "" if all."""
    words = name.split()
    return words[1] if len(words) == 4 else ""


def _places(what: str, places: list[str]) -> list[str]:
    """Return where the first of some faults are, as a line if there are any."""
    return [f"           {what}: such as {', '.join(places)}"] if places else []


def plan(title: str, found: dict[str, Any]) -> list[str]:
    """Return the plan of a recipe (`plan.plan`) as lines."""
    work = found["plan"]
    rate = f" at learning rate {work['learning_rate']:g}" if "learning_rate" in work else ""
    steps = f"{work['steps']:,} steps{rate}" if work["steps"] else "solved at once"
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
        *_cost(told.get("cost")),
    ]


def _cost(cost: float | None) -> list[str]:
    """Return what asking may cost, as lines; none without prices."""
    if cost is None:
        return []
    labels = "times the labels where the server repeats prompts"
    return [f"cost       about {cost:,.4g} if a character is a token; {labels}"]


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
    shown += [
        f"note       {count:,} test rows have a {_field(name)} that training has seen too"
        for name, count in found.get("overlap", {}).items()
        if count and _field(name) and name.startswith("test ") and name.endswith(" in train")
    ]
    shown += [f"note       {note}" for note in found.get("notes", ())]
    if found.get("rejected", {}).get("count"):
        shown.append(f"rejected   {found['rejected']['count']:,} rows")
        shown += [f"           {line}" for line in found["rejected"]["places"]]
    return shown


def _figure(value: dict[str, float]) -> str:
    reach = f" [{value['low']:.4f}, {value['high']:.4f}]" if "low" in value else ""
    return f"{value['value']:.4f}{reach}"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
