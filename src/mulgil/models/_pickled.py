"""Pickled weights (`pytorch_model.bin`) read as data, and written as safetensors.

Chosen: both of torch's formats are read by the house's own means, the zip file since 1.6 and the
stream before it; `_pickle_machine` says what their pickles describe, and nothing is unpickled. The
numbers stay in the file, which is mapped, until they are written, a tensor at a time. A tensor must
lie within the numbers that are there, and what is written may not be much more than what was read.

It costs a second copy of tensors that share numbers. A zip file that was written without checksums
is refused. The stream has none: there, a bit that flipped in the numbers is not found.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mulgil.disk import unreadable
from mulgil.errors import ModelError
from mulgil.flow import Array
from mulgil.models._pickle_machine import OddError, Storage, Tensor, described

_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}  # 1 for the others
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # how a stream begins
_LONGEST = 32 << 20  # bytes of pickle; BERT needs 30 thousand
_GROWTH = 8  # times the size of the file: tensors that share numbers are written out each

_DAMAGE = (
    *(ValueError, LookupError, OverflowError, OSError, struct.error),
    *(zipfile.BadZipFile, NotImplementedError),  # the second for a version that it does not know
)


class Weight(NamedTuple):
    """A tensor that still lies in its file.

    Attributes:
        kind: what its numbers are, as safetensors calls it: "F32", "BF16", ...
        bits: the numbers as unsigned integers of their width, in the tensor's shape.
    """

    kind: str
    bits: Array


def read(path: Path) -> dict[str, Weight]:
    """Return the tensors of a file that torch.save wrote from a state dict, by name.

    Values that are no tensors are left out. A table under the key "state_dict" is taken where there
    is no tensor beside it.

    Raises:
        ModelError: it is damaged, or asks for something that weights never need.
        StorageError: it cannot be read at all.
    """
    area = _mapped(path)
    try:
        if area[:4] == b"PK\x03\x04":
            return _zipped(area, memoryview(area))
        return _streamed(memoryview(area))
    except OddError as error:
        raise ModelError(f"{path}: {error}; get this model as *.safetensors") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:100]
        raise ModelError(
            f"{path}: is cut short, damaged or not written by torch.save ({reason}); get it again"
        ) from error


def write(weights: dict[str, Weight], path: Path) -> None:
    """Write a new safetensors file, a tensor at a time."""
    names = sorted(weights, key=lambda name: (-weights[name].bits.itemsize, name))  # all aligned
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        kind, bits = weights[name]
        begin, end = end, end + bits.nbytes
        header[name] = {"dtype": kind, "shape": bits.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(np.ascontiguousarray(weights[name].bits).data)


# ---------------------------------------------------------------- torch's two formats


def _mapped(path: Path) -> mmap.mmap:
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise ModelError(f"{path}: is empty; get it again") from None
    except OSError as error:
        raise unreadable(path, error) from error


def _zipped(area: Any, held: memoryview) -> dict[str, Weight]:
    """Read the format since torch 1.6: a zip file of data.pkl and the numbers, nothing packed."""
    entries = {entry.filename: entry for entry in zipfile.ZipFile(area).infolist()}
    roots = [name[:-8] for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise OddError("is a zip file, but not one of weights")
    order = entries.get(f"{roots[0]}byteorder")
    if order is not None and bytes(_entry(held, order)) != b"little":
        raise OddError("was written by a machine of the other byte order")
    pickle = _entry(held, entries[f"{roots[0]}data.pkl"])
    if len(pickle) > _LONGEST:
        raise OddError(f"has a table of contents of more than {_LONGEST >> 20} MiB")
    state = _state(described(io.BytesIO(pickle), {}))
    return _weights(state, lambda key: _entry(held, entries[f"{roots[0]}data/{key}"]), len(held))


def _entry(held: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    """Return what an entry of the zip file holds, in its place."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise OddError("is packed, which weights never are")
    name, extra = struct.unpack_from("<2H", held, entry.header_offset + 26)
    begin = entry.header_offset + 30 + name + extra
    found = held[begin : begin + entry.file_size]
    if len(found) != entry.file_size or zlib.crc32(found) != entry.CRC:
        raise ValueError("a checksum does not fit")
    return found


def _streamed(held: memoryview) -> dict[str, Weight]:
    """Read the format before torch 1.6: five pickles, one after another, then the numbers."""
    stream = io.BytesIO(held[:_LONGEST])
    if described(stream, {}) != _MAGIC or described(stream, {}) != _VERSION:
        raise ValueError("another beginning")
    about = described(stream, {})
    if not (isinstance(about, dict) and about.get("little_endian") is True):
        raise OddError("was written by a machine of the other byte order")
    storages: dict[str, Storage] = {}
    state = _state(described(stream, storages))
    keys = described(stream, {})
    if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
        raise ValueError("no list of what follows")
    places, end = dict[str, memoryview](), stream.tell()
    for key in keys:
        begin = end + 8
        end = begin + storages[key].count * _BYTES.get(storages[key].kind, 1)
        if int.from_bytes(held[begin - 8 : begin], "little") != storages[key].count:
            raise ValueError("a length does not fit")
        places[key] = held[begin:end]
    return _weights(state, places.__getitem__, len(held))


def _state(value: Any) -> dict[Any, Tensor]:
    """Return the tensors of a state dict, or of the one that is called so in it."""
    inner = value.get("state_dict") if isinstance(value, dict) else None
    for table in (value, inner):
        pairs = table.items() if isinstance(table, dict) else ()
        found = {name: tensor for name, tensor in pairs if isinstance(tensor, Tensor)}
        if found:
            return found
    raise OddError("holds no table of tensors (a state dict)")


def _weights(
    state: dict[Any, Tensor], raw: Callable[[str], memoryview], size: int
) -> dict[str, Weight]:
    """Find each tensor's numbers in a file of `size` bytes; refuse those that are not all there."""
    found: dict[str, Weight] = {}
    bases: dict[Storage, Array] = {}
    total = 0
    for name, tensor in state.items():
        if not (isinstance(name, str) and name.isprintable() and name != "__metadata__"):
            raise OddError("has a tensor without a proper name")
        storage, count = tensor.storage, math.prod(tensor.shape)
        if storage not in bases:
            kind = np.dtype(f"<u{_BYTES.get(storage.kind, 1)}")
            bases[storage] = np.frombuffer(raw(storage.key), kind)
        base = bases[storage]
        total += count * base.itemsize
        if total > _GROWTH * size:
            raise OddError(f"would grow to more than {_GROWTH} times its size")
        pairs = zip(tensor.shape, tensor.strides, strict=True)
        last = tensor.offset + sum((length - 1) * stride for length, stride in pairs)
        if count and last >= min(storage.count, len(base)):
            raise ValueError(f"{name} reaches beyond its numbers")
        steps = [stride * base.itemsize for stride in tensor.strides]
        bits = np.lib.stride_tricks.as_strided(
            base[tensor.offset :], tensor.shape, steps, writeable=False
        )
        found[name] = Weight(storage.kind, bits)
    return found
