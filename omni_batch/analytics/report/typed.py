"""What a run's typed answers come to: by field, by what broke the schema, by their samples."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from omni_batch.analytics.agreement import krippendorffs_alpha
from omni_batch.analytics.report import typed_queries as queries
from omni_batch.analytics.report.facts import (
    FieldFigures,
    PathViolations,
    Spread,
    TypedAnswers,
    ValueCount,
)
from omni_batch.analytics.report.typed_queries import Field
from omni_batch.analytics.sql import RunDatabase
from omni_batch.annotation.shape import read_shape
from omni_batch.errors import AnnotationError
from omni_batch.store import RunRecord

Row = dict[str, Any]
_KIND = AnnotationError("").kind
_NO_PAIRS = {"items": 0, "within": None, "overall": None}


def typed_answers(database: RunDatabase, record: RunRecord) -> TypedAnswers | None:
    """Sum up the typed answers; None where the run asks for none.

    Args:
        database: with the views of this run.
    """
    if record.annotation_schema is None:
        return None
    shape = read_shape(record.annotation_schema)
    fields = queries.fields_in_sql(shape)
    (totals,) = database.rows(queries.totals(fields))
    (again,) = database.rows(queries.ASKED_AGAIN)
    figures = _figures(database, fields, totals)
    has_samples = totals["samples"] > 0
    if has_samples:
        figures = list(_with_alpha(database, fields, figures))
    return TypedAnswers(
        rows=totals["typed"],
        failed=record.counts.failures.get(_KIND, 0),
        **again,
        has_samples=has_samples,
        fields=tuple(figures),
        violations=tuple(PathViolations(**row) for row in database.rows(queries.violations(shape))),
    )


def _by_field(
    database: RunDatabase, query: Callable[[Sequence[Field]], str], fields: Sequence[Field]
) -> dict[int, list[Row]]:
    """Rows of an answer that is sorted by field; none are asked for where there are no fields."""
    rows = database.rows(query(fields)) if fields else ()
    return {number: list(group) for number, group in groupby(rows, itemgetter("field"))}


def _figures(database: RunDatabase, fields: Sequence[Field], totals: Row) -> list[FieldFigures]:
    counted = _by_field(database, queries.values, [each for each in fields if each.is_counted])
    return [_of_field(each, totals, counted.get(each.number, [])) for each in fields]


def _of_field(field: Field, totals: Row, counted: Sequence[Row]) -> FieldFigures:
    rows, spread = totals["rows"][field.number], totals["spreads"][field.number]
    different = (counted[0]["different"] if counted else 0) if field.is_counted else None
    values = () if _is_free(field, rows, different or 0) else _values(field, rows, counted)
    return FieldFigures(
        field=field.name,
        kind=field.shape.kind,
        rows=rows,
        missing=totals["typed"] - rows,
        different=different,
        values=tuple(values),
        spread=Spread(**{name: _finite(of) for name, of in spread.items()}) if spread else None,
    )


def _is_free(field: Field, rows: int, different: int) -> bool:
    """Free text is not a choice among few."""
    return field.shape.kind == "text" and different > min(queries.MOST_VALUES, rows // 2)


def _values(field: Field, rows: int, counted: Iterable[Row]) -> Iterator[ValueCount]:
    """The most frequent first; numbers that the schema lists in its order."""
    found = dict.fromkeys(field.choices, 0)
    found |= {field.label(each["value"]): each["rows"] for each in counted}
    by_size = not field.is_ordered
    for value, count in sorted(found.items(), key=lambda pair: -pair[1] * by_size):
        yield ValueCount(value, count, count / rows if rows else None)


def _finite(value: float | None) -> float | None:
    """Numbers near the end of what a double holds have no sum."""
    return value if value is not None and math.isfinite(value) else None


def _with_alpha(
    database: RunDatabase, fields: Sequence[Field], figures: Sequence[FieldFigures]
) -> Iterator[FieldFigures]:
    pairs = list(zip(fields, figures, strict=True))
    labels = [field for field, found in pairs if found.values and not field.is_list]
    numbers = [field for field, _ in pairs if field.is_measured]
    sums: Mapping[int, list[Row]] = {
        **_by_field(database, queries.label_distances, labels),
        **_by_field(database, queries.number_distances, numbers),
    }
    for field, found in pairs:
        if field in labels or field in numbers:
            (row,) = sums.get(field.number, [_NO_PAIRS])
            alpha = krippendorffs_alpha(row["within"], row["overall"])
            yield found.agreed(row["items"], _finite(alpha))
        else:
            yield found
