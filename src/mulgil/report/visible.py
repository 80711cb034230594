"""Text that is safe to look at: escaped for HTML, what cannot be seen spelt out, no home folders.

Chosen: code points in view (U+202E, U+200B, U+001B) for control, bidirectional, zero-width and
private characters, because a person who looks for the reason of a wrong answer must see them; line
breaks are escaped as in source code. Text is shown in NFC, so that any Korean font draws decomposed
syllables, and old Hangul as the letters it is made of, which every Korean font has; the code points
stand in the tooltip. It costs the look of emoji that U+200D joins: their parts stand side by side.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

LONGEST = 600
"""Characters of a row's text that `clip` shows."""

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufeff\uffa0\ufff0-\uffff"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_OLD_HANGUL = re.compile("[\u1100-\u115e\u1161-\u11ff\ua960-\ua97c\ud7b0-\ud7fb]+")
_ODD = re.compile(f"{_UNSEEN.pattern}|{_OLD_HANGUL.pattern}")
_PRIVATE = re.compile(
    r"(^|[_.\-])(host|hostname|fqdn|node|nodename|user|username|login|home|cwd|e?mail"
    r"|token|secret|password|passwd|api_?key)$",
    re.IGNORECASE,
)
"""Keys of a record that name a person, a machine or a secret."""
_HOMES = re.compile(r"(?:/home|/Users)/[^/\s\"']+|[A-Za-z]:[\\/]+Users[\\/]+[^\\/\s\"']+")


def visible(text: str, breaks: bool = False) -> Markup:
    """Return the text escaped, in NFC, with everything that cannot be seen spelt out.

    Args:
        text: as it stands in the data.
        breaks: whether line breaks and tabs stay what they are (for a recipe).
    """

    def spelt(match: re.Match[str]) -> str:
        odd = match[0]
        codes = " ".join(f"U+{ord(c):04X}" for c in odd)
        if _OLD_HANGUL.fullmatch(odd):
            return f'<span class="jamo" title="{codes}">{"".join(map(_letter, odd))}</span>'
        if breaks and odd in "\n\t":
            return odd
        name = unicodedata.name(odd, "control or private character")
        short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(odd, codes)
        return f'<span class="odd" title="{codes} {name}">{short}</span>'

    # Escaping touches only & < > ' ", none of which is odd, so the order does not matter.
    return Markup(_ODD.sub(spelt, str(escape(unicodedata.normalize("NFC", text)))))


def _letter(jamo: str) -> str:
    """Return the letter that stands alone for a conjoining jamo; fonts draw old ones only so."""
    name = unicodedata.name(jamo, "")
    try:
        return unicodedata.lookup(f"HANGUL LETTER {name.split(maxsplit=2)[2]}")
    except (KeyError, IndexError):
        return f"[U+{ord(jamo):04X}]"


def attribute(text: str) -> Markup:
    """Return the text for use inside an attribute: escaped, unseen characters as U+XXXX."""
    return escape(_UNSEEN.sub(lambda m: f"U+{ord(m[0]):04X}", text))


def clip(text: str, longest: int = LONGEST, whole: int = 0) -> Markup:
    """Return the beginning of a text as `visible` shows it, and how much more there is.

    Args:
        text: as it stands in the data.
        longest: characters that are shown.
        whole: length of the text before it was cut, when it was.
    """
    more = max(len(text), whole) - longest
    tail = Markup(' <span class="soft">… {:,} more characters</span>').format(more)
    return visible(text[:longest]) + tail if more > 0 else visible(text)


def homeless(text: str) -> str:
    """Return the text with home folders as `~`."""
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(re.escape(home) + r"(?![\w.\-])", "~", text)
    return _HOMES.sub("~", text)


def public(value: Any) -> Any:
    """Return a record without home folders and without what `_PRIVATE` names, at any depth."""
    if isinstance(value, str):
        return homeless(value)
    if isinstance(value, list):
        return [public(v) for v in value]
    if isinstance(value, dict):
        return {k: public(v) for k, v in value.items() if not _PRIVATE.search(str(k))}
    return value
