"""Items on which two runs give different typed answers, with their media, for a page."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from omni_batch.analytics.dealt import dealt_runs, named_rows
from omni_batch.analytics.report.cells import Cell, Cells
from omni_batch.analytics.report.media import ShownMedia
from omni_batch.analytics.report.typed_queries import Field, fields_in_sql
from omni_batch.analytics.sql import Database
from omni_batch.annotation.shape import read_shape
from omni_batch.progress.current import current_record
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import Names

MOST_ITEMS = 30
"""Of each field."""
_CELL_BYTES = 400
_SIDES = ("left_answer", "right_answer")
_COLUMNS = Names(
    results=frozenset({"item_id", "variant", "sample", "row_number"})
    | {"media", "modality", "annotation"},
    attempts=frozenset(),
)
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
    records = current_record(left), current_record(right)
    pairs = _field_pairs(records, fields)
    if not pairs:
        return Disagreements({}, [], [])
    runs = list(zip((left, right), records, strict=True))
    first = _First(pairs)
    with dealt_runs(runs, _COLUMNS) as (one, other), Database(records[0].items) as database:
        for (before,), (after,) in zip(one.pieces(), other.pieces(), strict=True):
            first.add(database, named_rows(before, variants[0]), named_rows(after, variants[1]))
    names = [field.name for field, _ in pairs]
    rows = first.rows.drop_columns(list(_SIDES)).to_pylist()
    answers = (_named(first.rows[side], of) for side, of in zip(_SIDES, records, strict=True))
    media = ShownMedia(right, records[1], page_folder)
    return Disagreements(
        fields={name: first.totals[n] for n, name in enumerate(names) if first.totals[n]},
        items=[_disagreement(names, media, *of) for of in zip(rows, *answers, strict=True)],
        pictures=media.thumbnails.pictures,
    )


class _First:
    """The first items of each field, of the pieces so far."""

    def __init__(self, pairs: Sequence[tuple[Field, Field]]) -> None:
        self._query = _differing(pairs)
        self._pieces: list[pa.Table] = []
        self.totals = Counter[int]()
        """How many items disagree in each field."""

    @property
    def rows(self) -> pa.Table:
        """Those that disagree in most fields first."""
        return pa.concat_tables(self._pieces)

    def add(self, database: Database, before: pa.Table, after: pa.Table) -> None:
        """Take one piece of both sides."""
        database.show("a_results", before)
        database.show("b_results", after)
        found = database.ask(self._query).read_all()
        totals = {of["field"]: of["total"] for row in found["fields"].to_pylist() for of in row}
        self.totals.update(totals)
        self._pieces.append(found)
        self._pieces = [self.rows.take(pa.array(self._places(), pa.int64()))]

    def _places(self) -> list[int]:
        """Of those that are among the first of a field, in the order of the page."""
        fields = [{of["field"] for of in row} for row in self.rows["fields"].to_pylist()]
        numbers = self.rows["row_number"].to_pylist()
        seen, kept = Counter[int](), []
        for place in sorted(range(len(numbers)), key=numbers.__getitem__):
            if any(seen[field] < MOST_ITEMS for field in fields[place]):
                kept.append(place)
            seen.update(fields[place])
        return sorted(kept, key=lambda place: (-len(fields[place]), numbers[place]))


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


def _differing(pairs: Sequence[tuple[Field, Field]]) -> str:
    """Of one piece: for each field its total, and the first of it."""
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
        select kept.fields, one.row_number, one.item_id, one.sample, other.media, other.modality,
               case when one.variant = other.variant then one.variant end as variant,
               one.annotation as left_answer, other.annotation as right_answer
        from kept join one using (row_number) join other on other.row_number = kept.row
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
