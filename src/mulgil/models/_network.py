"""The encoder as a network: a transformers module with its head, fast where that is supported."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import Array, Head
from mulgil.models import _checkpoints
from mulgil.models._bodies import Body, text_vectors
from mulgil.models._fastbert import FastBody, Packing, supports
from mulgil.models._heads import HEAD_FILE, keep_head, kept_head, renew, same_labels
from mulgil.models._torch import TorchNetwork, masked_mean
from mulgil.optimizer import MasterAdamW

_RATES = ("classifier_dropout", "hidden_dropout_prob", "dropout")


class MeanPooled(nn.Module):
    """A body, the mean over its tokens (or what it pools itself), dropout, and a linear layer.

    Args:
        body: makes states of tokens.
        outputs: scores a row.
        pair: rows hold two texts, which a `Body` reads each for itself.
    """

    def __init__(self, body: nn.Module, outputs: int, pair: bool = False) -> None:
        super().__init__()
        config: Any = body.config
        rates = (getattr(config, name, None) for name in _RATES)
        rate = next((rate for rate in rates if rate is not None), 0.1)
        self.body = body
        self.dropout = nn.Dropout(float(rate))
        self.pair = pair
        width = (4 if pair else 1) * body.width if isinstance(body, Body) else config.hidden_size
        self.classifier = nn.Linear(int(width), outputs)
        nn.init.normal_(self.classifier.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(self.classifier.bias)


class EncodingNetwork(TorchNetwork):
    """An encoder whose words are read row by row: their table learns and rounds by rows."""

    def optimizer(self, weight_decay: float) -> MasterAdamW:
        made = super().optimizer(weight_decay)
        if isinstance(self._fast, FastBody):
            self._fast.before_rows = made.touch
        elif isinstance(self.body, Body):
            self.body.before_rows = made.touch
        return made

    def _layout(self) -> tuple[list[str], list[str]]:
        if isinstance(self.body, Body):
            table = self.body.table
            self.body.sparse = table is not None and table.requires_grad
            named = self.module.named_parameters() if self.body.sparse else []
            return [name for name, part in named if part is table], []
        if not isinstance(self._fast, FastBody) or self._adapter is not None:
            return [], []
        self._fast.sparse = True
        prefix = next(name for name, part in self.module.named_modules() if part is self.body)
        transposed = [f"{prefix}.{name}" for name in self._fast.transposed()]
        return [f"{prefix}.embeddings.word_embeddings.weight"], transposed

    def _read_by_rows(self) -> nn.Parameter | None:
        if isinstance(self.body, Body):
            return self.body.table
        table: nn.Parameter = self.body.get_input_embeddings().weight
        return table if self._fast is not None else None

    def scores(self, inputs: Any) -> Array:
        with self._answering():
            found: Array = self.forward(inputs).float().cpu().numpy()
            return found

    @abstractmethod
    def forward(self, inputs: Any) -> Tensor:
        """Return the head's scores, with gradients."""

    def _put_head(self, weight: Array, bias: Array) -> None:
        """Make a solved head the module's `classifier`: weight [outputs, width], bias [outputs]."""
        head = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
            head.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))
        self.module.classifier = head.to(self.device)
        if self._cast and self.dtype is not torch.float32:
            if self._whole is not None:
                self._whole |= {f"classifier.{n}": p.data for n, p in head.named_parameters()}
            head.to(self.dtype)


