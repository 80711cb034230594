"""Pickles that would do something if anything ran them, as bytes and in torch's two formats."""

from __future__ import annotations

import io
import pickle
import zipfile

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
HEAD = b"\x80\x02"
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQK\x00K\x01\x85K\x01\x85\x89}tR"
)
"""A tensor of one number, the storage "0"."""


def short(text: str) -> bytes:
    return b"\x8c" + len(text).to_bytes(1) + text.encode()


ZERO = short("0") + short("cpu")


def evil(canary: str) -> dict[str, tuple[bytes, str]]:
    """Return `{kind: (the pickle, what its refusal says)}`; each would make the canary."""
    command = f"touch {canary}"
    call = short(command) + b"\x85R."
    system = b"cposix\nsystem\n"
    return {
        "REDUCE": (HEAD + system + call, r"asks for the name posix\.system"),
        "REDUCE, Windows": (HEAD + b"cnt\nsystem\n" + call, r"the name nt\.system"),
        "eval": (
            HEAD + b"cbuiltins\neval\n" + short(f"open({canary!r},'w')") + b"\x85R.",
            r"the name builtins\.eval",
        ),
        "STACK_GLOBAL": (
            b"\x80\x04" + short("posix") + short("system") + b"\x93" + call,
            r"the name posix\.system",
        ),
        "a name behind a name": (
            b"\x80\x04" + short("torch") + short("serialization.os.system") + b"\x93" + call,
            r"the name torch\.serialization\.os\.system",
        ),
        "a name with a line end": (
            b"\x80\x04" + short("posix\n") + short("system") + b"\x93" + call,
            r"the name 'posix\\n\.system'",
        ),
        "a name that is none": (b"\x80\x04K\x01K\x02\x93.", r"the name \?"),
        "STRING": (b"(S'" + command.encode() + b"'\niposix\nsystem\n.", "instruction STRING"),
        "INST": (b"(iposix\nsystem\n.", "instruction INST"),
        "OBJ": (HEAD + b"(ccollections\nOrderedDict\n" + short(command) + b"o.", "OBJ"),
        "NEWOBJ": (HEAD + b"ccollections\nOrderedDict\n)\x81.", "instruction NEWOBJ"),
        "NEWOBJ_EX": (
            b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
            "instruction NEWOBJ_EX",
        ),
        "__setstate__": (
            HEAD + b"ctorch\nFloatStorage\n}" + short("__setstate__") + system + b"sb.",
            r"the name posix\.system",
        ),
        "BUILD of no table": (HEAD + b"ctorch\nFloatStorage\n}b.", "sets the state"),
        "EXT1": (HEAD + b"\x82\x01.", "instruction EXT1"),
        "EXT4": (HEAD + b"\x84\x01\x00\x00\x00.", "instruction EXT4"),
        "PERSID": (b"P" + command.encode() + b"\n.", "instruction PERSID"),
        "another persistent id": (
            HEAD + short("module") + system + b"NN(tQ.",
            r"the name posix\.system",
        ),
        "a module as persistent id": (
            HEAD + b"(" + short("module") + b"ctorch\nFloatStorage\nNNtQ.",
            "refers to numbers",
        ),
        "a text as persistent id": (HEAD + short(command) + b"Q.", "refers to numbers"),
        "a negative storage": (
            HEAD
            + b"("
            + short("storage")
            + b"ctorch\nFloatStorage\n"
            + ZERO
            + b"J\xff\xff\xff\xfftQ.",
            "refers to numbers",
        ),
        "a storage of no kind": (
            HEAD + b"(" + short("storage") + b"ccollections\nOrderedDict\n" + ZERO + b"K\x01tQ.",
            "refers to numbers",
        ),
        "a call of a storage": (HEAD + b"ctorch\nFloatStorage\nK\x05\x85R.", "makes something"),
        "a call of a text": (HEAD + short("posix.system") + call, "makes something"),
        "a table of its own items": (
            HEAD + b"ccollections\nOrderedDict\n]\x85R.",
            "makes something",
        ),
        "a tensor without numbers": (
            HEAD + b"ctorch._utils\n_rebuild_tensor_v2\n(" + short("0") + b"K\x00))tR.",
            "makes something",
        ),
        "keys without an end": (
            HEAD + b"})" + b"\x85" * 100_000 + b"K\x01s.",
            "keys are no names",
        ),
        "a whole model": (
            HEAD + b"ctransformers.models.bert.modeling_bert\nBertModel\n)\x81}b.",
            r"the name transformers\.models\.bert\.modeling_bert\.BertModel",
        ),
    }


def table(*pairs: tuple[str, bytes]) -> bytes:
    """Return the pickle of a table, whose values are given as pickles without an end."""
    return HEAD + b"}" + b"".join(short(name) + value + b"s" for name, value in pairs) + b"."


def zipped(
    program: bytes,
    numbers: bytes = bytes(4),
    order: str = "little",
    packed: int = zipfile.ZIP_STORED,
) -> bytes:
    """Return torch's zip file around a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packed) as archive:
        archive.writestr("model/data.pkl", program)
        archive.writestr("model/byteorder", order)
        archive.writestr("model/data/0", numbers)
    return file.getvalue()


def streamed(program: bytes, after: bytes = b"", little: bool = True) -> bytes:
    """Return torch's older stream around a pickle."""
    about = {"protocol_version": VERSION, "little_endian": little, "type_sizes": {}}
    head = b"".join(pickle.dumps(each, 2) for each in (MAGIC, VERSION, about))
    return head + program + after
