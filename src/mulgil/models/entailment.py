"""Entailment: a checkpoint of natural-language inference gives labels as sentences that follow.

A row's text is the premise; the last line of the prompt with a label's word is the hypothesis; ln p
of "entailment" is the label's score (Yin et al. 2019). Chosen: any checkpoint that transformers
opens as a classifier of sequences and that names one of its labels "entailment", such as the
`model/` of a run of task nli, with its own tokenizer. Each label's sentence is judged by itself. It
costs a pass of the model for each label, and there is no room for an instruction, which is refused,
or an example: it is of a kind of its own, on which zero-shot alone works.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn

from mulgil import settings
from mulgil.contracts import Model
from mulgil.errors import ModelError
from mulgil.flow import Head, Kind, Skill
from mulgil.models import _checkpoints, _sides
from mulgil.networks import Network

_LABEL = "entailment"

_BETWEEN = 3
"""Tokens that a tokenizer puts between two texts and behind them, at most."""


class EntailmentSettings(settings.Settings):
    """Settings of the entailment family."""

    pretrained: Annotated[str | None, settings.PATH_OR_NAME] = None
    """Local folder or hub id of a checkpoint of natural-language inference; must be given."""


class Entailment(Model):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = EntailmentSettings
    kind: ClassVar[Kind] = "nli"
    skills: ClassVar[frozenset[Skill]] = frozenset({"choose"})
    tokenizer: ClassVar[str] = "subword"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._folder: Path | None = None

    def source(self) -> Path:
        """Return the checkpoint's folder, downloaded when it is a hub id.

        Raises:
            ModelError: it is not given, cannot be found or reached, holds no weights that are
                read, or has no label "entailment".
        """
        if self.settings.pretrained is None:
            raise ModelError(
                "model.pretrained is missing; give a checkpoint of natural-language inference, such"
                " as the model folder of a run of task nli"
            )
        if self._folder is None:
            folder = _checkpoints.locate(self.settings.pretrained)
            _place(folder)
            self._folder = folder
        return self._folder

    def longest(self) -> int | None:
        """Return the longest question in tokens: what parts and ends two texts is taken off."""
        found = _sides.longest(_checkpoints.config(self.source()), "encoder")
        return None if found is None else found - _BETWEEN

    def build(self, tokenizer: Any, head: Head, precision: str, device: str, seed: int) -> Network:
        """Return a network that chooses among sentences; `head` and `seed` say nothing.

        Raises:
            ModelError: the checkpoint is not whole, or its tokenizer knows no pairs.
        """
        from mulgil.models import _entailing, _network

        folder = self.source()
        _checkpoints.fits(folder, tokenizer.size)
        place, outputs = _place(folder)
        network = _network.saved(folder, outputs, precision, device)
        return _entailing.EntailingNetwork(network, place, tokenizer)

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> NoReturn:
        """Refuse: a run that asks keeps no weights, and is opened from its recipe.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            f"{folder}: the checkpoint that was asked is not in the run's folder; open it with the"
            " run's recipe"
        )


def _place(folder: Path) -> tuple[int, int]:
    """Return the number of the label "entailment", and how many labels there are.

    Raises:
        ModelError: there is no such label.
    """
    told = _checkpoints.config(folder).get("id2label")
    names = {str(k): str(name) for k, name in told.items()} if isinstance(told, dict) else {}
    place = next((k for k, name in names.items() if name.strip().lower() == _LABEL), "")
    if place.isdecimal():
        return int(place), len(names)
    seen = settings.one_line(", ".join(names.values()))[:100] or "none"
    raise ModelError(
        f'model.pretrained: no label of {folder.name} is "{_LABEL}" (its labels: {seen}); name the'
        " one that says that a sentence follows so in id2label of its config.json, or take another"
        " checkpoint"
    )
