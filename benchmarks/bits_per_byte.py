"""Bits a byte of causal language models on the same texts, all measured in one way.

    python benchmarks/bits_per_byte.py mulgil/mini-gpt runs/mine --text reviews.txt
    python benchmarks/bits_per_byte.py .cache/smollm2-135m --text ratings_test.txt --column document
    python benchmarks/bits_per_byte.py runs/mine --recipe nsmc --part test --rows 2000
    python benchmarks/bits_per_byte.py runs/mine --recipe mini.toml --part test --only petitions

A checkpoint is a run folder, any folder that transformers opens, or a name that the decoder's
setting `pretrained` takes. Each text is a document of its own, composed (NFC), read behind the
token that begins a text and nothing else; its nats over its bytes in UTF-8 are what tokenizers
share. The path is Mulgil's own: decoder, `cache.windows`, `evaluation.measure`.

Four figures a model, for how far it sees and whether it must guess that the text is over:

    window   windows of at most --tokens of the model's own tokens, each beginning anew, as the
             task causal-lm trains and scores; a window of coarser tokens holds more text
    whole    each document at once, up to --longest tokens or the model's own limit; what is longer
             goes on in another window, so that a model made for long texts is not handicapped
    + end    the token that ends a text counts among the nats (its bytes are none)

Intervals are bootstraps over documents. The models' differences from the first are drawn on the
same documents, so they are surer than the figures. "kept" says of how many texts decoding gives
the very text back: a tokenizer that drops characters has fewer to guess, and looks too good.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from mulgil import cache, evaluation, hangul, hardware, pipeline, recipe, registry, statistics
from mulgil.errors import DataError, MulgilError
from mulgil.examples import Example, PassageExample
from mulgil.flow import UNASKED, Array, Blanks, Schema
from mulgil.judged import Likelihood
from mulgil.loader import BatchLoader
from mulgil.metrics.bits_per_byte import BitsPerByte
from mulgil.models.decoder import Decoder
from mulgil.tasks.causal_lm import CausalLm

SCHEMA = Schema("passage", ())
RULES = "mulgil_tokenizer.json"


class Ends:
    """Stands between loader and network, and keeps what the tokens that end texts cost.

    Args:
        network: answers.
        asker: of the task.
        right: id of the token that ends a text; no text gives it.
        windows: how many there are.
    """

    def __init__(self, network: Any, asker: Any, right: int, windows: int) -> None:
        self.network, self.asker, self.right = network, asker, right
        self.nats_of = np.zeros(windows)
        self._rows: deque[Array] = deque()

    def ask(self, inputs: Any, rows: Array, draw: Any) -> Blanks:
        self._rows.append(rows)  # batches come to `nats` in the order in which they are made
        found: Blanks = self.asker(inputs, rows, draw)
        return found

    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        nats, right = self.network.nats(inputs)
        asked = inputs.targets != UNASKED  # [B, L]
        owners = np.repeat(self._rows.popleft(), asked.sum(1))
        last = inputs.targets[asked] == self.right
        np.add.at(self.nats_of, owners[last], nats[last])
        return nats, right


class Reader:
    """A checkpoint, ready to be measured.

    Args:
        name: as it was given.
        args: of the command line.
    """

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self.name, self.args = name, args
        folder = Path(name)
        if folder.is_dir():
            inner = folder / "model" if (folder / "recipe.toml").exists() else folder
            name = str(inner.resolve())
        self.model = Decoder(Decoder.Settings(pretrained=name))
        self.folder = self.model.source()
        assert self.folder is not None
        limit = self.model.longest()
        self.longest = args.longest if limit is None else min(limit, args.longest)
        self.task = CausalLm(CausalLm.Settings())
        trainer = recipe.TrainerSettings(precision=args.precision, device=args.device)
        self.device, self.precision = hardware.resolve(trainer, Decoder.kind)
        head = self.task.head(SCHEMA)
        tokenizer = self.tokenizer(self.longest)
        self.network: Any = self.model.build(tokenizer, head, self.precision, self.device, 0)

    def tokenizer(self, longest: int) -> Any:
        """Open the checkpoint's tokenizer by the plug-in that made it."""
        assert self.folder is not None
        rules = self.folder / RULES
        kind = json.loads(rules.read_text())["tokenizer"] if rules.exists() else Decoder.tokenizer
        plugin = registry.load("tokenizers", kind)
        return plugin.make(plugin.Settings(max_length=longest), self.folder, [], 0)

    def measure(self, rows: list[PassageExample]) -> dict[str, Any]:
        """Return `{"window": Likelihood, ...}` and what there is to say of the tokens."""
        found: dict[str, Likelihood] = {}
        about: dict[str, Any] = {"longest": self.longest, "precision": self.precision}
        before: Array | None = None
        for name, longest in (("window", self.args.tokens), ("whole", self.longest)):
            tokenizer = self.tokenizer(min(longest, self.longest))
            windows = cache.windows(rows, self.task, tokenizer, None)
            if before is None or not np.array_equal(before, windows.lengths):
                ended, endless = self._likelihoods(tokenizer, windows)
            found |= {f"{name} + end": ended, name: endless}
            before = windows.lengths
            about[f"windows, {name}"] = len(windows)
        pieces, ends = tokenizer.pieces(), tokenizer.ends()
        texts = [hangul.normalise(row.text) for row in rows]
        about |= {
            "begins": pieces[ends[0]],
            "ends": pieces[ends[1]],
            "bytes a token": float(endless.bytes.sum() / endless.tokens.sum()),
            "unknown": windows.unknown,
            "kept": float(np.mean([tokenizer.decode(tokenizer.ids(t)) == t for t in texts])),
            "weights": self.network.parameters_total,
        }
        return {"about": about, "figures": found}

    def _likelihoods(self, tokenizer: Any, windows: Any) -> tuple[Likelihood, Likelihood]:
        """Return the documents' likelihoods, with the token that ends them and without."""
        right = tokenizer.ends()[1]
        ends = Ends(self.network, self.task.asker(tokenizer), right, len(windows))
        loader = BatchLoader(windows, None, recipe.LoaderSettings(), 0, ends.ask)
        measured = evaluation.measure(ends, loader, self.task, SCHEMA)  # type: ignore[arg-type]
        evaluation.check_numbers(measured)
        last = evaluation.gather(ends.nats_of[:, None], windows)[:, 0]
        nats, tokens, correct, size = measured.T
        return (
            Likelihood(nats, tokens, correct, size),
            Likelihood(nats - last, tokens - 1, correct, size),
        )


