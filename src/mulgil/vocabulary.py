"""Tokenizers by themselves: learn one from texts of any size, and compare several on one text.

Chosen: texts to learn from come through the data set `corpus` (folders, globs, gzip, copies left
out, nothing held in memory), the text to compare on is read line by line as it stands, so that
every figure is exact over it. Figures are counted from the offsets that tokens have in the user's
own string. It costs about 0.1 s for 1,000 reviews and tokenizer, and the disk space that a corpus
takes in the cache.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mulgil import hangul, recipe, registry, settings, storage
from mulgil.errors import DataError, ModelError, RunError, SettingError, UserError, nearest
from mulgil.rundir import Say
from mulgil.tables.rows import iter_rows

LOOKED_AT = 10_000
"""Rows of the training texts that the fertility of a new tokenizer is told from."""

SAMPLE = 5
"""Lines of which a report shows the pieces."""

_SEED = 7  # no tokenizer draws; the contract asks for one
_HELD = 4_000_000  # characters of training texts that are kept for the fertility
_SYLLABLE = re.compile("[가-힣]")
_WORD = re.compile(r"\S+")


# ---------------------------------------------------------------- learning


def train(files: Sequence[str], out: Path, overrides: Sequence[str], say: Say) -> dict[str, Any]:
    """Learn a tokenizer and write its folder, whole or not at all.

    Args:
        files: files, folders and globs, as `data.paths` of the data set "corpus" takes them.
        out: the folder to make.
        overrides: `tokenizer.key=value` (with `tokenizer.name` for another kind than "subword"),
            and `data.key=value` for how the files are read.
        say: where lines for people go.

    Returns:
        folder, tokenizer, settings, pieces, rows, fertility, tokens_a_syllable, lossless, seconds,
        notes.

    Raises:
        SettingError: an override is wrong.
        DataError: a file is missing, or nothing in it can be used.
        ModelError: the texts do not support a vocabulary of that size; names the size they do.
        UserError: the folder is there already.
        StorageError: the disk refused.
    """
    begin = time.perf_counter()
    name, plugin, chosen = _chosen([o for o in overrides if o.startswith("tokenizer.")])
    if chosen.pretrained:
        raise SettingError("tokenizer.pretrained: a tokenizer that is learnt here has none")
    if os.path.lexists(out):
        raise UserError(f"{out}: is there already; name a new folder, or remove it")
    texts, notes = _texts(files, [o for o in overrides if not o.startswith("tokenizer.")])
    for note in notes:
        say(note)
    say(f"learning   {name} from {len(texts):,} rows")
    held: list[str] = []
    made = plugin.make(chosen, None, _kept(texts, held), _SEED)
    if plugin.fills and made.size < chosen.vocab_size:
        raise ModelError(_too_large(plugin, chosen, made.size))
    figures = _figures(made, held)
    storage.make_folder(out.absolute().parent)
    storage.sweep(out.absolute().parent)
    storage.commit_folder(out, made.save)
    return {
        "folder": str(out),
        "tokenizer": name,
        "settings": chosen.model_dump(),
        "pieces": made.size,
        "rows": len(texts),
        **{key: figures[key] for key in ("fertility", "tokens_a_syllable", "lossless")},
        "seconds": round(time.perf_counter() - begin, 1),
        "notes": [*notes, *made.notes],
    }


def _texts(files: Sequence[str], overrides: Sequence[str]) -> tuple[Sequence[Any], list[str]]:
    """Return the rows to learn from, and what was noticed while they were read."""
    for text in overrides:
        if not text.startswith("data."):
            raise SettingError(
                f'"{text}": only tokenizer.key=value says what is learnt, and data.key=value how'
                " the files are read"
            )
    paths = "data.paths=" + json.dumps(list(files), ensure_ascii=False)
    shares = ("data.valid_share=0", "data.test_share=0")
    part = recipe.section("data", ["data.name=corpus", paths, *shares, *overrides])
    parts = part.make().read({})
    rows = parts.rows["train"]
    if not rows:
        raise DataError(f"{', '.join(files)}: no row to learn from; check that these are texts")
    return rows, [note for note in parts.notes if not note.startswith("parts by hash")]


def _kept(rows: Iterable[Any], held: list[str]) -> Iterator[str]:
    """Yield the rows' texts, and keep the first of them."""
    room = _HELD
    for row in rows:
        if len(held) < LOOKED_AT and len(row.text) <= room:
            held.append(row.text)
            room -= len(row.text)
        yield row.text


