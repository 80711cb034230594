"""The encoder with its vocabulary against plain transformers: loss, gradients, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from mulgil.flow import UNASKED, Batch, Blanks, Head
from mulgil.methods._gradient import GradientLearner
from mulgil.models import _language
from mulgil.models._language import MaskedNetwork
from mulgil.models.encoder import Encoder, EncoderSettings
from mulgil.recipe import TrainerSettings
from mulgil.tokenizers.subword import Subword, SubwordSettings

WORDS = 120
LENGTHS = (3, 23, 9, 1, 17, 12)
PAD = 1
FAST = ("Bert", "Roberta", "XLMRoberta")
PLAIN = ("Electra", "DistilBert")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def module(kind: str, dropout: float = 0.0, **changes: Any) -> Any:
    """Return a tiny network of transformers with a masked-LM head, weights far from zero."""
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    if kind == "DistilBert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}
        sizes |= {"dropout": dropout, "attention_dropout": dropout}
    if kind == "Electra":
        sizes["embedding_size"] = 16
    shared = {"vocab_size": WORDS, "max_position_embeddings": 40, "pad_token_id": PAD}
    config = getattr(transformers, f"{kind}Config")(**sizes | shared | changes)
    torch.manual_seed(4)
    made = getattr(transformers, f"{kind}ForMaskedLM")(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.15)
    return made


def blanks(share: float = 0.3, seed: int = 2) -> Blanks:
    draw = np.random.default_rng(seed)
    lengths = np.array(LENGTHS)
    ids = draw.integers(5, WORDS, (len(lengths), 24))
    inside = np.arange(24) < lengths[:, None]
    ids[~inside] = PAD
    asked = inside & (draw.random(ids.shape) < share)
    targets = np.where(asked, draw.integers(5, WORDS, ids.shape), UNASKED)
    return Blanks(ids, lengths, targets, np.zeros(len(lengths)))


def theirs(made: Any, asked: Blanks) -> tuple[Any, Tensor]:
    """Return the summed loss and the logits of transformers' own forward pass."""
    ids = torch.from_numpy(asked.ids)
    mask = (torch.arange(ids.shape[1]) < torch.from_numpy(asked.lengths)[:, None]).long()
    out = made(input_ids=ids, attention_mask=mask, labels=torch.from_numpy(asked.targets))
    count = int((asked.targets != UNASKED).sum())
    return out.loss * count, out.logits


