"""What a pickled table of tensors describes, as data: a stack machine that runs nothing.

A pickle is a program for a small machine. Chosen: a machine that knows only the instructions of
which tables of tensors are made. A name in it is compared with a short list and stands for nothing
but itself: nothing is imported, called or unpickled. `pickletools` of the standard library cuts
the bytes into instructions. It costs whatever else people save (whole models, optimizers, quantised
or sparse tensors): it is refused.
"""

from __future__ import annotations

import dataclasses
import io
import pickletools
from collections.abc import Callable
from typing import Any

KINDS = {
    "torch.DoubleStorage": "F64",
    "torch.FloatStorage": "F32",
    "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16",
    "torch.LongStorage": "I64",
    "torch.IntStorage": "I32",
    "torch.ShortStorage": "I16",
    "torch.CharStorage": "I8",
    "torch.ByteStorage": "U8",
    "torch.BoolStorage": "BOOL",
}
"""Names of torch's storages, and what safetensors calls their numbers."""

_TABLE = "collections.OrderedDict"
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_NAMES = {_TABLE, _TENSOR, _PARAMETER, *KINDS}

_MOST = 1_000_000  # instructions; BERT needs 8 thousand
_LARGEST = 1 << 40  # of any size or stride, so that no sum or product of two leaves int64
_DIMENSIONS = 32  # numpy's most

_PUSHED = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
_PUSHED |= {"BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"}
_FRESH: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class OddError(Exception):
    """Something that weights never need, or that is not read here; the reason alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """Where numbers lie: under which key of the file, of what kind, and how many."""

    key: str
    kind: str
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage's numbers; offset and strides count numbers, and nothing is checked."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Name:
    text: str


def described(stream: io.BytesIO, storages: dict[str, Storage]) -> Any:
    """Return what the pickle at the stream's place describes; the stream ends up behind it.

    Args:
        stream: the pickle, and whatever follows it.
        storages: gets the storages that the pickle speaks of, by key.

    Returns:
        None, bool, int, float, str, bytes, tuples, lists and dicts of these, `Storage`, `Tensor`.

    Raises:
        OddError: it asks for something that weights never need.
        ValueError, LookupError: it is damaged.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop(count: int) -> list[Any]:
        if len(stack) < count:
            raise ValueError("an instruction takes more than there is")
        taken = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return taken

    def marked() -> list[Any]:
        return pop(max(0, len(stack) - marks.pop()))

    argument: Any
    for number, (code, argument, _) in enumerate(pickletools.genops(stream)):
        if number == _MOST:
            raise OddError(f"has more than {_MOST:,} instructions")
        name = code.name
        if name in _PUSHED:
            stack.append(argument)
        elif name in _FRESH:
            stack.append(_FRESH[name]())
        elif name in _TUPLES:
            stack.append(tuple(pop(_TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(marked()))
        elif name == "MARK":
            marks.append(len(stack))
        elif name in {"BINPUT", "LONG_BINPUT"}:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(_named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_named(*pop(2)))
        elif name == "BINPERSID":
            storage = _storage(*pop(1))
            if storages.setdefault(storage.key, storage) != storage:
                raise OddError("gives the same numbers two types")
            stack.append(storage)
        elif name == "REDUCE":
            stack.append(_made(*pop(2)))
        elif name in {"SETITEM", "SETITEMS"}:
            items = pop(2) if name == "SETITEM" else marked()
            _fill(stack[-1], items)
        elif name in {"APPEND", "APPENDS"}:
            items = pop(1) if name == "APPEND" else marked()
            if not isinstance(stack[-1], list):
                raise ValueError("items of what is no list")
            stack[-1].extend(items)
        elif name == "BUILD":
            pop(1)  # attributes, such as the _metadata of a state dict
            if not isinstance(stack[-1], dict):
                raise OddError("sets the state of an object, which weights never need")
        elif name not in {"PROTO", "FRAME", "STOP"}:
            raise OddError(f"uses the pickle instruction {name}, which weights never need")
    return stack[-1]


def _named(module: Any, name: Any) -> _Name:
    """Return a name as a name; nothing is looked up."""
    text = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "?"
    if text not in _NAMES:
        shown = text[:80] if text.isprintable() else ascii(text[:80])
        raise OddError(f"asks for the name {shown}: weights never need that; nothing was run")
    return _Name(text)


def _storage(persistent: Any) -> Storage:
    """Return the storage of which torch writes this in a storage's stead."""
    match persistent:
        case ("storage", _Name(kind), str(key), str(), int(count), *views) if (
            kind in KINDS and 0 <= count < _LARGEST and views in ([], [None])
        ):
            return Storage(key, KINDS[kind], count)
    raise OddError("refers to numbers in a way that weights never need")


def _made(name: Any, arguments: Any) -> Any:
    """Return what a call of one of the three known names stands for."""
    match name, arguments:
        case _Name(text), () if text == _TABLE:
            return {}
        case _Name(text), (Tensor() as tensor, *_) if text == _PARAMETER:
            return tensor
        case _Name(text), (Storage() as storage, offset, tuple(shape), tuple(strides), *_) if (
            text == _TENSOR
            and all(type(n) is int and 0 <= n < _LARGEST for n in (offset, *shape, *strides))
            and len(shape) == len(strides) <= _DIMENSIONS
        ):
            return Tensor(storage, offset, shape, strides)
    raise OddError("makes something in a way that weights never need; nothing was run")


def _fill(target: Any, items: list[Any]) -> None:
    """Put keys and values into a table; keys of other kinds could take for ever to compare."""
    if not isinstance(target, dict) or len(items) % 2:
        raise ValueError("items of what is no table")
    if not all(isinstance(key, str | int) for key in items[::2]):
        raise OddError("has a table whose keys are no names")
    target.update(zip(items[::2], items[1::2], strict=True))
