"""The manifest's path → rows: which reader takes it, and every foreign exception ends here."""

import glob
import io
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

import fsspec
from fsspec.utils import infer_compression

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest.formats.delimited import read_delimited
from omni_batch.requests.manifest.formats.folder import (
    expanded,
    fixed_part,
    is_glob,
    read_folder,
    read_glob,
)
from omni_batch.requests.manifest.formats.hugging_face import (
    DataSet,
    is_data_set,
    read_data_set,
)
from omni_batch.requests.manifest.formats.json_lines import read_json_lines
from omni_batch.requests.manifest.formats.listing import is_listed, matching, read_listing
from omni_batch.requests.manifest.formats.parquet import read_parquet
from omni_batch.requests.manifest.formats.web_dataset import ENDINGS as SET_ENDINGS
from omni_batch.requests.manifest.formats.web_dataset import Shard, read_web_dataset
from omni_batch.requests.manifest.notes import Notes
from omni_batch.requests.manifest.rows import MAX_ROW_CHARS, ManifestRow
from omni_batch.sources import Address, SourceFault, Sources, is_store
from omni_batch.sources.address import is_web
from omni_batch.text import redacted

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_TEXT_READERS: dict[str, Callable[[str, IO[bytes], str, Notes], Iterator[ManifestRow]]] = {
    ".csv": read_delimited,
    ".tsv": partial(read_delimited, usual="\t"),
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json_lines,
}
_PARQUET = ".parquet"
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_MARKS_OF_4 = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")  # UTF-32


def read_rows(
    path: str, notes: Notes, sources: Sources, named: Collection[str] = ()
) -> Iterator[ManifestRow]:
    """Read the manifest once; memory does not grow with it.

    Args:
        sources: where archives and stores are read.
        named: columns that the config speaks of.

    Raises:
        ManifestError: it can't be read; names file, line and reason.
    """
    try:
        if is_data_set(path):
            yield from read_data_set(path, named, notes)
        else:
            yield from _read(path, notes, sources)
    except SourceFault as exc:
        raise ManifestError(f"manifest {exc}") from None


def _read(path: str, notes: Notes, sources: Sources) -> Iterator[ManifestRow]:
    if _is_set(path):
        yield from _ended(path, read_web_dataset(_shards(path, sources), notes))
    elif sources.takes(path) and is_listed(path):
        yield from read_listing(Address.of(path), sources, notes)
    elif sources.takes(path):
        file = sources.object(Address.of(path))
        yield from _read_file(path, notes, file.path)
    elif (local := _local(path)) is not None and Path(local).is_dir():
        yield from _ended(path, read_folder(local, notes))
    elif local is not None and is_glob(local):
        yield from _ended(path, read_glob(local, notes))
    else:
        yield from _read_file(path, notes)


def base_folder(path: str) -> Path:
    """Where relative references of a manifest start."""
    if is_data_set(path):
        return (DataSet.of(path).folder or Path.cwd()).resolve()
    local = _local(path)
    if local is None:
        return Path.cwd()
    if Path(local).is_dir():
        return Path(local).resolve()
    is_pattern = is_glob(local) or (_is_set(local) and [local] != list(expanded(local)))
    return fixed_part(local).resolve() if is_pattern else Path(local).resolve().parent


def _local(path: str) -> str | None:
    """The path on this machine; None for any other URL."""
    plain = path.removeprefix("file://")
    return None if "://" in plain else plain


def _is_set(path: str) -> bool:
    """Whether it names tar archives; a folder may be called so too."""
    local = _local(path)
    return _suffix(path) in SET_ENDINGS and not (local and Path(local).is_dir())


def _shards(path: str, sources: Sources) -> Iterator[Shard]:
    """The archives of a set, in order, each one unpacked where it is packed."""
    if sources.takes(path) or is_web(path):
        yield from _shards_elsewhere(path, sources)
        return
    base = base_folder(path)
    for name in expanded(_local(path) or path) if not Path(path).exists() else [path]:
        found = sorted(glob.glob(name, recursive=True)) if is_glob(name) else [name]  # noqa: PTH207
        if not found:
            raise ManifestError(f"manifest {name} names no archive")
        for each in found:
            if not Path(each).exists():
                raise ManifestError(f"manifest {_missing(each, FileNotFoundError())}")
            shown = Path(each).resolve().relative_to(base).as_posix()
            plain, held = sources.archives.plain_tar(Path(each), shown)
            yield Shard(plain, shown, held)


