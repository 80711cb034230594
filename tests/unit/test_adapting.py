"""What methods add to a checkpoint, what they refuse, and what they call a head."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from mulgil import pipeline, recipe, registry
from mulgil.errors import ModelError, SettingError, UserError
from mulgil.methods import _adapting, lora, prompt_tuning

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
}


def network(family: str, config: str, sort: str | None, **more: Any) -> Any:
    made = getattr(transformers, config)(**SIZES, **more)
    return SimpleNamespace(part=getattr(transformers, family)(made), sort=sort)


def refusal(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        pipeline.prepare(recipe.read("sample-mini", ["name=run", *overrides]))
    line = str(caught.value)
    assert "\n" not in line
    return line


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("method.rank=0", "lora"),
        ("method.alpha=0", "lora"),
        ("method.dropout=1", "lora"),
        ("method.target=mlp", "lora"),
        ("method.rate=0", "lora"),
        ("method.tokens=0", "prompt-tuning"),
        ("method.tokens=2000", "prompt-tuning"),
        ("method.variant=p_tuning", "prompt-tuning"),
        ("method.width=0", "prompt-tuning"),
    ],
)
def test_a_setting_out_of_range_is_said_with_its_value(setting: str, name: str) -> None:
    """CF-03: place, rule, value; before anything is read."""
    with pytest.raises(SettingError) as caught:
        recipe.read("sample-mini", [f"method.name={name}", setting])
    key, _, value = setting.partition("=")
    line = str(caught.value)
    assert "\n" not in line
    assert f"{key} must be " in line
    assert f"not {value}" in line or f'not "{value}"' in line


@pytest.mark.parametrize("name", ["lora", "prompt-tuning"])
def test_there_must_be_something_to_add_to(name: str) -> None:
    scratch = ["model.name=encoder", f"method.name={name}"]
    with pytest.raises(SettingError) as caught:
        pipeline.prepare(recipe.read("sample-encoder", scratch))
    assert f'method "{name}" stands on what a model has learnt' in str(caught.value)
    assert "model.pretrained" in str(caught.value)
    line = refusal(f"method.name={name}", "model.weights=random")
    assert f'method "{name}" stands on what a model has learnt' in line


def test_learnt_vectors_leave_room_for_the_text() -> None:
    """The bundled encoder reads 128 tokens; 20 vectors take 24 of them, as rows are padded."""
    line = refusal("method.name=prompt-tuning", "tokenizer.max_length=105")
    assert "tokenizer.max_length is 105, but the model reads 128 tokens at most" in line
    assert "method prompt-tuning takes 24; set it to 104 or less" in line
    fits = ["method.name=prompt-tuning", "tokenizer.max_length=104", "data.train_rows=40"]
    assert pipeline.prepare(recipe.read("sample-mini", ["name=run", *fits])).method.places == 24


@pytest.mark.parametrize(("tokens", "places"), [(1, 8), (8, 8), (9, 16), (20, 24)])
def test_places_are_whole_steps_of_padding(tokens: int, places: int) -> None:
    plugin = registry.load("methods", "prompt-tuning")
    assert plugin(plugin.Settings(tokens=tokens)).places == places
    assert lora.Lora(lora.LoraSettings()).places == 0


@pytest.mark.parametrize("name", ["lora", "prompt-tuning"])
def test_a_rate_of_full_serves_here_as_well(name: str) -> None:
    made = recipe.read("sample-mini", [f"method.name={name}"])
    assert made.method.settings.rate == {"lora": 10.0, "prompt-tuning": 50.0}[name]
    assert made.trainer == recipe.read("sample-mini").trainer


@pytest.mark.parametrize("name", ["nsmc-lora", "nsmc-prompt"])
def test_the_recipes_differ_from_that_of_full_by_their_method_alone(name: str) -> None:
    made, plain = recipe.read(name), recipe.read("nsmc-mini")
    assert (made.data, made.model, made.trainer) == (plain.data, plain.model, plain.trainer)
    assert made.method.name == {"nsmc-lora": "lora", "nsmc-prompt": "prompt-tuning"}[name]


# ---------------------------------------------------------------- what is added to


def test_all_layers_of_the_body_or_those_of_its_attention() -> None:
    part = network("BertForSequenceClassification", "BertConfig", "SEQ_CLS").part
    everything = lora._layers(part, "all")
    attention = lora._layers(part, "attention")
    place = "bert.encoder.layer.0."
    assert set(everything) - set(attention) == {
        f"{place}intermediate.dense",
        f"{place}output.dense",
    }
    assert {name.removeprefix(f"{place}attention.") for name in attention} == {
        *("self.query", "self.key", "self.value", "output.dense")
    }


def test_a_head_of_several_layers_is_none_of_the_body() -> None:
    part = network("RobertaForSequenceClassification", "RobertaConfig", "SEQ_CLS").part
    assert [name for name in lora._layers(part, "all") if "classifier" in name] == []
    modern = network(
        "ModernBertForSequenceClassification", "ModernBertConfig", "SEQ_CLS", pad_token_id=0
    )
    assert [name for name in lora._layers(modern.part, "all") if "model.layers" not in name] == []


class _Plain(nn.Module):
    """An architecture whose layers are of no sort that is known."""

    @property
    def base_model(self) -> nn.Module:
        return self


def test_an_architecture_without_such_layers_is_refused() -> None:
    with pytest.raises(ModelError, match=r"method\.target: _Plain has no linear layer of the sort"):
        lora._layers(_Plain(), "all")
    part = _Plain()
    part.mix = nn.Linear(4, 4)
    assert lora._layers(part, "all") == ["mix"]
    with pytest.raises(ModelError, match='sort attention; take method "full"'):
        lora._layers(part, "attention")


# ---------------------------------------------------------------- heads


@pytest.mark.parametrize(
    ("family", "config", "sort", "wanted"),
    [
        ("BertForSequenceClassification", "BertConfig", "SEQ_CLS", ["classifier"]),
        ("BertForTokenClassification", "BertConfig", "TOKEN_CLS", ["classifier"]),
        ("DebertaV2ForSequenceClassification", "DebertaV2Config", "SEQ_CLS", None),
        ("BertForMaskedLM", "BertConfig", None, ["cls.predictions.transform"]),
        ("RobertaForMaskedLM", "RobertaConfig", None, ["lm_head.dense", "lm_head.layer_norm"]),
        ("ElectraForMaskedLM", "ElectraConfig", None, ["generator_predictions"]),
        ("BertModel", "BertConfig", "FEATURE_EXTRACTION", []),
        ("LlamaForCausalLM", "LlamaConfig", "CAUSAL_LM", []),
    ],
)
def test_what_stands_behind_the_body_is_a_head(
    family: str, config: str, sort: str | None, wanted: list[str] | None
) -> None:
    """DeBERTa's pooler too is new with every task; a vocabulary that came with a body is not."""
    found = _adapting.heads(network(family, config, sort))
    assert found == (["pooler", "classifier"] if wanted is None else wanted)