def read(args: argparse.Namespace) -> list[PassageExample]:
    """Return the texts, as many as are wanted, drawn by the seed.

    Raises:
        DataError: there are none.
    """
    rows: list[Example] = []
    if args.recipe:
        chosen = recipe.read(args.recipe)
        parts, _ = pipeline.load_splits(chosen, chosen.data.make(), chosen.task.make())
        rows += dict(parts.items())[args.part]
    for file in args.text:
        rows += _texts(Path(file).resolve(), args.column)
    found: list[PassageExample] = []
    for row in rows:
        text = str(getattr(row, "text", ""))
        if args.only in row.id and text.strip():
            found.append(PassageExample(row.id, text))
    if not found:
        raise DataError(f'no text is left; --only "{args.only}" is looked for in ids of rows')
    if args.rows and args.rows < len(found):
        drawn = np.random.default_rng(args.seed).choice(len(found), args.rows, replace=False)
        found = [found[i] for i in sorted(drawn)]
    return found


def _texts(path: Path, column: str) -> Sequence[Example]:
    """Return the texts of a file: its passages, or the cells of a column."""
    if column and path.name.removesuffix(".gz").endswith(".txt"):  # a table in disguise: tabs
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8", newline="\n") as lines:
            head, *cells = (line.rstrip("\r\n").split("\t") for line in lines)
        if column not in head:
            raise DataError(f'{path.name}: no column is called "{column}"')
        at = head.index(column)
        return [PassageExample(f"{path.name}:{n}", row[at]) for n, row in enumerate(cells, 2)]
    given = ["data.name=files", f"data.test={path}", f"data.text={column}", "data.label=-"]
    if not column:
        given = ["data.name=corpus", f"data.paths={json.dumps([str(path)])}"]
        given += ["data.valid_share=0", "data.test_share=0", "data.duplicates=keep"]
    parts = recipe.section("data", given).make().read({}).rows
    return next(part for part in parts.values() if len(part))