class EncoderNetwork(EncodingNetwork):
    """Pools a text into one vector and scores it; a decoder's is that of its last token.

    Args:
        module: `MeanPooled`, or a transformers model of the "ForSequenceClassification" sort.
        precision: "fp32" or "bf16"; training keeps fp32 masters either way.
        device: "cpu" or "cuda".
    """

    def __init__(self, module: Any, precision: str, device: str) -> None:
        self.mean = isinstance(module, MeanPooled)
        super().__init__(module, module.body if self.mean else module.base_model, precision, device)
        if supports(self.body) and self._head_known():
            self._fast = FastBody(self.body)

    @property
    def part(self) -> Any:
        return self.body if self.mean else self.module

    @property
    def sort(self) -> str:
        return "FEATURE_EXTRACTION" if self.mean else "SEQ_CLS"

    def _wrap(self, module: Any) -> None:
        if self.mean:
            self.module.body = self.body = module
        else:
            self.module = module

    def _head_known(self) -> bool:
        """Say whether the head can be run on the first token's vector alone."""
        return self.mean or type(self.module).__name__ in {
            "BertForSequenceClassification",
            "RobertaForSequenceClassification",
            "XLMRobertaForSequenceClassification",
        }

    @property
    def outputs(self) -> int:
        if self.mean:
            return int(self.module.classifier.out_features)
        return int(self.module.config.num_labels)

    def forward(self, inputs: Any) -> Tensor:
        """Return scores [B, outputs] with gradients."""
        if self._fast is None:
            return self._plain(inputs)
        hidden, packing = self._fast(**self._tensors(inputs))  # [T, H]
        return self._score(hidden, packing)

    def _score(self, hidden: Tensor, packing: Packing) -> Tensor:
        module = self.module
        if self.mean:
            scores: Tensor = module.classifier(module.dropout(packing.mean(hidden)))
            return scores
        first = packing.leading(hidden)  # [B, H]
        if type(module).__name__ == "BertForSequenceClassification":
            pooled = module.base_model.pooler(first[:, None])
            bert: Tensor = module.classifier(module.dropout(pooled))
            return bert
        roberta: Tensor = module.classifier(first[:, None])
        return roberta

    def _plain(self, inputs: Any) -> Tensor:
        """Run the module as transformers wrote it."""
        tensors = self._tensors(inputs)
        if not self.mean:
            own: Tensor = self.module(**tensors).logits
            return own
        scores: Tensor = self.module.classifier(self.module.dropout(self._pooled(tensors)))
        return scores

    def _pooled(self, tensors: dict[str, Tensor]) -> Tensor:
        if isinstance(self.body, Body):
            return text_vectors(self.body, tensors, self.module.pair)
        return masked_mean(self._states(**tensors), tensors["attention_mask"])

    def features(self, inputs: Any) -> Array:
        """Return what the head reads: float32 [B, width], of two texts [B, 4 * width]."""
        if not isinstance(self.body, Body):
            return super().features(inputs)
        with self._answering():
            found: Array = self._pooled(self._tensors(inputs)).float().cpu().numpy()
            return found

    def set_head(self, weight: Array, bias: Array) -> None:
        """Put a solved head on the mean over the tokens."""
        if not self.mean:
            raise ModelError("a solved head needs the mean over the tokens")
        self._put_head(weight, bias)

    # ------------------------------------------------------------ files

    def read_head(self, folder: Path) -> None:
        if self.mean:
            head = kept_head(folder, self.module.classifier)
            self.set_head(head["weight"].numpy(), head["bias"].numpy())

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        self._release()
        names = list(labels)
        config = self.body.config
        config.id2label = dict(enumerate(names))
        config.label2id = {name: i for i, name in enumerate(names)}
        self._write(self.part, folder)
        if self.mean:
            keep_head(folder, self.module.classifier)


def around(body: Body, outputs: int, pair: bool, precision: str, device: str) -> EncoderNetwork:
    """Put a new head on what a body pools itself."""
    return EncoderNetwork(MeanPooled(body, outputs, pair), precision, device)


def fresh(chosen: Any, tokenizer: Any, head: Head, precision: str, device: str) -> EncoderNetwork:
    """Return a BERT of the chosen sizes with random weights."""
    from transformers import BertForSequenceClassification, BertModel

    config = sizes(chosen, tokenizer, num_labels=head.outputs)
    if head.pooling == "own" and chosen.pooling == "auto":
        return EncoderNetwork(BertForSequenceClassification(config), precision, device)
    body = BertModel(config, add_pooling_layer=False)
    return EncoderNetwork(MeanPooled(body, head.outputs), precision, device)


