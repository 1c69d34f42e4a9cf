"""Two runs over the same items, or two variants of one: what changed. DuckDB joins.

Rows are matched by the name of their item: its id, with variant and sample where a run has them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from typing import Any, Literal

import msgspec
import pyarrow.compute as pc

from omni_batch.analytics.agreement import Agreement, Comparer
from omni_batch.analytics.sql import ITEM_WAITS, RunDatabase
from omni_batch.annotation.shape import read_shape
from omni_batch.counts import Counts
from omni_batch.errors import ConfigError
from omni_batch.progress.counters import COUNTED, of_tables
from omni_batch.progress.current import current_record
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import NUMBERS, Names, read_tables

# Distinct words that one text only has, as a share of all distinct words of both.
_CHANGE = """
    with pairs as (
        select name, a.text as left_text, b.text as right_text,
               list_distinct(regexp_extract_all(lower(a.text), {words})) as left_words,
               list_distinct(regexp_extract_all(lower(b.text), {words})) as right_words
        from (select name, status, text from {a}_results where hash(name) % {of} = {part}) a
        join (select name, status, text from {b}_results where hash(name) % {of} = {part}) b
        using (name)
        where a.status = 'succeeded' and b.status = 'succeeded' and a.text <> b.text
    ), shared as (
        select *, len(list_intersect(left_words, right_words)) as same,
               len(left_words) + len(right_words) as words
        from pairs
    )
    select name as item_id, left_text, right_text,
           case when words = same then 0 else 1 - same / (words - same) end as change
    from shared
    order by change desc, name
    limit {limit}
"""
_WORDS = r"'\p{Han}|\p{Hiragana}|\p{Katakana}|\p{Hangul}|[\p{L}\p{N}]+'"
# Of the answers that were paid for here, and of the requests that were answered.
_SIDE = """
    select (select median(cost) from {side}_results where reused_from is null) as cost_median,
           (select median(total_tokens) from {side}_results
            where reused_from is null) as tokens_median,
           request.p50 as request_s_median, request.p95 as request_s_p95,
           wait.p50 as wait_s_median, wait.p95 as wait_s_p95
    from (select median(latency_s) as p50, quantile_cont(latency_s, 0.95) as p95
          from {side}_attempts where error_kind is null) request,
         (select median(wait_s) as p50, quantile_cont(wait_s, 0.95) as p95
          from ({waits})) wait
"""
_OVERLAP = """
    select count(*) filter (where b.name is null) as only_left,
           count(*) filter (where a.name is null) as only_right,
           count(*) filter (where a.status = b.status) +
           count(*) filter (where a.status <> b.status) as both,
           count(*) filter (where a.status <> b.status) as status_changed,
           count(*) filter (where a.status = 'succeeded' and b.status = 'succeeded'
                            and a.text <> b.text) as text_changed
    from (select name, status, hash(text) as text from {a}_results) a
    full join (select name, status, hash(text) as text from {b}_results) b using (name)
"""  # 64 bits for a text: what is joined is held in memory
_ONLY = """
    select name as item_id from {here}_results anti join (select name from {there}_results)
    using (name) order by row_number limit {limit}
"""
_STATUS = """
    select name as item_id, a.status as left_status, b.status as right_status,
           coalesce(b.error_message, a.error_message) as error_message
    from {a}_results a join {b}_results b using (name)
    where a.status <> b.status order by a.row_number limit {limit}
"""
_ANNOTATIONS = """
    select to_json(a.annotation)::varchar as left_json, to_json(b.annotation)::varchar as right_json
    from {a}_results a join {b}_results b using (name)
    where a.annotation is not null and b.annotation is not null
"""

_VARIANT = Names(frozenset({"variant"}), frozenset({"variant"}))
_OF_VARIANTS = COUNTED | _VARIANT
_COPIED = (
    NUMBERS
    | _VARIANT
    | Names(
        results=frozenset({"run_id", "item_id", "status", "text", "annotation", "reused_from"})
        | {"error_message"},
        attempts=frozenset({"run_id", "item_id", "error_kind"}),
    )
)
"""What the queries look at."""
_TEXTS_AT_ONCE = 100_000
_MOST_WORDS = 1000  # the comparison of two texts takes time by the square of it
# Chinese, Japanese and Korean write no spaces between words: there each character is one.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])\w)+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text."""

    kind: Literal["same", "left", "right"]
    """In both texts, or in one of them only."""
    text: str


