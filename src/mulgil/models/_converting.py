"""Checkpoints with pickled weights only, as folders of safetensors in the house's cache.

Chosen: converted once, kept under a hash of the files that it was made of, with checksums, so that
neither another copy nor a damaged one is ever taken for it; what is opened is always safetensors.
It costs the weights' size on the disk once more, and the hashes, 1 s for 400 MB, at each opening.
`mulgil` never writes beside the user's own files.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

from mulgil.errors import ModelError, RunError
from mulgil.fetch import cache_folder
from mulgil.models import _pickled
from mulgil.storage import commit_folder, make_folder, sha256_file, sweep, verify_folder

BESIDE = [
    *("config.json", "tokenizer*", "vocab*", "merges.txt", "*.model"),
    *("special_tokens_map.json", "added_tokens.json"),
]
"""What a checkpoint has beside its weights, as patterns of file names."""

ONE, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
PICKLED = [ONE, INDEX, "pytorch_model-*.bin"]
"""Names of pickled weights, as patterns: one file, or several and the index that names them."""

_FORMAT = "1"  # changes when the same files would be converted into others


def converted(folder: Path, name: str) -> Path:
    """Return a folder with the same checkpoint as safetensors.

    Args:
        folder: with a config.json, and no safetensors.
        name: of the checkpoint, for the folder's name.

    Raises:
        ModelError: it has no weights, or they are damaged or more than weights.
        StorageError: the disk refused.
    """
    weights = _weights(folder)
    others = sorted({path for each in BESIDE for path in folder.glob(each) if path.is_file()})
    digest = hashlib.sha256(_FORMAT.encode())
    for path in (*weights, *others):
        digest.update(f"{path.name}\0{sha256_file(path)}\n".encode())
    parent = cache_folder() / "converted"
    target = parent / f"{Path(name).name}-{digest.hexdigest()[:32]}"
    try:
        verify_folder(target)
    except RunError:  # not there, or damaged
        make_folder(parent)
        sweep(parent)
        commit_folder(target, lambda temporary: _convert(weights, others, temporary))
    return target


def _weights(folder: Path) -> list[Path]:
    """Return the files that hold the weights, and never another that lies there."""
    if (folder / ONE).is_file():
        return [folder / ONE]
    index = folder / INDEX
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        odd = [name for name in names if not re.fullmatch(r"\w[\w.-]*\.bin", name, re.ASCII)]
    except FileNotFoundError:
        raise ModelError(
            f"model.pretrained: {folder.name} has neither *.safetensors nor {ONE}"
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index}: is no index of weights; get it again") from error
    if odd or not names:
        named = ascii(odd[0])[:80] if odd else "no file"
        raise ModelError(f"{index}: names {named}, where names of .bin files beside it belong")
    for name in names:
        if not (folder / name).is_file():
            raise ModelError(f"{index}: names {name}, which is not there; get it too")
    return [folder / name for name in names]


def _convert(weights: list[Path], others: list[Path], into: Path) -> None:
    found: dict[str, _pickled.Weight] = {}
    for path in weights:
        part = _pickled.read(path)
        if twice := sorted(found.keys() & part.keys()):
            raise ModelError(f"{path}: has {twice[0]} once more; get the checkpoint again")
        found |= part
    _pickled.write(found, into / "model.safetensors")
    for path in others:
        shutil.copyfile(path, into / path.name)
