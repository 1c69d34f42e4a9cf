"""The report's questions about typed answers, by the fields of their schema. Pure.

They go to one copy of the column, in DuckDB's memory or its temporary files: a member that is read
straight from Parquet is found by its name in any case, and `Label` would be `label`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omni_batch.analytics.agreement import Path, field_name, fields_of, label_of
from omni_batch.annotation.shape import Shape
from omni_batch.errors import AnnotationError

MOST_VALUES = 20
"""Of a text or of the elements of a list; what the schema lists is given whole."""
MOST_PATHS = 20
VALUE_CHARS = 120
"""Of a value that is counted."""
_MESSAGE_CHARS = 300
_ELEMENTS = ("label", "text", "integer", "number", "boolean")
_NUMBERS = ("integer", "number")
_QUANTILES = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a schema, and how a query names it."""

    number: int
    path: Path
    shape: Shape
    sql: str
    """Its value in a row."""

    @property
    def name(self) -> str:
        """As `field_name` gives it."""
        return field_name(self.path)

    @property
    def choices(self) -> tuple[str, ...]:
        """What it may be, where the schema lists that."""
        if self.shape.kind == "boolean":
            return ("true", "false")
        return self.shape.labels or tuple(map(self.label, self.shape.numbers))

    @property
    def is_list(self) -> bool:
        """A list of plain elements."""
        item = self.shape.item
        return self.shape.kind == "list" and item is not None and item.kind in _ELEMENTS

    @property
    def is_counted(self) -> bool:
        """Its values are counted: the schema lists them, or they may turn out to be few."""
        return bool(self.choices) or self.shape.kind == "text" or self.is_list

    @property
    def is_ordered(self) -> bool:
        """Its values are numbers."""
        return self.shape.kind in _NUMBERS

    @property
    def is_measured(self) -> bool:
        """It is a number, compared by distance."""
        return self.is_ordered and not self.choices

    def label(self, value: Any) -> str:
        """A value by its name; 1.0 is 1."""
        kind = (self.shape.item or self.shape).kind
        return label_of(float(value) if kind == "number" else value)


def fields_in_sql(shape: Shape, column: str = "annotation") -> list[Field]:
    """All fields of a schema, those of objects within objects too.

    Args:
        column: of typed answers, in a copy of the rows.
    """
    return [
        Field(number, path, each, _expression(shape, path, column))
        for number, (path, each) in enumerate(fields_of(shape))
    ]


def _expression(shape: Shape, path: Path, expression: str) -> str:
    for name in path:
        members = shape.members or {}
        expression = f"struct_extract_at({expression}, {list(members).index(name) + 1})"
        shape = members[name]
    return expression


_TYPED = """
    typed as materialized (
        select item_id, variant, sample, annotation
        from results where status = 'succeeded' and annotation is not null
    )
"""

# --- what fields hold ---


def totals(fields: Sequence[Field]) -> str:
    """One row: how many rows have a typed answer and each field; and how numbers are spread."""
    rows = ", ".join(f"count({each.sql})" for each in fields)
    spreads = ", ".join(_spread(each.sql) if each.is_measured else "null" for each in fields)
    return f"""
        with {_TYPED}
        select count(*) as typed, count(sample) as samples, [{rows}] as rows, [{spreads}] as spreads
        from typed
    """


def _spread(value: str) -> str:
    value = f"({value})::double"
    quantiles = (f"{n}: quantile_cont({value}, {share})" for n, share in _QUANTILES.items())
    return (
        f"{{mean: avg({value}), deviation: stddev_samp({value}), "
        f"least: min({value}), {', '.join(quantiles)}, largest: max({value})}}"
    )