def intervals(models: dict[str, dict[str, Any]], seed: int) -> dict[str, dict[str, Any]]:
    """Return `{column: {model: interval, "model - first": interval}}`, drawn on the same rows."""
    out: dict[str, dict[str, Any]] = {}
    first, *others = models
    for column, likelihood in models[first]["figures"].items():

        def compute(rows: Array, column: str = column) -> dict[str, float]:
            found = {
                name: BitsPerByte().compute(made["figures"][column].take(rows))["bits-per-byte"]
                for name, made in models.items()
            }
            return found | {f"{name} - {first}": found[name] - found[first] for name in others}

        drawn = statistics.bootstrap(compute, len(likelihood), seed=seed)
        out[column] = {name: interval.as_dict() for name, interval in drawn.items()}
    return out


def run(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure every checkpoint, and say what was found."""
    rows = read(args)
    size = sum(len(hangul.normalise(row.text).encode()) for row in rows)
    say(f"{len(rows):,} documents, {size:,} bytes; {rows[0].id} to {rows[-1].id}")
    models: dict[str, dict[str, Any]] = {}
    for name in args.checkpoints:
        models[name] = Reader(name, args).measure(rows)
        if models[name]["figures"]["whole"].bytes.sum() != size:
            raise DataError(f"{name}: its tokenizer makes nothing of some texts; leave it out")
        about = models[name]["about"]
        say(f"{name}: " + ", ".join(f"{k} {_short(v)}" for k, v in about.items()))
    found = intervals(models, args.seed)
    for column, figures in found.items():
        say(f"\n{column:14} bits a byte, {statistics.describe(len(rows), args.seed)}")
        for name, one in figures.items():
            say(f"  {one['value']:8.4f} [{one['low']:.4f}, {one['high']:.4f}]  {name}")
    about = {name: made["about"] for name, made in models.items()}
    nats = {
        name: {column: float(one.nats.sum()) for column, one in made["figures"].items()}
        for name, made in models.items()
    }
    return {"documents": len(rows), "bytes": size, "models": about, "nats": nats} | found


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else repr(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", nargs="+", help="run folders, checkpoints or names")
    parser.add_argument("--text", nargs="+", default=[], help="files, a text a line or a cell")
    parser.add_argument("--column", default="", help="column of the texts, where files have some")
    parser.add_argument("--recipe", help="take the texts from a part of this recipe's data")
    parser.add_argument("--part", choices=["train", "valid", "test"], default="test")
    parser.add_argument("--only", default="", help="take rows alone whose id holds this")
    parser.add_argument("--rows", type=int, default=0, help="draw so many texts; 0 takes all")
    parser.add_argument("--seed", type=int, default=7, help="of the draw and the intervals")
    parser.add_argument("--tokens", type=int, default=128, help="of a window, beginning included")
    parser.add_argument("--longest", type=int, default=1024, help="of `whole`, at most")
    parser.add_argument("--precision", choices=["fp32", "bf16", "auto"], default="fp32")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json", action="store_true", help="print one line of JSON alone")
    args = parser.parse_args()
    if bool(args.text) == bool(args.recipe):
        parser.error("give --text or --recipe")
    say = (lambda line: None) if args.json else functools.partial(print, flush=True)
    try:
        found = run(args, say)
    except MulgilError as error:
        sys.exit(str(error))
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