def gradients(made: Any) -> dict[str, Tensor]:
    return {n: p.grad.to_dense() for n, p in made.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", [*FAST, *PLAIN])
def test_the_same_loss_and_gradients_as_transformers(kind: str) -> None:
    """TR-04, in float32; the fast path and the one that transformers wrote."""
    reference, asked = module(kind).eval(), blanks()
    wanted, _ = theirs(reference, asked)
    wanted.backward()
    network = MaskedNetwork(module(kind).eval(), "fp32", "cpu")
    assert (network._fast is not None) == (kind in FAST)
    loss = network.loss(asked)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(float(wanted), rel=1e-5)
    expected, found = gradients(reference), gradients(network.module)
    used = {name for name, grad in expected.items() if grad.any()}
    assert used <= found.keys()
    for made in (reference, network.module):  # the table has a gradient as input and as output
        assert made.get_input_embeddings().weight.grad.any()
        assert made.get_output_embeddings().weight is made.get_input_embeddings().weight
    for name, grad in found.items():
        other = expected.get(name, torch.zeros_like(grad))
        scale = max(float(other.abs().max()), 1e-3)
        assert float((grad - other).abs().max()) < 1e-4 * scale, name


@pytest.mark.parametrize("kind", [*FAST, *PLAIN])
def test_the_same_answers_as_transformers(kind: str) -> None:
    """EV-05: ln p of every token at each blank, row after row; nothing of what is not asked."""
    made, asked = module(kind).eval(), blanks()
    with torch.no_grad():
        _, logits = theirs(made, asked)
    wanted = torch.log_softmax(logits, -1)[torch.from_numpy(asked.targets != UNASKED)].numpy()
    network = MaskedNetwork(made, "fp32", "cpu")
    targets = asked.targets[asked.targets != UNASKED]
    nats, right = network.nats(asked)
    assert network.distributions(asked) == pytest.approx(wanted, abs=1e-4)
    assert nats == pytest.approx(-wanted[np.arange(len(targets)), targets], abs=1e-4)
    assert right.tolist() == (wanted.argmax(1) == targets).tolist()
    assert network.outputs == WORDS


@pytest.mark.parametrize("kind", [*FAST, *PLAIN])
def test_nothing_is_asked(kind: str) -> None:
    network = MaskedNetwork(module(kind).eval(), "fp32", "cpu")
    loss = network.loss(blanks(0.0))
    assert float(loss.detach()) == 0.0
    nats, right = network.nats(blanks(0.0))
    assert (nats.shape, right.shape) == ((0,), (0,))


@pytest.mark.parametrize("kind", ["Bert", "DistilBert"])
def test_rows_are_answered_the_same_in_any_company(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EV-05: one at a time, or cut into parts of a few padded tokens."""
    network, asked = MaskedNetwork(module(kind), "fp32", "cpu"), blanks()
    together = network.nats(asked)[0]
    monkeypatch.setattr(_language, "PART", 30)
    parted = network.nats(asked)[0]
    assert parted == pytest.approx(together, abs=1e-5)
    alone = [
        network.nats(
            Blanks(
                asked.ids[row : row + 1, :length],
                asked.lengths[row : row + 1],
                asked.targets[row : row + 1, :length],
                np.zeros(1),
            )
        )[0]
        for row, length in enumerate(LENGTHS)
    ]
    assert np.concatenate(alone) == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("kind", [*FAST, *PLAIN])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_lower_the_loss_and_the_table_stays_tied(kind: str, precision: str) -> None:
    """The output layer is the embedding table: both learn, rows that were not met as well."""
    network = MaskedNetwork(module(kind, dropout=0.1), precision, "cpu")
    learner = GradientLearner(None, network, None, TrainerSettings())
    learner.seed(3)
    asked = blanks()
    before = network.nats(asked)[0].mean()
    table: Any = network.module.get_input_embeddings().weight
    unmet = next(word for word in range(5, WORDS) if word not in asked.ids)
    row = table[unmet].detach().float().clone()
    count = float((asked.targets != UNASKED).sum())
    for _ in range(15):
        summed, weight = learner.backward(Batch(np.arange(len(LENGTHS)), asked, None))
        assert weight == count
        assert np.isfinite(summed)
        assert np.isfinite(learner.update(1e-2, 1.0, weight))
    assert network.nats(asked)[0].mean() < 0.8 * before
    tied: Any = network.module.get_output_embeddings().weight
    assert tied.data_ptr() == network.module.get_input_embeddings().weight.data_ptr()
    assert (tied[unmet].float() != row).any(), "a row that was not met has a gradient all the same"


@pytest.mark.parametrize("kind", [*FAST, *PLAIN])
@pytest.mark.parametrize("trained", [False, True])
def test_plain_transformers_opens_what_was_saved(kind: str, trained: bool, tmp_path: Path) -> None:
    """CK-01: with the same logits; and so does the family, as a language model again."""
    network, asked = MaskedNetwork(module(kind), "fp32", "cpu"), blanks()
    if trained:
        learner = GradientLearner(None, network, None, TrainerSettings())
        _, weight = learner.backward(Batch(np.arange(len(LENGTHS)), asked, None))
        learner.update(1e-2, 1.0, weight)
    wanted = network.distributions(asked)
    network.save(tmp_path, ())
    opened = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert type(opened).__name__ == f"{kind}ForMaskedLM"
    with torch.no_grad():
        _, logits = theirs(opened, asked)
    found = torch.log_softmax(logits, -1)[torch.from_numpy(asked.targets != UNASKED)].numpy()
    assert found == pytest.approx(wanted, abs=1e-4)
    again = Encoder.load(tmp_path, Head("fill", 0), "fp32", "cpu")
    assert isinstance(again, MaskedNetwork)
    assert again.distributions(asked) == pytest.approx(wanted, abs=1e-6)
    body = transformers.AutoModel.from_pretrained(tmp_path)
    assert torch.equal(body.get_input_embeddings().weight, opened.get_input_embeddings().weight)


def test_bfloat16_weights_are_not_saved_rounded(tmp_path: Path) -> None:
    """CK-01: answering rounds the working copy, never what is kept."""
    made = module("Bert")
    kept = {name: weight.clone() for name, weight in made.state_dict().items()}
    network = MaskedNetwork(made, "bf16", "cpu")
    network.nats(blanks())
    network.save(tmp_path, ())
    opened = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path)
    for name, weight in opened.state_dict().items():
        assert torch.equal(weight, kept[name]), name


# ---------------------------------------------------------------- by way of the family


CHECKPOINTS = ("bert-no-pooler", "roberta", "distilbert", "bert")


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_goes_on_with_its_own_head(
    name: str, tiny_encoder: dict[str, Path], korean_texts: list[str]
) -> None:
    """A body without a masked-LM head gets a fresh one."""
    model = Encoder(EncoderSettings(pretrained=str(tiny_encoder[name])))
    tokenizer = Subword.make(SubwordSettings(max_length=32), model.source(), [], 1)
    network = model.build(tokenizer, Head("fill", 0), "fp32", "cpu", 5)
    assert isinstance(network, MaskedNetwork)
    taken = tokenizer.encode(korean_texts[:4]).take(np.arange(4), 8)
    targets = np.where(np.arange(taken.ids.shape[1]) == 1, taken.ids, UNASKED)
    asked = Blanks(taken.ids, taken.lengths, targets, np.zeros(4))
    found = network.distributions(asked)
    assert found.shape == (4, network.outputs)
    if name == "bert":
        assert np.isfinite(found).all()
        return
    plain = transformers.AutoModelForMaskedLM.from_pretrained(tiny_encoder[name]).eval()
    with torch.no_grad():
        _, logits = theirs(plain, asked)
    assert found == pytest.approx(torch.log_softmax(logits[:, 1], -1).numpy(), abs=1e-4)


@pytest.mark.parametrize("name", ["bert-no-pooler", "roberta"])
def test_what_was_pretrained_here_is_fine_tuned(
    name: str, tiny_encoder: dict[str, Path], korean_texts: list[str], tmp_path: Path
) -> None:
    """The body goes on as it was saved, under a mean-pooled head; so it does in a fresh model."""
    source = Encoder(EncoderSettings(pretrained=str(tiny_encoder[name])))
    tokenizer = Subword.make(SubwordSettings(max_length=32), source.source(), [], 1)
    network: Any = source.build(tokenizer, Head("fill", 0), "fp32", "cpu", 5)
    network.save(tmp_path, ())
    tokenizer.save(tmp_path)
    model = Encoder(EncoderSettings(pretrained=str(tmp_path)))
    assert model.source() == tmp_path
    opened = Subword.make(SubwordSettings(max_length=32), model.source(), [], 1)
    assert opened.fingerprint() == tokenizer.fingerprint()
    tuned: Any = model.build(opened, Head("pool", 3), "fp32", "cpu", 5)
    assert tuned.mean == (name == "bert-no-pooler"), "a pooler that was never trained is not used"
    taken = opened.encode(korean_texts[:3]).take(np.arange(3), 8)
    scores = tuned.scores(taken)
    assert scores.shape == (3, 3)
    assert np.isfinite(scores).all()
    plain = transformers.AutoModel.from_pretrained(tiny_encoder[name]).eval()
    mask = torch.arange(taken.ids.shape[1]) < torch.from_numpy(taken.lengths)[:, None]
    with torch.no_grad():
        hidden = plain(torch.from_numpy(taken.ids), attention_mask=mask.long())[0]
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    assert tuned.features(taken) == pytest.approx(mean.numpy(), abs=1e-4)