def test_deberta_keeps_the_pooler_that_is_new(tmp_path: Path) -> None:
    """Left out, it would be drawn anew when the run is opened."""
    import peft

    made = network("DebertaV2ForSequenceClassification", "DebertaV2Config", "SEQ_CLS")
    method = lora.Lora(lora.LoraSettings())
    added = peft.get_peft_model(made.part, method._config(made))
    learning = {name for name, p in added.named_parameters() if p.requires_grad}
    assert any("pooler.modules_to_save" in name for name in learning)
    _adapting.writing(added)(tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}


# ---------------------------------------------------------------- variants


@pytest.mark.parametrize("variant", ["prompt", "p-tuning"])
def test_vectors_have_the_width_of_the_embeddings(variant: Any) -> None:
    """ELECTRA's small models embed in half the width of their layers."""
    import peft

    made = network("ElectraForSequenceClassification", "ElectraConfig", "SEQ_CLS", embedding_size=8)
    method = prompt_tuning.PromptTuning(
        prompt_tuning.PromptTuningSettings(variant=variant, tokens=3)
    )
    added = peft.get_peft_model(made.part, method._config(made))
    assert added.get_prompt(2).shape == (2, 3, 8)


def test_only_vectors_and_head_learn(recwarn: pytest.WarningsRecorder) -> None:
    """A vocabulary that is a table of its own rests too."""
    import peft

    made = network("LlamaForCausalLM", "LlamaConfig", "CAUSAL_LM", tie_word_embeddings=False)
    method = prompt_tuning.PromptTuning(prompt_tuning.PromptTuningSettings(tokens=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        added = peft.get_peft_model(made.part, method._config(made))
    learning = [name for name, p in added.named_parameters() if p.requires_grad]
    assert learning == ["prompt_encoder.default.embedding.weight"]
    assert [str(w.message) for w in recwarn if w.category is UserWarning] == []


def test_vectors_begin_as_embeddings_and_keys_small() -> None:
    import peft

    for variant in ("prompt", "prefix"):
        made = network("BertForSequenceClassification", "BertConfig", "SEQ_CLS")
        chosen = prompt_tuning.PromptTuningSettings(variant=variant, tokens=3)
        method = prompt_tuning.PromptTuning(chosen)
        added = peft.get_peft_model(made.part, method._config(made))
        torch.manual_seed(3)
        method._begin(added)
        new = added.prompt_encoder["default"].embedding.weight
        words = made.part.get_input_embeddings().weight
        if variant == "prompt":
            assert all(any(torch.equal(row, word) for word in words) for row in new)
        else:
            assert 0.01 < float(new.detach().std()) < 0.03
