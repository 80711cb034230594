"""What the modules of the command line share: groups of commands, and lines on the screen.

Chosen: click and the standard library only, so that `--help` stays quick; whatever is written goes
through one place that spells out characters by which a text would steer a terminal. It costs a
pass over each line.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import signal
import sys
from typing import Any

import click

from mulgil.errors import StoppedError

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")

SETTINGS = click.argument("settings", nargs=-1, metavar="[section.key=value]...")

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters by which a text would steer a terminal: controls and changes of direction."""


class Enough(Exception):
    """Whoever reads our output (`| head`) has closed it."""


class Verbs(click.Group):
    """The commands in the order of use, help when none is named, the nearest for a wrong name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # which click would make an error of
            raise Enough from error
        except KeyboardInterrupt as error:  # before which click would write an empty line
            raise StoppedError("stopped", signal.SIGINT) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show whole sentences, where click would cut them."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(200)) for name, one in self.commands.items()]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f'did you mean "{close[0]}"?' if close else "see mulgil --help"
            raise click.UsageError(f'no command "{args[0]}"; {hint}')
        return super().resolve_command(ctx, args)


def print_json(value: Any) -> None:
    """Write a value as JSON."""
    Screen().write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def nothing(line: str) -> None:
    """Say nothing."""


def say(line: str, err: bool = False) -> None:
    """Write a line for people."""
    with contextlib.suppress(UnicodeError):  # names of files, where the locale is not UTF-8
        line = line.encode("utf-8", "surrogateescape").decode("utf-8")
    click.echo(_visible(line), err=err)


def _visible(text: str) -> str:
    """Spell out what would steer a terminal, as JSON spells it."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class Screen:
    """Standard output for lines of JSON, whose meaning `_visible` does not change."""

    def write(self, text: str) -> None:
        """Write whole lines."""
        sys.stdout.write("\n".join(map(_visible, text.split("\n"))))

    def flush(self) -> None:
        """Put everything out."""
        sys.stdout.flush()