@dataclass(frozen=True, slots=True)
class Side:
    """One run as a whole, or one variant of it. None where nothing is known."""

    path: str
    run_id: str
    variant: str | None
    """None: all of the run."""
    state: str
    model: str | None
    endpoint: str
    counts: Counts
    """As `status` shows them."""
    cost_median: float | None
    """Of an item, in the currency of `counts.cost`; None with several."""
    tokens_median: float | None
    """Of an item."""
    request_s_median: float | None
    """Of answered requests, from sending to the end."""
    request_s_p95: float | None
    wait_s_median: float | None
    """Of items, for quota, media and retries."""
    wait_s_p95: float | None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.run_id}, {self.variant}" if self.variant else self.run_id


@dataclass(frozen=True, slots=True)
class TextChange:
    """An item that was answered in two ways."""

    item_id: str
    """Its name, as `Item.name`; that of the variant is out where variants are compared."""
    change: float
    """Share of distinct words that one text only has, 0 to 1."""
    left_text: str
    right_text: str
    segments: list[Segment]


@dataclass(frozen=True, slots=True)
class StatusChange:
    """An item that succeeded in one run only."""

    item_id: str
    left_status: str
    right_status: str
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from the left run to the right one; lists hold the first or the greatest."""

    left: Side
    right: Side
    both: int
    """Items in both runs."""
    only_left: int
    only_right: int
    text_changed: int
    status_changed: int
    only_left_items: list[str]
    only_right_items: list[str]
    status_changes: list[StatusChange]
    text_changes: list[TextChange]
    """The most changed first."""
    agreement: list[Agreement]
    """Of the fields of `annotation`."""


@dataclass(frozen=True, slots=True)
class VariantComparison:
    """The variants of one run, and each two of them."""

    variants: list[Side]
    pairs: list[Comparison]
    """In the order of the config: the first with all others, the second with those after it …"""


def compare_runs(left: RunDir, right: RunDir, limit: int = 10) -> Comparison:
    """Compare the results there are so far, item by item.

    Args:
        left: the run before.
        right: the run after.
        limit: how many items each list holds at most.

    Raises:
        ConfigError: one of them is not a run directory, or only one has variants or samples.
        StorageError: a table can't be read.
    """
    _refuse_other_rows(*map(current_record, (left, right)))
    with RunDatabase() as database:
        (before,) = database.add([left], "left_", _COPIED)
        (after,) = database.add([right], "right_", _COPIED)
        database.add_side("a_", "left_")
        database.add_side("b_", "right_")
        sides = (
            _side(database, "a", left, before, before.counts),
            _side(database, "b", right, after, after.counts),
        )
        return _comparison(database, sides, (before, after), limit)


def compare_variants(directory: RunDir, limit: int = 10) -> VariantComparison:
    """Compare each two variants of a run by the results there are so far, item by item.

    Args:
        limit: how many items each list of a pair holds at most.

    Raises:
        ConfigError: it is not a run directory, or has less than two variants.
        StorageError: a table can't be read.
    """
    record = current_record(directory)
    with RunDatabase() as database:
        if len(record.variants) < 2:
            found = ", ".join(record.variants) or "none"
            raise ConfigError(
                f"run {directory.root} has no two variants to compare ({found}); two runs are "
                "compared with: omni-batch compare RUN_A RUN_B"
            )
        database.add([directory], "whole_", _COPIED)
        counts = _counts_by_variant(directory, record)
        sides: dict[str, Side] = {}
        for number, variant in enumerate(record.variants):
            database.add_side(f"v{number}_", "whole_", variant)
            sides[f"v{number}"] = _side(
                database, f"v{number}", directory, record, counts[variant], variant
            )
        pairs = [
            _comparison(database, (sides[a], sides[b]), (record, record), limit, (a, b))
            for a, b in combinations(sides, 2)
        ]
        return VariantComparison(list(sides.values()), pairs)


def _refuse_other_rows(left: RunRecord, right: RunRecord) -> None:
    """Runs whose rows have other names."""
    for one, other in ((left, right), (right, left)):
        if one.variants and not set(one.variants) & set(other.variants):
            raise ConfigError(
                f"run {one.run_id} has the variants {', '.join(one.variants)}, and run "
                f"{other.run_id} has {', '.join(other.variants) or 'none'}: no rows match. "
                "omni-batch compare RUN --by variant compares the variants of one run"
            )
        if one.config.get("samples") and not other.config.get("samples"):
            raise ConfigError(
                f"run {one.run_id} has {one.config['samples']} samples of each row, and run "
                f"{other.run_id} has none: no rows match. The view majority of omni-batch sql has "
                "one row for each item"
            )


def _comparison(
    database: RunDatabase,
    sides: tuple[Side, Side],
    records: tuple[RunRecord, RunRecord],
    limit: int,
    views: tuple[str, str] = ("a", "b"),
) -> Comparison:
    a, b = views

    def ask(query: str, **values: Any) -> Iterator[dict[str, Any]]:
        return database.rows(query.format(a=a, b=b, limit=limit, **values))

    (overlap,) = ask(_OVERLAP)
    return Comparison(
        left=sides[0],
        right=sides[1],
        **overlap,
        only_left_items=[row["item_id"] for row in ask(_ONLY, here=a, there=b)],
        only_right_items=[row["item_id"] for row in ask(_ONLY, here=b, there=a)],
        status_changes=[StatusChange(**row) for row in ask(_STATUS)],
        text_changes=_text_changes(ask, records[0].items, limit),
        agreement=_agreement(ask(_ANNOTATIONS), records),
    )


def _text_changes(
    ask: Callable[..., Iterator[dict[str, Any]]], items: int, limit: int
) -> list[TextChange]:
    """The most changed, of one share of the names after the other: a join holds whole texts."""
    of, most = -(-items // _TEXTS_AT_ONCE) or 1, list[dict[str, Any]]()
    for part in range(of):
        found = [*most, *ask(_CHANGE, words=_WORDS, of=of, part=part)]
        most = sorted(found, key=lambda row: (-row["change"], row["item_id"]))[:limit]
    return list(map(_text_change, most))


def _side(
    database: RunDatabase,
    side: str,
    directory: RunDir,
    record: RunRecord,
    counts: Counts,
    variant: str | None = None,
) -> Side:
    waits = ITEM_WAITS.format(prefix=f"{side}_")
    (medians,) = database.rows(_SIDE.format(side=side, waits=waits))
    if len(counts.cost) > 1:
        medians["cost_median"] = None
    return Side(
        path=str(directory.root),
        run_id=record.run_id,
        variant=variant,
        state=record.state,
        model=record.model_of(variant) if variant else "+".join(record.models) or None,
        endpoint=record.endpoint_names,
        counts=counts,
        **medians,
    )


def _counts_by_variant(directory: RunDir, record: RunRecord) -> dict[str, Counts]:
    """Of each variant; the working time is that of all together."""
    start = Counts(elapsed_s=record.counts.elapsed_s)
    counts = dict.fromkeys(record.variants, start)
    for tables in read_tables(directory, record, _OF_VARIANTS):
        for variant in counts:
            own = (table.filter(pc.field("variant") == variant) for table in tables)
            counts[variant] += of_tables(*own)
    return counts


def _text_change(row: dict[str, Any]) -> TextChange:
    return TextChange(**row, segments=word_diff(row["left_text"], row["right_text"]))


def _agreement(rows: Iterator[dict[str, Any]], records: Sequence[RunRecord]) -> list[Agreement]:
    schemas = [record.annotation_schema for record in records]
    if None in schemas:
        return []
    comparer = Comparer(*(read_shape(schema) for schema in schemas))
    for row in rows:
        comparer.add(*map(msgspec.json.decode, (row["left_json"], row["right_json"])))
    return comparer.agreements()


# --- words ---


def word_diff(left: str, right: str) -> list[Segment]:
    """The segments of both texts in order; of long texts the first 1,000 words."""
    before, after = _words(left), _words(right)
    segments: list[Segment] = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for operation, a, a_end, b, b_end in matcher.get_opcodes():
        old, new = "".join(before[a:a_end]), "".join(after[b:b_end])
        if operation == "equal":
            segments.append(Segment("same", old))
        else:
            segments += [Segment("left", old)] if old else []
            segments += [Segment("right", new)] if new else []
    return segments


def _words(text: str) -> list[str]:
    words = _WORD.findall(text)
    return words if len(words) <= _MOST_WORDS else [*words[:_MOST_WORDS], "…"]
