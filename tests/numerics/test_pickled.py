"""Pickled weights: the tensors of torch.load, the scores of safetensors, and nothing is run."""

from __future__ import annotations

import argparse
import collections
import json
import random
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import evil_pickles
import numpy as np
import pytest
import safetensors.torch
import torch
from evil_pickles import HEAD, TENSOR, evil, short, streamed, table, zipped

from mulgil.errors import ModelError
from mulgil.flow import Head
from mulgil.models import _checkpoints, _pickle_machine, _pickled
from mulgil.models.encoder import Encoder, EncoderSettings
from mulgil.tokenizers.subword import Subword, SubwordSettings

ZIP, STREAM = True, False
KINDS = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32),
    *(torch.int16, torch.int8, torch.uint8, torch.bool),
]
CALL = zipped(table(("w", TENSOR)))


def state() -> collections.OrderedDict[str, Any]:
    """Return a state dict with every kind, stride, offset and sharing that reads differently."""
    made = torch.Generator().manual_seed(3)
    base = torch.randn(6, 8, generator=made)
    found: collections.OrderedDict[str, Any] = collections.OrderedDict(
        {str(kind): (torch.randn(3, 5, generator=made) * 9).to(kind) for kind in KINDS}
    )
    found |= {
        "parameter": torch.nn.Parameter(torch.randn(4, generator=made)),
        "turned": base.t(),
        "a part": base[2:5, 1::3],
        "the same": base,
        "once more": base,
        "spread": torch.ones(1, 3, dtype=torch.bool).expand(4, 3),
        "one number": torch.tensor(7),
        "no rows": torch.empty(0, 4),
        "three deep": torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1),
        "steps": 12,
        "names": ["ㄱ", {"a": (1.5, None)}],
    }
    found._metadata = collections.OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    return found


def saved(value: Any, path: Path, form: bool, protocol: int = 2) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=form, pickle_protocol=protocol)
    return path


def through(path: Path) -> dict[str, torch.Tensor]:
    """Read a pickled file, write it as safetensors, and open that."""
    target = path.with_name(path.name + ".safetensors")
    target.unlink(missing_ok=True)
    _pickled.write(_pickled.read(path), target)
    opened: dict[str, torch.Tensor] = safetensors.torch.load_file(target)
    return opened


def check_same(found: dict[str, torch.Tensor], expected: dict[str, Any]) -> None:
    tensors = {key: value for key, value in expected.items() if isinstance(value, torch.Tensor)}
    assert found.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert found[key].dtype == tensor.dtype
        assert found[key].shape == tensor.shape
        assert torch.equal(found[key], tensor), key


# ---------------------------------------------------------------- the same as torch


@pytest.mark.parametrize("form", [ZIP, STREAM])
@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_are_those_of_torch(form: bool, protocol: int, tmp_path: Path) -> None:
    path = saved(state(), tmp_path / "pytorch_model.bin", form, protocol)
    # Of the other protocols torch itself reads nothing in this way.
    expected = torch.load(path, weights_only=True) if protocol == 2 else state()
    assert len(expected) == len(KINDS) + 11
    check_same(through(path), expected)


@pytest.mark.parametrize("form", [ZIP, STREAM])
def test_a_state_dict_one_level_down(form: bool, tmp_path: Path) -> None:
    plain = {"a": torch.ones(2), "b": torch.zeros(3)}
    check_same(through(saved({"epoch": 3, "state_dict": plain}, tmp_path / "x", form)), plain)
    for odd in ({"model": plain}, [torch.ones(2)], torch.ones(2), {"state_dict": [1]}, 5, {}):
        with pytest.raises(ModelError, match="holds no table of tensors"):
            _pickled.read(saved(odd, tmp_path / "odd", form))


@pytest.mark.parametrize("form", [ZIP, STREAM])
@pytest.mark.parametrize("other", ["model", "arguments", "sparse", "size", "eight"])
def test_what_is_more_than_weights_is_refused(form: bool, other: str, tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 2)
    value: Any = {
        "model": lambda: net,
        "arguments": lambda: {"args": argparse.Namespace(lr=1), "state_dict": net.state_dict()},
        "sparse": lambda: {"a": torch.eye(3).to_sparse()},
        "size": lambda: {"a": torch.ones(2), "b": torch.Size([2])},
        "eight": lambda: {"a": torch.ones(2).to(torch.float8_e4m3fn)},
    }[other]()
    with pytest.raises(ModelError, match="weights never need") as caught:
        _pickled.read(saved(value, tmp_path / "x", form))
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- checkpoints


