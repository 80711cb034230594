"""Heads beside what stands under them: their own file, and whether a checkpoint's is taken over.

Chosen: a checkpoint's head is kept only where its labels have exactly the names that are asked for,
in the same order. It costs a head whose labels are the same in another order: it is learnt anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import Head
from mulgil.models import _checkpoints

HEAD_FILE = "head.safetensors"
"""Where the head of a mean-pooled network lies, beside the body's own files."""


def keep_head(folder: Path, head: nn.Linear) -> None:
    """Write a head beside its body's files."""
    import safetensors.torch

    weights = {name: weight.data.contiguous() for name, weight in head.named_parameters()}
    safetensors.torch.save_file(weights, folder / HEAD_FILE)


def kept_head(folder: Path, head: nn.Linear) -> dict[str, Tensor]:
    """Return the weights that `keep_head` wrote.

    Raises:
        ModelError: they cannot be read, or do not fit this head.
    """
    import safetensors.torch

    path = folder / HEAD_FILE
    try:
        found: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path}: cannot be read: {reason}; use a whole copy of the run"
        ) from error
    wanted = {name: tuple(weight.shape) for name, weight in head.named_parameters()}
    shapes = {name: tuple(weight.shape) for name, weight in found.items()}
    if shapes != wanted:
        raise ModelError(
            f"{path}: holds {shapes}, but this head is {wanted}; use a whole copy of the run"
        )
    return found


def same_labels(folder: Path, labels: Sequence[str]) -> bool:
    """Say whether a checkpoint's scores have these names, in this order; no names are never so."""
    told = _checkpoints.config(folder).get("id2label")
    names = told if isinstance(told, dict) else {}
    return bool(labels) and names == {str(i): name for i, name in enumerate(labels)}


def renew(module: Any, info: dict[str, Any]) -> None:
    """Draw the head's weights anew that the checkpoint has brought; the others are drawn already.

    Args:
        module: of the "ForSequenceClassification" sort.
        info: what `from_pretrained` told while it opened the checkpoint.
    """
    body = {id(weight) for weight in module.base_model.parameters()}
    drawn = {*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}
    for name, part in module.named_modules():
        weights = dict(part.named_parameters(recurse=False))
        old = [
            key for key, w in weights.items() if id(w) not in body and f"{name}.{key}" not in drawn
        ]
        for key in old:
            weights[key]._is_hf_initialized = False
        if old:
            module._init_weights(part)


def problem(head: Head) -> str:
    """Return what transformers calls the head's question; its pipelines read the scores by it."""
    if head.skill == "rate":
        return "regression"
    return "multi_label_classification" if head.several else "single_label_classification"