def _shards_elsewhere(path: str, sources: Sources) -> Iterator[Shard]:
    for name in expanded(path):
        if is_web(name):
            shown = redacted(name)
            file = sources.web_file(name)
            plain, held = sources.archives.plain_tar(file.path, shown)
            yield Shard(plain, name, (file, held))
            continue
        address = Address.of(name)
        keys = matching(address, sources) if is_listed(name) else iter([address.key])
        for key in keys:
            shard = Address(address.scheme, address.bucket, key)
            file = sources.object(shard)
            plain, held = sources.archives.plain_tar(file.path, str(shard))
            yield Shard(plain, str(shard), (file, held))


def _read_file(path: str, notes: Notes, copy: Path | None = None) -> Iterator[ManifestRow]:
    """Read a file of rows; of an object, its copy here."""
    suffix = _suffix(path)
    reader, name = _TEXT_READERS.get(suffix), redacted(path)  # the name is for messages
    local = _local(path)
    if reader is None and suffix != _PARQUET:
        known = local is None or Path(local).exists()
        why = _unknown(suffix) if known else f"does not exist, and {_unknown(suffix)}"
        raise ManifestError(f"manifest {name} {why}")
    if local and Path(local).exists() and not Path(local).is_file():
        raise ManifestError(f"manifest {name} is a pipe or a device; write it to a file first")
    with _opened(path, copy) as file:
        if reader is None:
            yield from read_parquet(name, file)
        else:
            yield from reader(name, file, _encoding(name, file), notes)


def _suffix(path: str) -> str:
    # A signed URL goes on behind the name; the name of an object has any signs.
    name = urlsplit(path).path if "://" in path and not is_store(path) else path
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    return next((s for s in reversed(suffixes) if s not in _COMPRESSED), "")


def _unknown(suffix: str) -> str:
    if suffix in _SHEETS:
        return f"is a spreadsheet ({suffix}); save it as CSV UTF-8"
    ending = f"the ending {suffix!r}" if suffix else "no ending"
    known = ", ".join(sorted((*_TEXT_READERS, _PARQUET)))
    return f"has {ending}; use one of {known}, .tar, a folder, or a glob such as photos/*.jpg"


@contextmanager
def _opened(path: str, copy: Path | None) -> Iterator["io.BufferedReader"]:
    """End every foreign exception of reading here."""
    packed = infer_compression(path)
    try:
        with fsspec.open(str(copy or path), "rb", compression=packed) as file:
            yield io.BufferedReader(file)
    except FileNotFoundError as exc:
        raise ManifestError(f"manifest {_missing(path, exc)}") from None
    except UnicodeDecodeError as exc:
        line = _undecodable_line(str(copy or path), packed, exc.encoding)
        raise ManifestError(
            f"{redacted(path)}, line {line}: not {exc.encoding.upper()}; convert the file first"
        ) from None
    except ManifestError:
        raise
    except ImportError as exc:
        reason = f"needs another package: {exc}"
        raise ManifestError(redacted(f"manifest {path} {reason}")) from None
    except MemoryError:
        raise ManifestError(
            redacted(f"manifest {path} takes more memory than there is; give large media as files")
        ) from None
    except Exception as exc:  # each fsspec filesystem and codec has exceptions of its own
        reason = str(exc) or type(exc).__name__
        raise ManifestError(redacted(f"manifest {path} can't be read: {reason}")) from exc


def _ended(path: str, rows: Iterator[ManifestRow]) -> Iterator[ManifestRow]:
    try:
        yield from rows
    except OSError as exc:
        raise ManifestError(f"manifest {path} can't be read: {exc}") from exc


def _encoding(name: str, file: io.BufferedReader) -> str:
    """By the mark of byte order that the file begins with; without one it is UTF-8."""
    start = file.peek(4)[:4]
    if start in _MARKS_OF_4:
        raise ManifestError(f"{name}, line 1: not UTF-8 but UTF-32; convert the file first")
    return _MARKS.get(start[:2], "utf-8-sig")


def _undecodable_line(path: str, packed: str | None, encoding: str) -> int:
    """The line of the first sign that can't be decoded."""
    with (
        fsspec.open(path, "rb", compression=packed) as file,
        io.TextIOWrapper(io.BufferedReader(file), encoding, "replace", newline="\n") as text,
    ):
        lines = enumerate(iter(lambda: text.readline(MAX_ROW_CHARS), ""), 1)
        return next((number for number, line in lines if "\ufffd" in line), 1)


def _missing(path: str, exc: FileNotFoundError) -> str:
    """What is known of a file that is not there; hosts that can't be reached say so underneath."""
    cause = exc.__cause__ or exc.__context__
    if "://" in path and cause is not None and not isinstance(cause, FileNotFoundError):
        return f"{redacted(path)} can't be read: {redacted(str(cause) or type(cause).__name__)}"
    here = "" if "://" in path or Path(path).is_absolute() else f" in {Path.cwd()}"
    return f"{redacted(path)} does not exist{here}"