def _too_large(plugin: Any, chosen: Any, size: int) -> str:
    """Say which size the texts support, and the remedy."""
    try:
        plugin.Settings.model_validate(chosen.model_dump() | {"vocab_size": size})
        remedy = f"set tokenizer.vocab_size={size}, or give more texts"
    except ValueError:
        remedy = "give more texts"
    return (
        f"tokenizer.vocab_size: the texts support a vocabulary of {size:,}, not"
        f" {chosen.vocab_size:,}; {remedy}"
    )


def _chosen(overrides: Sequence[str]) -> tuple[str, Any, Any]:
    """Return name, class and settings of a tokenizer that has a vocabulary of its own."""
    values = dict(map(settings.parse_override, overrides))
    name = values.pop("tokenizer.name", "subword")
    plugin = registry.load("tokenizers", str(name))
    if not hasattr(plugin, "pieces"):
        fitting = [n for n in registry.names("tokenizers") if n not in (name, "words")]
        raise ModelError(f'tokenizer "{name}" has no vocabulary; {nearest("", fitting)}')
    plain = {key.removeprefix("tokenizer."): value for key, value in values.items()}
    origin = settings.Table({}, {}, f'tokenizer "{name}"')
    return str(name), plugin, settings.build(plugin.Settings, plain, "tokenizer", origin)


# ---------------------------------------------------------------- comparing


def report(tokenizers: Sequence[str], text: Path) -> dict[str, Any]:
    """Return what each tokenizer makes of the same text; exact, over all its lines.

    Args:
        tokenizers: each the folder of a tokenizer, checkpoint or run, or the name of a plug-in with
            settings behind commas (`subword,algorithm=bpe,vocab_size=4000`), which is learnt from
            the text itself.
        text: file to encode: txt, csv, jsonl, parquet, also gzipped.

    Returns:
        text: lines, skipped, words (at white space), syllables (of Hangul), characters, bytes (of
            the text in NFC).
        tokenizers: for each of them name, kind, vocabulary, learnt_here, lossless (whether it
            promises that), tokens, fertility (tokens a word), tokens_a_syllable, unknown (share of
            the tokens), bytes_a_token, characters_a_token, whole_words (share of the words that are
            one token), round_trip (share of the lines that decode to themselves in NFC),
            longest_line (tokens), sample (pieces of the first lines), notes.

    Raises:
        SettingError: a plug-in or a setting is unknown.
        DataError: the text cannot be read, or has no line.
        ModelError: a tokenizer cannot be opened, or has no vocabulary.
    """
    opened = [_open(given, text) for given in tokenizers]
    tallies = [_Tally(made) for _, _, made in opened]
    lines = _Lines()
    for line in lines.read(text):
        for tally in tallies:
            tally.add(line)
    if not lines.count:
        raise DataError(f"{text}: no line of it can be used; {lines.why or 'it is empty'}")
    found = [
        {
            "name": given,
            "kind": kind,
            "vocabulary": made.size,
            "learnt_here": learnt,
            **tally.figures(lines),
            "notes": list(made.notes),
        }
        for (given, (kind, learnt, made), tally) in zip(tokenizers, opened, tallies, strict=True)
    ]
    return {"text": {"file": str(text), **lines.figures()}, "tokenizers": found}


def _figures(made: Any, texts: Sequence[str]) -> dict[str, Any]:
    """Return a tokenizer's figures over texts in memory."""
    lines, tally = _Lines(), _Tally(made)
    for line in map(lines.seen, texts):
        tally.add(line)
    made.backend.enable_truncation(made.max_length)
    return tally.figures(lines)


def _open(given: str, text: Path) -> tuple[str, bool, Any]:
    """Return kind, whether it was learnt from the text, and the tokenizer."""
    name, *rest = given.split(",")
    if name in registry.names("tokenizers") and not os.path.isdir(given):
        pairs = [f"tokenizer.{pair.strip()}" for pair in rest]
        kind, plugin, chosen = _chosen([f"tokenizer.name={name}", *pairs])
        made = plugin.make(chosen, None, _Lines().read(text), _SEED)
        return kind, not chosen.pretrained, made
    folder = Path(given)
    if not folder.is_dir():
        names = [n for n in registry.names("tokenizers") if n != "words"]
        raise ModelError(
            f'"{given}": is no folder of a tokenizer, checkpoint or run, and no tokenizer'
            f" ({', '.join(names)})"
        )
    if (folder / "recipe.toml").exists():
        folder /= "model"
        if not folder.is_dir():
            raise RunError(f"{given}: the run has no model yet; go on with mulgil train --resume")
    kind = _kind(folder)
    plugin = registry.load("tokenizers", kind)
    return kind, False, plugin.make(plugin.Settings(), folder, (), _SEED)