def sizes(chosen: Any, tokenizer: Any, **more: Any) -> Any:
    """Return the config of a fresh BERT: the chosen sizes, the tokenizer's vocabulary."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=tokenizer.size,
        hidden_size=chosen.hidden,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.heads,
        intermediate_size=chosen.intermediate or 4 * chosen.hidden,
        max_position_embeddings=chosen.positions,
        hidden_dropout_prob=chosen.fresh_dropout,
        attention_probs_dropout_prob=chosen.fresh_dropout,
        pad_token_id=tokenizer.special_ids["pad"],
        **more,
    )


def pretrained(
    folder: Path, head: Head, own: bool, precision: str, device: str, known: bool = True
) -> EncoderNetwork:
    """Open a checkpoint and put a head on it.

    The head is new, its weights drawn by torch's seed, though the checkpoint may have one of the
    same size: another order of labels, or other labels, would begin with wrong answers. It is kept
    where the checkpoint's `id2label` has exactly the names of `head.labels` in the same order, as
    when a run is trained on.

    Args:
        folder: the checkpoint.
        head: what the task asks for.
        own: take the head of the checkpoint's own class where its weights are there.
        precision: "fp32" or "bf16".
        device: "cpu" or "cuda".
        known: keep what the checkpoint has learnt; else all its weights are random again.
    """
    from transformers import AutoModelForSequenceClassification

    same = known and same_labels(folder, head.labels)
    if own:
        module, info = _checkpoints.opened(
            AutoModelForSequenceClassification, folder, num_labels=head.outputs
        )
        _checkpoints.whole(info, folder, f"{module.base_model_prefix}.")
        if not any(".pooler." in key for key in info["missing_keys"]):
            module = module if known else type(module)(module.config)
            if known and not same:
                renew(module, info)
            return EncoderNetwork(module, precision, device)
    network = EncoderNetwork(MeanPooled(_body(folder, known), head.outputs), precision, device)
    if own and same and (folder / HEAD_FILE).exists():
        network.read_head(folder)
    return network


def last_token(
    folder: Path | None,
    chosen: Any,
    tokenizer: Any,
    head: Head,
    precision: str,
    device: str,
    known: bool = True,
) -> EncoderNetwork:
    """Return a decoder whose last token's vector is scored, of a checkpoint or of sizes.

    Args:
        folder: the checkpoint; None makes a GPT-2 of the chosen sizes.
        chosen: the family's settings.
        tokenizer: says which token pads, for the last one is found by it.
        head: what the task asks for.
        precision: "fp32" or "bf16".
        device: "cpu" or "cuda".
        known: keep what the checkpoint has learnt.
    """
    from transformers import GPT2ForSequenceClassification

    if folder is None:
        config = gpt2(chosen, tokenizer, num_labels=head.outputs)
        return EncoderNetwork(GPT2ForSequenceClassification(config), precision, device)
    network = pretrained(folder, head, True, precision, device, known)
    network.module.config.pad_token_id = tokenizer.special_ids["pad"]
    return network


def gpt2(chosen: Any, tokenizer: Any, **more: Any) -> Any:
    """Return the config of a fresh GPT-2: the chosen sizes, the tokenizer's vocabulary."""
    from transformers import GPT2Config

    special = tokenizer.special_ids
    return GPT2Config(
        vocab_size=tokenizer.size,
        n_embd=chosen.hidden,
        n_layer=chosen.layers,
        n_head=chosen.heads,
        n_inner=chosen.intermediate,
        n_positions=chosen.positions,
        embd_pdrop=chosen.fresh_dropout,
        attn_pdrop=chosen.fresh_dropout,
        resid_pdrop=chosen.fresh_dropout,
        bos_token_id=special.get("bos", special.get("cls")),
        eos_token_id=special.get("eos", special.get("sep")),
        pad_token_id=special.get("pad"),
        **more,
    )


def saved(folder: Path, outputs: int, precision: str, device: str) -> EncoderNetwork:
    """Open what `EncoderNetwork.save` wrote."""
    from transformers import AutoModelForSequenceClassification

    if not (folder / HEAD_FILE).exists():
        module, info = _checkpoints.opened(AutoModelForSequenceClassification, folder)
        _checkpoints.whole(info, folder, pooler=True)
        network = EncoderNetwork(module, precision, device)
    else:
        network = EncoderNetwork(MeanPooled(_body(folder), outputs), precision, device)
        network.read_head(folder)
    network.answers_only()
    return network


def _body(folder: Path, known: bool = True) -> nn.Module:
    from transformers import AutoModel

    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    pooler = {"add_pooling_layer": False} if kind in {"bert", "roberta", "xlm-roberta"} else {}
    opened: tuple[nn.Module, dict[str, Any]] = _checkpoints.opened(AutoModel, folder, **pooler)
    _checkpoints.whole(opened[1], folder)
    return opened[0] if known else type(opened[0])(opened[0].config, **pooler)
