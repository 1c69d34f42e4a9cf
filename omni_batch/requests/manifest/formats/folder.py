"""A folder, or a glob, of media files → rows: one for each file, in order."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest.endings import KIND_OF_ENDING, ending
from omni_batch.requests.manifest.names import ID_COLUMN
from omni_batch.requests.manifest.notes import Notes
from omni_batch.requests.manifest.rows import ManifestRow

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Files beside the media of a data set that have its columns, by Hugging Face's custom."""
_WILDCARDS = "*?["
_SETS = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
"""`{000..123}` and `{train,test}`, as a shell expands them."""
_NAMES_AT_MOST = 1_000_000


def is_glob(path: str) -> bool:
    """Whether a path names files by a pattern; one that exists by that very name does not."""
    return any(sign in path for sign in _WILDCARDS) and not os.path.lexists(path)


def expanded(pattern: str) -> Iterator[str]:
    """The names that braces in a pattern stand for, in their order."""
    if (found := _SETS.search(pattern)) is None:
        yield pattern
        return
    first, last, names = found.groups()
    if names is None:
        if int(last) - int(first) > _NAMES_AT_MOST:
            raise ManifestError(f"{pattern} stands for too many names; give fewer")
        numbers = range(int(first), int(last) + 1)
        chosen: Iterable[str] = (f"{number:0{len(first)}}" for number in numbers)
    else:
        chosen = names.split(",")
    for name in chosen:
        yield from expanded(f"{pattern[: found.start()]}{name}{pattern[found.end() :]}")


def fixed_part(pattern: str) -> Path:
    """The folder of a glob, or of names in braces, that all its files lie in."""
    parts = Path(pattern).parts
    signs = f"{_WILDCARDS}{{"
    fixed = next(n for n, part in enumerate(parts) if any(sign in part for sign in signs))
    return Path(*parts[: min(fixed, len(parts) - 1)])


def read_folder(path: str, notes: Notes) -> Iterator[ManifestRow]:
    """All media below a folder. Hidden files and folders are left out.

    Raises:
        ManifestError: it has none.
    """
    yield from _read(path, Path(path), _below(path, notes), notes)


def read_glob(pattern: str, notes: Notes) -> Iterator[ManifestRow]:
    """All media that a pattern names; `**` stands for any folders."""
    # `Path.glob` would have hidden files as well.
    found = glob.iglob(pattern, recursive=True)  # noqa: PTH207
    files = sorted(map(os.path.split, found))
    groups = groupby(files, key=lambda parts: parts[0])
    folders = ((folder, [name for _, name in names]) for folder, names in groups)
    yield from _read(pattern, fixed_part(pattern), folders, notes)


def _below(path: str, notes: Notes) -> Iterator[tuple[str, list[str]]]:
    """Each folder with its files: memory holds the names of one."""
    for folder, folders, files in os.walk(path, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if Path(folder, name).is_symlink():
                notes.add_row("link-to-folder", "links to folders are not followed", name)
        yield folder, sorted(name for name in files if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise error


def _read(
    path: str, base: Path, folders: Iterable[tuple[str, list[str]]], notes: Notes
) -> Iterator[ManifestRow]:
    skipped: Counter[str] = Counter()
    found = False
    for folder, names in folders:
        media = [name for name in names if ending(name) in KIND_OF_ENDING]
        others = [name for name in names if ending(name) not in KIND_OF_ENDING]
        skipped.update(
            f".{ending(name)}" if ending(name) else "no ending"
            for name in others
            if not Path(folder, name).is_dir()
        )
        _hint_at_metadata(folder, others, notes)
        for row in _rows(os.path.relpath(folder or ".", base), media):
            found = True
            yield row
    if skipped:
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in skipped.most_common(8))
        notes.add("files-skipped", f"{skipped.total():,} files in {path} are skipped: {kinds}")
    if not found:
        known = ", ".join(sorted(KIND_OF_ENDING))
        raise ManifestError(f"{path} has no media files; their endings are {known}")


def _rows(folder: str, media: list[str]) -> Iterator[ManifestRow]:
    """One row for each file, named by its path without the ending, where no other is called so."""
    stems = Counter(_stem(name) for name in media)
    for name in media:
        path = Path(folder, name).as_posix()
        if not path.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in path):
            raise ManifestError(f"{path!a:.200}: the name is not UTF-8; rename the file")
        own = _stem(name) if stems[_stem(name)] == 1 else name
        cells = {ID_COLUMN: Path(folder, own).as_posix(), KIND_OF_ENDING[ending(name)]: path}
        yield ManifestRow(path, cells)


def _stem(name: str) -> str:
    return name[: -len(ending(name)) - 1]


def _hint_at_metadata(folder: str, names: Iterable[str], notes: Notes) -> None:
    for name in names:
        if name in _METADATA:
            path = Path(folder, name).as_posix()
            notes.add(
                "metadata-not-read",
                f"{path} is not read; for its columns set manifest.path: {path} and "
                "manifest.columns: {image: file_name}",
            )
