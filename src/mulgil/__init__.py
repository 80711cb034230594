"""물길 (Mulgil): transfer learning for Korean and any other text, in seven steps."""

from __future__ import annotations

__version__ = "0.1.0"
