"""The whole way down: seven steps, one after the other. Only this room knows their order.

`run` is the way; the rooms below it do the work. `prepare` is steps 2 to 5, which `check` walks
as well. What was trained is scored from its files, not from memory, so that the figure is that
of what is kept.
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mulgil import classes, evaluation, extras, fetch, hardware, registry, splits
from mulgil.contracts import Dataset, Method, Model, Tokenizer, refusal
from mulgil.encoding import batches
from mulgil.errors import SettingError, nearest
from mulgil.examples import Example
from mulgil.flow import Kind, Outcome, Schema, each_of
from mulgil.loader import BatchLoader
from mulgil.networks import Learner, Network, Stepped
from mulgil.objectives import LabelTask, LanguageTask, Lesson, Task
from mulgil.recipe import WINGS, Recipe
from mulgil.result import finish, origin
from mulgil.rundir import RunDir, Say
from mulgil.splits import Splits
from mulgil.storage import commit_folder, discard_folder, require_space, weights_digest

SHOWN = 1000
"""Training rows that are encoded where none is learnt: what their lengths are read off."""


@dataclasses.dataclass(slots=True)
class Loaders:
    """Step 5: batches of each part, and the way to score the validation rows."""

    train: BatchLoader
    valid: BatchLoader
    test: BatchLoader
    look: Callable[[Callable[[], None]], dict[str, float]] | None = None


@dataclasses.dataclass(slots=True)
class Prepared:
    """What steps 1 to 5 make."""

    recipe: Recipe
    task: Task
    method: Method
    model: Model
    splits: Splits
    schema: Schema
    tokenizer: Tokenizer
    loaders: Loaders
    device: str
    precision: str


def run(recipe: Recipe, root: Path, resume: bool = False, say: Say = lambda line: None) -> Path:
    """Go down the seven steps and return the run folder.

    Args:
        recipe: step 1, read and checked.
        root: folder of run folders.
        resume: go on with a run that was begun; a finished one is left as it is.
        say: where lines for people go.
    """
    with RunDir.create(root, recipe, resume, say) as folder:
        if folder.finished:
            say(f"{folder.path} is finished; nothing to do")
            return folder.path
        hardware.begin_peak()
        made = prepare(recipe, say)  # steps 1 to 5
        network = build(made)
        learner = teach(made, network, folder)  # step 6
        folder.recipe = made.recipe.dump(folder.path)
        folder.settle(_provenance(made), made.schema)
        outcome = _fit(made, learner, folder)  # step 7
        _keep(made, learner.network, folder)
        finish(folder, made, learner, outcome, metric(made)[0])
        return folder.path


def prepare(recipe: Recipe, say: Say = lambda line: None) -> Prepared:
    """Go down steps 1 to 5: settings, data, model, tokenizer, loader."""
    task, method, model = recipe.task.make(), recipe.method.make(), recipe.model.make()
    dataset = recipe.data.make()
    say(f"1 settings   {recipe.name}: {recipe.task.name}, {recipe.method.name}")
    names = {section: getattr(recipe, section).name for section in WINGS}
    problem = refusal(dataset, model, task, method, names)
    if problem:
        raise SettingError(problem)
    known = getattr(recipe.model.settings, "weights", "") != "random"
    stood = getattr(recipe.model.settings, "pretrained", None) is not None
    if method.stands and not (stood and known):
        raise SettingError(
            f'method "{recipe.method.name}" stands on what a model has learnt; give one with'
            " model.pretrained, or take method full"
        )
    extras.require(_packages(recipe, task))
    _metric(recipe, task)
    device, precision = hardware.resolve(recipe.trainer, model.kind)

    dataset.asked = task.shape
    parts, schema = load_splits(recipe, dataset, task)
    counts = ", ".join(f"{name} {len(rows):,}" for name, rows in parts.items())
    named = [name for name in task.tally(parts.train, schema) if _known(name, schema)]
    more = f" and {len(named) - classes.MANY:,} more" if len(named) > classes.MANY else ""
    labels = f"; labels {', '.join(named[: classes.MANY])}{more}" if named else ""
    say(f"2 data       {recipe.data.name}: {counts}{labels}")
    for note in parts.notes:
        say(f"             {note}")

    source = model.source()
    say(f"3 model      {recipe.model.name}: {origin(recipe.model.settings) or 'from scratch'}")
    if source is not None and not known:
        say("             weights are random: the checkpoint gives its architecture and tokenizer")

    if recipe.trainer.learning_rate is None:
        trainer = recipe.trainer.model_copy(update={"learning_rate": model.rate(task.needs)})
        recipe = dataclasses.replace(recipe, trainer=trainer)

    tokenizer = _tokenizer(recipe, model, method, source, parts, task)
    say(f"4 tokenizer  {recipe.tokenizer.name}")
    for note in tokenizer.notes:
        say(f"             {note}")

    loaders = build_loaders(recipe, parts, schema, task, tokenizer, model.kind, method.prompts)
    say(f"5 loader     {_rows(loaders.train)}")
    return Prepared(
        recipe, task, method, model, parts, schema, tokenizer, loaders, device, precision
    )


def _packages(recipe: Recipe, task: Task) -> Iterator[str]:
    """Yield the packages beyond the plain installation that a run needs."""
    for section in WINGS:
        yield from getattr(recipe, section).settings.packages
    for name in task.metrics:
        yield from registry.load("metrics", name).packages
    if recipe.trainer.tensorboard:
        yield "tensorboard"


def _known(name: str, schema: Schema) -> bool:
    """Say whether what is tallied is a label, or a kind of entity."""
    return name in schema.labels or f"B-{name}" in schema.labels


def load_splits(
    recipe: Recipe, dataset: Dataset, task: Task, download: bool = True
) -> tuple[Splits, Schema]:
    """Step 2: read, cut, and leave out rows that the task cannot use."""
    settings = recipe.data.settings
    read = dataset.read(fetch.collect(dataset, download=download))
    parts = splits.complete(read, settings, task.text, task.apart)
    schema = classes.schema_of(parts, task, settings.max_rejected)
    if isinstance(task, LanguageTask):
        return parts, schema
    for name, rows in parts.items():
        left, refused = splits.usable(rows, lambda row: task.problem(row, schema))
        if rows:
            splits.check_rejected(len(left), refused, settings.max_rejected, name)
        parts.rejected += refused
        setattr(parts, name, left)
    return parts, schema


def build_loaders(
    recipe: Recipe,
    parts: Splits,
    schema: Schema,
    task: Task,
    tokenizer: Tokenizer,
    kind: Kind,
    prompts: bool = False,
) -> Loaders:
    """Step 5: encode once, or take it from the cache, and cut batches."""
    folder = fetch.cache_folder() / "encoded" if recipe.loader.cache else None

    def loader(rows: Sequence[Example]) -> BatchLoader:
        seed = recipe.trainer.seed
        chosen = recipe.loader
        return batches(
            rows, task, schema, tokenizer, chosen, kind, seed=seed, folder=folder, prompts=prompts
        )

    train = parts.train[:SHOWN] if prompts else parts.train
    return Loaders(loader(train), loader(parts.valid), loader(parts.test))


def _rows(loader: BatchLoader) -> str:
    """Return what a person should know of the encoded training rows."""
    encoded = loader.encoded
    mean = encoded.lengths.mean() if len(encoded) else 0.0
    batches = f"{loader.batches(0):,} batches an epoch"
    if encoded.owners is not None:
        return (
            f"{batches}, {int(encoded.lengths.sum()):,} tokens in {len(encoded):,} windows of"
            f" {encoded.texts:,} texts"
        )
    return f"{batches}, {mean:.1f} units a row on average, {encoded.truncated:,} rows truncated"


def build(made: Prepared) -> Network:
    """Step 3's end: the network, now that tokenizer and labels are known."""
    head = made.method.head(made.task.head(made.schema))
    seed = made.recipe.trainer.seed
    return made.model.build(made.tokenizer, head, made.precision, made.device, seed)


