"""The command line: words in, verbs of `mulgil.api` called, lines or JSON out.

Chosen: click, and every import that costs time inside the command that needs it, so that
`--help` and `list` answer in a tenth of a second. Options do not grow: a setting is
`section.key=value`. Exit codes: 0 done, 1 our fault, 2 the user's input, 3 the loss is no
number, 4 the disk refused, 130 or 143 stopped by a signal after saving.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

import mulgil
from mulgil.errors import MulgilError, SettingError, nearest
from mulgil.screen import AS_JSON, SETTINGS, Enough, Screen, Verbs, nothing, print_json, say

ROOT = click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of run folders.",
)
SPINS = "10000"
"""How long torch's threads (GNU OpenMP) turn idle before they sleep. By default they turn so long
that anything else running on two cores makes a step ten times slower; with this a quiet machine
loses nothing (141 rows a second, by default 142) and a busy one keeps most of its half."""


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(mulgil.__version__, prog_name="mulgil")
def cli() -> None:
    """물길: from text to a trained, measured, usable model, in seven steps.

    Start with `mulgil demo`, or `mulgil train tfidf data.train=reviews.csv`.
    """


@cli.command()
@ROOT
def demo(root: Path) -> None:
    """Train three classifiers on the bundled sample, offline, step by step."""
    from mulgil import demo as show

    show.run(root, say)


@cli.command("list")
@click.argument("wing", required=False)
@AS_JSON
def list_(wing: str | None, as_json: bool) -> None:
    """Show what a recipe can name: tasks, methods, models and so on."""
    from mulgil import registry

    known = [*registry.WINGS, "recipes"]
    if wing is not None and wing not in known:
        raise SettingError(f'no list "{wing}"; {nearest(wing, known)}')
    found = {name: _entries(name) for name in ([wing] if wing else known)}
    if as_json:
        return print_json(found)
    for name, entries in found.items():
        click.secho(name, bold=True)
        width = max(map(len, entries), default=0)
        for entry, text in entries.items():
            say(f"  {entry:<{width}}  {text}")


@cli.command()
@click.argument("recipe", required=False)
@SETTINGS
@click.option("--schema", is_flag=True, help="Print the JSON schema of recipes, for editors.")
@AS_JSON
def check(recipe: str | None, settings: tuple[str, ...], schema: bool, as_json: bool) -> None:
    """Show the plan of a recipe before any work: rows, leaks, lengths, time, memory."""
    if schema:
        from mulgil import recipe as recipes

        return print_json(recipes.schema())
    if recipe is None:
        raise click.UsageError("give a recipe's file or name; mulgil list recipes shows names")
    from mulgil import api

    found = api.check(recipe, *settings, say=nothing if as_json else say)
    if as_json:
        print_json(found)


@cli.command()
@click.argument("recipe")
@SETTINGS
@click.option("--resume", is_flag=True, help="Go on with a run that was begun.")
@ROOT
@AS_JSON
def train(recipe: str, settings: tuple[str, ...], resume: bool, root: Path, as_json: bool) -> None:
    """Train a recipe through the seven steps into a run folder."""
    from mulgil import api

    tell = nothing if as_json else say
    path = api.train(recipe, *settings, root=root, resume=resume, say=tell)
    figures = api.evaluate(path)
    if as_json:
        return print_json({"run": str(path), **figures})
    _print_figures(figures)
    say("")
    say(f"report     {path / 'report.html'}")
    say(f"try        {_trial(path)}")


def _trial(path: Path) -> str:
    """Return a command that asks a run for its first answer."""
    from mulgil.examples import SHAPES
    from mulgil.rundir import read_schema

    inputs = SHAPES[read_schema(path).shape].inputs
    line = "한 줄 써 보세요" if len(inputs) == 1 else r"첫 글\t둘째 글"
    return f"printf '{line}\\n' | mulgil predict {path} -"


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Labelled file to score instead.")
@SETTINGS
@AS_JSON
def evaluate(run: Path, data: Path | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Show a run's figures with 95% intervals, or score a labelled file."""
    from mulgil import api

    figures = api.evaluate(run, data, *settings)
    if as_json:
        return print_json(figures)
    _print_figures(figures)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", default="-")
@click.argument("settings", nargs=-1, metavar="[task.key=value]...")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write csv, tsv or jsonl.")
@click.option(
    "--text",
    multiple=True,
    metavar="[FIELD=]COLUMN",
    help="Column of the text, or of a field such as first=전제; guessed when left out.",
)
@click.option("--encoding", default="auto", show_default=True, help="Encoding of the file.")
def predict(
    run: Path,
    file: str,
    settings: tuple[str, ...],
    out: Path | None,
    text: tuple[str, ...],
    encoding: str,
) -> None:
    """Answer rows of a file, or of standard input (-): any size, one bad row is one error."""
    from mulgil import answers, api, habits

    if file == "-" and out is None and sys.stdin.isatty() and sys.stdout.isatty():
        return answers.talk(api.load(run, *settings), sys.stdin, Screen(), sys.stderr)
    source = sys.stdin.buffer if file == "-" else Path(file)
    plain = [column for column in text if "=" not in column]
    loaded = api.load(run, *settings)
    found = answers.write(
        loaded,
        source,
        out,
        text=plain[-1] if plain else "",
        columns=dict(column.split("=", 1) for column in text if "=" in column),
        encoding=encoding,
        habits=habits.of(loaded.path, loaded.recipe),
        screen=Screen(),
    )
    for note in found["notes"]:
        say(f"note: {note}", err=True)
    if out is not None or found["errors"]:
        rows, errors = found["rows"], found["errors"]
        counted = f"{_many(rows, 'row')}: {rows - errors:,} answered, {_many(errors, 'error')}"
        say(counted + (f", in {out}" if out else ""), err=True)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", default="hf", show_default=True, metavar="FORMAT", help="hf: Hugging Face.")
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder to make.",
)
@AS_JSON
def export(run: Path, to: str, out: Path, as_json: bool) -> None:
    """Write a run's model for other programs; kept only if it answers as the run does."""
    from mulgil import api

    told = api.export(run, out, to)
    if as_json:
        return print_json(told)
    files, size = len(told["files"]), told["bytes"] / 1e6
    say(f"exported   {out}: {to}, {files} files, {size:,.1f} MB")
    gap = f"{told['difference']:.1g} at most ({told['most']:g} allowed)"
    say(f"checked    {told['rows']} rows: {told['figure']} differ by {gap}")
    say(f"use        {out / 'README.md'}")


