"""`python -m mulgil` is the command `mulgil`."""

from __future__ import annotations

from mulgil.cli import main

main()
