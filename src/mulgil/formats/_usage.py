"""The code that README.md of an exported Hugging Face folder shows: plain transformers, no Mulgil.

Chosen: a few lines for each sort of head, with the run's own numbers in them (tokens, labels,
prompt), so that a copy of them gives the answers of the run. It costs a template for each sort.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mulgil.examples import SHAPES
from mulgil.formats._base import Opened
from mulgil.objectives import LabelTask, WritingTask

_OPEN = """\
import unicodedata

import torch
from transformers import {family}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = {family}.from_pretrained(".", dtype=torch.float32).eval()
"""

_MEAN = """\
from safetensors.torch import load_file

head = load_file("head.safetensors")
with torch.inference_mode():
    mean = model(**row)[0].mean(1)  # over the tokens of one row; padding would not count
scores = mean @ head["weight"].T + head["bias"]
"""

_OWN = """\
with torch.inference_mode():
    scores = model(**row).logits
"""

_SPANS = """\
with torch.inference_mode():
    scores = model(**row).logits[0].unflatten(1, ({places}, {outputs}))
scores = scores[:, 0]  # of each token's first character; [:, k] is that of the one at place k
"""

_ENTITIES = """\
for token, label in zip(row.tokens(), scores.argmax(1).tolist(), strict=True):
    print(token, {labels}[label])
"""

_ANSWER = """\
start, end = scores.argmax(0).tolist()  # the answer's first token and its last
print(row.tokens()[start : end + 1])
"""

_BLANK = """\
with torch.inference_mode():
    scores = model(**row).logits[0]  # of each place, over the vocabulary
place = row["input_ids"][0].tolist().index(tokenizer.mask_token_id)
print(tokenizer.convert_ids_to_tokens(scores[place].topk(5).indices.tolist()))
"""

_WRITE = """\
def ids(text):
    return tokenizer(unicodedata.normalize("NFC", text), add_special_tokens=False)["input_ids"]

text = {shown}
read = torch.tensor([[{row}]])
options = {{"max_new_tokens": {new}, "eos_token_id": {stop}, "do_sample": False, "num_beams": 1}}
written = model.generate(read, attention_mask=torch.ones_like(read), **options)
print(tokenizer.decode(written[0, {skip} :], skip_special_tokens=True).strip())
"""

_SHOWN = "배송이 빨라서 좋아요"


def text(run: Opened, config: dict[str, Any], mean: bool) -> str:
    """Return the part of README.md that says how the folder is used.

    Args:
        run: that was written.
        config: of the folder.
        mean: whether the mean over the tokens is scored, by `head.safetensors`.
    """
    writes = run.head.skill in {"write", "score"}
    code = _writing(run) if writes else _scoring(run, config, mean)
    notes = [
        "Run it in this folder. Texts are composed (NFC) first, as in training. What looks like a"
        " special token in a text is one here; the run takes it for text."
    ]
    if writes:
        notes.append("generation_config.json may hold further settings of the checkpoint's own.")
    return f"```python\n{code}```\n\n" + "\n".join(notes) + "\n"


def _scoring(run: Opened, config: dict[str, Any], mean: bool) -> str:
    shape, head = run.task.shape, run.head
    read = _reading(run, config)
    if head.skill == "fill":
        return _OPEN.format(family="AutoModelForMaskedLM") + read + _BLANK
    if head.skill == "tokens":
        scored = _SPANS.format(places=head.places, outputs=head.outputs)
        last = _ANSWER if shape == "question" else _ENTITIES.format(labels=_labels(run))
        return _OPEN.format(family="AutoModelForTokenClassification") + read + scored + last
    family = "AutoModel" if mean else "AutoModelForSequenceClassification"
    return _OPEN.format(family=family) + read + (_MEAN if mean else _OWN) + _answer(run)


def _labels(run: Opened) -> str:
    return json.dumps(list(run.schema.labels), ensure_ascii=False)


def _reading(run: Opened, config: dict[str, Any]) -> str:
    """Return the lines that make `row`: the tensors of one row."""
    names = SHAPES[run.task.shape].inputs
    tokenizer: Any = run.tokenizer
    shown = _SHOWN
    if run.head.skill == "fill":
        shown = f"배송이 정말 {tokenizer.backend.id_to_token(tokenizer.special_ids['mask'])}"
    lines = [
        f'{name} = unicodedata.normalize("NFC", {json.dumps(shown, ensure_ascii=False)})'
        for name in names
    ]
    kinds = len(names) > 1 and int(config.get("type_vocab_size") or 0) > 1
    limits = f"truncation=True, max_length={tokenizer.max_length}"
    told = f'return_token_type_ids={kinds}, return_tensors="pt"'
    return "\n".join([*lines, f"row = tokenizer({', '.join(names)}, {limits}, {told})"]) + "\n"


def _answer(run: Opened) -> str:
    """Return the line that makes answers of `scores` [1, outputs]."""
    task = run.task
    if isinstance(task, LabelTask) and task.shape == "rated-pair":
        low, high = (float(task.probabilities(np.array([[x]]), run.schema)[0, 0]) for x in (0, 1))
        return f"print(({low:g} + {high - low:g} * scores[0]).clamp({low:g}, {high:g}).tolist())\n"
    shares = "scores[0].sigmoid()" if run.schema.multi_label else "scores[0].softmax(0)"
    return f"print(dict(zip({_labels(run)}, {shares}.tolist(), strict=True)))\n"


def _writing(run: Opened) -> str:
    two = run.model.kind == "seq2seq"
    tokenizer: Any = run.tokenizer
    before, behind = run.task.prompt if isinstance(run.task, WritingTask) else ("", "")
    left, right = tokenizer.ends()
    front, back = ([left], []) if not two else _around(tokenizer)
    parts = [str(number) for number in front]
    parts += [f"*ids({json.dumps(before, ensure_ascii=False)})"] if before else []
    parts += ["*ids(text)"]
    parts += [f"*ids({json.dumps(behind, ensure_ascii=False)})"] if behind else []
    parts += [str(number) for number in back]
    sampling = run.task.sampling
    family = "AutoModelForSeq2SeqLM" if two else "AutoModelForCausalLM"
    return (
        _OPEN.format(family=family)
        + "\n\n"
        + _WRITE.format(
            shown=json.dumps(_SHOWN, ensure_ascii=False),
            row=", ".join(parts),
            new=sampling.max_new if sampling else 64,
            stop=right,
            skip="1" if two else "read.shape[1]",
        )
    )


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that stand before a text that an encoder reads, and behind it."""
    front, inner = tokenizer.opening(), tokenizer.segment("가")
    return front, tokenizer.backend.encode("가").ids[len(front) + len(inner) :]
