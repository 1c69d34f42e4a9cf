"""Rows of a Python program → a manifest in JSONL, so that they are read like any other rows."""

import hashlib
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import msgspec
import numpy as np

from omni_batch.errors import ConfigError, ManifestError
from omni_batch.requests.manifest.cells import written_out
from omni_batch.store.disk import PROCESS

if TYPE_CHECKING:
    import pandas

Rows: TypeAlias = Union[Iterable[Mapping[str, Any]], "pandas.DataFrame"]
_MISSING = ("NAType", "NaTType")  # pandas' own; the package itself need not be imported to see them


def write_rows(rows: Rows, folder: Path) -> Path:
    """Write rows into `folder`, under a name made of their content: equal rows are one file.

    Cells may hold text, numbers, lists, mappings, dates, paths and bytes, also NumPy's; None, NaN
    and pandas' NA are empty.

    Raises:
        ConfigError: the folder can't be written.
        ManifestError: there are no rows, a row is not a mapping, or a cell holds anything else.
    """
    draft = folder / f".{secrets.token_hex(8)}.part"
    digest, written = hashlib.sha256(), 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            for number, row in enumerate(_mappings(rows), 1):
                line = _line(row, number)
                digest.update(line)
                written += file.write(line)
        if not written:
            raise ManifestError("rows is empty; give at least one row")
        return draft.replace(folder / f"rows-{digest.hexdigest()[:16]}.jsonl")
    except OSError as exc:
        raise ConfigError(f"{folder} can't be written: {exc}") from exc
    finally:
        PROCESS.remove(draft)


def _mappings(rows: Rows) -> Iterator[Mapping[str, Any]]:
    """Rows of a DataFrame, or of anything that gives mappings."""
    if hasattr(rows, "itertuples"):
        frame: Any = rows
        names = list(frame.columns)
        if doubled := [name for name in names if names.count(name) > 1]:
            raise ManifestError(f"rows: duplicate column {doubled[0]!r}")
        for cells in frame.itertuples(index=False, name=None):
            yield dict(zip(names, cells, strict=True))
    elif isinstance(rows, Iterable) and not isinstance(rows, str | bytes | Mapping):
        yield from rows
    else:
        raise ManifestError(
            f"rows is {type(rows).__name__}; expected a list of dicts or a DataFrame"
        )


def _line(row: Any, number: int) -> bytes:
    if not isinstance(row, Mapping):
        raise ManifestError(f"rows, row {number} is {type(row).__name__}; expected a dict")
    cells = {}
    for name, value in row.items():
        if not isinstance(name, str):
            raise ManifestError(f"rows, row {number}: column {name!r} is not named by a text")
        try:
            cells[name] = _plain(value)
        except TypeError as exc:
            raise ManifestError(f"rows, row {number}: {name} holds {exc}") from None
        except ManifestError as exc:
            raise ManifestError(f"rows, row {number}: {name} {exc}") from None
    return msgspec.json.encode(cells) + b"\n"


def _plain(value: Any) -> Any:
    """The value as JSON has it; null where it is missing."""
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind not in "mM":
        value = value.tolist()
    if _is_missing(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return _plain_one(value)


def _plain_one(value: Any) -> Any:
    if isinstance(value, date):  # and datetime, and pandas' Timestamp
        return value.isoformat()
    if isinstance(value, Path | np.datetime64):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return written_out(bytes(value))
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise TypeError(f"{value!r:.60} ({type(value).__name__}); expected {_expected(value)}")


def _expected(value: Any) -> str:
    if type(value).__module__.partition(".")[0] == "PIL":
        return 'a file or its bytes: in datasets by cast_column("image", Image(decode=False))'
    return "text, numbers, lists or bytes"


def _is_missing(value: Any) -> bool:
    if isinstance(value, float | np.datetime64):
        return bool(value != value)  # NaN and NumPy's NaT
    return value is None or type(value).__name__ in _MISSING
