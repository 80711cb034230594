"""Libraries kept from writing between our lines.

Chosen: a library's own logger is made to pass errors only, for as long as a block runs; that needs
no import of it, so that rooms of every wing can share this. It costs its advice, which is meant for
whoever calls it by hand.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(library: str) -> Iterator[None]:
    """Let a library write of nothing but errors while the block runs.

    Args:
        library: name of its logger, which is that of its package.
    """
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
