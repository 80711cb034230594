"""What a format of `mulgil export` promises, and what it is given: an opened run.

Chosen: a format writes a folder and opens it again; whether both answer alike is measured by the
verb, in the same way for every format, and decides whether the folder stays. It costs a second
opening of the model with each export.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from mulgil.contracts import Method, Model, Tokenizer
from mulgil.examples import Example
from mulgil.flow import Head, Schema
from mulgil.networks import Network
from mulgil.objectives import Task
from mulgil.recipe import Recipe


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A run that is exported.

    Attributes:
        recipe: of the run.
        schema: label names in the order of the scores.
        task: what is asked.
        model: the family.
        method: how it learnt.
        head: what the network was built with.
        tokenizer: of the run.
        network: of the run, by itself (`Method.merged`), fp32 on the CPU; it has not answered yet,
            so it can still be saved.
        rows: that are asked of the run and of what is written; 64 at most.
    """

    recipe: Recipe
    schema: Schema
    task: Task
    model: Model
    method: Method
    head: Head
    tokenizer: Tokenizer
    network: Network
    rows: Sequence[Example]


class Format(ABC):
    """A way to write a run's model for other programs."""

    most: ClassVar[float] = 1e-3
    """The greatest difference between an answer of the run and one of what was written."""

    def refusal(self, recipe: Recipe, model: Model) -> str | None:
        """Return why such a run cannot be written, before anything of it is opened; or None."""
        return None

    @abstractmethod
    def write(self, run: Opened, folder: Path) -> None:
        """Write everything but README.md into an empty folder.

        Raises:
            UserError: this run cannot be written so.
        """

    @abstractmethod
    def reopened(self, run: Opened, folder: Path) -> tuple[Tokenizer, Any]:
        """Open what `write` wrote, as its own programs do, fp32 on the CPU."""

    @abstractmethod
    def usage(self, run: Opened, folder: Path) -> str:
        """Return what README.md says of how the folder is used, in Markdown, with code."""
