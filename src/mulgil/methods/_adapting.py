"""What the methods share that add a few weights to a pretrained model and leave its own alone.

Chosen: peft makes what is added, names it and writes it, so that plain peft opens a run; the loop,
the optimizer and the fast bodies stay the house's own. A run keeps what was added, the head, and a
checksum of the weights that it stands on; another model of the same name is refused. It costs that
a run of these methods cannot answer without the model that it was trained on.
"""

from __future__ import annotations

import json
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pydantic

from mulgil import settings
from mulgil.contracts import Method, Model
from mulgil.errors import ModelError
from mulgil.flow import Head, Kind
from mulgil.methods import _base
from mulgil.networks import Adapter, Learner, Network
from mulgil.objectives import Lesson

CONFIG = "adapter_config.json"


class AddedSettings(settings.Settings):
    """Settings of every method that adds weights."""

    rate: float = pydantic.Field(10.0, gt=0, le=1e6)
    """What is new learns so many times faster than `trainer.learning_rate` says, so that a rate
    that suits full fine-tuning serves here as well."""


class Adapting(Method):
    """Adds weights to a network, or around it."""

    works_on: ClassVar[frozenset[Kind]] = frozenset({"encoder", "decoder", "seq2seq"})
    stands: ClassVar[bool] = True

    def learner(self, network: Network, lesson: Lesson) -> Learner:
        from mulgil.methods._gradient import GradientLearner

        self._add(network)
        return GradientLearner(
            lesson.task, network, lesson.weights, lesson.trainer, self.settings.rate
        )

    def opened(
        self, model: Model, tokenizer: Any, head: Head, folder: Path, precision: str, device: str
    ) -> Network:
        """Open the model that the run stands on, and put into it what the run has added.

        Raises:
            ModelError: the model is not the one that the run was trained on.
        """
        base = _base.stood_on(model, folder)
        network: Network = base.build(tokenizer, head, precision, device, 0)
        opened: Any = network
        self._put(opened, folder)
        opened.read_head(folder)
        opened.answers_only()
        return network

    def merged(self, model: Model, tokenizer: Any, head: Head, folder: Path) -> Network:
        """Refuse: what stays beside a model is opened with it, by plain peft as well."""
        raise ModelError(
            f"{folder.parent}: its method keeps what was learnt beside the model and leaves that as"
            f" it is, so there is nothing to merge; plain peft opens {folder} with that model"
        )

    def keep(self, model: Model, network: Network, folder: Path, labels: Sequence[str]) -> None:
        super().keep(model, network, folder, labels)
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        told["base_model_name_or_path"] = _base.name(model)
        for key in (key for key, value in told.items() if isinstance(value, list)):
            told[key] = sorted(told[key])  # sets of names, of which each writing has its own order
        (folder / CONFIG).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        _base.note(model, folder)

    @abstractmethod
    def _config(self, network: Any) -> Any:
        """Return peft's config of what is added to this network."""

    @abstractmethod
    def _put(self, network: Any, folder: Path) -> None:
        """Put what a run has added into the network of its model."""

    @abstractmethod
    def _adapter(self, made: Any) -> Adapter:
        """Return what a network is told of peft's module."""

    def _add(self, network: Any) -> None:
        """Add weights that are new."""
        import peft

        with warnings.catch_warnings():  # what peft asks of transformers under an older name
            warnings.simplefilter("ignore", FutureWarning)
            made = peft.get_peft_model(network.part, self._config(network))
        self._begin(made)
        network.adapt(self._adapter(made))

    def _begin(self, made: Any) -> None:
        """Set the new weights where peft's own beginning does not serve."""


def heads(network: Any) -> list[str]:
    """Return the names of what stands behind a network's body, which learns whole and is kept.

    Some of it may be new, drawn with the run's seed, and another draw would answer otherwise. The
    vocabulary of a model that writes came with the checkpoint, and rests.
    """
    part = network.part
    body = part.base_model
    if body is part or network.sort in {"CAUSAL_LM", "SEQ_2_SEQ_LM"}:
        return []
    return list(_behind(part, body, {id(weight) for weight in body.parameters()}, ""))


def _behind(part: Any, body: Any, shared: set[int], prefix: str) -> Iterator[str]:
    """Yield the outermost modules that have weights, and none of the body's."""
    for name, child in part.named_children():
        weights = [id(weight) for weight in child.parameters()]
        if child is not body and shared.intersection(weights):
            yield from _behind(child, body, shared, f"{prefix}{name}.")
        elif child is not body and weights:
            yield f"{prefix}{name}"


def writing(made: Any) -> Callable[[Path], None]:
    """Return what writes peft's module into a folder."""

    def write(folder: Path) -> None:
        made.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # a template that says nothing of the run

    return write


def reading(network: Any, folder: Path) -> Any:
    """Return peft's module of what a run has added.

    Raises:
        ModelError: it is not whole, or of another model.
    """
    import peft

    if not (folder / "adapter_model.safetensors").exists():
        raise ModelError(f"{folder}: has no adapter_model.safetensors; train the run again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            made = peft.PeftModel.from_pretrained(network.part, folder, use_safetensors=True)
    except Exception as error:  # the library raises many kinds for what does not fit
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: cannot be opened: {type(error).__name__}: {reason}") from error
    return made