def teach(made: Prepared, network: Network, folder: RunDir | None = None) -> Learner:
    """Step 6: put the method around the network."""
    gold, weights = made.loaders.train.gold, None
    if isinstance(made.task, LabelTask) and gold is not None:
        weights = made.task.class_weights(gold, made.schema)
    learner = made.method.learner(
        network,
        Lesson(
            task=made.task,
            trainer=made.recipe.trainer,
            weights=weights,
            schema=made.schema,
            tokenizer=made.tokenizer,
            rows=made.splits.train,
            held=[*made.splits.valid, *made.splits.test],
            limit=made.model.longest(),
        ),
    )
    if isinstance(learner, Stepped):
        learner.seed(made.recipe.trainer.seed)
    if folder is not None:
        moved = f"{learner.trainable:,} of {network.parameters_total:,} weights learn"
        headed = not isinstance(made.task, LanguageTask)
        solved = "a linear head is solved" if headed else f"solved at once, {moved}"
        stepped = f"{moved}, learning rate {made.recipe.trainer.learning_rate:g}"
        what = stepped if isinstance(learner, Stepped) else solved
        what = "nothing learns; rows are asked" if made.method.prompts else what
        folder.say(
            f"6 method     {made.recipe.method.name}: {what}; {made.precision} on {made.device}"
        )
    return learner


def metric(made: Prepared) -> tuple[str, bool]:
    """Return the validation figure that picks the best weights, and whether higher is better.

    Raises:
        SettingError: `trainer.metric` names no single figure of the task.
    """
    return _metric(made.recipe, made.task)


