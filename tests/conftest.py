"""What every test stands on: no network, a cache of its own, one thread, tiny checkpoints."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Before anything imports torch or the hub's client: both read these when they are imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

hypothesis.settings.register_profile(
    "mulgil",
    database=None,
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("mulgil")

DATA = os.environ.get("MULGIL_DATA", "")
READ_IT_THEMSELVES = {"test_datasets_remote", "test_delimited"}
"""Test modules that look at MULGIL_DATA on their own, and skip with a reason without it."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(host: Any) -> Address | None:
    """Return the address that a host is written as (also `2130706433`), None for a name."""
    name = (host.decode() if isinstance(host, bytes) else str(host or "0.0.0.0")).partition("%")[0]
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except OSError:
        return None


def _outside(host: Any) -> bool:
    """Say whether a host is another machine."""
    found = _address(host)
    if found is None:
        return host not in {"localhost", b"localhost"}
    return not (found.is_loopback or found.is_unspecified)


def _guarded(name: str, place: int) -> Callable[..., Any]:
    """Return a socket's method that refuses other machines; the address is argument `place`."""
    real = getattr(socket.socket, name)

    def method(self: socket.socket, *arguments: Any) -> Any:
        address = arguments[place] if len(arguments) > abs(place) - 1 else None
        if isinstance(address, tuple) and _outside(address[0]):
            pytest.fail(f"a test opened a socket to {address}")
        return real(self, *arguments)

    return method


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Fail a test that opens a socket to another machine, or asks for its address."""
    lookup = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **keywords: Any) -> Any:
        if _address(host) is None and _outside(host):
            pytest.fail(f"a test asked for the address of {host}")
        return lookup(host, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        for name, place in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
            patch.setattr(socket.socket, name, _guarded(name, place))
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


@pytest.fixture(autouse=True, scope="session")
def own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the encoded rows of the tests out of the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULGIL_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def no_data(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take MULGIL_DATA away from every test that does not ask for `data_folder`."""
    module = request.module.__name__.rpartition(".")[2] if request.module else ""
    if "data_folder" not in request.fixturenames and module not in READ_IT_THEMSELVES:
        monkeypatch.delenv("MULGIL_DATA", raising=False)


@pytest.fixture
def data_folder() -> Path:
    """Return the folder of published data, or skip the test."""
    if not DATA:
        pytest.skip("MULGIL_DATA does not name a folder with the published files")
    return Path(DATA)


# ---------------------------------------------------------------- tiny checkpoints


@pytest.fixture(scope="session")
def korean_texts() -> list[str]:
    """Return the texts of the bundled sample."""
    from mulgil.datasets.sample import Sample

    return [getattr(row, "text", "") for row in Sample(Sample.Settings()).read({}).rows["all"]]


@pytest.fixture(scope="session")
def tiny_encoder(
    tmp_path_factory: pytest.TempPathFactory, korean_texts: list[str]
) -> dict[str, Path]:
    """Return folders of tiny checkpoints with random weights and a WordPiece tokenizer.

    Names: bert (with its pooler), bert-no-pooler, roberta, electra, distilbert.
    """
    import torch
    import transformers
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.manual_seed(20)
    bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    roberta = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]  # the order of Korean RoBERTas
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 80,
        "initializer_range": 0.2,
    }
    others = {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 64,
        "max_position_embeddings": 80,
        "initializer_range": 0.2,
    }
    kinds = {
        "bert": ("BertConfig", "BertModel", sizes, bert),
        "bert-no-pooler": ("BertConfig", "BertForMaskedLM", sizes, bert),
        "roberta": ("RobertaConfig", "RobertaForMaskedLM", sizes, roberta),
        "electra": ("ElectraConfig", "ElectraForPreTraining", sizes | {"embedding_size": 16}, bert),
        "distilbert": ("DistilBertConfig", "DistilBertForMaskedLM", others, bert),
    }
    folders = {}
    for name, (config_class, model_class, chosen, specials) in kinds.items():
        folder = tmp_path_factory.mktemp("checkpoints") / name
        tokenizer = _wordpiece(korean_texts, specials)
        config = getattr(transformers, config_class)(
            **chosen, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id
        )
        getattr(transformers, model_class)(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folders[name] = folder
    return folders


def _wordpiece(texts: list[str], specials: list[str]) -> Any:
    """Return a transformers tokenizer of the most frequent words and characters of the texts."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = Counter(letter for text in texts for letter in text if not letter.isspace())
    words = Counter(word for text in texts for word in text.split())
    pieces = [*specials, *(letter for letter, _ in letters.most_common(500))]
    pieces += [f"##{letter}" for letter, _ in letters.most_common(500)]
    pieces += [word for word, _ in words.most_common(300)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = tokenizers.decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
