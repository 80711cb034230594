"""The encoder-decoder as a network: how likely a text is after another, and writing one.

Chosen: every architecture runs as transformers wrote it, up to what its vocabulary sees, and only
the places that are asked for go on from there (`_vocabulary`). A model that does more behind that
product than add a bias (a soft cap) is found out by a probe of eight tokens when it is opened, and
computes its own scores of all places; the same probe refuses one that reads ahead, or that does not
look at what its encoder reads. No body is packed here: padding is computed, then passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Blanks, Given, Segment
from mulgil.models import _checkpoints, _seq2seq_choosing, _sides, _together
from mulgil.models._choosing import tokens
from mulgil.models._language import PART, Asked, parts
from mulgil.models._writing import WritingNetwork

_SCORES = 1 << 27
"""Scores that are made at once where the module computes its own."""


class Seq2SeqNetwork(WritingNetwork):
    """Reads a text, says how likely tokens of another are, and writes one.

    Args:
        module: a transformers model with an encoder and a decoder.
        precision: "fp32" or "bf16"; training keeps fp32 masters either way.
        device: "cpu" or "cuda".

    Attributes:
        closing: what the tokenizer puts behind a text, which stands behind a question too.

    Raises:
        ModelError: the module cannot run on tokens alone, reads ahead, or ignores its encoder.
    """

    closing: Sequence[int] = ()

    def __init__(self, module: Any, precision: str, device: str) -> None:
        encoder = module.get_encoder()
        if isinstance(getattr(encoder, "pooler", None), nn.Module):
            encoder.pooler = None  # nothing reads it, so it would never learn
        super().__init__(module, encoder, precision, device)
        self.begins: int = _start(module)
        shift = getattr(module, "final_logits_bias", None)  # [1, V], of the BART family
        self._shift: Tensor | None = shift[0] if shift is not None and shift.any() else None
        self._straight = self._probe()

    @property
    def outputs(self) -> int:
        return len(self.module.get_output_embeddings().weight)

    # ------------------------------------------------------------ likelihoods

    def _words(self) -> tuple[Tensor, Tensor | None] | None:
        return self._layer() if self._straight else None

    def _layer(self) -> tuple[Tensor, Tensor | None]:
        """Return weight [V, H] and bias [V] of the vocabulary, what is added behind it included."""
        layer: Any = self.module.get_output_embeddings()
        weight, bias, shift = layer.weight, getattr(layer, "bias", None), self._shift
        if shift is not None:
            bias = shift.to(weight.dtype) if bias is None else bias + shift.to(bias.dtype)
        return weight, bias

    def _asked(self, inputs: Blanks) -> Asked:
        size = PART if self._straight else max(_SCORES // self.outputs, 1)
        for part in parts(inputs, size):
            targets = torch.from_numpy(part.targets).to(self.device)
            asked = targets != UNASKED
            tensors = self._sides(part)
            found = self._before_words if self._straight else self._all_words
            yield found(tensors, asked), targets[asked]

    def _sides(self, inputs: Blanks) -> dict[str, Tensor]:
        """Return what both sides read; the decoder's is its targets, one place further right."""
        if inputs.given is None:
            raise ModelError("an encoder-decoder reads one text and writes another; give it both")
        read = np.empty_like(inputs.ids)
        read[:, 0], read[:, 1:] = self.begins, inputs.ids[:, :-1]
        mask = np.arange(read.shape[1]) < inputs.lengths[:, None]
        return self._tensors(inputs.given) | {
            "decoder_input_ids": torch.from_numpy(read).to(self.device),
            # Given even where the padding is behind: else some guess it from the padding token,
            # which may also be the one that they start with.
            "decoder_attention_mask": torch.from_numpy(mask.astype(np.int64)).to(self.device),
        }

    def _run(self, tensors: dict[str, Tensor]) -> Any:
        return self.module(**tensors, use_cache=False)

    @property
    def sort(self) -> str:
        return "SEQ_2_SEQ_LM"

    def _probe(self) -> bool:
        """Say whether the scores are one product of what the vocabulary sees, and a bias.

        Raises:
            ModelError: the module cannot run on tokens alone, reads ahead, or ignores its encoder.
        """
        name = type(self.module).__name__
        self.module.eval()
        with torch.inference_mode():
            try:
                ids = torch.arange(1, 9, device=self.device)[None] * 7919 % self.outputs  # [1, 8]
                asked = torch.ones_like(ids, dtype=torch.bool)
                plain = _both(ids, ids)
                scores = self._all_words(plain, asked)  # [8, V]
                before = self._all_words(_both(ids, ids[:, :-1]), asked[:, :-1])
                other = self._all_words(_both((ids + 1) % self.outputs, ids), asked)
            except Exception as error:  # whatever an architecture says that wants other inputs
                reason = " ".join(str(error).split())[:200]
                raise ModelError(
                    f"model.pretrained: {name} cannot run on tokens alone ({reason}); use an"
                    " encoder-decoder for text, such as T5 or BART"
                ) from error
            if not torch.allclose(scores[:-1], before, atol=1e-3, rtol=1e-3):
                raise ModelError(
                    f"model.pretrained: the decoder of {name} reads ahead, so it cannot say how"
                    " likely a text is; use one such as T5 or BART"
                )
            if torch.equal(scores, other):
                raise ModelError(
                    f"model.pretrained: the decoder of {name} does not look at what its encoder"
                    " reads; use one such as T5 or BART"
                )
            if not isinstance(self.module.get_output_embeddings(), nn.Linear):
                return False
            try:
                found = nn.functional.linear(self._before_words(plain, asked), *self._layer())
            except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
                return False  # its vocabulary sees something of another shape
        return found.shape == scores.shape and torch.allclose(found, scores, atol=1e-4, rtol=1e-4)

    def choose(
        self, prefix: Segment, queries: Sequence[Segment], choices: Sequence[Segment]
    ) -> Array:
        before = tokens(prefix)
        read = [[*before, *tokens(query), *self.closing] for query in queries]
        with self._answering():
            return _seq2seq_choosing.choose(self.module, self.begins, read, [*map(tokens, choices)])

    # ------------------------------------------------------------ new text

    def _room(self, prompts: list[list[int]], most: int) -> tuple[list[list[int]], int]:
        """A prompt that is too long loses its end."""
        config = self.module.config.to_dict()
        sides = (_sides.longest(config, side) for side in ("encoder", "decoder"))
        reads, writes = (None if most is None else most - self._taken for most in sides)
        return [prompt[:reads] for prompt in prompts], most if writes is None else min(most, writes)

    def _measured(self, prompts: list[list[int]], fresh: list[list[int]]) -> list[list[float]]:
        """Return ln p of each new token."""
        ids, lengths = _together.padded(fresh)
        places = np.arange(ids.shape[1]) < lengths[:, None]
        targets = np.where(places, ids, UNASKED)
        given = Given(*_together.padded(prompts))
        nats, _ = self.nats(Blanks(ids, lengths, targets, np.zeros(len(ids)), given))
        return [(-part).tolist() for part in np.split(nats, np.cumsum(lengths)[:-1])]


