"""ManifestRow + Columns → Item. Pure, but for the ids given so far."""

from collections.abc import Callable, Mapping
from typing import Any

from omni_batch.config import ManifestConfig, Target
from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import cells as cell
from omni_batch.requests.manifest.columns import Columns
from omni_batch.requests.manifest.ids import NewIds, file_of
from omni_batch.requests.manifest.names import ID_COLUMN, shown
from omni_batch.requests.manifest.notes import Notes
from omni_batch.requests.manifest.rows import ManifestRow
from omni_batch.types import Item

_CHANGES = {
    "binary": "holds binary, which is not copied into the results: source has its size",
    "infinite": "holds infinity, which the results have as null",
}
_PLAIN = (str, int, bool, type(None))
"""Types of free cells that are kept as they are."""
_MEDIA: tuple[Target, ...] = ("image", "audio", "video", "frames")
_SINGLE: Mapping[Target, Callable[[Any], str | None]] = {
    "prompt": cell.text,
    "system": cell.text,
    "voice": cell.text,
    "audio": cell.reference,
    "video": cell.reference,
    "messages": cell.messages,
}


def to_item(
    row: ManifestRow,
    number: int,
    columns: Columns,
    config: ManifestConfig,
    new_ids: NewIds,
    notes: Notes,
) -> Item:
    """Read all cells of a row.

    Raises:
        ManifestError: the row is empty, or a cell can't be used; does not name the row.
    """
    if all(map(cell.is_blank, row.cells.values())):
        raise ManifestError("the row is empty; remove it")
    values = {target: _value(row, target, name, notes) for target, name in columns.read.items()}
    given = _given_id(row, columns, config.id_column)
    return Item(
        item_id=given if given is not None else _new_id(row, columns, values, new_ids),
        row_number=number,
        source=_source(row, columns.free, notes),
        **values,
    )


def _value(row: ManifestRow, target: Target, name: str, notes: Notes) -> Any:
    value = row.cells[name]
    try:
        if (read := _SINGLE.get(target)) is not None:
            return read(value)
        found, has_gaps = cell.references(value, splits=row.is_delimited)
    except ManifestError as exc:
        raise ManifestError(f"{shown(name)} {exc}") from None
    if has_gaps:
        message = f"empty entries in the lists of {shown(name)} are left out"
        notes.add_row("empty-reference", message, row.where)
    return found


def _given_id(row: ManifestRow, columns: Columns, id_column: str) -> str | None:
    name = columns.id_name
    if name is None:
        if id_column != ID_COLUMN:
            raise ManifestError(f"there is no column {id_column!r} (manifest.id_column)")
        return None
    try:
        found = cell.item_id(row.cells[name])
    except ManifestError as exc:
        raise ManifestError(f"{shown(name)} {exc}") from None
    if found is None:
        raise ManifestError(f"{shown(name)} is empty; fill it or drop the column")
    return found


def _new_id(
    row: ManifestRow, columns: Columns, values: Mapping[Target, Any], new_ids: NewIds
) -> str:
    found = [values[column] for column in _MEDIA if values.get(column)]
    references = [r for held in found for r in ([held] if isinstance(held, str) else held)]
    if len(references) == 1 and not values.get("messages"):
        names = (row.cells[columns.read[column]] for column in _MEDIA if column in columns.read)
        if (path := file_of(names, references[0])) is not None:
            return new_ids.of_file(path, row.cells)
    return new_ids.of_content(row.cells)


def _source(row: ManifestRow, free: tuple[str, ...], notes: Notes) -> dict[str, Any]:
    if row.is_delimited:
        return {name: row.cells[name] for name in free}
    source = {}
    for name in free:
        value = row.cells[name]
        if type(value) not in _PLAIN or (type(value) is str and value.startswith(cell.WRITTEN_OUT)):
            value, change = cell.kept(value)
            if change:
                notes.add_row("cell-not-kept", f"{shown(name)} {_CHANGES[change]}", row.where)
        source[name] = value
    return source