def pickled(folder: Path, to: Path, form: bool, shards: int = 1, old_names: bool = False) -> Path:
    """Copy a checkpoint, its weights pickled."""
    shutil.copytree(folder, to)
    weights = safetensors.torch.load_file(to / "model.safetensors")
    (to / "model.safetensors").unlink()
    (to / "training_args.bin").write_bytes(zipped(evil(str(to / "canary"))["REDUCE"][0]))
    if old_names:
        new = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for key in list(weights):
            renamed = re.sub(r"LayerNorm\.(weight|bias)", lambda m: new[m[0]], key)
            weights[renamed] = weights.pop(key)
    if shards == 1:
        saved(weights, to / "pytorch_model.bin", form)
        return to
    names = {key: f"pytorch_model-0000{i % shards}.bin" for i, key in enumerate(weights)}
    for name in set(names.values()):
        saved({key: weights[key] for key in weights if names[key] == name}, to / name, form)
    index = {"metadata": {}, "weight_map": names}
    (to / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return to


def scores(folder: Path) -> Any:
    model = Encoder(EncoderSettings(pretrained=str(folder)))
    tokenizer = Subword.make(SubwordSettings(max_length=32), model.source(), [], 1)
    network = model.build(tokenizer, Head("pool", 3), "fp32", "cpu", 5)
    texts = ["정말 재밌는 영화", "돈이 아깝다"]
    return network.scores(tokenizer.encode(texts).take(np.arange(2), 8))


@pytest.mark.parametrize(
    ("form", "shards", "old_names"),
    [(ZIP, 1, False), (STREAM, 1, False), (ZIP, 3, False), (ZIP, 1, True), (STREAM, 2, True)],
)
def test_a_checkpoint_scores_as_its_safetensors_do(
    form: bool, shards: int, old_names: bool, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """CK-11: in either format, in shards, under the layers' old names; nothing else is read."""
    folder = pickled(tiny_encoder["bert"], tmp_path / "old-bert", form, shards, old_names)
    before = {path.name for path in folder.iterdir()}
    assert np.array_equal(scores(folder), scores(tiny_encoder["bert"]))
    assert {path.name for path in folder.iterdir()} == before


def test_it_is_converted_once_and_checked(
    tiny_encoder: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DA-10, CK-06: a second opening reads no pickle, a damaged copy is made again."""
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "cache"))
    folder = pickled(tiny_encoder["bert"], tmp_path / "old-bert", ZIP)
    reads: list[Path] = []
    real = _pickled.read
    monkeypatch.setattr(_pickled, "read", lambda path: reads.append(path) or real(path))
    made = _checkpoints.locate(str(folder))
    assert made.parent == tmp_path / "cache" / "converted"
    assert made.name.startswith("old-bert-")
    assert {"config.json", "tokenizer.json", "model.safetensors"} < {p.name for p in made.iterdir()}
    assert not list(made.glob("*.bin"))
    assert _checkpoints.locate(str(folder)) == made
    assert len(reads) == 1
    weights = made / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert _checkpoints.locate(str(folder)) == made
    assert weights.read_bytes() == whole
    assert len(reads) == 2
    config = folder / "config.json"
    config.write_text(config.read_text("utf-8") + " ")
    assert _checkpoints.locate(str(folder)) != made, "its files are part of the key"


def test_no_half_of_a_conversion_stays(
    tiny_encoder: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "cache"))
    folder = pickled(tiny_encoder["bert"], tmp_path / "old-bert", ZIP, shards=2)
    (folder / "pytorch_model-00001.bin").write_bytes(CALL[:-1])
    with pytest.raises(ModelError, match=r"pytorch_model-00001\.bin: is cut short"):
        _checkpoints.locate(str(folder))
    assert list((tmp_path / "cache" / "converted").iterdir()) == []
    shutil.copy(folder / "pytorch_model-00000.bin", folder / "pytorch_model-00001.bin")
    with pytest.raises(ModelError, match="once more"):
        _checkpoints.locate(str(folder))


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ('{"weight_map": {"a": "../pytorch_model.bin"}}', r"names '\.\./pytorch_model\.bin'"),
        ('{"weight_map": {"a": "/etc/model.bin"}}', "names '/etc/model.bin'"),
        ('{"weight_map": {"a": "c:\\\\\\\\x.bin"}}', "where names of .bin files"),
        ('{"weight_map": {"a": "optimizer.pt"}}', "where names of .bin files"),
        ('{"weight_map": {"a": "x.bin\\u0000"}}', "where names of .bin files"),
        ('{"weight_map": {"a": "x.bin"}}', r"names x\.bin, which is not there"),
        ('{"weight_map": {"a": 5}}', "is no index"),
        ('{"weight_map": {}}', "names no file"),
        ('{"weight_map": []}', "is no index"),
        ("[" * 100_000, "is no index"),
        ("\xff", "is no index"),
        (None, r"neither \*\.safetensors nor pytorch_model\.bin"),
    ],
)
def test_an_index_that_names_other_files_is_refused(
    index: str | None, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "training_args.bin").write_bytes(CALL)
    (tmp_path / "pytorch_model.bin").write_bytes(CALL)
    if index is not None:
        (folder / "pytorch_model.bin.index.json").write_bytes(index.encode("latin-1"))
    with pytest.raises(ModelError, match=said) as caught:
        _checkpoints.locate(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("has", [{"model.safetensors", "pytorch_model.bin"}, {"pytorch_model.bin"}])
def test_the_hub_gives_pickled_weights_only_where_it_has_no_others(
    has: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's client is a stand-in here; what it is asked for is what counts."""
    import fnmatch

    import huggingface_hub

    has = has | {"config.json", "vocab.txt", "training_args.bin", "flax_model.msgpack"}
    folder = tmp_path / "snapshot"
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "cache"))
    folder.mkdir()

    def download(name: str, allow_patterns: list[str]) -> str:
        assert name == "somebody/old-bert"
        for each in has:
            if any(fnmatch.fnmatch(each, pattern) for pattern in allow_patterns):
                (folder / each).write_bytes(b"{}" if each.endswith("json") else CALL)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    found = _checkpoints.locate("somebody/old-bert")
    brought = {path.name for path in folder.iterdir()}
    if "model.safetensors" in has:
        assert found == folder
        assert brought == {"config.json", "vocab.txt", "model.safetensors"}
    else:
        assert found.name.startswith("old-bert-")
        assert brought == {"config.json", "vocab.txt", "pytorch_model.bin"}
        assert safetensors.torch.load_file(found / "model.safetensors")["w"].tolist() == [0.0]


# ---------------------------------------------------------------- what is refused

EVIL = sorted(evil("x"))
WATCHED = """
import json, sys
from pathlib import Path

seen = []
sys.addaudithook(lambda name, _: seen.append(name) if name.startswith("pickle.") else None)
from mulgil.errors import ModelError
from mulgil.models import _pickled

said = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        said[path.name] = f"read: {sorted(_pickled.read(path))}"
    except ModelError as error:
        said[path.name] = str(error)
loaded = sorted({"torch", "os.path"} & sys.modules.keys())
print(json.dumps([said, seen, loaded]))
"""


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    """CK-11, SV-19, G12: every kind in both formats; no canary, no audit event, no torch."""
    canary, files = tmp_path / "canary", tmp_path / "files"
    files.mkdir()
    kinds = evil(str(canary))
    for number, kind in enumerate(EVIL):
        (files / f"{number}-zip").write_bytes(zipped(kinds[kind][0]))
        (files / f"{number}-stream").write_bytes(streamed(kinds[kind][0]))
        (files / f"{number}-bare").write_bytes(kinds[kind][0])
    (files / "weights").write_bytes(CALL)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(files)], capture_output=True, text=True, check=True
    )
    said, seen, loaded = json.loads(done.stdout)
    assert said.pop("weights") == "read: ['w']"
    assert not canary.exists()
    assert seen == []
    assert loaded == ["os.path"], "torch is not needed to read them"
    for number, kind in enumerate(EVIL):
        for form in ("zip", "stream"):
            assert re.search(kinds[kind][1], said[f"{number}-{form}"]), (kind, form, said)
        assert said[f"{number}-bare"].startswith(f"{files}/{number}-bare: ")
    assert not [line for line in said.values() if "\n" in line or len(line) > 400]


