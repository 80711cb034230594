"""MasterAdamW against torch.optim.AdamW, and its memory of where it was."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mulgil.errors import RunError
from mulgil.optimizer import MasterAdamW

TABLE = "table.weight"


class Net(nn.Module):
    def __init__(self, sparse: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(50, 8, sparse=sparse)
        self.norm = nn.LayerNorm(8)
        self.up = nn.Linear(8, 24)
        self.down = nn.Linear(24, 8)
        self.out = nn.Linear(8, 50)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.norm(self.table(ids).to(self.norm.weight.dtype))
        out: Tensor = self.out(x + self.down(torch.tanh(self.up(x)))).mean(1)
        return out


def rows(step: int, count: int = 8) -> tuple[Tensor, Tensor]:
    """Ids that leave most of the table alone for a while."""
    torch.manual_seed(100 + step)
    low = (step * 7) % 40
    return torch.randint(low, low + 10, (count, 5)), torch.randint(0, 50, (count,))


def loss(net: nn.Module, ids: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(net(ids).float(), labels, reduction="sum")


def schedule(step: int) -> float:
    return 1e-2 * min(1.0, (step + 1) / 5) * (1.0 - step / 40)


def train(
    net: nn.Module, optimizer: MasterAdamW, start: int, stop: int, micro: int = 8
) -> list[float]:
    norms = []
    for step in range(start, stop):
        ids, labels = rows(step)
        optimizer.zero()
        for at in range(0, len(ids), micro):
            if at:
                optimizer.accumulate()
            optimizer.touch(ids[at : at + micro])
            loss(net, ids[at : at + micro], labels[at : at + micro]).backward()
        norms.append(optimizer.step(schedule(step), clip=1.0, scale=1.0 / len(ids)))
    return norms


def reference(net: Net, steps: int) -> list[float]:
    plain = [
        *net.table.parameters(),
        *net.norm.parameters(),
        net.up.bias,
        net.down.bias,
        net.out.bias,
    ]
    groups = [
        {"params": [net.up.weight, net.down.weight, net.out.weight], "weight_decay": 0.1},
        {"params": plain, "weight_decay": 0.0},
    ]
    dense = torch.optim.AdamW(groups, lr=1e-2)
    norms = []
    for step in range(steps):
        ids, labels = rows(step)
        dense.zero_grad()
        (loss(net, ids, labels) / len(ids)).backward()
        norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), 1.0)))
        for group in dense.param_groups:
            group["lr"] = schedule(step)
        dense.step()
    return norms


def build(
    sparse: bool = True, turned: bool = True, dtype: torch.dtype = torch.float32
) -> tuple[Net, MasterAdamW]:
    net = Net(sparse)
    return net, MasterAdamW(
        net,
        weight_decay=0.1,
        dtype=dtype,
        sparse=[TABLE] if sparse else [],
        transposed=["down.weight"] if turned else [],
    )


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_thirty_steps_as_dense_adamw(sparse: bool, turned: bool) -> None:
    want = Net()
    norms = reference(want, 30)
    net, optimizer = build(sparse, turned)
    assert train(net, optimizer, 0, 30) == pytest.approx(norms, rel=1e-3)
    found = dict(optimizer.weights())
    for name, param in want.named_parameters():
        assert torch.allclose(found[name], param, atol=2e-5), name
        assert found[name].is_contiguous()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("micro", [1, 2, 4])
def test_accumulation_is_one_large_batch(sparse: bool, micro: int) -> None:
    results = []
    for size in (8, micro):
        net, optimizer = build(sparse)
        train(net, optimizer, 0, 6, micro=size)
        results.append(dict(optimizer.weights()))
    for name, value in results[0].items():
        assert torch.allclose(value, results[1][name], atol=1e-6), name


def test_bfloat16_accumulates_in_float32() -> None:
    net, optimizer = build(dtype=torch.bfloat16)
    optimizer.zero()
    bias = net.out.bias
    for value in (256.0, 1.0, 1.0, 1.0):
        optimizer.accumulate()
        bias.grad = torch.full_like(bias, value)
    assert optimizer.step(0.0, 0.0) == pytest.approx(259.0 * math.sqrt(50), rel=1e-6)


def test_bfloat16_learns_like_float32() -> None:
    finals = []
    for dtype in (torch.float32, torch.bfloat16):
        net, optimizer = build(dtype=dtype)
        train(net, optimizer, 0, 30)
        masters = dict(optimizer.weights())
        assert all(value.dtype is torch.float32 for value in masters.values())
        if dtype is torch.bfloat16:
            assert net.up.weight.dtype is torch.bfloat16
            assert torch.equal(net.down.weight, masters["down.weight"].bfloat16())
            assert net.table.weight.dtype is torch.float32
        finals.append(float(sum(loss(net, *rows(step)) for step in range(30))))
    assert finals[1] == pytest.approx(finals[0], rel=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_restored_training_is_bit_identical(dtype: torch.dtype) -> None:
    net, optimizer = build(dtype=dtype)
    train(net, optimizer, 0, 10)
    saved = {key: value.clone() for key, value in optimizer.state().items()}
    norms = train(net, optimizer, 10, 25)
    fresh, again = build(dtype=dtype)
    again.restore(saved)
    assert train(fresh, again, 10, 25) == norms
    before, after = optimizer.state(), again.state()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_state_of_another_model_is_refused() -> None:
    _, optimizer = build()
    _, other = build(turned=False)
    with pytest.raises(RunError, match="another model"):
        other.restore(optimizer.state())


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["up.weight", TABLE])
def test_a_bad_gradient_changes_nothing(poison: float, where: str) -> None:
    net, optimizer = build()
    train(net, optimizer, 0, 3)
    ids, labels = rows(3)
    optimizer.zero()
    optimizer.touch(ids)
    loss(net, ids, labels).backward()
    before = {key: value.clone() for key, value in optimizer.state().items()}
    grad = net.get_parameter(where).grad
    assert grad is not None
    if grad.is_sparse:
        grad = grad.coalesce().values()
        net.get_parameter(where).grad = torch.sparse_coo_tensor(
            ids.unique()[None], grad * poison, (50, 8)
        )
    else:
        grad[0, 0] = poison
    assert not math.isfinite(optimizer.step(1e-2, 1.0))
    after = optimizer.state()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_frozen_unused_and_tied_parameters() -> None:
    net = Net()
    net.out.weight = net.table.weight
    net.norm.requires_grad_(False)
    net.extra = nn.Linear(3, 3)
    kept = {name: param.clone() for name, param in net.named_parameters()}
    optimizer = MasterAdamW(net, weight_decay=0.1)
    train(net, optimizer, 0, 3)
    found = dict(optimizer.weights())
    assert "norm.weight" not in found
    assert "out.weight" not in found
    assert torch.equal(net.norm.weight, kept["norm.weight"])
    assert torch.equal(found["extra.weight"], kept["extra.weight"])
    assert net.out.weight is net.table.weight
    assert not torch.equal(found[TABLE], kept[TABLE])


def test_release_hands_back_float32_masters() -> None:
    net, optimizer = build(dtype=torch.bfloat16)
    train(net, optimizer, 0, 5)
    want = {name: value.clone() for name, value in optimizer.weights()}
    optimizer.release()
    for name, param in net.named_parameters():
        assert param.dtype is torch.float32
        assert param.is_contiguous()
        assert torch.equal(param, want[name])


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing\.weight"):
        MasterAdamW(Net(), sparse=["nothing.weight"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu() -> None:
    net = Net().cuda()
    optimizer = MasterAdamW(net, weight_decay=0.1)
    ids, labels = (t.cuda() for t in rows(0))
    loss(net, ids, labels).backward()
    assert math.isfinite(optimizer.step(1e-2, 1.0))
