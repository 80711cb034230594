"""The loss over the vocabulary against torch's own cross-entropy, value and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mulgil.models import _vocabulary
from mulgil.models._vocabulary import log_probabilities, measure, nats_of

WIDTH = 24

SHAPES = [
    (1, 50, True),
    (7, 333, True),
    (97, 333, False),  # several slices, the last one of odd size
    (33, 61, True),
    (64, 61, False),  # two whole slices
    (2, 1, True),  # a vocabulary of one word: no nats, no gradient
]
"""Rows, words, and whether there is a bias."""


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 32 rows, the least, be a slice, so that small cases have several."""
    monkeypatch.setattr(_vocabulary, "_SLICE", 1)
    monkeypatch.setattr(_vocabulary, "_ROWS", 32)
    torch.set_num_threads(1)


def given(
    rows: int, words: int, bias: bool, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    draw = torch.Generator().manual_seed(rows * 1000 + words)
    hidden = torch.randn(rows, WIDTH, generator=draw).to(dtype).requires_grad_()
    weight = (torch.randn(words, WIDTH, generator=draw) * 0.5).to(dtype).requires_grad_()
    shift = torch.randn(words, generator=draw).to(dtype).requires_grad_() if bias else None
    targets = torch.randint(0, words, (rows,), generator=draw)
    return hidden, weight, shift, targets


def expected(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
) -> tuple[float, list[Tensor]]:
    """Return the loss and the gradients of torch's own way, in float64."""
    leaves = [t.detach().double().requires_grad_() for t in (hidden, weight, bias) if t is not None]
    scores = torch.nn.functional.linear(*leaves)
    loss = torch.nn.functional.cross_entropy(scores, targets, reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach()), [leaf.grad for leaf in leaves if leaf.grad is not None]


def close(found: Tensor | None, wanted: Tensor, share: float) -> bool:
    """Say whether the greatest error is at most this share of the greatest value."""
    assert found is not None
    scale = max(float(wanted.abs().max()), 1e-6)
    return float((found.double() - wanted).abs().max()) <= share * scale


@pytest.mark.parametrize(("rows", "words", "bias"), SHAPES)
def test_the_same_loss_and_gradients_as_torch(rows: int, words: int, bias: bool) -> None:
    """TR-04: float32, slices of any size."""
    hidden, weight, shift, targets = given(rows, words, bias)
    loss = nats_of(hidden, weight, shift, targets)
    assert (loss.dtype, loss.shape) == (torch.float32, ())
    value, gradients = expected(hidden, weight, shift, targets)
    assert float(loss.detach()) == pytest.approx(value, rel=1e-6, abs=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    leaves = [leaf for leaf in (hidden, weight, shift) if leaf is not None]
    for leaf, wanted in zip(leaves, gradients, strict=True):
        assert leaf.grad is not None
        assert leaf.grad.dtype == torch.float32
        assert close(leaf.grad, wanted, 1e-5)


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_the_loss_may_be_scaled_and_added(factor: float) -> None:
    """What is behind the loss reaches the gradients, as torch's own would."""
    hidden, weight, shift, targets = given(41, 90, True)
    other = given(5, 90, True)
    loss = nats_of(hidden, weight, shift, targets)
    more = nats_of(other[0], weight, shift, other[3])
    (loss * factor + more).backward()  # type: ignore[no-untyped-call]
    _, first = expected(hidden, weight, shift, targets)
    _, second = expected(other[0], weight, shift, other[3])
    assert close(hidden.grad, first[0] * factor, 1e-5)
    assert close(other[0].grad, second[0], 1e-5)
    assert shift is not None
    assert close(weight.grad, first[1] * factor + second[1], 1e-5)
    assert close(shift.grad, first[2] * factor + second[2], 1e-5)


def test_scores_far_apart_stay_finite() -> None:
    """TR-06: a word of probability 0 in float32 has a loss of 87 nats, not an infinite one."""
    hidden = torch.full((3, WIDTH), 10.0, requires_grad=True)
    weight = torch.zeros(4, WIDTH)
    weight[0] = 10.0
    weight.requires_grad_()
    loss = nats_of(hidden, weight, None, torch.tensor([1, 0, 2]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert float(loss.detach()) > 150
    for leaf in (hidden, weight):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
    nats, right = measure(hidden, weight, None, torch.tensor([1, 0, 2]))
    assert nats.tolist() == pytest.approx([2400.0, 0.0, 2400.0])
    assert right.tolist() == [False, True, False]


def test_a_number_that_is_none_is_not_hidden() -> None:
    """TR-06: the loop must see that the loss is no longer a number."""
    hidden, weight, shift, targets = given(40, 30, True)
    with torch.no_grad():
        hidden[35, 3] = float("nan")
    assert torch.isnan(nats_of(hidden, weight, shift, targets))
    assert np.isnan(measure(hidden, weight, shift, targets)[0][35])


@pytest.mark.parametrize("bias", [True, False])
def test_no_rows_are_no_loss(bias: bool) -> None:
    hidden, weight, shift, targets = given(0, 50, bias)
    loss = nats_of(hidden, weight, shift, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert weight.grad is not None
    assert not weight.grad.any()
    assert shift is None or (shift.grad is not None and not shift.grad.any())
    nats, right = measure(hidden, weight, shift, targets)
    assert (nats.shape, right.shape, right.dtype) == ((0,), (0,), np.bool_)
    assert log_probabilities(hidden, weight, shift).shape == (0, 50)


@pytest.mark.parametrize(("rows", "words", "bias"), SHAPES)
def test_figures_of_an_evaluation_agree(rows: int, words: int, bias: bool) -> None:
    hidden, weight, shift, targets = given(rows, words, bias)
    nats, right = measure(hidden, weight, shift, targets)
    chances = log_probabilities(hidden, weight, shift)
    assert nats.dtype == np.float64
    assert chances.dtype == np.float32
    assert np.exp(chances.astype(np.float64)).sum(1) == pytest.approx(np.ones(rows), abs=1e-5)
    assert nats == pytest.approx(-chances[np.arange(rows), targets.numpy()], abs=1e-5)
    assert right.tolist() == (chances.argmax(1) == targets.numpy()).tolist()
    value, _ = expected(hidden, weight, shift, targets)
    assert nats.sum() == pytest.approx(value, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize(("rows", "words", "bias"), SHAPES)
def test_bfloat16_is_close(rows: int, words: int, bias: bool) -> None:
    """Against float64 of the same rounded numbers: 1% of the loss, 3% of the greatest gradient."""
    hidden, weight, shift, targets = given(rows, words, bias, torch.bfloat16)
    loss = nats_of(hidden, weight, shift, targets)
    value, gradients = expected(hidden, weight, shift, targets)
    assert float(loss.detach()) == pytest.approx(value, rel=1e-2, abs=1e-2)
    loss.backward()  # type: ignore[no-untyped-call]
    leaves = [leaf for leaf in (hidden, weight, shift) if leaf is not None]
    for leaf, wanted in zip(leaves, gradients, strict=True):
        assert leaf.grad is not None
        assert leaf.grad.dtype == torch.bfloat16
        assert close(leaf.grad, wanted, 3e-2)
    nats, _ = measure(hidden, weight, shift, targets)
    assert nats.sum() == pytest.approx(value, rel=1e-2, abs=1e-2)


def test_the_size_of_a_slice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, shift, targets = given(150, 77, True)

    def run() -> tuple[float, Tensor]:
        hidden.grad = None
        loss = nats_of(hidden, weight, shift, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        assert hidden.grad is not None
        return float(loss.detach()), hidden.grad.clone()

    small, small_grad = run()
    monkeypatch.setattr(_vocabulary, "_SLICE", 1 << 20)
    whole, whole_grad = run()
    assert small == pytest.approx(whole, rel=1e-6)
    assert torch.allclose(small_grad, whole_grad, atol=1e-6)
    assert [s.stop - s.start for s in _vocabulary._slices(150, 77)] == [150]


@pytest.mark.parametrize("bias", [True, False])
def test_a_vocabulary_that_rests_gets_no_gradient(bias: bool) -> None:
    """LoRA and prompts leave it as it is: a gradient of its size would be most of a step."""
    hidden, weight, shift, targets = given(97, 333, bias)
    nats_of(hidden, weight, shift, targets).backward()
    wanted = hidden.grad
    again, *_ = given(97, 333, bias)
    nats_of(again, weight.detach(), None if shift is None else shift.detach(), targets).backward()
    assert wanted is not None
    assert again.grad is not None
    assert torch.equal(again.grad, wanted)
    assert weight.grad is not None  # of the first pass alone