def shaped(*numbers: int, kind: bytes = b"Float", count: int = 1) -> bytes:
    """Return a table of one tensor: offset, then sizes, then as many strides."""
    wide = [b"\x8a\x09" + n.to_bytes(9, "little", signed=True) for n in (*numbers, count)]
    half = len(numbers) // 2 + 1
    sizes, strides = b"(" + b"".join(wide[1:half]) + b"t", b"(" + b"".join(wide[half:-1]) + b"t"
    storage = b"(" + short("storage") + b"ctorch\n" + kind + b"Storage\n" + evil_pickles.ZERO
    return table(
        (
            "w",
            b"ctorch._utils\n_rebuild_tensor_v2\n("
            + (storage + wide[-1] + b"tQ" + wide[0] + sizes + strides + b"\x89}tR"),
        )
    )


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (shaped(1, 1, 1), "w reaches beyond"),
        (shaped(0, 2, 1), "w reaches beyond"),
        (shaped(0, 2, 2, 1, 0), "w reaches beyond"),
        (shaped(0, 2, 1, count=2), "w reaches beyond"),
        (shaped(0, 1, 1, kind=b"Double"), "damaged"),
        (shaped(-1, 1, 1), "makes something"),
        (shaped(0, -1, 1), "makes something"),
        (shaped(0, 2, -1), "makes something"),
        (shaped(0, 1 << 39, 0), "would grow to more than 8 times"),
        (shaped(0, *[1 << 39] * 3, *[0] * 3), "would grow to more than 8 times"),
        (shaped(0, *[1] * 33, *[0] * 33), "makes something"),
        (shaped(0, 1 << 60, 0), "makes something"),
        (shaped(0, *[1 << 39, 1 << 39, 0], *[0] * 3), "damaged"),
        (table(("\n", TENSOR)), "without a proper name"),
        (table(("__metadata__", TENSOR)), "without a proper name"),
        (HEAD + b"}K\x05" + TENSOR + b"s.", "without a proper name"),
        (table(("a", TENSOR), ("b", TENSOR.replace(b"Float", b"Int"))), "two types"),
    ],
)
def test_sizes_that_lie_are_refused_before_anything_is_copied(
    program: bytes, said: str, tmp_path: Path
) -> None:
    """CK-11, CK-13: beyond the numbers, negative, endless, or more than a file can stand for."""
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(zipped(program))
    with pytest.raises(ModelError, match=said) as caught:
        _pickled.read(path)
    assert "\n" not in str(caught.value)