@cli.group("data", cls=Verbs)
def data() -> None:
    """Data sets: list, get, check, show."""


@data.command("list")
@AS_JSON
def data_list(as_json: bool) -> None:
    """Show the data sets with licence."""
    from mulgil import api, registry

    found = [api.data_info(name) for name in registry.names("datasets")]
    if as_json:
        return print_json(found)
    for one in found:
        say(f"{one['name']:<12} {one['shape']:<6} {one['licence']:<22} {one['title']}")


@data.command("get")
@click.argument("name")
def data_get(name: str) -> None:
    """Bring a data set to this machine, checked by sha256; shows its licence first."""
    from mulgil import api

    info = api.data_info(name)
    for line in (info["title"], f"licence: {info['licence']}", f"source: {info['citation']}"):
        say(line)
    for path, file in api.data_get(name).items():
        say(f"{path} -> {file}")


@data.command("check")
@click.argument("name", metavar="NAME|FILE")
@SETTINGS
@AS_JSON
def data_check(name: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Count rows, labels, repeats and leaks of a data set or a file."""
    from mulgil import api, planlines

    found = api.data_check(name, *settings)
    if as_json:
        return print_json(found)
    for line in planlines.rows(found):
        say(line)


@data.command("show")
@click.argument("name", metavar="NAME|FILE")
@SETTINGS
@click.option("-n", "count", default=5, show_default=True, help="Rows to show.")
def data_show(name: str, settings: tuple[str, ...], count: int) -> None:
    """Show the first rows as they were read."""
    import itertools

    from mulgil import api
    from mulgil.examples import as_dict

    for part, row in itertools.islice(api.data_rows(name, *settings), count):
        say(json.dumps({"part": part, **as_dict(row)}, ensure_ascii=False))


@cli.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def tokenizer(words: tuple[str, ...]) -> Any:
    """Tokenizers: train, report."""
    from mulgil import clitokenizer

    return clitokenizer.tokenizer.main(words, "mulgil tokenizer", standalone_mode=False)


@cli.command()
@ROOT
@AS_JSON
def runs(root: Path, as_json: bool) -> None:
    """Show the run folders with their headline figures."""
    from mulgil import api

    found = api.runs(root)
    if as_json:
        return print_json(found)
    if not found:
        say(f"no runs in {root}; start with mulgil demo")
    for one in found:
        if one["state"] != "done" or one["value"] is None:
            at = [f"step {one['step']:,}"] if one.get("step") else []
            at += [one[key] for key in ("data", "model", "method") if one.get(key)]
            say(f"{one['run']:<32} {', '.join([one['state'], *at])}")
            continue
        value = one["value"]
        figure = f"{one['metric']} {value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"
        parts = f"{one['data']}, {one['model']}, {one['method']}"
        say(f"{one['run']:<32} {figure}  n {one['n']:,}  {one['seconds']:g} s  {parts}")


@cli.command()
@AS_JSON
def doctor(as_json: bool) -> None:
    """Look at this machine: versions, arithmetic, memory, data folders."""
    from mulgil import doctor as looking

    found = looking.look()
    if as_json:
        return print_json(found)
    for name, value in found.items():
        say(f"{name:<16} {value}")


# ------------------------------------------------------------------------- helpers


def _entries(wing: str) -> dict[str, str]:
    from mulgil import registry

    if wing != "recipes":
        return registry.describe(wing)
    folder = Path(mulgil.__file__).parent / "recipes"
    return {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for path in sorted(folder.glob("*.toml"))
    }


def _many(count: int, what: str) -> str:
    """Return `1 row`, `2 rows`."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def _print_figures(figures: dict[str, Any]) -> None:
    from mulgil import planlines

    for line in planlines.figures(figures):
        say(line)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; a user's mistake is one line."""
    _steady_streams()
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    try:
        code = cli.main(arguments, prog_name="mulgil", standalone_mode=False)
        sys.stdout.flush()
    except MulgilError as error:
        code = _fail(str(error), error.exit_code)
    except click.ClickException as error:
        code = _fail(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        code = _fail("stopped", 130)
    except (Enough, BrokenPipeError):
        code = 0
    except OSError as error:
        code = _fail(f"{error.filename or 'output'}: {error.strerror or error}", 4)
    except Exception as error:
        if os.environ.get("MULGIL_TRACEBACK"):
            raise
        reason = " ".join(str(error).split())[:300]
        code = _fail(
            f"our fault: {type(error).__name__}: {reason} (MULGIL_TRACEBACK=1 shows where)", 1
        )
    _drop_rest()
    sys.exit(code if isinstance(code, int) else 0)


def _steady_streams() -> None:
    """Write UTF-8 whatever the locale says; a character that cannot be written is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _drop_rest() -> None:
    """Throw away what standard output no longer takes, so that Python does not fail on it too."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    """Say what went wrong in one line, and return the exit code."""
    say("mulgil: " + " ".join(message.split("\n")), err=True)
    return code


if __name__ == "__main__":
    main()
