"""The commands of `mulgil tokenizer`: words in, `mulgil.api` called, a table or JSON out.

A module of its own, loaded when it is named, because the face's file is full.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mulgil.errors import SettingError
from mulgil.screen import AS_JSON, Verbs, nothing, print_json, say

_ROWS = {
    "kind": "kind",
    "vocabulary": "vocabulary",
    "fertility": "tokens a word",
    "tokens_a_syllable": "tokens a syllable",
    "characters_a_token": "characters a token",
    "bytes_a_token": "bytes a token",
    "whole_words": "words of one token",
    "unknown": "unknown tokens",
    "lossless": "promises round trip",
    "round_trip": "lines that round-trip",
    "longest_line": "longest line, tokens",
}
_SHARES = {"whole_words", "unknown", "round_trip"}


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def tokenizer() -> None:
    """Tokenizers: train, report."""


@tokenizer.command()
@click.argument("words", nargs=-1, metavar="FILE... [tokenizer.key=value]...")
@click.option(
    "--out",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder to make; tokenizer.pretrained=FOLDER takes it.",
)
@AS_JSON
def train(words: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Learn a tokenizer from files, folders or globs of any size."""
    from mulgil import api

    files, settings = _parted(words)
    if not files:
        raise click.UsageError("name a file to learn from, such as reviews.txt.gz")
    made = api.tokenizer_train(files, out, *settings, say=nothing if as_json else say)
    if as_json:
        return print_json(made)
    for note in made["notes"]:
        if "vocabulary" in note:
            say(note)
    say(
        f"{made['folder']}   {made['tokenizer']}, {made['pieces']:,} pieces,"
        f" {_figure(made['fertility'])} tokens a word, {made['seconds']:g} s"
    )
    say(f"try        mulgil tokenizer report {made['folder']} --text {files[0]}")


@tokenizer.command()
@click.argument("tokenizers", nargs=-1, required=True, metavar="TOKENIZER...")
@click.option(
    "--text", required=True, type=click.Path(path_type=Path), help="File that they all encode."
)
@AS_JSON
def report(tokenizers: tuple[str, ...], text: Path, as_json: bool) -> None:
    """Compare tokenizers on one text.

    TOKENIZER is the folder of a tokenizer, a checkpoint or a run, or a name of `mulgil list
    tokenizers` with settings behind commas (subword,algorithm=bpe), learnt from the text itself.
    """
    from mulgil import api

    found = api.tokenizer_report(tokenizers, text)
    if as_json:
        return print_json(found)
    _print_report(found)


def _parted(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Tell files from settings: a setting begins with its section and has a "="."""
    settings = [word for word in words if word.startswith(("tokenizer.", "data.")) and "=" in word]
    files = [word for word in words if word not in settings]
    for word in files:
        if "=" in word and not Path(word).exists():
            raise SettingError(
                f'"{word}": is no file, and a setting looks like tokenizer.key=value'
            )
    return files, settings


def _print_report(found: dict[str, Any]) -> None:
    text, each = found["text"], found["tokenizers"]
    skipped = f", {text['skipped']:,} skipped" if text["skipped"] else ""
    say(f"{text['file']}: {text['lines']:,} lines, {text['words']:,} words{skipped}")
    names = [f"[{number}]" for number, _ in enumerate(each, start=1)]
    for number, one in zip(names, each, strict=True):
        learnt = "  (learnt from this text itself)" if one["learnt_here"] else ""
        say(f"{number} {one['name']}{learnt}")
        for note in one["notes"]:
            say(f"    {note}")
    say("")
    say(f"{'':<22}" + "".join(f"{name:>12}" for name in names))
    for key, title in _ROWS.items():
        cells = [_figure(one[key], key in _SHARES) for one in each]
        say(f"{title:<22}" + "".join(f"{cell:>12}" for cell in cells))
    for at, line in enumerate(each[0]["sample"]):
        say("")
        say(line["text"])
        for number, one in zip(names, each, strict=True):
            say(f"  {number} " + " | ".join(one["sample"][at]["pieces"]))


def _figure(value: Any, share: bool = False) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2%}" if share else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
