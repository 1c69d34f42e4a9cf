"""Typed answers of a run against a table of what is true."""

import csv
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from omni_batch.analytics.agreement import (
    ClassFigures,
    LabelTally,
    ListTally,
    NumberTally,
    field_name,
    fields_of,
    tally_of,
    value_at,
)
from omni_batch.analytics.dealt import dealt, how_many_pieces
from omni_batch.annotation.shape import Shape, read_shape
from omni_batch.errors import ConfigError
from omni_batch.store import RunDir
from omni_batch.store.columns import result_columns, schema
from omni_batch.store.read import named, read_results
from omni_batch.store.record import RunRecord, read_record
from omni_batch.text import did_you_mean

_ANSWER = ("item_id", "variant", "annotation")
_ROWS_AT_ONCE = 10_000
_TYPES = {"boolean": pa.bool_(), "integer": pa.float64(), "number": pa.float64()}
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Quality:
    """How right a run is on one field. What does not apply to its kind is None."""

    field: str
    items: int
    """With an answer and a truth; each sample is one."""
    without_answer: int
    """With a truth, and no row or no value for it."""
    without_truth: int
    """With a value, and no truth."""
    accuracy: float | None = None
    kappa: float | None = None
    classes: Mapping[str, ClassFigures] | None = None
    confusion: tuple[tuple[str, str, int], ...] = ()
    """Truth, answer, and how often they met."""
    mean_error: float | None = None
    """Answer minus truth."""
    mean_absolute_error: float | None = None


def compare_with_truth(
    directory: RunDir,
    truth: Path,
    name: str,
    column: str | None = None,
    variant: str | None = None,
) -> Quality:
    """Hold the answers of a run against a CSV file with item_id and a column of truths.

    Each sample of an item counts as an answer.

    Args:
        name: field of `annotation`; members of objects as box.w.
        column: of the file, if it has another name.
        variant: whose answers; None: of a run without variants.

    Raises:
        ConfigError: no such field or column, no item in common, or an item twice with two truths.
    """
    record = read_record(directory.record)
    path, shape = _field(directory, record, name)
    tally, counted = tally_of(shape), Counter[tuple[bool, bool]]()
    missing, known = 0, 0
    for truths, answers in _pieces(directory, record, truth, column or name, shape):
        found = set()
        for item, value in _answers(answers, path, variant):
            found.add(item)
            counted[item in truths, value is not None] += 1
            if tally is not None and item in truths and value is not None:
                tally.add(truths[item], value)
        missing += len(truths.keys() - found)
        known += len(truths)
    if missing == known:
        raise ConfigError(f"{truth} and {directory.root} have no item_id in common")
    return Quality(
        name,
        counted[True, True],
        without_answer=counted[True, False] + missing,
        without_truth=counted[False, True],
        **_figures(tally, name),
    )


def _field(directory: RunDir, record: RunRecord, name: str) -> tuple[tuple[str, ...], Shape]:
    schema = record.annotation_schema
    if schema is None:
        raise ConfigError(f"run {directory.root} has no typed answers")
    fields = {field_name(path): (path, shape) for path, shape in fields_of(read_shape(schema))}
    if name not in fields:
        raise ConfigError(f"--field {name}: no such field; {did_you_mean(name, fields)}")
    return fields[name]


def _pieces(
    directory: RunDir, record: RunRecord, truth: Path, column: str, shape: Shape
) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """Truths by item, and the rows of these items."""
    columns = schema(named(result_columns(record.annotation_schema), _ANSWER))
    kind = pa.schema({"item_id": pa.string(), "value": _TYPES.get(shape.kind, pa.string())})
    size_bytes = truth.stat().st_size if truth.exists() else 0
    pieces = how_many_pieces(record.items, size_bytes)
    with tempfile.TemporaryDirectory(prefix="omni-batch-dealt-") as folder:
        read = _truth_tables(_read_truth(truth, column, shape), kind)
        truths = dealt(read, kind, pieces, Path(folder, "truths"))
        shards = (read_results(directory, record, n, _ANSWER) for n in record.shards)
        answers = dealt(shards, columns, pieces, Path(folder, "answers"))
        for number in range(pieces):
            yield _by_item(truths.piece(number), truth), answers.piece(number)


def _answers(
    results: pa.Table, path: tuple[str, ...], variant: str | None
) -> Iterator[tuple[str, Any]]:
    for row in results.to_pylist():
        if row["variant"] == variant:
            yield row["item_id"], value_at(row["annotation"], path)


def _truth_tables(truths: Iterator[tuple[str, Any]], kind: pa.Schema) -> Iterator[pa.Table]:
    while some := list(islice(truths, _ROWS_AT_ONCE)):
        yield pa.table([*map(pa.array, zip(*some, strict=True), kind.types)], schema=kind)


def _by_item(truths: pa.Table, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item, value in zip(*(column.to_pylist() for column in truths.columns), strict=True):
        if found.setdefault(item, value) != value:
            raise ConfigError(f"{path}: item {item!r} has two different truths")
    return found


def _read_truth(path: Path, column: str, shape: Shape) -> Iterator[tuple[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(_rows(file, path, column), start=2):
                if said := row[column].strip():
                    where = f"{path} line {number}, column {column}"
                    yield row["item_id"], _value(said, shape, where)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"{path} can't be read: {exc}") from None


def _rows(file: Any, path: Path, column: str) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(file, strict=True)
    names = reader.fieldnames or ()
    for wanted in ("item_id", column):
        if wanted not in names:
            raise ConfigError(
                f"{path} has no column {wanted!r}; it has {', '.join(map(repr, names)) or 'none'}"
            )
    for row in reader:
        yield {name: row[name] or "" for name in ("item_id", column)}


def _value(said: str, shape: Shape, place: str) -> Any:
    match shape.kind:
        case "boolean" if said.lower() in _BOOLEANS:
            return _BOOLEANS[said.lower()]
        case "integer" | "number":
            try:
                return float(said)
            except ValueError:
                raise ConfigError(f"{place}: {said!r} is not a number") from None
        case "label" | "text":
            return said
        case kind:
            raise ConfigError(f"{place}: {said!r} can't be held against a {kind}")


def _figures(tally: Any, name: str) -> dict[str, Any]:
    match tally:
        case LabelTally():
            found = tally.agreement(name)
            return {
                "accuracy": tally.accuracy(),
                "kappa": found.kappa if found else None,
                "classes": {each.label: each for each in tally.classes()},
                "confusion": found.confusion if found else (),
            }
        case NumberTally() | ListTally():
            found = tally.agreement(name)
            return {
                "mean_error": found.mean_error,
                "mean_absolute_error": found.mean_absolute_error,
            }
        case _:
            raise ConfigError(f"--field {name}: it can't be held against a truth")
