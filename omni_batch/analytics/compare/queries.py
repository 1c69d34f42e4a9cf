"""The questions of a comparison to one piece of two sides. All joins are DuckDB's. Pure."""

from omni_batch.analytics.sql import ITEM_WAITS
from omni_batch.store.read import Names

_NAME = frozenset({"run_id", "item_id", "variant", "sample", "row_number"})
COLUMNS = Names(
    results=_NAME
    | {"status", "text", "annotation", "error_message", "reused_from"}
    | {"cost", "total_tokens", "latency_s", "started_at"},
    attempts=_NAME | {"latency_s", "started_at", "error_kind"},
)
"""What they look at."""

VALUES = {
    "cost": "select cost from {side}_results where reused_from is null",
    "tokens": "select total_tokens from {side}_results where reused_from is null",
    "request_s": "select latency_s from {side}_attempts where error_kind is null",
    "wait_s": f"select wait_s from ({ITEM_WAITS.format(prefix='{side}_')})",
}
"""Of the answers that were paid for here, of the requests that were answered, and of items."""
OVERLAP = """
    select count(*) filter (where b.name is null) as only_left,
           count(*) filter (where a.name is null) as only_right,
           count(*) filter (where a.status = b.status) +
           count(*) filter (where a.status <> b.status) as both,
           count(*) filter (where a.status <> b.status) as status_changed,
           count(*) filter (where a.status = 'succeeded' and b.status = 'succeeded'
                            and a.text <> b.text) as text_changed
    from {a}_results a full join {b}_results b using (name)
"""
_ONLY = """
    select name as item_id, row_number from {here}_results anti join {there}_results using (name)
    order by row_number limit {{limit}}
"""
_STATUS = """
    select name as item_id, a.status as left_status, b.status as right_status,
           coalesce(b.error_message, a.error_message) as error_message, a.row_number
    from {a}_results a join {b}_results b using (name)
    where a.status <> b.status order by a.row_number limit {limit}
"""
_CHANGE = """
    with pairs as (
        select name, a.text as left_text, b.text as right_text,
               list_distinct(regexp_extract_all(lower(a.text), {words})) as left_words,
               list_distinct(regexp_extract_all(lower(b.text), {words})) as right_words
        from {a}_results a join {b}_results b using (name)
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
"""  # distinct words that one text only has, as a share of all distinct words of both
WORDS = r"'\p{Han}|\p{Hiragana}|\p{Katakana}|\p{Hangul}|[\p{L}\p{N}]+'"
LISTS = {
    "only_left": _ONLY.format(here="{a}", there="{b}"),
    "only_right": _ONLY.format(here="{b}", there="{a}"),
    "statuses": _STATUS,
    "texts": _CHANGE,
}
"""Of one piece the first rows, or those that changed most."""
ANNOTATIONS = """
    select to_json(a.annotation)::varchar as left_json, to_json(b.annotation)::varchar as right_json
    from {a}_results a join {b}_results b using (name)
    where a.annotation is not null and b.annotation is not null
"""
