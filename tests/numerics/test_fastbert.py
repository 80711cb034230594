"""FastBody against the Hugging Face forward and backward, and its dropout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mulgil.models._fastbert import FastBody, MaskPool, supports

transformers = pytest.importorskip("transformers")

KINDS = ("Bert", "Roberta", "XLMRoberta")
LENGTHS = (3, 23, 9, 1, 17)


def make(kind: str = "Bert", **changes: Any) -> nn.Module:
    settings: dict[str, Any] = {
        "vocab_size": 100,
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "max_position_embeddings": 64,
        "pad_token_id": 1,
        "attn_implementation": "eager",
        "layer_norm_eps": 1e-6,
    }
    config = getattr(transformers, f"{kind}Config")(**settings | changes)
    torch.manual_seed(0)
    body: nn.Module = getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False)
    for param in body.parameters():
        nn.init.normal_(param, std=0.1)
    return body


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(2, 100, (len(LENGTHS), max(LENGTHS)))
    mask = torch.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
    return ids.masked_fill(mask == 0, 1), mask


def gradients(body: nn.Module, output: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(2)
    body.zero_grad()
    (output * torch.randn(output.shape).to(output.dtype)).sum().backward()
    grads = {n: p.grad for n, p in body.named_parameters() if p.grad is not None}
    body.zero_grad()
    return {name: grad.to_dense() for name, grad in grads.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sparse", [False, True])
def test_the_same_hidden_states_and_gradients(kind: str, sparse: bool) -> None:
    body = make(kind).eval()
    ids, mask = batch()
    assert supports(body)
    want = body(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
    hidden, packing = FastBody(body, sparse=sparse)(ids, mask)
    got = packing.padded(hidden)
    assert torch.allclose(got, want, atol=1e-5)
    expected, found = gradients(body, want), gradients(body, got)
    assert expected.keys() == found.keys()
    for name, grad in expected.items():
        assert torch.allclose(found[name], grad, atol=1e-5 * max(1.0, float(grad.abs().max()))), (
            name
        )


def test_token_types_and_a_mask_with_holes() -> None:
    body = make().eval()
    ids, mask = batch()
    mask[1, 4:7] = 0
    mask[4, 0] = 0
    kinds = (torch.arange(ids.shape[1])[None] > 5).long().expand_as(ids)
    want = body(input_ids=ids, attention_mask=mask, token_type_ids=kinds).last_hidden_state
    hidden, packing = FastBody(body)(ids, mask, kinds)
    assert torch.allclose(packing.padded(hidden), want * mask[..., None], atol=1e-5)


def test_pooling() -> None:
    body = make().eval()
    ids, mask = batch()
    hidden, packing = FastBody(body)(ids, mask)
    padded = packing.padded(hidden)
    mean = padded.sum(1) / mask.sum(1, keepdim=True)
    assert torch.allclose(packing.mean(hidden), mean, atol=1e-6)
    assert torch.equal(packing.leading(hidden), padded[:, 0])


def test_a_dropout_gradient_matches_a_finite_difference() -> None:
    body = make(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3).double().train()
    fast = FastBody(body)
    ids, mask = batch()

    def loss() -> Tensor:
        fast.masks.seek(7)
        hidden, packing = fast(ids, mask)
        return (packing.padded(hidden) ** 3).sum()

    loss().backward()
    for name in (
        "encoder.layer.0.attention.self.query.weight",
        "encoder.layer.0.output.dense.bias",
        "encoder.layer.1.attention.output.LayerNorm.weight",
        "embeddings.LayerNorm.bias",
        "encoder.layer.0.intermediate.dense.weight",
        "encoder.layer.0.attention.self.value.bias",
    ):
        param = body.get_parameter(name)
        assert param.grad is not None
        direction = torch.randn_like(param)
        with torch.no_grad():
            param += 1e-5 * direction
            above = float(loss())
            param -= 2e-5 * direction
            below = float(loss())
            param += 1e-5 * direction
        want = float((param.grad * direction).sum())
        assert (above - below) / 2e-5 == pytest.approx(want, rel=1e-4), name


def test_frozen_parameters_get_no_gradient() -> None:
    body = make().eval()
    ids, mask = batch()
    full = gradients(body, (lambda h, p: p.mean(h))(*FastBody(body)(ids, mask)))
    for param in body.get_submodule("embeddings").parameters():
        param.requires_grad_(False)
    for param in body.get_submodule("encoder.layer.0").parameters():
        param.requires_grad_(False)
    part = gradients(body, (lambda h, p: p.mean(h))(*FastBody(body)(ids, mask)))
    assert part
    assert all(name.startswith("encoder.layer.1.") for name in part)
    assert all(torch.allclose(full[name], grad, atol=1e-6) for name, grad in part.items())


def test_bfloat16_is_close() -> None:
    body = make().eval()
    ids, mask = batch()
    hidden, packing = FastBody(body)(ids, mask)
    want = packing.padded(hidden)
    body.to(torch.bfloat16)
    hidden, packing = FastBody(body)(ids, mask)
    assert hidden.dtype is torch.bfloat16
    assert float((packing.padded(hidden).float() - want).detach().abs().max()) < 0.1


@pytest.mark.parametrize(
    "changes", [{"hidden_act": "relu"}, {"is_decoder": True}, {"chunk_size_feed_forward": 2}]
)
def test_odd_configurations_are_refused(changes: dict[str, Any]) -> None:
    body = make(**changes)
    assert not supports(body)
    with pytest.raises(ValueError, match="supports"):
        FastBody(body)


def test_odd_modules_are_refused() -> None:
    body = make()
    setattr(body.get_submodule("encoder.layer.0.output"), "dense", nn.Identity())  # noqa: B010
    assert not supports(body)
    assert not supports(nn.Linear(2, 2))
    hooked = make()
    hooked.get_submodule("embeddings").register_forward_hook(lambda *_: None)
    assert not supports(hooked)


def test_masks_depend_on_seed_and_step_alone() -> None:
    like = torch.empty(0)
    one, two = MaskPool(3), MaskPool(3)
    one.seek(40)
    first = [one.take((64, 48), 0.1, like), one.take((200, 48), 0.1, like)]
    two.seek(1)
    two.take((2000, 48), 0.1, like)
    two.seek(40)
    again = [two.take((64, 48), 0.1, like), two.take((200, 48), 0.1, like)]
    for a, b in zip(first, again, strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)
    other = MaskPool(4)
    other.seek(40)
    mask = other.take((64, 48), 0.1, like)
    assert mask is not None
    assert first[0] is not None
    assert not torch.equal(mask, first[0])
    assert one.take((3,), 0.0, like) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_keep_the_mean(dtype: torch.dtype) -> None:
    pool = MaskPool(0)
    pool.seek(5)
    mask = pool.take((1000, 1000), 0.1, torch.empty(0, dtype=dtype))
    assert mask is not None
    assert float(mask.double().mean()) == pytest.approx(1.0, abs=0.002)
    assert float((mask == 0).double().mean()) == pytest.approx(0.1, abs=0.003)
