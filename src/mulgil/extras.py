"""Packages that a plain installation lacks: which are missing, and one command for all of them.

Chosen: whoever needs a package names it (`Settings.packages`, `Metric.packages`), so that all that
are missing are told before any work, not one after the other behind it. It costs naming a package
in a second place, beside its import.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from mulgil.errors import ModelError

EXTRAS = {
    "gensim": "word2vec",
    "kiwipiepy": "korean",
    "openai": "endpoint",
    "pyarrow": "parquet",
    "sacrebleu": "writing",
    "tensorboard": "tensorboard",
}
"""Packages, and the extra that brings each."""


def missing(packages: Iterable[str]) -> list[str]:
    """Return those that are not installed, sorted."""
    return [name for name in sorted({*packages}) if importlib.util.find_spec(name) is None]


def remedy(packages: Iterable[str]) -> str:
    """Return the command that installs these."""
    return f'pip install "mulgil[{",".join(sorted({EXTRAS[name] for name in packages}))}]"'


def require(packages: Iterable[str]) -> None:
    """Pass where all are installed.

    Raises:
        ModelError: some are not.
    """
    absent = missing(packages)
    if absent:
        raise ModelError(f"this recipe needs {' and '.join(absent)}; {remedy(absent)}")
