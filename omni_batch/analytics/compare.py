"""Two runs over the same items: what changed between them. DuckDB joins, nothing is held."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

import msgspec

from omni_batch.analytics.agreement import Agreement, Comparer
from omni_batch.analytics.sql import ITEM_WAITS, RunDatabase
from omni_batch.annotation.shape import read_shape
from omni_batch.counts import Counts
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import check_numbers

# Distinct words that one text only has, as a share of all distinct words of both.
_CHANGE = """
    with pairs as (
        select item_id, a.text as left_text, b.text as right_text,
               list_distinct(regexp_extract_all(lower(a.text), {words})) as left_words,
               list_distinct(regexp_extract_all(lower(b.text), {words})) as right_words
        from a_results a join b_results b using (item_id)
        where a.status = 'succeeded' and b.status = 'succeeded' and a.text <> b.text
    ), shared as (
        select *, len(list_intersect(left_words, right_words)) as same,
               len(left_words) + len(right_words) as words
        from pairs
    )
    select item_id, left_text, right_text,
           case when words = same then 0 else 1 - same / (words - same) end as change
    from shared
    order by change desc, item_id
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
    select count(*) filter (where b.item_id is null) as only_left,
           count(*) filter (where a.item_id is null) as only_right,
           count(*) filter (where a.status = b.status) +
           count(*) filter (where a.status <> b.status) as both,
           count(*) filter (where a.status <> b.status) as status_changed,
           count(*) filter (where a.status = 'succeeded' and b.status = 'succeeded'
                            and a.text <> b.text) as text_changed
    from (select item_id, status, text from a_results) a
    full join (select item_id, status, text from b_results) b using (item_id)
"""
_ONLY = """
    select item_id from {here}_results anti join (select item_id from {there}_results)
    using (item_id) order by row_number limit {limit}
"""
_STATUS = """
    select item_id, a.status as left_status, b.status as right_status,
           coalesce(b.error_message, a.error_message) as error_message
    from a_results a join b_results b using (item_id)
    where a.status <> b.status order by a.row_number limit {limit}
"""
_ANNOTATIONS = """
    select to_json(a.annotation)::varchar as left_json, to_json(b.annotation)::varchar as right_json
    from a_results a join b_results b using (item_id)
    where a.annotation is not null and b.annotation is not null
"""

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
    """One run as a whole. None where nothing is known."""

    path: str
    run_id: str
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


@dataclass(frozen=True, slots=True)
class TextChange:
    """An item that was answered in two ways."""

    item_id: str
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


def compare_runs(left: RunDir, right: RunDir, limit: int = 10) -> Comparison:
    """Compare the results there are so far, item by item.

    Args:
        left: the run before.
        right: the run after.
        limit: how many items each list holds at most.

    Raises:
        ConfigError: one of them is not a run directory.
        StorageError: a table can't be read.
    """
    with RunDatabase() as database:
        records = *database.add([left], "a_"), *database.add([right], "b_")
        for directory, record in zip((left, right), records, strict=True):
            check_numbers(directory, record)

        def ask(query: str, **values: Any) -> Iterator[dict[str, Any]]:
            return database.rows(query.format(limit=limit, **values))

        (overlap,) = ask(_OVERLAP)
        return Comparison(
            left=_side(database, "a", left, records[0]),
            right=_side(database, "b", right, records[1]),
            **overlap,
            only_left_items=[row["item_id"] for row in ask(_ONLY, here="a", there="b")],
            only_right_items=[row["item_id"] for row in ask(_ONLY, here="b", there="a")],
            status_changes=[StatusChange(**row) for row in ask(_STATUS)],
            text_changes=[_text_change(row) for row in ask(_CHANGE, words=_WORDS)],
            agreement=_agreement(ask(_ANNOTATIONS), records),
        )


def _side(database: RunDatabase, side: str, directory: RunDir, record: RunRecord) -> Side:
    waits = ITEM_WAITS.format(prefix=f"{side}_")
    (medians,) = database.rows(_SIDE.format(side=side, waits=waits))
    if len(record.counts.cost) > 1:
        medians["cost_median"] = None
    return Side(
        path=str(directory.root),
        run_id=record.run_id,
        state=record.state,
        model=record.config.get("model"),
        endpoint=record.endpoint_names,
        counts=record.counts,
        **medians,
    )


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
