"""Make the font that every report carries: a subset of NanumGothic, under another name.

    python tools/make_font.py NanumGothic.ttf src/mulgil/assets/mulgil-sans-kr.woff2

Chosen: all 11,172 modern syllables without hinting (0.26 MB) rather than the 2,350 of KS X 1001
with hinting (0.43 MB): misspellings such as 됬 are ordinary in reviews, and the hints cost more
than the glyphs. It costs a little sharpness on old low-density screens. The licence of NanumGothic
(OFL 1.1) reserves its name, so the subset calls itself Mulgil Sans KR; its copyright notice stays.

Needs fonttools and brotli; the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

FAMILY = "Mulgil Sans KR"
LICENCE = "This Font Software is licensed under the SIL Open Font License, Version 1.1."
RANGES = (
    (0x0020, 0x007E),  # ASCII
    (0x00A0, 0x00FF),  # Latin-1
    (0x0370, 0x03FF),  # Greek
    (0x2010, 0x2027),  # dashes, quotes, bullets
    (0x2030, 0x203E),
    (0x20A0, 0x20BF),  # currencies, with the won
    (0x2100, 0x21FF),  # letterlike signs, arrows
    (0x2200, 0x22FF),  # mathematics
    (0x2460, 0x24FF),  # enclosed numbers
    (0x25A0, 0x26FF),  # shapes, stars, hearts
    (0x3000, 0x303F),  # East Asian punctuation
    (0x3131, 0x318E),  # compatibility jamo, old letters included
    (0xAC00, 0xD7A3),  # syllables
    (0xFF00, 0xFFEF),  # full and half width
)
NAMES = {
    1: FAMILY,
    2: "Regular",
    3: "Mulgil Sans KR Regular; subset of version 3.021",
    4: FAMILY,
    6: "MulgilSansKR-Regular",
    13: LICENCE,
    14: "https://openfontlicense.org",
    16: FAMILY,
    17: "Regular",
}
KEPT = (0, 5, 7, 8, 9)
"""Name records that stay as they are: copyright, version, trademark, maker, designers."""


def main() -> None:
    """Read the source and the target from the command line and write the subset."""
    parser = argparse.ArgumentParser(description="Subset NanumGothic for the reports.")
    parser.add_argument("source", type=Path, help="NanumGothic.ttf")
    parser.add_argument("target", type=Path, help="the .woff2 to write")
    paths = parser.parse_args()

    font = TTFont(paths.source, recalcTimestamp=False)
    options = subset.Options()
    options.hinting = False
    options.glyph_names = False
    options.name_IDs = ["*"]
    options.drop_tables += ["TSI0", "TSI1", "TSI2", "TSI3", "TSI5"]
    cut = subset.Subsetter(options)
    cut.populate(unicodes=[code for first, last in RANGES for code in range(first, last + 1)])
    cut.subset(font)
    rename(font)
    font.flavor = "woff2"
    font.save(paths.target)


def rename(font: TTFont) -> None:
    """Take the reserved name out of every record that is shown as the font's name."""
    table = font["name"]
    kept = {i: str(record) for i in KEPT if (record := table.getName(i, 3, 1, 0x409))}
    table.names = []
    for number, text in sorted((kept | NAMES).items()):
        table.setName(text, number, 3, 1, 0x409)


if __name__ == "__main__":
    main()
