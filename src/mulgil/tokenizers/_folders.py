"""Folders that tokenizers are saved in: who made one, and whether it is whole.

Chosen: beside the files that plain transformers opens lies one of ours that names the plug-in, and
another plug-in refuses the folder: it would cut texts in another way than the weights were trained
with, and nobody would notice. It costs a line in a recipe that continues from such a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mulgil.errors import ModelError
from mulgil.storage import MANIFEST, verify_folder

RULES = "mulgil_tokenizer.json"
"""File that says how a tokenizer was made here."""


def trained(name: str) -> Path:
    """Return the folder that `tokenizer.pretrained` names, checked against its checksums.

    Raises:
        ModelError: there is no such folder.
        RunError: a file of it has changed since it was written.
    """
    folder = Path(name)
    if not folder.is_dir():
        raise ModelError(
            f'tokenizer.pretrained: no folder "{name}"; make one with'
            " mulgil tokenizer train FILE --out FOLDER"
        )
    if (folder / MANIFEST).exists():
        verify_folder(folder)
    return folder


def rules(folder: Path) -> dict[str, Any] | None:
    """Return what the folder says of its tokenizer, None where it was not made here.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / RULES
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}; use another copy") from error
    if not isinstance(found, dict) or not isinstance(found.get("tokenizer"), str):
        raise ModelError(f"{path}: does not name its tokenizer; use another copy of the folder")
    return found


def refuse_other(folder: Path, name: str) -> None:
    """Refuse a folder that a tokenizer of another kind was saved in.

    Args:
        folder: of a tokenizer.
        name: of the plug-in that shall open it.

    Raises:
        ModelError: names both kinds, and the remedy.
    """
    found = rules(folder)
    made_by = found["tokenizer"] if found else "subword"
    if made_by != name:
        raise ModelError(
            f'{folder.name}: its tokenizer is "{made_by}", not "{name}";'
            f" set tokenizer.name={made_by}"
        )
