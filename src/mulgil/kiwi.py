"""The Korean morpheme analyser kiwipiepy, which the extra "korean" brings: one door for all rooms.

Chosen: it is loaded once a process, when the first text comes, since it takes 0.5 GB of memory and
2.6 s; that it is missing is said in one line that names who wanted it.
"""

from __future__ import annotations

import functools
from importlib import metadata
from typing import Any

from mulgil.errors import ModelError


def module(wanted_by: str, instead: str) -> Any:
    """Return the package.

    Args:
        wanted_by: who needs it, such as `tokenizer "morpheme"`.
        instead: what the user may take instead.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import kiwipiepy
    except ImportError as error:
        raise ModelError(
            f'{wanted_by} needs kiwipiepy; pip install "mulgil[korean]", or take {instead}'
        ) from error
    return kiwipiepy


def versions(wanted_by: str, instead: str) -> str:
    """Return the versions of the package and of its model, which decide the morphemes.

    Arguments and errors are those of `module`.
    """
    module(wanted_by, instead)
    return f"{metadata.version('kiwipiepy')} (model {metadata.version('kiwipiepy_model')})"


def analyser(wanted_by: str, instead: str) -> Any:
    """Return the analyser; arguments and errors are those of `module`.

    Raises:
        ModelError: it is not installed, or cannot be loaded.
    """
    module(wanted_by, instead)
    try:
        return _loaded()
    except Exception as error:  # the library raises many kinds for a missing or damaged model
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{wanted_by}: kiwipiepy cannot be loaded: {reason}; install it again:"
            ' pip install --force-reinstall "mulgil[korean]"'
        ) from error


@functools.cache
def _loaded() -> Any:
    import kiwipiepy

    return kiwipiepy.Kiwi()
