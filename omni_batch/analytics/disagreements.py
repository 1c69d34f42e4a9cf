"""Items on which two runs give different typed answers, with their media, for a page."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from omni_batch.analytics.report.cells import Cell, Cells
from omni_batch.analytics.report.media import ShownMedia
from omni_batch.analytics.report.typed_queries import Field, fields_in_sql
from omni_batch.analytics.sql import RunDatabase
from omni_batch.annotation.shape import read_shape
from omni_batch.store import RunDir, RunRecord

MOST_ITEMS = 30
"""Of each field."""
_CELL_BYTES = 400
_SIDES = ("left_answer", "right_answer")
_ANSWERS = """
    select name, item_id, variant, sample, row_number, media, modality, annotation
    from {side}_results where annotation is not null
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One field in both answers."""

    field: str
    left: Cell
    right: Cell
    differs: bool


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One item that was answered in two ways."""

    item_id: str
    answer: str
    """Which of several answers: the names of its variant and sample."""
    media: list[list[Any]]
    """As `ShownMedia.of` gives them."""
    lines: list[Line]


@dataclass(frozen=True, slots=True)
class Disagreements:
    """The first of each field; fields that nobody disagrees in are left out."""

    fields: dict[str, int]
    """How many items disagree in each field."""
    items: list[Disagreement]
    """Those that disagree in most fields first."""
    pictures: list[bytes]
    """Thumbnails as JPEG, by number."""

    @property
    def most_items(self) -> int | None:
        """How many of each field are shown; None where all are."""
        return MOST_ITEMS if max(self.fields.values(), default=0) > MOST_ITEMS else None


def find_disagreements(
    left: RunDir,
    right: RunDir,
    fields: Collection[str],
    page_folder: Path,
    variants: tuple[str | None, str | None] = (None, None),
) -> Disagreements:
    """Where two runs with typed answers say different things; a missing value says nothing.

    Args:
        fields: to look at, of those that both runs have.
        page_folder: where the page will lie; media are linked from there.
        variants: of the left and the right run, where only these are compared.

    Raises:
        ConfigError: one of them is not a run directory.
        StorageError: a table can't be read.
    """
    with RunDatabase() as database:
        records = *database.add([left], "left_"), *database.add([right], "right_")
        database.add_side("a_", "left_", variants[0])
        database.add_side("b_", "right_", variants[1])
        pairs = _field_pairs(records, fields)
        if not pairs:
            return Disagreements({}, [], [])
        found = database.ask(_differing(pairs)).read_all()
    names = [field.name for field, _ in pairs]
    rows = found.drop_columns(list(_SIDES)).to_pylist()
    totals = {names[each["field"]]: each["total"] for row in rows for each in row["fields"]}
    answers = (_named(found[side], of) for side, of in zip(_SIDES, records, strict=True))
    media = ShownMedia(right, records[1], page_folder)
    return Disagreements(
        fields={name: totals[name] for name in names if name in totals},
        items=[_disagreement(names, media, *of) for of in zip(rows, *answers, strict=True)],
        pictures=media.thumbnails.pictures,
    )


def _field_pairs(
    records: tuple[RunRecord, ...], wanted: Collection[str]
) -> list[tuple[Field, Field]]:
    """The fields of both runs that are to be compared, side by side."""
    shapes = [read_shape(record.annotation_schema) for record in records]
    left = fields_in_sql(shapes[0], "one.annotation")
    right = {field.path: field for field in fields_in_sql(shapes[1], "other.annotation")}
    return [
        (field, right[field.path])
        for field in left
        if field.name in wanted
        and field.path in right
        and right[field.path].shape.kind == field.shape.kind
    ]


def _differing(pairs: list[tuple[Field, Field]]) -> str:
    cells = (
        f"{{field: {number}, differs: {_comparable(one)} <> {_comparable(other)}}}"
        for number, (one, other) in enumerate(pairs)
    )
    return f"""
        with one as materialized ({_ANSWERS.format(side="a")}),
        other as materialized ({_ANSWERS.format(side="b")}),
        cell as (
            select one.row_number, unnest([{", ".join(cells)}]) as of, other.row_number as row
            from one join other using (name)
        ), ranked as (
            select row_number, row, of.field as field, count(*) over (partition by field) as total,
                   row_number() over (partition by field order by row_number) as place
            from cell where of.differs
        ), kept as (
            select row_number, row, list({{field: field, total: total}} order by field) as fields
            from ranked group by row_number, row having min(place) <= {MOST_ITEMS}
        )
        select kept.fields, one.item_id, one.sample, other.media, other.modality,
               case when one.variant = other.variant then one.variant end as variant,
               one.annotation as left_answer, other.annotation as right_answer
        from kept join one using (row_number) join other on other.row_number = kept.row
        order by len(kept.fields) desc, one.row_number
    """


def _comparable(field: Field) -> str:
    """Lists as sets, labels as texts: those of two schemas are of two types."""
    if field.shape.kind != "list":
        return f"({field.sql})::varchar" if field.shape.kind == "label" else f"({field.sql})"
    return f"list_sort(list_distinct({field.sql}::varchar[]))"


def _named(answers: pa.ChunkedArray, record: RunRecord) -> list[dict[str, Cell]]:
    """The cells of each answer by the names of their fields."""
    cells = Cells(record.annotation_schema)
    return [dict(zip(cells.names, of or (), strict=True)) for of in cells.of(answers, _CELL_BYTES)]


def _disagreement(
    names: list[str],
    media: ShownMedia,
    row: dict[str, Any],
    left: dict[str, Cell],
    right: dict[str, Cell],
) -> Disagreement:
    differing = {names[each["field"]] for each in row["fields"]}
    sample = f"sample {row['sample']}" if row["sample"] is not None else None
    return Disagreement(
        item_id=row["item_id"],
        answer=", ".join(filter(None, (row["variant"], sample))),
        media=media.of(row["media"], row["modality"], make=True),
        lines=list(_lines(left, right, differing)),
    )


def _lines(
    left: dict[str, Cell], right: dict[str, Cell], differing: Collection[str]
) -> Iterator[Line]:
    for name in dict.fromkeys((*left, *right)):
        yield Line(name, left.get(name), right.get(name), name in differing)