def _start(module: Any) -> int:
    """Return the token that the decoder begins with."""
    config = module.config
    side = getattr(config, "decoder", None)  # T5Gemma's says it there
    told = (
        getattr(config, "decoder_start_token_id", None),
        getattr(side, "bos_token_id", None),
        getattr(config, "bos_token_id", None),
        getattr(config, "pad_token_id", None),
    )
    found = next((token for token in told if token is not None), None)
    if found is None:
        raise ModelError(
            f"model.pretrained: {type(module).__name__} does not say what its decoder begins with;"
            " set decoder_start_token_id in its config.json"
        )
    return int(found)


def _both(given: Tensor, read: Tensor) -> dict[str, Tensor]:
    """Return what both sides read, without padding."""
    return {
        "input_ids": given,
        "attention_mask": torch.ones_like(given),
        "decoder_input_ids": read,
        "decoder_attention_mask": torch.ones_like(read),
    }


# ---------------------------------------------------------------- where networks come from


def fresh(chosen: Any, tokenizer: Any, precision: str, device: str) -> Seq2SeqNetwork:
    """Return a T5 of the chosen sizes, on each side, with random weights."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        d_model=chosen.hidden,
        num_layers=chosen.layers,
        num_heads=chosen.heads,
        d_kv=chosen.hidden // chosen.heads,
        d_ff=chosen.intermediate or 4 * chosen.hidden,
        dropout_rate=chosen.fresh_dropout,
        **_marks(tokenizer),
    )
    return Seq2SeqNetwork(T5ForConditionalGeneration(config), precision, device)


def warm(
    folder: Path, tokenizer: Any, precision: str, device: str, known: bool = True
) -> Seq2SeqNetwork:
    """Return an encoder-decoder whose sides both start from one encoder.

    Args:
        folder: the encoder's checkpoint.
        tokenizer: names the special tokens.
        precision: "fp32" or "bf16".
        device: "cpu" or "cuda".
        known: keep what it has learnt.

    Raises:
        ModelError: it is not whole, or its architecture cannot look at another side.
    """
    from transformers import AutoModel, AutoModelForCausalLM, EncoderDecoderModel, GenerationConfig

    encoder, info = _checkpoints.opened(AutoModel, folder)
    _checkpoints.whole(info, folder)
    decoder, info = _checkpoints.opened(
        AutoModelForCausalLM, folder, is_decoder=True, add_cross_attention=True
    )
    info["missing_keys"] = {n for n in info["missing_keys"] if ".crossattention." not in n}
    _checkpoints.whole(info, folder, f"{decoder.base_model_prefix}.")
    for side in (encoder, decoder):
        side.config.name_or_path = ""  # a saved run does not tell where this one began
    try:
        with _checkpoints.quiet():
            module = EncoderDecoderModel(encoder=encoder, decoder=decoder)
            if not known:
                module = EncoderDecoderModel(module.config)
    except ValueError as error:
        raise ModelError(
            f"model.encoder: {folder.name}: {type(decoder).__name__} cannot look at another side;"
            " take an encoder such as bert, roberta or electra"
        ) from error
    for name, value in (_marks(tokenizer) | {"vocab_size": decoder.config.vocab_size}).items():
        setattr(module.config, name, value)
    module.generation_config = GenerationConfig.from_model_config(module.config)
    return Seq2SeqNetwork(module, precision, device)


def _marks(tokenizer: Any) -> dict[str, Any]:
    """Return the tokenizer's size and special tokens, as a config names them."""
    special = tokenizer.special_ids
    begin = special.get("bos", special.get("cls"))
    return {
        "vocab_size": tokenizer.size,
        "bos_token_id": begin,
        "eos_token_id": special.get("eos", special.get("sep")),
        "pad_token_id": special["pad"],
        "decoder_start_token_id": special["pad"] if begin is None else begin,
    }


def pretrained(folder: Path, precision: str, device: str, known: bool = True) -> Seq2SeqNetwork:
    """Open an encoder-decoder; not `known`, its weights are random again."""
    from transformers import AutoModelForSeq2SeqLM

    module, info = _checkpoints.opened(AutoModelForSeq2SeqLM, folder)
    _checkpoints.whole(info, folder)
    return Seq2SeqNetwork(module if known else type(module)(module.config), precision, device)


def saved(folder: Path, precision: str, device: str) -> Seq2SeqNetwork:
    """Open what `Seq2SeqNetwork.save` wrote."""
    network = pretrained(folder, precision, device)
    network.answers_only()
    return network
