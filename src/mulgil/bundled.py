"""The runs that come with the package: small models, pretrained here, for use without a network.

`mulgil/mini` is a run folder like any other, less its checkpoints and journal: `predict` opens it,
and its `model/` is what `model.pretrained = "mulgil/mini"` stands for.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mulgil.errors import ModelError, nearest

PREFIX = "mulgil/"
"""What their names begin with."""


def run(name: str) -> Path:
    """Return the run folder of "mulgil/...".

    Raises:
        ModelError: there is none of that name.
    """
    home = Path(str(resources.files("mulgil") / "pretrained"))
    known = {f"{PREFIX}{path.name}": path for path in home.glob("*/") if path.is_dir()}
    if name not in known:
        raise ModelError(f'no model "{name}" comes with the package; {nearest(name, known)}')
    return known[name]
