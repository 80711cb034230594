"""What a run stands on that keeps no weights of its own: the model's name and a checksum.

Chosen: the checksum of the weights' files, so that another model of the same name is refused. It
costs reading them once when a run is opened.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mulgil.contracts import Model
from mulgil.errors import ModelError
from mulgil.storage import weights_digest

FILE = "base.json"


def name(model: Model) -> str:
    """Return the model's name as the recipe has it, wherever it lies here."""
    found = str(model.settings.pretrained)
    return os.path.normpath(found) if os.path.isabs(found) else found


def note(model: Model, folder: Path) -> None:
    """Write down what the run in `folder` stands on."""
    base = {"pretrained": name(model), "sha256": _digest(model)}
    (folder / FILE).write_text(json.dumps(base) + "\n", encoding="utf-8")


def stood_on(model: Model, folder: Path) -> Model:
    """Return the model whose weights are those that the run in `folder` was made with.

    A recipe names a folder from where the run lay; where that leads nowhere, the run may have been
    moved alone, and its own note of the base is tried.

    Args:
        model: of the run's recipe.
        folder: the run's `model/`.

    Raises:
        ModelError: it is not there, or another, or what was written down cannot be read.
    """
    try:
        base = json.loads((folder / FILE).read_text(encoding="utf-8"))
        known, called = base["sha256"], str(base["pretrained"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / FILE}: cannot be read: {error}; bring the file back, or train again"
        ) from error
    try:
        found = _digest(model)
    except ModelError as error:
        if not (os.path.isabs(called) and os.path.isdir(called)):
            raise ModelError(
                f"{folder}: stands on {called}, which is not there ({error}); bring it back, or"
                " train again"
            ) from error
        model = type(model)(model.settings.model_copy(update={"pretrained": called}))
        found = _digest(model)
    if found != known:
        raise ModelError(
            f"{folder}: was made with {called} of weights {str(known)[:12]}, but found"
            f" {str(found)[:12]} under that name; bring that version back, or train again"
        )
    return model


def _digest(model: Model) -> str | None:
    """Return the checksum of the weights; None where they are served elsewhere."""
    source = model.source()
    return None if source is None else weights_digest(source)
