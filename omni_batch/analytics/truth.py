"""Typed answers of a run against a table of what is true."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from omni_batch.annotation.shape import Shape, read_shape
from omni_batch.errors import ConfigError
from omni_batch.store import RunDir
from omni_batch.store.read import read_results
from omni_batch.store.record import read_record
from omni_batch.text import did_you_mean

_ANSWER = ("item_id", "variant", "annotation")
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
    path, shape = _field(directory, name)
    truths = _read_truth(truth, column or name, shape)
    tally, counted = tally_of(shape), Counter[tuple[bool, bool]]()
    missing = set(truths)
    for item, value in _answers(directory, path, variant):
        missing.discard(item)
        counted[item in truths, value is not None] += 1
        if tally is not None and item in truths and value is not None:
            tally.add(truths[item], value)
    if len(missing) == len(truths):
        raise ConfigError(f"{truth} and {directory.root} have no item_id in common")
    return Quality(
        name,
        counted[True, True],
        without_answer=counted[True, False] + len(missing),
        without_truth=counted[False, True],
        **_figures(tally, name),
    )


def _field(directory: RunDir, name: str) -> tuple[tuple[str, ...], Shape]:
    schema = read_record(directory.record).annotation_schema
    if schema is None:
        raise ConfigError(f"run {directory.root} has no typed answers")
    fields = {field_name(path): (path, shape) for path, shape in fields_of(read_shape(schema))}
    if name not in fields:
        raise ConfigError(f"--field {name}: no such field; {did_you_mean(name, fields)}")
    return fields[name]


def _answers(
    directory: RunDir, path: tuple[str, ...], variant: str | None
) -> Iterator[tuple[str, Any]]:
    record = read_record(directory.record)
    for shard_number in record.shards:
        results = read_results(directory, record, shard_number, _ANSWER)
        for row in results.to_pylist():
            if row["variant"] == variant:
                yield row["item_id"], value_at(row["annotation"], path)


def _read_truth(path: Path, column: str, shape: Shape) -> dict[str, Any]:
    truths: dict[str, Any] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(_rows(file, path, column), start=2):
                if not (said := row[column].strip()):
                    continue
                value = _value(said, shape, f"{path} line {number}, column {column}")
                if truths.setdefault(row["item_id"], value) != value:
                    raise ConfigError(f"{path}: item {row['item_id']!r} has two different truths")
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"{path} can't be read: {exc}") from None
    return truths


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
