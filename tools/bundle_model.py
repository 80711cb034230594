"""Make a bundled model of a finished pretraining run: float16 weights, tokenizer, model card.

    python tools/bundle_model.py NAME RUN [RUN ...]     writes src/mulgil/pretrained/NAME

Of several runs each one went on from the one before it; the last one's weights are bundled, with
the recipe of the first, which says how large the model is.

Chosen: float16, which halves the files and moves no weight by more than 0.05%; checksums beside
them, which are checked at every opening. The card is a text with `$places` that are filled from
the run's own files, so that a figure in it cannot be another's. The dropout that downstream
training should use is set here: pretraining ran without.
"""

from __future__ import annotations

import argparse
import json
import string
import tomllib
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from mulgil import api
from mulgil.storage import commit_folder, verify_folder

HOME = Path(__file__).resolve().parent.parent
TARGET = HOME / "src" / "mulgil" / "pretrained"
CARDS = Path(__file__).resolve().parent / "cards"
LIMIT = 16 * 10**6
DROPOUT = {
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "gpt2": ("embd_pdrop", "attn_pdrop", "resid_pdrop"),
}


def main() -> None:
    """Make the bundle and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    source, target = arguments.runs[-1], TARGET / arguments.name
    verify_folder(source / "model")
    card = string.Template((CARDS / f"{arguments.name}.md").read_text(encoding="utf-8"))
    text = card.substitute(facts(arguments.runs))
    target.mkdir(parents=True, exist_ok=True)
    commit_folder(target / "model", lambda folder: fill(folder, source / "model"))
    for name, run in (("recipe.toml", arguments.runs[0]), ("schema.json", source)):
        (target / name).write_bytes((run / name).read_bytes())
    write(target / "result.json", told(arguments.runs))
    (target / "README.md").write_text(text, encoding="utf-8")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > LIMIT:
        raise SystemExit(f"{size:,} bytes; {LIMIT:,} at most")
    print(f"{target}: {size:,} bytes")


def fill(folder: Path, source: Path) -> None:
    """Write the files of the model."""
    weights = safetensors.torch.load_file(source / "model.safetensors")
    small = {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}
    worst = max(float((small[n].float() - w).abs().max()) for n, w in weights.items())
    if not all(torch.isfinite(tensor).all() for tensor in small.values()):
        raise SystemExit("a weight is too large for float16")
    print(f"largest move of a weight: {worst:.2g}")
    safetensors.torch.save_file(small, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float16"
    for key in DROPOUT[config["model_type"]]:
        config[key] = 0.1
    write(folder / "config.json", config)
    for path in sorted(source.glob("*.json")):
        if path.name not in {"config.json", "MANIFEST.json"}:
            values = json.loads(path.read_text(encoding="utf-8"))
            for key in ("is_local", "local_files_only"):  # of the machine, not of the tokenizer
                values.pop(key, None)
            text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
            (folder / path.name).write_text(text + "\n", encoding="utf-8")


def write(path: Path, values: Any) -> None:
    """Write JSON that people can read."""
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def told(runs: list[Path]) -> dict[str, Any]:
    """Return the last run's result, with the work of all of them."""
    found = [json.loads((run / "result.json").read_text(encoding="utf-8")) for run in runs]
    result: dict[str, Any] = found[-1] | {"name": found[0]["name"], "pretrained": None}
    for key in ("steps", "epochs", "seconds"):
        result["training"][key] = sum(one["training"][key] for one in found)
    return result


def looks(runs: list[Path]) -> list[dict[str, Any]]:
    """Return the looks at the validation texts, steps and epochs counted through all runs."""
    found, steps, epochs = [], 0, 0.0
    for run in runs:
        lines = (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        journal = [json.loads(line) for line in lines]
        own = [line for line in journal if line["kind"] == "valid"]
        found += [
            line | {"step": line["step"] + steps, "epoch": line["epoch"] + epochs} for line in own
        ]
        training = json.loads((run / "result.json").read_text(encoding="utf-8"))["training"]
        steps, epochs = steps + training["steps"], epochs + training["epochs"]
    return found


def facts(runs: list[Path]) -> dict[str, str]:
    """Return what the card's places are filled with."""
    run, result = runs[-1], told(runs)
    provenance = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    recipe = tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))
    training = result["training"]
    return {
        "parameters": f"{result['parameters']['total']:,}",
        "steps": f"{training['steps']:,}",
        "epochs": f"{training['epochs']:g}",
        "hours": f"{training['seconds'] / 3600:.2f}",
        "tokens_a_step": f"{recipe['loader']['tokens']:,}",
        "texts": f"{result['rows']['train']:,}",
        "held_out": f"{result['n']:,}",
        "precision": result["precision"],
        "machine": ", ".join(f"{k} {v}" for k, v in provenance["machine"].items()),
        "versions": ", ".join(f"{k} {v}" for k, v in provenance["versions"].items()),
        "checksum": provenance["data"]["train"],
        "figures": figures(result["metrics"]),
        "curve": curve(looks(runs)),
        "continuations": continuations(run) if result["task"] == "causal-lm" else "",
    }


def figures(metrics: dict[str, Any]) -> str:
    """Return the table of the held-out texts' figures."""
    rows = ["| figure | value | 95% interval |", "|---|---|---|"]
    for values in metrics.values():
        for name, one in values.items():
            rows.append(f"| {name} | {one['value']:.4f} | {one['low']:.4f} to {one['high']:.4f} |")
    return "\n".join(rows)


def curve(found: list[dict[str, Any]]) -> str:
    """Return the table of the looks at the validation texts."""
    rows = ["| epoch | step | loss | bits a byte | token accuracy |", "|---|---|---|---|---|"]
    rows += [
        f"| {at['epoch']:.2f} | {at['step']:,} | {at['loss']:.4f} | {at['bits-per-byte']:.4f}"
        f" | {at['token-accuracy']:.4f} |"
        for at in found
    ]
    return "\n".join(rows)


def continuations(run: Path, count: int = 20) -> str:
    """Return continuations of held-out texts' first two words, evenly spaced, none left out."""
    rows = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in rows]
    long = [text.split() for text in texts if len(text.split()) > 3]
    starts = [" ".join(words[:2]) for words in long[:: len(long) // count][:count]]
    answers = api.predict(run, starts, "task.max_new=40")
    shown = ["| beginning | continuation | ln p |", "|---|---|---|"]
    for start, answer in zip(starts, answers, strict=True):
        clean = answer["continuation"].replace("|", "\\|").replace("\n", " ")
        shown.append(f"| {start} | {clean} | {answer['log_probability']:.1f} |")
    return "\n".join(shown)


if __name__ == "__main__":
    main()
