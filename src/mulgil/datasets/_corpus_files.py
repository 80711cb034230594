"""Which files a corpus is made of: files, folders and globs, in one order whatever the disk says.

Chosen: a file that the user names is read whatever it is called and wherever a link leads; what a
folder or a glob brings up must be a plain file within it. A link out of it, a pipe or a device is
refused (DA-11), because nobody has chosen those; files of other kinds are passed over and counted,
hidden ones (a dot in front) in silence. It costs a look at every entry below the folders, twice
where a run asks for the list before it reads.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mulgil.errors import DataError, SettingError, nearest
from mulgil.tables.rows import FORMATS, file_format

_VARIABLE = re.compile(r"\$\{?MULGIL_DATA\}?(?=/|$)")
_MAGIC = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A file of the corpus.

    Attributes:
        path: where it is.
        form: one of the formats of `mulgil.tables`.
        chosen: whether the user named it, rather than a folder or a glob that it is in.
    """

    path: Path
    form: str
    chosen: bool


def find(paths: Sequence[str], setting: str) -> tuple[list[Found], list[Path]]:
    """Return the files of these paths, sorted, and those that were passed over.

    Args:
        paths: files, folders (with all below them) and globs (`**` for any folders);
            `$MULGIL_DATA` in front stands for the folder that the environment names.
        setting: what the paths were given in, for messages.

    Raises:
        SettingError: a path is empty, or the environment does not name the folder.
        DataError: a path brings up nothing, or something that is no plain file.
    """
    found: dict[str, Found] = {}
    others: set[Path] = set()
    for given in paths:
        entries = list(_below(_expanded(given, setting), given, setting))
        if not entries:
            raise DataError(f"{setting}: {given}: no file is in there; put the texts in")
        for each, chosen in entries:
            form = _form(each, chosen)
            real = os.path.realpath(each)
            if form and (chosen or real not in found):
                found[real] = Found(each, form, chosen)
            elif not form:
                others.add(each)
    if not found and others:
        raise DataError(
            f"{setting}: none of the {len(others)} files found can be read, such as"
            f" {min(others)}; the names must end in .{', .'.join(FORMATS)} (or .gz behind)"
        )
    return sorted(found.values(), key=lambda each: each.path.parts), sorted(others)


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return for each path its name, with as many folders in front as tell it from the others."""
    lengths = [1] * len(paths)
    while True:
        names = ["/".join(path.parts[-n:]) for path, n in zip(paths, lengths, strict=True)]
        shared = Counter(names)
        longer = [
            n + (shared[name] > 1 and n < len(path.parts))
            for path, n, name in zip(paths, lengths, names, strict=True)
        ]
        if longer == lengths:
            return names
        lengths = longer


def _expanded(given: str, setting: str) -> Path:
    if not given.strip():
        raise SettingError(f"{setting}: a path is empty; name a file, a folder or a glob")
    variable = _VARIABLE.match(given)
    if not variable:
        if given.startswith("$"):
            raise SettingError(
                f"{setting}: {given}: only $MULGIL_DATA is known here; write the path itself"
            )
        return Path(given).expanduser()
    folder = os.environ.get("MULGIL_DATA")
    if not folder:
        raise SettingError(
            f"{setting}: {given}: the environment variable MULGIL_DATA is not set; set it to the"
            f" folder of the data, or give texts of your own, one a line: {setting}=your.txt"
        )
    return Path(folder).expanduser() / given[variable.end() :].lstrip("/")


def _below(path: Path, given: str, setting: str) -> Iterator[tuple[Path, bool]]:
    """Yield the plain files of one path, and whether the user named them."""
    if path.is_dir():
        yield from ((each, False) for each in _walk(path, Path(os.path.realpath(path)), setting))
    elif os.path.lexists(path):
        _refuse_special(path, path.stat().st_mode if path.exists() else 0, setting)
        yield path, True
    elif _MAGIC.search(str(path)):
        yield from ((each, False) for each in _globbed(path, given, setting))
    else:
        folder = path.parent
        if not folder.is_dir():
            raise DataError(
                f"{setting}: {given}: there is no folder {folder}; {_else(given, setting)}"
            )
        remedy = nearest(path.name, [entry.name for entry in _entries(folder, setting)])
        remedy = remedy if remedy.startswith("did you") else _else(given, setting)
        raise DataError(f"{setting}: {given}: no such file or folder; {remedy}")


def _else(given: str, setting: str) -> str:
    """Return what to do about a path that leads nowhere."""
    if not given.startswith("$"):
        return "mend the path"
    return f"it does not come with Mulgil: give texts of your own, one a line: {setting}=your.txt"


def _globbed(path: Path, given: str, setting: str) -> Iterator[Path]:
    parts = path.parts
    fixed = next(at for at, part in enumerate(parts) if _MAGIC.search(part))
    base = Path(*parts[:fixed])
    root = Path(os.path.realpath(base))
    matches = list(_matching(base, parts[fixed:], root, setting)) if base.is_dir() else []
    if not matches:
        names = [entry.name for entry in _entries(base, setting)] if base.is_dir() else []
        remedy = (
            nearest(_MAGIC.sub("", parts[fixed]), names) if names else f"there is no folder {base}"
        )
        remedy = remedy if remedy.startswith(("did", "there")) else "mend the pattern"
        raise DataError(f"{setting}: {given}: matches no file; {remedy}")
    for match in matches:
        if match.is_dir():
            yield from _walk(match, root, setting)
        else:
            _refuse_special(match, match.stat().st_mode, setting)
            yield match


def _matching(folder: Path, parts: Sequence[str], root: Path, setting: str) -> Iterator[Path]:
    """Yield what matches a pattern; `**` follows no links, which may lead round in circles."""
    if parts[0] == "**":
        if len(parts) == 1:
            yield folder
            return
        yield from _matching(folder, parts[1:], root, setting)
        for entry in _entries(folder, setting):
            if entry.is_dir(follow_symlinks=False):
                yield from _matching(Path(entry.path), parts, root, setting)
        return
    for entry in _entries(folder, setting, hidden=parts[0].startswith(".")):
        path = Path(entry.path)
        if not fnmatch.fnmatchcase(entry.name, parts[0]):
            continue
        if entry.is_symlink():
            _refuse_leading_out(path, root, setting)
        if len(parts) == 1:
            yield path
        elif entry.is_dir():
            yield from _matching(path, parts[1:], root, setting)


def _entries(folder: Path, setting: str, hidden: bool = False) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted by name."""
    try:
        found = [each for each in os.scandir(folder) if hidden or not each.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{setting}: {folder}: cannot be read: {error.strerror}") from error
    return sorted(found, key=lambda each: each.name)


def _walk(folder: Path, root: Path, setting: str) -> Iterator[Path]:
    """Yield the plain files below a folder; links to folders within it are not followed."""
    for entry in _entries(folder, setting):
        path = Path(entry.path)
        if entry.is_symlink():
            _refuse_leading_out(path, root, setting)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, root, setting)
        elif not entry.is_dir():
            _refuse_special(path, entry.stat().st_mode, setting)
            yield path


def _refuse_leading_out(path: Path, root: Path, setting: str) -> None:
    if not path.exists():
        raise DataError(f"{setting}: {path}: is a link to nothing; remove it")
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(root):
        raise DataError(
            f"{setting}: {path}: is a link that leads out of its folder; name {target} itself in"
            f" {setting}, or remove the link"
        )


def _refuse_special(path: Path, mode: int, setting: str) -> None:
    if stat.S_ISREG(mode):
        return
    if not mode:
        raise DataError(f"{setting}: {path}: is a link to nothing; mend or remove it")
    what = "pipe" if stat.S_ISFIFO(mode) else "device or socket"
    raise DataError(f"{setting}: {path}: is a {what}, not a file; remove it, or name files only")


def _form(path: Path, chosen: bool) -> str:
    """Return the format that a file's name stands for, "" for none."""
    name = path.name.lower().removesuffix(".gz")
    if "." not in name.lstrip("."):
        return "txt"
    try:
        return file_format(path)
    except DataError:
        if chosen:
            raise
        return ""
