"""FastGpt against the Hugging Face forward and backward, and what a row may see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mulgil.models._fastgpt import FastGpt, supports

transformers = pytest.importorskip("transformers")

LENGTHS = (3, 23, 9, 1, 17)


def make(**changes: Any) -> nn.Module:
    settings: dict[str, Any] = {
        "vocab_size": 100,
        "n_embd": 48,
        "n_layer": 2,
        "n_head": 4,
        "n_inner": 96,
        "n_positions": 64,
        "layer_norm_epsilon": 1e-6,
        "attn_implementation": "eager",
    }
    torch.manual_seed(0)
    body: nn.Module = transformers.GPT2Model(transformers.GPT2Config(**settings | changes))
    for param in body.parameters():
        nn.init.normal_(param, std=0.1)
    return body


def batch(lengths: tuple[int, ...] = LENGTHS) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(2, 100, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return ids.masked_fill(mask == 0, 1), mask


def gradients(body: nn.Module, output: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(2)
    body.zero_grad()
    (output * torch.randn(output.shape).to(output.dtype)).sum().backward()
    grads = {n: p.grad for n, p in body.named_parameters() if p.grad is not None}
    body.zero_grad()
    return grads


@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_same_hidden_states_and_gradients(activation: str, implementation: str) -> None:
    body = make(activation_function=activation, attn_implementation=implementation).eval()
    ids, mask = batch()
    assert supports(body)
    want = body(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
    hidden, packing = FastGpt(body)(ids, mask)
    got = packing.padded(hidden)
    assert torch.allclose(got, want, atol=1e-5)
    expected, found = gradients(body, want), gradients(body, got)
    assert expected.keys() == found.keys() == dict(body.named_parameters()).keys()
    for name, grad in expected.items():
        assert float(grad.abs().max()) > 0, name
        assert float((found[name] - grad).norm() / grad.norm()) < 1e-4, name


def test_many_rows_in_many_blocks() -> None:
    body = make().eval()
    ids, mask = batch(tuple(1 + 7 * i % 60 for i in range(40)))
    hidden, packing = FastGpt(body)(ids, mask)
    assert packing.bias.shape[0] > 1
    want = body(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
    assert torch.allclose(packing.padded(hidden), want, atol=1e-5)


def test_a_row_sees_neither_other_rows_nor_what_lies_ahead() -> None:
    """EV-05: rows share a block, and stay strangers."""
    body = make().eval()
    fast = FastGpt(body)
    ids, mask = batch()
    before, packing = fast(ids, mask)
    assert packing.bias.shape[0] < len(LENGTHS)
    changed = ids.clone()
    changed[1, 11:] = 99 - changed[1, 11:]
    after, packing = fast(changed, mask)
    moved = packing.padded((after - before).detach()).abs().amax(2)  # [B, L]
    same = torch.ones_like(mask, dtype=torch.bool)
    same[1, 11:] = False
    assert float(moved[same].max()) < 1e-6
    assert float(moved[1, 11:].min()) > 1e-3


def test_a_dropout_gradient_matches_a_finite_difference() -> None:
    body = make(embd_pdrop=0.1, resid_pdrop=0.2, attn_pdrop=0.3).double().train()
    fast = FastGpt(body)
    ids, mask = batch()

    def loss(call: int = 7) -> Tensor:
        fast.masks.seek(call)
        hidden, packing = fast(ids, mask)
        return (packing.padded(hidden) ** 3).sum()

    loss().backward()
    with torch.no_grad():
        assert float(loss()) == float(loss())
        assert float(loss()) != float(loss(8))
    for name, param in body.named_parameters():
        assert param.grad is not None
        direction = torch.randn_like(param)
        with torch.no_grad():
            param += 1e-5 * direction
            above = float(loss())
            param -= 2e-5 * direction
            below = float(loss())
            param += 1e-5 * direction
        want = float((param.grad * direction).sum())
        assert (above - below) / 2e-5 == pytest.approx(want, rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("name", ["attn_pdrop", "resid_pdrop", "embd_pdrop"])
def test_every_dropout_is_applied_in_training_alone(name: str) -> None:
    rates = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0} | {name: 0.5}
    body = make(**rates)
    fast = FastGpt(body)
    ids, mask = batch()
    body.eval()
    still = fast(ids, mask)[0].detach()
    assert torch.equal(still, fast(ids, mask)[0])
    body.train()
    assert float((fast(ids, mask)[0].detach() - still).abs().max()) > 1e-3


def test_frozen_parameters_get_no_gradient() -> None:
    body = make().eval()
    ids, mask = batch()
    full = gradients(body, FastGpt(body)(ids, mask)[0])
    frozen = ("wte", "wpe", "h.0", "h.1.attn.c_attn", "h.1.ln_1")
    for name in frozen:
        for param in body.get_submodule(name).parameters():
            param.requires_grad_(False)
    part = gradients(body, FastGpt(body)(ids, mask)[0])
    assert part.keys() == {n for n in full if not n.startswith(tuple(f"{f}." for f in frozen))}
    assert all(torch.allclose(full[name], grad, atol=1e-6) for name, grad in part.items())


def test_bfloat16_is_close() -> None:
    body = make().eval()
    ids, mask = batch()
    exact = FastGpt(body)(ids, mask)[0]
    expected = gradients(body, exact)
    body.to(torch.bfloat16)
    hidden = FastGpt(body)(ids, mask)[0]
    assert hidden.dtype is torch.bfloat16
    assert float((hidden.float() - exact).detach().abs().max()) < 0.1
    for name, grad in gradients(body, hidden).items():
        gap = (grad.float() - expected[name]).norm() / expected[name].norm()
        assert float(gap) < 0.06, name


@pytest.mark.parametrize(
    "changes",
    [
        {"activation_function": "relu"},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True},
        {"add_cross_attention": True},
    ],
)
def test_odd_configurations_are_refused(changes: dict[str, Any]) -> None:
    body = make(**changes)
    assert not supports(body)
    with pytest.raises(ValueError, match="supports"):
        FastGpt(body)


def test_odd_modules_are_refused() -> None:
    assert supports(make())
    assert not supports(nn.Linear(2, 2))
    body = make()
    setattr(body.get_submodule("h.0.mlp"), "c_fc", nn.Linear(48, 96))  # noqa: B010
    assert not supports(body)
    hooked = make()
    hooked.get_submodule("wte").register_forward_hook(lambda *_: None)
    assert not supports(hooked)
    careful = make()
    setattr(careful, "gradient_checkpointing", True)  # noqa: B010
    assert not supports(careful)
