"""From a file or a pipe to numbered lines of text, in flat memory.

Chosen: bytes are cut at newlines first and each line is decoded strictly by itself, so that a few
bad bytes cost their lines and nothing else; only where a newline is not the byte 10 (UTF-16,
ISO-2022) is the stream decoded as a whole. Only newline characters end a line: U+2028 and form
feeds are text. A line over 8 MiB is passed over and rejected. It costs a list of lines for each
block of 1 MiB.

Policy for odd characters (DA-04): a line with NUL or half a surrogate pair is rejected; zero-width,
bidirectional and private characters, U+FFFD and old Hangul stay as the user wrote them.
"""

from __future__ import annotations

import gzip
import itertools
import re
import stat
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import AnyStr, BinaryIO, cast

from mulgil.errors import DataError, nearest
from mulgil.tables.encodings import Judge, Wish, agree, codec_name, incremental, linewise

Line = tuple[int, str, str]
"""Line number from 1, the text without its newline, and why it is rejected ("" when it is fine)."""

MAX_LINE = 8 << 20
"""Bytes of the longest line that is read; it bounds the memory of a stream."""

_BLOCK = 1 << 20
_FORBIDDEN = re.compile("[\0\ud800-\udfff]")
_BINARY = {
    b"PK\x03\x04": "a zip or Excel file; save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Office file; save the sheet as CSV",
    b"\x1f\x8b": "gzipped; let its name end in .gz",
    b"PAR1": "a Parquet file; let its name end in .parquet",
}


def forbidden(text: str) -> str:
    """Return why no file format carries a text through (NUL, half a surrogate pair), or ""."""
    found = _FORBIDDEN.search(text)
    if not found:
        return ""
    return (
        "holds a NUL character" if found[0] == "\0" else "holds half a character (a lone surrogate)"
    )


