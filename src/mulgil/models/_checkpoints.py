"""Checkpoints as the model families find, look at and open them.

Chosen: only safetensors are opened, and a config that names code of its own is refused: a model's
files are data. Where there are pickled weights only, they are read as data and converted once. What
transformers would quietly fill with random weights is refused as well. It costs a second copy of
such weights on the disk. torch and transformers are imported where they are needed, so that
settings can be checked without them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mulgil import bundled
from mulgil.errors import ModelError
from mulgil.models._converting import BESIDE, PICKLED, converted
from mulgil.storage import verify_folder


def locate(name: str) -> Path:
    """Return the folder of a checkpoint that may be opened; a hub id is downloaded.

    Args:
        name: absolute path of a folder, "mulgil/..." for one that comes with the package, or a hub
            id.

    Raises:
        ModelError: it cannot be found or reached, or holds code of its own or no weights.
        RunError: a file of the package was changed.
        StorageError: it has pickled weights, and the cache cannot be written.
    """
    if name.startswith(bundled.PREFIX):
        folder = bundled.run(name) / "model"
        verify_folder(folder)
    else:
        folder = Path(name) if Path(name).is_absolute() else _download(name)
    _data_only(folder)
    return folder if _weighs(folder) else converted(folder, name)


def config(folder: Path) -> dict[str, Any]:
    """Return the folder's config.json.

    Raises:
        ModelError: there is none, or it is not a model's config.
    """
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"model.pretrained: {folder} has no config.json; give one that transformers opens"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.pretrained: {folder}/config.json cannot be read: {error}"
        ) from None
    if not isinstance(values, dict):
        raise ModelError(f"model.pretrained: {folder}/config.json is not a model's config")
    return values


def inspect(folder: Path) -> None:
    """Refuse folders that hold code of their own, or no safetensors."""
    _data_only(folder)
    if not _weighs(folder):
        raise ModelError(f"model.pretrained: {folder.name} has no *.safetensors; get it again")


def _data_only(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(f"model.pretrained: no such folder: {folder}")
    if "auto_map" in config(folder):
        raise ModelError(
            f"model.pretrained: {folder.name} wants to run code of its own (auto_map in"
            " config.json), which is never done; use an architecture that transformers has"
        )


def _weighs(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def fits(folder: Path, tokens: int) -> None:
    """Refuse a tokenizer of more tokens than the checkpoint's embedding table has rows."""
    vocabulary = int(config(folder).get("vocab_size", 0))
    if tokens > vocabulary:
        raise ModelError(
            f"{folder.name}: its tokenizer has {tokens:,} tokens, its embedding table"
            f" {vocabulary:,} rows; the two files are not of one model"
        )


def opened(family: Any, folder: Path, **keywords: Any) -> tuple[Any, dict[str, Any]]:
    """Call `from_pretrained` with the house's rules, quietly, and say clearly why it failed."""
    import torch

    try:
        with quiet():
            module, info = family.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **keywords,
            )
    except Exception as error:  # the library raises many kinds for a damaged folder
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: cannot be opened: {type(error).__name__}: {reason}") from error
    return module, info


def whole(info: dict[str, Any], folder: Path, prefix: str = "", pooler: bool = False) -> None:
    """Refuse a body that is not whole: transformers fills its gaps with random weights.

    Args:
        info: what `from_pretrained` told while it opened the folder.
        folder: where the checkpoint lies.
        prefix: only weights whose names begin so must be there.
        pooler: whether a pooler must be there too.
    """
    found = {*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}
    if not pooler:
        found = {name for name in found if ".pooler." not in f".{name}"}
    lost = sorted(name for name in found if name.startswith(prefix))
    if lost:
        raise ModelError(
            f"{folder.name}: its weights do not fit its config.json: {len(lost)} are missing or of"
            f" another size, the first is {lost[0]}; get the checkpoint again"
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing bars and warnings between our lines."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _download(name: str) -> Path:
    """Fetch a checkpoint from the hub, or take it from the hub's own cache.

    Pickled weights are fetched only where it brings no safetensors.
    """
    from huggingface_hub import snapshot_download

    wanted = [*BESIDE, "*.safetensors", "*.safetensors.index.json"]
    try:
        folder = Path(snapshot_download(name, allow_patterns=wanted))
        if not _weighs(folder):
            folder = Path(snapshot_download(name, allow_patterns=[*BESIDE, *PICKLED]))
    except Exception as error:  # the hub's client raises a dozen kinds, all meaning "not here"
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f'model.pretrained: "{name}" is no local folder, and the hub did not give it'
            f" ({type(error).__name__}: {reason})"
        ) from error
    return folder
