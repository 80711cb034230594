"""Encoded rows, kept between runs under a hash of content, tokenizer and settings.

Chosen: one file a split, a sha256 before a safetensors body, so that a flipped bit is found and
the rows are encoded again, and nothing is ever unpickled. A cache that cannot be written is
passed over: it saves time, it holds nothing that would be missed. It costs hashing the texts,
0.1 s for 150,000 reviews.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

import safetensors
import safetensors.numpy

from mulgil.contracts import Encoded, Tokenizer
from mulgil.errors import MulgilError
from mulgil.flow import Array
from mulgil.storage import write_atomic

FORMAT = "1"
"""Changes when the way of encoding changes without the tokenizer's fingerprint knowing it."""


def encode(texts: Sequence[str], tokenizer: Tokenizer, folder: Path | None) -> Encoded:
    """Encode rows, or take them from the cache.

    Args:
        texts: the rows, in the user's own characters.
        tokenizer: its fingerprint is part of the key.
        folder: where cache files lie; None does without.
    """
    if folder is None:
        return tokenizer.encode(texts)
    path = folder / f"{key(texts, tokenizer)}.encoded"
    kept = _read(path)
    if kept is not None:
        return tokenizer.revive(kept)
    encoded = tokenizer.encode(texts)
    arrays = encoded.arrays()
    if arrays is not None:
        body = safetensors.numpy.save(arrays)
        with contextlib.suppress(MulgilError, OSError):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, hashlib.sha256(body).digest() + body)
    return encoded


def key(texts: Sequence[str], tokenizer: Tokenizer) -> str:
    """Return the hash that the encoding of these texts is kept under."""
    digest = hashlib.sha256(f"{FORMAT} {tokenizer.fingerprint()}\n".encode())
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Array] | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:32], content[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    try:
        arrays: dict[str, Array] = safetensors.numpy.load(body)
    except safetensors.SafetensorError:
        return None
    return arrays
