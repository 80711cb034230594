"""The one error tree, and the exit code that each branch gives the command line.

    MulgilError                  1   our fault
    ├── UserError                2   the user's input; one line: place, rule, value seen, remedy
    │   ├── SettingError             a recipe, an override or an option
    │   ├── DataError                rows, files and labels
    │   ├── ModelError               a checkpoint, a tokenizer, or a combination that cannot run
    │   ├── RunError                 a run folder: locked, unfinished, changed since it was saved
    │   └── FetchError               a download that cannot be trusted or reached
    ├── DivergedError            3   the loss or the gradient is no longer a number
    ├── StorageError             4   the disk is full or broken; what was there before is whole
    └── StoppedError       128+n     a signal (SIGTERM 143, SIGINT 130), after saving

Chosen: a user's mistake is one line without a traceback, and every message names a remedy. It
costs a little discipline at each `raise`: catch the foreign error, say the place, chain it with
`from`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MulgilError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UserError(MulgilError):
    """The input is wrong and the user can mend it."""

    exit_code = 2


class SettingError(UserError):
    """A recipe, an override or a command line option is wrong."""


class DataError(UserError):
    """A data file, a row or a label is wrong."""


class ModelError(UserError):
    """A checkpoint or tokenizer is wrong, or the chosen parts do not go together."""


class RunError(UserError):
    """A run folder cannot be used: locked, unfinished, or changed since it was written."""


class FetchError(UserError):
    """A download failed, or brought something other than what was asked for."""


class DivergedError(MulgilError):
    """The loss or the gradient norm is NaN or infinite; nothing was updated."""

    exit_code = 3


class StorageError(MulgilError):
    """The disk refused a write; the files that were there before are whole."""

    exit_code = 4


class StoppedError(MulgilError):
    """A signal asked the run to stop; the state is saved and `--resume` goes on."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def nearest(wrong: str, known: Iterable[str]) -> str:
    """Return a remedy such as `did you mean "full"?`, or the list of known names.

    Args:
        wrong: the name that was given.
        known: the names that are valid.
    """
    names = sorted(known)
    folded = {name.replace("-", "_").lower(): name for name in names}
    close = difflib.get_close_matches(wrong.replace("-", "_").lower(), folded, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{folded[close[0]]}"?'
    return "known: " + ", ".join(names) if names else "none are known"
