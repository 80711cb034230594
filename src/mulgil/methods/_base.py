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


def same(model: Model, folder: Path) -> None:
    """Refuse a model whose weights are not those that the run was made with.

    Raises:
        ModelError: they are not.
    """
    base = json.loads((folder / FILE).read_text(encoding="utf-8"))
    found = _digest(model)
    if found != base["sha256"]:
        raise ModelError(
            f"{folder}: was made with {base['pretrained']} of weights {str(base['sha256'])[:12]},"
            f" but found {str(found)[:12]} under that name; bring that version back, or train again"
        )


def _digest(model: Model) -> str | None:
    """Return the checksum of the weights; None where they are served elsewhere."""
    source = model.source()
    return None if source is None else weights_digest(source)