def values(fields: Sequence[Field]) -> str:
    """Rows by field and value. An element counts once for each row whose list has it."""
    cells = (f"{{field: {each.number}, found: {_as_list(each)}}}" for each in fields)
    listed = ", ".join(str(each.number) for each in fields if each.choices) or "null"
    return f"""
        with {_TYPED}, cell as (
            select unnest([{", ".join(cells)}]) as one from typed
        ), found as (
            select one.field as field, unnest(one.found) as value from cell
        ), counted as (
            select field, left(value, {VALUE_CHARS}) as value, count(*) as rows
            from found where value is not null group by all
        )
        select field, value, rows, count(*) over (partition by field) as different
        from counted
        qualify field in ({listed})
            or row_number() over (partition by field order by rows desc, value) <= {MOST_VALUES}
        order by field, rows desc, value
    """


def _as_list(field: Field) -> str:
    return f"{f'list_distinct({field.sql})' if field.is_list else f'[{field.sql}]'}::varchar[]"


# --- how far samples agree ---

_UNIT = "field, item_id, variant"
"""One question; where there are samples it is asked several times."""
_VARIANCE = "if(min(value) < max(value), var_samp(value), 0)"
"""Exactly 0 where all values are the same."""


def label_distances(fields: Sequence[Field]) -> str:
    """The chance that two answers, drawn without putting back, differ: to one question, to any."""
    return f"""
        with {_said(fields, "varchar")}, counted as (
            select {_UNIT}, value, count(*) as n from said group by all
        ), shared as (
            select *, sum(n) over (partition by {_UNIT}) as answers from counted
            qualify answers >= 2
        ), pooled as (
            select field, value, sum(n) as n, sum(n / answers) as items,
                   sum(n * (answers - n) / (answers - 1)) as differing
            from shared group by field, value
        )
        select field, round(sum(items))::bigint as items, sum(differing) / sum(n) as within,
               sum(n * (total - n)) / (any_value(total) * (any_value(total) - 1)) as overall
        from (select *, sum(n) over (partition by field) as total from pooled)
        group by field
    """


def number_distances(fields: Sequence[Field]) -> str:
    """Half the mean square of the difference of two answers, which is their sample variance."""
    return f"""
        with {_said(fields, "double")}, shared as (
            select *, count(*) over (partition by {_UNIT}) as answers from said
            qualify answers >= 2
        ), question as (
            select field, count(*) as answers, {_VARIANCE} as variance from shared group by {_UNIT}
        ), whole as (
            select field, {_VARIANCE} as overall from shared group by field
        )
        select field, count(*) as items, sum(answers * variance) / sum(answers) as within,
               any_value(overall) as overall
        from question join whole using (field) group by field
    """


def _said(fields: Sequence[Field], kind: str) -> str:
    cells = (f"{{field: {each.number}, value: ({each.sql})::{kind}}}" for each in fields)
    return f"""
        {_TYPED}, cell as (
            select item_id, variant, unnest([{", ".join(cells)}]) as one
            from typed where sample is not null
        ), said as (
            select item_id, variant, one.field as field, one.value as value
            from cell where one.value is not null
        )
    """


# --- what broke the schema ---

_KIND = AnnotationError("").kind
ASKED_AGAIN = """
    with again as (
        select row_number from attempts where error_kind is null
        group by row_number having count(*) >= 2
    )
    select count(*) as asked_again, count(*) filter (where status = 'succeeded') as mended
    from again join results using (row_number)
"""
"""Rows with more than one answer: all but the last one broke the schema."""


def violations(shape: Shape) -> str:
    """Failed rows by the path of the first violation, positions in lists left out."""
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in shape.members or {})
    return rf"""
        with broken as (
            select item_id, row_number as row, left(error_message, {_MESSAGE_CHARS}) as message,
                   split_part(error_message, ': ', 1) as head,
                   regexp_replace(head, '\.\d+\b', '[]', 'g') as inner_path,
                   regexp_replace(inner_path, '^\d+\b', '[]') as path,
                   list_filter([{names}]::varchar[], lambda name: path = name
                       or starts_with(path, name || '.') or starts_with(path, name || '[')) as known
            from results where error_kind = '{_KIND}'
        )
        select if(len(known) > 0 or starts_with(path, '[]'), path, '') as path, count(*) as rows,
               arg_min(item_id, row) as item_id, arg_min(message, row) as message
        from broken group by 1 order by rows desc, 1 limit {MOST_PATHS}
    """