def test_endless_instructions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _pickle_machine._MOST == 1_000_000, "which takes seconds and 60 MB"
    monkeypatch.setattr(_pickle_machine, "_MOST", 100)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(zipped(HEAD + b"N" * 98 + b"."))
    with pytest.raises(ModelError, match="holds no table"):
        _pickled.read(path)
    path.write_bytes(zipped(HEAD + b"N" * 99 + b"."))
    with pytest.raises(ModelError, match="more than 100 instructions"):
        _pickled.read(path)


def test_bombs_and_strangers_are_refused(tmp_path: Path) -> None:
    """CK-11: what unpacks to more, the other byte order, other files under this name."""
    good = table(("w", TENSOR))
    beginning = evil_pickles.pickle.dumps(evil_pickles.MAGIC, 2)
    cases = {
        "is packed": zipped(good, bytes(1 << 26), packed=zipfile.ZIP_DEFLATED),
        "more than 32 MiB": zipped(HEAD + bytes(33 << 20)),
        "other byte order": zipped(good, order="big"),
        "byte order": streamed(good, little=False),
        "not one of weights": zipped(good).replace(b"data.pkl", b"daba.pkl"),
        "another beginning": evil_pickles.pickle.dumps({"a": 1}),
        "not written": b"version https://git-lfs.github.com/spec/v1\n",
        "written by torch.save": beginning + beginning,
        "is empty": b"",
    }
    for said, content in cases.items():
        path = tmp_path / "pytorch_model.bin"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=said) as caught:
            _pickled.read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", [ZIP, STREAM])
def test_every_cut_and_every_flipped_byte(form: bool, tmp_path: Path) -> None:
    """CK-06, CK-11: an error of ours or tensors; the same tensors wherever there are checksums."""
    value = {"a": torch.arange(6, dtype=torch.int16)[1:5].reshape(2, 2).t()}
    path = saved(value, tmp_path / "x", form)
    whole, expected = path.read_bytes(), _pickled.read(path)["a"]
    draw, read = random.Random(7), 0
    damaged = [whole[:place] for place in range(len(whole))]
    for place, byte in enumerate(whole):
        flipped = byte ^ draw.choice([0xFF, *(1 << bit for bit in range(8))])
        damaged.append(whole[:place] + bytes([flipped]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        try:
            found = _pickled.read(path)
        except ModelError:
            continue
        read += 1
        assert sum(weight.bits.nbytes for weight in found.values()) <= 8 * len(content)
        if form == ZIP:
            assert found.keys() == {"a"}
            assert found["a"].kind == expected.kind
            assert np.array_equal(found["a"].bits, expected.bits)
    assert 0 < read < len(damaged)