def _metric(recipe: Recipe, task: Task) -> tuple[str, bool]:
    wanted = recipe.trainer.metric
    for name in task.metrics:
        registry.load("metrics", name)()  # what it needs is there, or the run does not begin
    known = {name: registry.load("metrics", name) for name in task.looked}
    single = [name for name, plugin in known.items() if plugin.single]
    if wanted not in {"auto", "loss", *single}:
        remedy = nearest(wanted, ["auto", "loss", *single])
        state = "is no single figure" if wanted in known else "is no metric of the task"
        raise SettingError(f'trainer.metric: "{wanted}" {state}; {remedy}')
    if wanted == "loss":
        return "loss", False
    name = single[0] if wanted == "auto" else wanted
    return name, bool(known[name].higher_is_better)


def _fit(made: Prepared, learner: Learner, folder: RunDir) -> Outcome:
    """Step 7: let the engine teach the learner."""
    folder.number_rows(_ids(made))
    if len(made.loaders.valid) and not made.method.prompts:  # where nothing is chosen by it
        made.loaders.look = _look(made, learner.network)
    if isinstance(learner, Stepped):
        size = sum(array.nbytes for array in learner.state().values())
        require_space(folder.path, 3 * size, "two checkpoints and the model")
    engine = registry.load("engines", made.recipe.trainer.engine)()
    outcome: Outcome = engine.fit(learner, made.loaders, made.recipe.trainer, folder, metric(made))
    steps = f"{outcome.steps:,} steps, {outcome.epochs:g} epochs, " if outcome.steps else ""
    folder.say(f"7 trainer    {outcome.stopped}: {steps}{outcome.seconds:.1f} s")
    return outcome


def _ids(made: Prepared) -> Callable[[int], str]:
    """Return the way from the number of an encoded row to the id of its text."""
    rows, owners = made.splits.train, made.loaders.train.encoded.owners
    return lambda row: rows[row if owners is None else int(owners[row])].id


def _look(made: Prepared, network: Network) -> Callable[[Callable[[], None]], dict[str, float]]:
    """Return the way to score the validation rows with the network as it is."""
    loader, task, schema = made.loaders.valid, made.task, made.schema

    def look(between: Callable[[], None]) -> dict[str, float]:
        measured = evaluation.measure(network, loader, task, schema, between)
        evaluation.check_numbers(measured)
        judged = task.judge(loader.gold, measured, schema)
        return {
            "loss": task.loss_of(loader.gold, measured, schema),
            **evaluation.headlines(task, judged),
        }

    return look


def _keep(made: Prepared, network: Network, folder: RunDir) -> None:
    """Write `model/`: network, labels, tokenizer; whole or not at all."""
    target = folder.path / "model"

    def fill(temporary: Path) -> None:
        made.method.keep(made.model, network, temporary, made.schema.labels)
        made.tokenizer.save(temporary)

    if target.exists():
        discard_folder(target)
    commit_folder(target, fill)


def _tokenizer(
    recipe: Recipe, model: Model, method: Method, source: Path | None, parts: Splits, task: Task
) -> Tokenizer:
    """Step 4: the checkpoint's own tokenizer, or one learnt from the training rows."""
    settings, longest = recipe.tokenizer.settings, model.longest()
    wanted, taken = getattr(settings, "max_length", 0), method.places
    if taken and longest is not None and longest - taken < 8:
        raise SettingError(
            f"method.tokens takes {taken} of the {longest} tokens that the model reads, and leaves"
            f" no room for a text; set it to {max(longest - 8, 1)} or less"
        )
    if longest is not None and wanted > longest - taken:
        shared = f", of which method {recipe.method.name} takes {taken}" if taken else ""
        raise SettingError(
            f"tokenizer.max_length is {wanted}, but the model reads {longest} tokens at most"
            f"{shared}; set it to {max(longest - taken, 0)} or less"
        )
    texts = (text for row in parts.train for text in each_of(task.text(row)))
    made: Tokenizer = recipe.tokenizer.plugin.make(settings, source, texts, recipe.trainer.seed)
    return made


def _provenance(made: Prepared) -> dict[str, Any]:
    """Return what the run depends on."""
    source = made.model.source()
    checksum = weights_digest(source) if source else None
    return {
        "data": {name: splits.fingerprint(rows) for name, rows in made.splits.items()},
        "model": checksum or "from scratch",
        "tokenizer": made.tokenizer.fingerprint(),
        "columns": made.splits.columns,
        "seeds": {"data": made.recipe.data.settings.seed, "trainer": made.recipe.trainer.seed},
        "precision": made.precision,
        "device": made.device,
        "machine": hardware.describe(),
        "versions": hardware.versions(),
        "git": _git(),
    }


def _git() -> str | None:
    """Return the commit of the current folder's repository, "+" behind it when it has changes."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
