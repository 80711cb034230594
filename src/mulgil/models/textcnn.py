"""TextCNN: kernels over words, the largest of each over the text (Kim 2014); fresh from sizes.

Chosen: Kim's sizes (kernels of 3, 4 and 5 words, 100 numbers each, half of them dropped before the
head) over learnt subwords. It costs what it does not see: the order of words further apart than
the widest kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pydantic

from mulgil import settings
from mulgil.models._bodied import Bodied, WordSettings, worded

if TYPE_CHECKING:
    from mulgil.models._bodies import Body

DROPOUT = 0.5
"""Share of a text's numbers that are dropped before the head, as in Kim 2014."""


class TextcnnSettings(WordSettings):
    """Settings of TextCNN; the sizes are for a fresh model only."""

    kernels: list[Annotated[int, pydantic.Field(ge=1, le=64)]] = pydantic.Field(
        [3, 4, 5], min_length=1, max_length=16
    )
    """Fresh: words that each kernel looks at."""
    filters: int = pydantic.Field(100, ge=1, le=8192)
    """Fresh: numbers that each kernel gives."""


class Textcnn(Bodied):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = TextcnnSettings

    @classmethod
    def body_class(cls) -> type[Body]:
        from mulgil.models._textcnn import TextCnnBody

        return TextCnnBody

    def body(self, tokenizer: Any) -> Body:
        from mulgil.models._textcnn import TextCnnBody, TextCnnConfig

        chosen = self.settings

        def make(width: int) -> Body:
            config = TextCnnConfig(
                vocab_size=tokenizer.size,
                embedding=width,
                hidden_size=len(chosen.kernels) * chosen.filters,
                kernels=list(chosen.kernels),
                filters=chosen.filters,
                dropout=DROPOUT,
                pad_token_id=tokenizer.special_ids["pad"],
            )
            return TextCnnBody(config)

        return worded(chosen, tokenizer, make)
