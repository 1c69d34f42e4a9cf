"""A WebDataset → rows: tar archives in which files that share a key, next to each other, are one
sample.

The key of a file is its name up to the first dot of its last part (webdataset 1.0,
`tariterators.base_plus_ext`); what follows is its field.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tarfile import TarInfo
from typing import Any

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import rows as bounds
from omni_batch.requests.manifest.endings import KIND_OF_ENDING, ending
from omni_batch.requests.manifest.formats.json_object import json_object
from omni_batch.requests.manifest.ids import NewIds
from omni_batch.requests.manifest.names import ID_COLUMN
from omni_batch.requests.manifest.notes import Notes
from omni_batch.requests.manifest.rows import ManifestRow
from omni_batch.sources.archives.tar import TarReader, plain_name
from omni_batch.types import MediaKind

_TEXTS = ("txt", "text", "transcript", "cls", "cls2", "index", "id")
"""Fields that are a column as they are; `webdataset.autodecode` reads the same ones."""
_JSON = ("json", "jsn")
ENDINGS = (".tar", ".tgz", ".tbz2", ".txz")


@dataclass(frozen=True, slots=True)
class Shard:
    """One archive of a set."""

    path: Path
    """Where it lies, not packed."""
    name: str
    """As references and messages name it."""
    held: object = None
    """What keeps the file there, where it is not the user's own."""


@dataclass(frozen=True, slots=True)
class _File:
    key: str
    field: str
    """In small letters."""
    name: str
    """Of the member, to the letter."""
    text: bytes | None
    """Content of a field that becomes columns."""


@dataclass(slots=True)
class _Sample:
    key: str
    media: dict[MediaKind, list[str]] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)


def read_web_dataset(shards: Iterable[Shard], notes: Notes) -> Iterator[ManifestRow]:
    """One row a sample; memory holds one sample and 8 bytes for each key.

    Raises:
        ManifestError: an archive can't be read, is cut off, or has a sample in two places.
    """
    ids = NewIds()
    for shard in shards:
        reader = TarReader(shard.path, shard.name)
        in_shard = NewIds()
        for key, files in groupby(_files(reader, shard, notes), key=lambda file: file.key):
            if not in_shard.take(key):
                raise ManifestError(
                    f"{shard.name}: the files of sample {key} do not lie next to each other; pack "
                    "them in order of their names (tar --sort=name)"
                )
            sample = _sample(_Sample(key), files, shard, notes)
            _refuse_cut(reader, shard)  # before a sample goes out that may lack its picture
            if sample.media or sample.columns:
                own = next(name for name in (key, f"{shard.name}/{key}") if ids.take(name))
                yield _row(sample, own, shard)
        _refuse_cut(reader, shard)


def _refuse_cut(reader: TarReader, shard: Shard) -> None:
    if reader.cut:
        raise ManifestError(
            f"manifest {shard.name} {reader.cut}: samples may be missing; make or download it again"
        )


def _files(reader: TarReader, shard: Shard, notes: Notes) -> Iterator[_File]:
    """Files that belong to samples."""
    for _, entry in reader:
        if entry.isdir():
            continue
        name = plain_name(entry.name)
        folder, _, last = name.rpartition("/")
        stem, dot, rest = last.partition(".")
        if not dot or not stem or any(part.startswith("__") for part in name.split("/")):
            where = f"{shard.name}!/{name}"
            if not last.startswith("._"):
                notes.add_row("files-skipped", "files without a key are skipped", where)
            continue
        key = f"{folder}/{stem}" if folder else stem
        yield _File(key, rest.lower(), entry.name, _text(reader, entry, rest.lower(), shard))


def _text(reader: TarReader, entry: TarInfo, name: str, shard: Shard) -> bytes | None:
    if ending(f".{name}") not in (*_TEXTS, *_JSON):
        return None
    if entry.size > bounds.MAX_CELL_CHARS:
        raise ManifestError(
            f"{shard.name}!/{entry.name} has {entry.size:,} bytes; "
            f"{bounds.MAX_CELL_CHARS:,} at most"
        )
    return reader.content(entry)


def _sample(sample: _Sample, files: Iterable[_File], shard: Shard, notes: Notes) -> _Sample:
    for file in files:
        last = ending(f".{file.field}")
        where = f"{shard.name}!/{file.name}"
        if (kind := KIND_OF_ENDING.get(last)) is not None:
            found = sample.media.setdefault(kind, [])
            found[:] = [name for name in found if name != file.name] + [file.name]
        elif file.text is None:
            notes.add_row("files-skipped", f"files .{last} are skipped", where)
        elif last in _JSON:
            sample.columns |= _members(file, where)
        else:
            sample.columns[file.field] = _decoded(file.text, where)
    return sample


def _members(file: _File, where: str) -> dict[str, Any]:
    """The members of an object; any other JSON is a column."""
    text = _decoded(file.text or b"", where)
    try:
        if text.lstrip().startswith("{"):
            return json_object(text.encode())[0]
        return {file.field: json.loads(text)}
    except (ValueError, RecursionError) as exc:
        raise ManifestError(f"{where}: not JSON: {exc}") from None


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestError(f"{where}: not UTF-8; convert the file first") from None


def _row(sample: _Sample, item_id: str, shard: Shard) -> ManifestRow:
    """Media come before columns of the same names."""
    media: dict[str, Any] = {}
    for kind, names in sample.media.items():
        found = [f"{shard.name}!/{name}" for name in names]
        media[kind] = found[0] if len(found) == 1 else found
    cells = {**sample.columns, ID_COLUMN: item_id, **media}
    return ManifestRow(f"{shard.name}, sample {sample.key}", cells)
