"""A plain Hugging Face folder: transformers opens it, adapters are merged into the weights.

Chosen: the network saves itself as it does into a run, and the run's own tokenizer beside it, so
that what is exported of a full run is its `model/` byte for byte. It is opened again through the
family's own door, and run as transformers wrote it, without the house's fast bodies. Texts are
read with the backend of the folder's tokenizer alone: one that parts texts before (morphemes) would
read them otherwise in plain transformers, so it is refused. It costs 4 bytes a weight on disk,
whatever the run's precision was.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mulgil import hangul
from mulgil.contracts import Model, Tokenizer
from mulgil.errors import ModelError
from mulgil.flow import each_of
from mulgil.formats import _usage
from mulgil.formats._base import Format, Opened
from mulgil.networks import Adapter
from mulgil.recipe import Recipe

_OWN = "mulgil-"
"""What the `model_type` of the house's own bodies begins with."""

_ELSEWHERE = {
    "features": "its counts are no model of transformers: the run folder itself is what"
    " mulgil.load opens",
    "endpoint": "it is served elsewhere: there are no weights here to write",
}
"""Kinds of models that transformers does not open, and why."""


class HuggingFace(Format):
    """config.json, safetensors and tokenizer files."""

    def refusal(self, recipe: Recipe, model: Model) -> str | None:
        why = _ELSEWHERE.get(model.kind)
        return (
            None if why is None else f'model "{recipe.model.name}" cannot be exported to hf: {why}'
        )

    def write(self, run: Opened, folder: Path) -> None:
        run.network.save(folder, run.schema.labels)
        _known(run, folder)
        _reads_alike(run)
        run.tokenizer.save(folder)

    def reopened(self, run: Opened, folder: Path) -> tuple[Tokenizer, Any]:
        tokenizer: Tokenizer = run.recipe.tokenizer.plugin.load(folder)
        network: Any = run.model.load(folder, run.head, "fp32", "cpu")
        network.adapt(Adapter(_never))  # nothing is added: the layers are run as they are
        return tokenizer, network

    def usage(self, run: Opened, folder: Path) -> str:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return _usage.text(run, config, mean=(folder / "head.safetensors").exists())


def _never(folder: Path) -> None:
    """Refuse to save: the network was opened to be compared."""
    raise ModelError("an export that was opened again is not saved again")


def _known(run: Opened, folder: Path) -> None:
    """Refuse a body of the house's own, for which transformers has no class.

    Raises:
        ModelError: it is one.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if str(config.get("model_type")).startswith(_OWN):
        raise ModelError(
            f'model "{run.recipe.model.name}" cannot be exported to hf: its body is of Mulgil\'s'
            " own, which plain transformers does not open; keep the run (mulgil predict)"
        )


def _reads_alike(run: Opened) -> None:
    """Refuse a tokenizer whose files alone do not read texts as it does.

    Raises:
        ModelError: a text is read otherwise.
    """
    backend: Any = getattr(run.tokenizer, "backend", None)
    marks = [] if backend is None else backend.get_added_tokens_decoder().values()
    special = [mark.content for mark in marks]
    texts = [hangul.normalise(text) for row in run.rows for text in each_of(run.task.text(row))]
    # In a text that holds one a run takes it for plain text, which plain transformers does not.
    texts = [text for text in texts if not any(mark in text for mark in special)]
    for text in texts:
        plain = backend.encode(text, add_special_tokens=False).ids if backend else None
        if plain is None or run.tokenizer.segment(text)[: len(plain)] != plain:
            raise ModelError(
                f'tokenizer "{run.recipe.tokenizer.name}" parts texts before its vocabulary reads'
                " them, which plain transformers does not do, so an export would answer otherwise;"
                " keep the run (mulgil predict), or train with tokenizer.name=subword"
            )
