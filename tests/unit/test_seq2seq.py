"""The family of encoders with decoders: its settings, what it refuses, how prompts are put."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mulgil import registry, settings
from mulgil.errors import ModelError, SettingError
from mulgil.flow import Blanks, Head, Sampling
from mulgil.methods.full import Full
from mulgil.models import _sides
from mulgil.models._continuing import Way, batches, continued
from mulgil.models.decoder import Decoder
from mulgil.models.seq2seq import Seq2Seq, Seq2SeqSettings

SIZES = {"hidden": 16, "layers": 1, "heads": 2, "positions": 24}
HEAD = Head("write", 0)
BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
    "vocab_size": 50,
}


def tokenizer(size: int = 50, **special: int) -> Any:
    return SimpleNamespace(size=size, special_ids={"pad": 0, **special})


def built(**chosen: Any) -> Any:
    return Seq2Seq(Seq2SeqSettings(**chosen)).build(tokenizer(), HEAD, "fp32", "cpu", 1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny T5."""
    folder = tmp_path_factory.mktemp("checkpoint")
    built(**SIZES).save(folder, [])
    return folder


def config_alone(folder: Path, **config: Any) -> str:
    """Make a folder that says what it is, and holds weights that nobody can open."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"nothing")
    return str(folder)


def test_it_is_found_by_its_name() -> None:
    assert registry.load("models", "seq2seq") is Seq2Seq
    assert (Seq2Seq.kind, Seq2Seq.skills) == ("seq2seq", {"write", "choose"})
    assert "seq2seq" in Full.works_on


def test_pretrained_and_encoder_exclude_each_other() -> None:
    """CF-02: one line that names the setting and the remedy."""
    table = settings.Table({}, {}, "recipe.toml")
    both = {"pretrained": "a/b", "encoder": "c/d"}
    with pytest.raises(SettingError, match="exclude each other: give one of the two") as caught:
        settings.build(Seq2SeqSettings, both, "model", table)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("special", "start", "end"),
    [
        ({"cls": 2, "sep": 3}, 2, 3),
        ({"cls": 2, "sep": 3, "bos": 4, "eos": 5}, 4, 5),
        ({"eos": 1}, 0, 1),
    ],
)
def test_a_fresh_model_has_the_sizes_and_marks_that_were_asked_for(
    special: dict[str, int], start: int, end: int
) -> None:
    model = Seq2Seq(Seq2SeqSettings(**SIZES, intermediate=20, dropout=0.25))
    assert (model.source(), model.longest()) == (None, 24)
    network: Any = model.build(tokenizer(**special), HEAD, "fp32", "cpu", 1)
    config = network.module.config
    assert (config.model_type, config.vocab_size, config.pad_token_id) == ("t5", 50, 0)
    assert (config.decoder_start_token_id, config.eos_token_id) == (start, end)
    assert (config.d_model, config.d_ff, config.d_kv, config.dropout_rate) == (16, 20, 8, 0.25)
    attention, words, apart = 4 * 16 * 16, 2 * 16 * 20, 32 * 2
    side = attention + words + 2 * 16 + apart + 16
    assert network.parameters_total == 50 * 16 + 2 * side + attention + 16, "tied weights come once"


def test_the_seed_decides_the_weights() -> None:
    """TR-07."""
    tables = []
    for seed in (1, 1, 2):
        model = Seq2Seq(Seq2SeqSettings(**SIZES))
        network: Any = model.build(tokenizer(), HEAD, "fp32", "cpu", seed)
        tables.append(network.module.shared.weight.detach().numpy().copy())
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])


@pytest.mark.parametrize(
    ("config", "reads", "writes"),
    [
        ({"model_type": "t5", "n_positions": 512}, None, None),
        ({"model_type": "bart", "max_position_embeddings": 64}, 64, 64),
        (
            {"max_encoder_position_embeddings": 90, "max_decoder_position_embeddings": 30},
            90,
            30,
        ),
        (
            {
                "encoder": {"model_type": "bert", "max_position_embeddings": 40},
                "decoder": {
                    "model_type": "roberta",
                    "max_position_embeddings": 34,
                    "pad_token_id": 1,
                },
            },
            40,
            32,
        ),
    ],
)
def test_lengths_that_the_config_allows(
    config: dict[str, Any], reads: int | None, writes: int | None
) -> None:
    assert (_sides.longest(config, "encoder"), _sides.longest(config, "decoder")) == (reads, writes)


def test_the_shorter_side_bounds_the_rows(tmp_path: Path) -> None:
    config = {"max_encoder_position_embeddings": 90, "max_decoder_position_embeddings": 30}
    folder = config_alone(tmp_path / "led", model_type="led", **config)
    assert Seq2Seq(Seq2SeqSettings(pretrained=folder)).longest() == 30


# ---------------------------------------------------------------- what is refused

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "an encoder alone": (
        "pretrained",
        BERT,
        r'bert, an encoder alone; use model\.name = "encoder", or .* model\.encoder',
    ),
    "an encoder that is no decoder": ("pretrained", {"model_type": "distilbert"}, '"encoder"'),
    "a decoder alone": ("pretrained", {"model_type": "gpt2"}, r'model\.name = "decoder"'),
    "a decoder of an encoder's kind": ("pretrained", BERT | {"is_decoder": True}, '"decoder"'),
    "a model of pictures": ("pretrained", {"model_type": "vit"}, "for text; take one such as T5"),
    "a model of speech": (
        "pretrained",
        {"model_type": "whisper", "is_encoder_decoder": True},
        "for text; take one such as T5",
    ),
    "an unknown architecture": ("pretrained", {"model_type": "no", "vocab_size": 50}, "be opened"),
    "code of its own": ("pretrained", {"auto_map": {}}, r"code of its own \(auto_map"),
    "code of the encoder's own": ("encoder", BERT | {"auto_map": {}}, r"^model\.encoder: checkpo"),
    "both sides as an encoder": ("encoder", {"model_type": "t5"}, "give it as model.pretrained"),
    "a decoder as an encoder": ("encoder", {"model_type": "gpt2"}, "a decoder alone; take an"),
    "an encoder that never decodes": (
        "encoder",
        {"model_type": "distilbert"},
        "distilbert, which transformers cannot run as a decoder",
    ),
    "a smaller table": ("encoder", BERT | {"vocab_size": 40}, "50 tokens, .* table 40 rows"),
    "a vocabulary a side": (
        "pretrained",
        {"model_type": "encoder-decoder", "encoder": BERT, "decoder": BERT | {"vocab_size": 60}},
        "each of its sides has a vocabulary of its own",
    ),
    "a vocabulary a side, of one size": (
        "pretrained",
        {"model_type": "marian", "vocab_size": 50, "share_encoder_decoder_embeddings": False},
        "each of its sides has a vocabulary of its own",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_checkpoints_that_are_refused(kind: str, tmp_path: Path) -> None:
    """CF-06, CK-11, TK-06: one line that names the family to take, before any weight is read."""
    setting, config, said = REFUSED[kind]
    folder = config_alone(tmp_path / "checkpoint", **config)
    with pytest.raises(ModelError, match=said) as caught:
        built(**{setting: folder})
    assert "\n" not in str(caught.value)
    assert "checkpoint" in str(caught.value)


@pytest.mark.parametrize("change", [{"num_layers": 2, "num_decoder_layers": 2}, {"vocab_size": 60}])
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, int], checkpoint: Path, tmp_path: Path
) -> None:
    """CK-11: nothing is filled up with random weights."""
    config = json.loads((checkpoint / "config.json").read_text("utf-8")) | change
    folder = config_alone(tmp_path / "other", **config)
    weights = (checkpoint / "model.safetensors").read_bytes()
    Path(folder, "model.safetensors").write_bytes(weights)
    with pytest.raises(ModelError, match="do not fit its config"):
        built(pretrained=folder)


def test_an_encoder_whose_weights_are_not_whole_is_refused(tmp_path: Path) -> None:
    """CK-11: the attention to the other side may be missing, and nothing else."""
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(BertConfig(**BERT)).save_pretrained(tmp_path)
    assert built(encoder=str(tmp_path)).outputs == 50
    config = json.loads((tmp_path / "config.json").read_text("utf-8")) | {"num_hidden_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="do not fit its config"):
        built(encoder=str(tmp_path))


def test_sides_that_see_too_much_or_too_little_are_refused() -> None:
    """A likelihood that has seen the answer is none; the network looks for itself."""
    from transformers import BertConfig, BertLMHeadModel, BertModel, EncoderDecoderModel

    from mulgil.models._seq2seq import Seq2SeqNetwork

    def sides() -> Any:
        sizes = BERT | {"initializer_range": 0.5}
        decoder = BertConfig(**sizes, is_decoder=True, add_cross_attention=True)
        module: Any = EncoderDecoderModel(
            encoder=BertModel(BertConfig(**sizes)), decoder=BertLMHeadModel(decoder)
        )
        module.config.decoder_start_token_id = 1
        return module

    Seq2SeqNetwork(sides(), "fp32", "cpu")
    ahead, deaf, mute = sides(), sides(), sides()
    ahead.decoder.forward = lambda **given: SimpleNamespace(
        logits=given["input_ids"].float().flip(1)[:, :, None].expand(-1, -1, 50),
        **dict.fromkeys(("past_key_values", "hidden_states", "attentions", "cross_attentions")),
    )
    with pytest.raises(ModelError, match="reads ahead"):
        Seq2SeqNetwork(ahead, "fp32", "cpu")
    for layer in deaf.decoder.bert.encoder.layer:
        layer.crossattention.output.dense.weight.data.zero_()
    with pytest.raises(ModelError, match="does not look at what its encoder reads"):
        Seq2SeqNetwork(deaf, "fp32", "cpu")
    mute.config.decoder_start_token_id = mute.config.pad_token_id = None
    mute.config.decoder.bos_token_id = None
    with pytest.raises(ModelError, match="does not say what its decoder begins with"):
        Seq2SeqNetwork(mute, "fp32", "cpu")


def test_what_it_has_not() -> None:
    network = built(**SIZES)
    with pytest.raises(ModelError, match="no scores of whole rows"):
        network.scores(None)
    with pytest.raises(ModelError, match="not solved"):
        network.set_head(np.zeros((2, 16)), np.zeros(2))
    one = np.ones((1, 1), np.int64)
    with pytest.raises(ModelError, match="give it both"):
        network.nats(Blanks(one, one[0], one, np.zeros(1)))


def test_the_decoder_family_points_here(checkpoint: Path) -> None:
    with pytest.raises(ModelError, match=r'decoder.*use model\.name = "seq2seq"'):
        Decoder(Decoder.Settings(pretrained=str(checkpoint))).source()


# ---------------------------------------------------------------- prompts


class Recorder:
    """Stands for a module of two parts: keeps what it is given, and writes 6 7 8 9."""

    device = "cpu"
    generation_config: Any = "its own"
    config = SimpleNamespace(pad_token_id=0)

    def can_generate(self) -> bool:
        return True

    def get_output_embeddings(self) -> None:
        return None

    def forward(self, input_ids: Any) -> None: ...

    def generate(
        self, input_ids: Any, attention_mask: Any, generation_config: Any, **_: Any
    ) -> Any:
        import torch

        self.given = input_ids.tolist(), attention_mask.tolist(), generation_config
        return torch.tensor([[1, 6, 7, 8, 9]] * len(input_ids))


def test_padding_stands_behind_what_an_encoder_reads() -> None:
    """EV-07: its positions count from the left."""
    module = Recorder()
    greedy = Sampling(max_new=4, temperature=0, beams=3)
    found = continued(module, [[5], [3, 4, 5]], Way(greedy, 4, [8], 1))
    assert found == [[6, 7, 8], [6, 7, 8]]
    ids, mask, chosen = module.given
    assert ids == [[5, 5, 5], [3, 4, 5]]
    assert mask == [[1, 0, 0], [1, 1, 1]]
    assert (chosen.decoder_start_token_id, chosen.suppress_tokens) == (1, [0])
    assert (chosen.do_sample, chosen.num_beams) == (False, 3)
    continued(module, [[5]], Way(Sampling(temperature=0.5, beams=3), 4, [0], 1))
    *_, chosen = module.given
    assert (chosen.do_sample, chosen.num_beams, chosen.suppress_tokens) == (True, 1, None)


def test_beams_make_batches_smaller_and_sides_make_them_mixed() -> None:
    lengths = [5, 3, 5, 3, *[4] * 70]
    prompts = [[1] * length for length in lengths]
    four, many = (Way(Sampling(temperature=0, beams=n), 10, start=1) for n in (4, 99))
    found = list(batches(Recorder(), prompts, four))
    assert sorted(i for rows in found for i in rows) == list(range(len(prompts)))
    assert max(map(len, found)) == 16
    assert {lengths[i] for i in found[0]} == {3, 4}
    assert [len(rows) for rows in batches(Recorder(), [[1] * 5] * 2, many)] == [1, 1]
