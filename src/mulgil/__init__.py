"""물길 (Mulgil): transfer learning for Korean and any other text, in seven steps.

    import mulgil
    run = mulgil.train("nsmc-tfidf")
    for answer in mulgil.load(run).predict(["배우들 연기가 다 했다"]):
        print(answer["label"], answer["probability"])

The names below are looked up on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mulgil.api import check, evaluate, export, load, predict, runs, train
    from mulgil.errors import MulgilError, UserError

__version__ = "0.1.0"

__all__ = [
    "MulgilError",
    "UserError",
    "check",
    "evaluate",
    "export",
    "load",
    "predict",
    "runs",
    "train",
]

_VERBS = ("check", "evaluate", "export", "load", "predict", "runs", "train")
_HOMES = dict.fromkeys(_VERBS, "mulgil.api")
_HOMES |= dict.fromkeys(("MulgilError", "UserError"), "mulgil.errors")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mulgil' has no attribute {name!r}")
