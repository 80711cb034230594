"""Zero-shot: the model is asked about each row, and shown nothing.

Chosen: the label whose word goes on likeliest from the row's question is the answer, after
calibration; see `_in_context`. It costs one pass of the model over the question, and no row of
training but for the names of the labels.
"""

from __future__ import annotations

from typing import ClassVar

from mulgil.flow import Kind
from mulgil.methods._in_context import InContext


class ZeroShot(InContext):
    """Asks without an example."""

    works_on: ClassVar[frozenset[Kind]] = InContext.works_on | {"nli"}
