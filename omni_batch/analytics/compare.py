"""Two runs over the same items: what changed between them. DuckDB joins, nothing is held."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from omni_batch.analytics.agreement import Agreement, AgreementCounter
from omni_batch.analytics.sql import RunDatabase
from omni_batch.analytics.word_diff import Segment, word_diff
from omni_batch.store import RunDir

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
_SIDE = """
    select count(*) as items,
           count(*) filter (where status = 'succeeded') as succeeded,
           count(*) filter (where status = 'failed') as failed,
           sum(cost) as cost, median(cost) as cost_median, any_value(currency) as currency,
           sum(prompt_tokens)::bigint as prompt_tokens,
           sum(completion_tokens)::bigint as completion_tokens,
           median(total_tokens) as total_tokens_median,
           sum(audio_s) as audio_s,
           sum(attempts)::bigint as attempts,
           sum(latency_s) as latency_s, median(latency_s) as latency_s_median,
           quantile_cont(latency_s, 0.95) as latency_s_p95
    from {side}_results
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
    select a.annotation as left_json, b.annotation as right_json
    from a_results a join b_results b using (item_id)
    where a.annotation is not null and b.annotation is not null
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One run as a whole. None where the service said nothing."""

    path: str
    run_id: str
    state: str
    model: str | None
    endpoint: str | None
    items: int
    """With a result so far."""
    succeeded: int
    failed: int
    cost: float | None
    cost_median: float | None
    currency: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens_median: float | None
    audio_s: float | None
    attempts: int | None
    latency_s: float | None
    latency_s_median: float | None
    latency_s_p95: float | None


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
        ConfigError: one of them is no run directory.
        StorageError: a table can't be read.
    """
    with RunDatabase() as database:
        database.add([left], "a_")
        database.add([right], "b_")

        def ask(query: str, **values: Any) -> Iterator[dict[str, Any]]:
            return database.rows(query.format(limit=limit, **values))

        (overlap,) = ask(_OVERLAP)
        return Comparison(
            left=_side(database, "a"),
            right=_side(database, "b"),
            **overlap,
            only_left_items=[row["item_id"] for row in ask(_ONLY, here="a", there="b")],
            only_right_items=[row["item_id"] for row in ask(_ONLY, here="b", there="a")],
            status_changes=[StatusChange(**row) for row in ask(_STATUS)],
            text_changes=[_text_change(row) for row in ask(_CHANGE, words=_WORDS)],
            agreement=_agreement(ask(_ANNOTATIONS)),
        )


def _side(database: RunDatabase, side: str) -> Side:
    (run,) = database.rows(f"select path, run_id, state, model, endpoint from {side}_runs")
    (totals,) = database.rows(_SIDE.format(side=side))
    return Side(**run, **totals)


def _text_change(row: dict[str, Any]) -> TextChange:
    return TextChange(**row, segments=word_diff(row["left_text"], row["right_text"]))


def _agreement(rows: Iterator[dict[str, Any]]) -> list[Agreement]:
    counter = AgreementCounter()
    for row in rows:
        left, right = _object(row["left_json"]), _object(row["right_json"])
        if left is not None and right is not None:
            counter.add(left, right)
    return counter.agreements()


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None