def open_file(path: Path) -> BinaryIO:
    """Open a user's own file for reading, unzipped when its name ends in `.gz`.

    Links are followed: the file is the user's own choice.

    Raises:
        DataError: it is missing, or a folder, pipe or device, which could block or never end.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            zipped = path.suffix.lower() == ".gz"
            return cast("BinaryIO", gzip.open(path)) if zipped else path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file{_similar(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}") from error
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: is a folder; name one file in it")
    what = "pipe" if stat.S_ISFIFO(mode) else "device or socket"
    raise DataError(f"{path}: is a {what}, not a file; save what it gives as a file first")


def _similar(path: Path) -> str:
    """Return `; did you mean ...?` when a file of nearly that name lies beside."""
    try:
        remedy = nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""
    return f"; {remedy}" if remedy.startswith("did you") else ""


class Lines(Iterator[Line]):
    """Numbered lines that can be looked at beforehand and put back."""

    newline = "\n"

    def __init__(self, source: Iterable[Line]) -> None:
        self._source = iter(source)
        self._ahead: deque[Line] = deque()

    def __next__(self) -> Line:
        return self._ahead.popleft() if self._ahead else next(self._source)

    def push(self, lines: list[Line]) -> None:
        """Put lines back, so that they come next."""
        self._ahead.extendleft(reversed(lines))

    def peek(self, count: int, characters: int = 4_000_000) -> list[Line]:
        """Return up to `count` coming lines, fewer when they are long, without taking them."""
        seen = list(itertools.islice(self._ahead, count))
        size = sum(len(line[1]) for line in seen)
        while len(seen) < count and size < characters:
            line = next(self._source, None)
            if line is None:
                break
            self._ahead.append(line)
            seen.append(line)
            size += len(line[1])
        return seen


class FileLines(Lines):
    r"""The lines of a byte stream.

    Args:
        stream: open for reading; it is not closed here.
        name: the file's name, for messages.
        encoding: "auto", or the name of one of Python's text encodings, or a whole wish.
        live: whether bytes come slowly (a pipe), so that lines must not wait for a full block.

    Attributes:
        encoding: what the bytes were decoded as; final once a non-ASCII line has been seen.
        marked: whether a byte order mark stands in front.
        newline: "\n", or "\r" in a file with the line ends of an old Macintosh.

    Raises:
        SettingError: the encoding has no such name.
        DataError: here or while reading: the encoding cannot be told, the stream is damaged or not
            text at all.
    """

    def __init__(
        self, stream: BinaryIO, name: str, encoding: str | Wish = "auto", live: bool = False
    ) -> None:
        self.name = name
        wish = Wish(encoding) if isinstance(encoding, str) else encoding
        wanted = wish.name if wish.name == "auto" else codec_name(wish.name, wish.where)
        blocks = _blocks(stream, name, live)
        head = b""
        while len(head) < 4 and (block := next(blocks, b"")):
            head += block
        for magic, what in _BINARY.items():
            if head.startswith(magic):
                raise DataError(f"{name}: is {what}")
        mark, codec = agree(wanted, head, name, wish)
        self.marked = bool(mark)
        self.encoding = codec or "utf-8"
        chunks = itertools.chain([head.removeprefix(mark)], blocks)
        if not linewise(self.encoding):
            super().__init__(self._whole(chunks))
            return
        if b"\r" in head[:-1] and b"\n" not in head:
            self.newline = "\r"
        super().__init__(self._linewise(_cut(chunks, self.newline.encode()), bool(codec), wish))

    def _linewise(
        self, blocks: Iterator[list[bytes | None]], known: bool, wish: Wish
    ) -> Iterator[Line]:
        """Decode each line by itself, after judging the encoding where nothing names it."""
        judge, number = Judge(self.name, wish), 1
        waiting: list[bytes | None] = []
        for block in blocks:
            waiting += block
            if not known:
                found = judge.see((line for line in block if line is not None), more=True)
                if judge.waits and not found:
                    continue
                known, self.encoding = bool(found), found or self.encoding
            yield from _decode(waiting, number, self.encoding)
            number += len(waiting)
            waiting = []
        if waiting:
            self.encoding = judge.see((), more=False)
            yield from _decode(waiting, number, self.encoding)

    def _whole(self, chunks: Iterator[bytes]) -> Iterator[Line]:
        """Decode the stream as a whole, where a newline is not the byte 10."""
        decoder, number = incremental(self.encoding), 1

        def texts() -> Iterator[str]:
            try:
                for chunk in chunks:
                    yield decoder.decode(chunk)
                if decoder.getstate()[0]:
                    yield "\ud800"  # the file ends inside a character: its last line is rejected
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self.name}:{number}: not valid {self.encoding} ({error.reason}), here or"
                    " soon after; check data.encoding"
                ) from None

        for line in itertools.chain.from_iterable(_cut(texts(), "\n")):
            yield _long(number) if line is None else (number, line, forbidden(line))
            number += 1


def _blocks(stream: BinaryIO, name: str, live: bool) -> Iterator[bytes]:
    read = getattr(stream, "read1", stream.read) if live else stream.read
    while True:
        try:
            block = read(_BLOCK)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name}: cannot be read to its end: {error}") from error
        if not block:
            return
        yield block


def _cut(chunks: Iterable[AnyStr], newline: AnyStr) -> Iterator[list[AnyStr | None]]:
    """Cut chunks into lines, a list for each chunk; None stands for a line over the limit."""
    rest, skipping = newline[:0], False
    for chunk in chunks:
        pieces = (rest + chunk).split(newline)
        rest = pieces.pop()
        lines: list[AnyStr | None] = [None if len(x) > MAX_LINE else x for x in pieces]
        if skipping and lines:
            lines[0], skipping = None, False
        if skipping or len(rest) > MAX_LINE:
            rest, skipping = newline[:0], True
        yield lines
    if skipping or rest:
        yield [None if skipping else rest]


def _decode(lines: Iterable[bytes | None], number: int, codec: str) -> Iterator[Line]:
    for at, line in enumerate(lines, start=number):
        if line is None:
            yield _long(at)
            continue
        try:
            text = line.decode(codec)
        except UnicodeDecodeError as error:
            byte = line[error.start]
            yield at, "", f"byte {error.start + 1} of the line (0x{byte:02X}) is not valid {codec}"
        else:
            yield at, text, "holds a NUL character" if "\0" in text else ""


def _long(number: int) -> Line:
    return number, "", f"is a line of more than {MAX_LINE >> 20} MiB"