def _kind(folder: Path) -> str:
    """Return the plug-in that opens a folder."""
    for file in ("mulgil_tokenizer.json", "tokenizer.json"):
        try:
            found = json.loads((folder / file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        name = found.get("tokenizer") if isinstance(found, dict) else None
        if name in registry.names("tokenizers"):
            _chosen([f"tokenizer.name={name}"])  # refuses one without a vocabulary
            return str(name)
    return "subword"


class _Lines:
    """The lines of a text as they go by, and their counts."""

    def __init__(self) -> None:
        self.count = self.words = self.syllables = self.characters = self.bytes = self.skipped = 0
        self.why = ""

    def read(self, path: Path) -> Iterator[str]:
        """Yield the lines of a file that can be used, blank ones left out."""
        for row in iter_rows(path):
            if row.error:
                self.skipped += 1
                self.why = self.why or f"{row.id} {row.error}"
            else:
                yield self.seen(row.text)

    def seen(self, text: str) -> str:
        """Count a line and return it, in NFC."""
        line = hangul.normalise(text)
        self.count += 1
        self.words += len(_WORD.findall(line))
        self.syllables += len(_SYLLABLE.findall(line))
        self.characters += len(line)
        self.bytes += len(line.encode("utf-8"))
        return line

    def figures(self) -> dict[str, Any]:
        """Return the counts by name."""
        names = ("skipped", "words", "syllables", "characters", "bytes")
        return {"lines": self.count, **{name: getattr(self, name) for name in names}}


class _Tally:
    """What a tokenizer makes of lines, counted; its limit on a row's length is taken off."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self._unknown = made.unknown
        self._special = {number for role, number in made.special_ids.items() if role != "unk"}
        self._tokens = self._lost = self._whole = self._kept = self._longest = 0
        self._sample: list[dict[str, Any]] = []
        made.backend.no_truncation()

    def add(self, line: str) -> None:
        """Count one line, in NFC."""
        own = [found for found in self._made.offsets(line) if found[0] not in self._special]
        ids = [number for number, _ in own]
        self._tokens += len(ids)
        self._longest = max(self._longest, len(ids))
        self._lost += ids.count(self._unknown) if self._unknown is not None else 0
        self._whole += _whole_words(line, [span for _, span in own])
        self._kept += self._made.decode(ids) == line
        if len(self._sample) < SAMPLE:
            pieces = [str(self._made.backend.id_to_token(number)) for number in ids]
            self._sample.append({"text": line, "pieces": pieces})

    def figures(self, lines: _Lines) -> dict[str, Any]:
        """Return the figures, the text's counts given."""
        return {
            "lossless": self._made.lossless,
            "tokens": self._tokens,
            "fertility": _ratio(self._tokens, lines.words),
            "tokens_a_syllable": _ratio(self._tokens, lines.syllables),
            "unknown": _ratio(self._lost, self._tokens),
            "bytes_a_token": _ratio(lines.bytes, self._tokens),
            "characters_a_token": _ratio(lines.characters, self._tokens),
            "whole_words": _ratio(self._whole, lines.words),
            "round_trip": _ratio(self._kept, lines.count),
            "longest_line": self._longest,
            "sample": self._sample,
        }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _whole_words(line: str, spans: Sequence[tuple[int, int]]) -> int:
    """Return how many words of a line lie in one token that has no other word.

    Args:
        line: words are parted by white space.
        spans: where each token lies in the line, in order; white space may be part of one.
    """
    count, first = 0, 0
    for word in _WORD.finditer(line):
        start, end = word.span()
        while first < len(spans) and spans[first][1] <= start:
            first += 1
        over = [span for span in spans[first : first + 2] if span[0] < end]
        count += len(over) == 1 and over[0][1] == end and not line[over[0][0] : start].strip()
    return count
