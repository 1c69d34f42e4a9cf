"""The report's questions to the views of a run. All sums are DuckDB's. Pure.

Percentiles are exact (`quantile_cont`), so that a query of one's own finds the same ones; they take
8 bytes for each value. Everything else takes the memory of its answer.
"""

from datetime import datetime

from omni_batch.analytics.sql import ITEM_WAITS
from omni_batch.store.columns import IN_DOUBT
from omni_batch.store.read import NUMBERS, Names

COLUMNS = NUMBERS | Names(
    results=frozenset({"run_id", "item_id", "variant", "status", "modality", "model", "endpoint"})
    | {"currency", "reused_from", "error_kind", "error_message", "request_id", "warnings"}
    | {"annotation"},
    attempts=frozenset({"run_id", "item_id", "model", "endpoint", "currency", "error_kind"}),
)
"""What they look at; other columns are not there."""
TOKEN_COLUMNS = {
    "prompt_text_tokens": ("text", "in"),
    "prompt_audio_tokens": ("sound", "in"),
    "prompt_image_tokens": ("images", "in"),
    "prompt_video_tokens": ("video", "in"),
    "completion_text_tokens": ("text", "out"),
    "completion_audio_tokens": ("speech", "out"),
    "reasoning_tokens": ("thinking", "out"),
}
"""Column → (what it counts, which way it went). Together they make up the bill of an answer."""

_MINUTE_S = 60
_BARS = 30
_NARROWEST_BAR = 1 / 16  # octaves
_PATTERNS, _EXAMPLES = 10, 5
_MESSAGE_CHARS, _PATTERN_CHARS = 600, 240

_TOKENS = "coalesce(total_tokens, estimated_tokens, 0)"
"""Of one request, as its quota is used: billed, or of a cut answer by estimate."""
_Q = "quantile_cont(value, [0.1, 0.5, 0.9, 0.99])"  # the same four times, so it is done once
_PERCENTILES = f"""{{
    'count': count(value), 'largest': max(value),
    'p10': {_Q}[1], 'p50': {_Q}[2], 'p90': {_Q}[3], 'p99': {_Q}[4]
}}"""

# --- what was done: figures of `Counts` by modality, model and endpoint ---

ITEMS = """
    select coalesce(modality, 'unknown') as modality, coalesce(model, 'unknown') as model,
           coalesce(endpoint, if(attempts > 0, 'unknown', 'never sent')) as endpoint, currency,
           count(*) filter (where status = 'succeeded') as succeeded,
           count(*) filter (where status <> 'succeeded') as failed,
           count(reused_from) as reused,
           coalesce(sum(audio_s) filter (where reused_from is null), 0.0) as audio_s,
           0 * max(cost) as cost -- an answer has a currency; money is that of attempts
    from results group by all
"""
ATTEMPTS = """
    select if(r.row_number is null, 'not finished', coalesce(r.modality, 'unknown')) as modality,
           coalesce(a.model, 'unknown') as model, coalesce(a.endpoint, 'unknown') as endpoint,
           a.currency,
           count(*) as requests,
           count(*) filter (where a.error_kind is null) as answers,
           count(*) filter (where a.number > 1) as retries,
           count(*) filter (where a.error_kind = 'rate_limited') as rate_limited,
           coalesce(sum(a.prompt_tokens), 0)::bigint as prompt_tokens,
           coalesce(sum(a.completion_tokens), 0)::bigint as completion_tokens,
           coalesce(sum(a.estimated_tokens), 0)::bigint as estimated_tokens,
           count(*) filter ({in_doubt}) as in_doubt,
           coalesce(sum(a.estimated_tokens) filter ({in_doubt}), 0)::bigint as in_doubt_tokens,
           sum(a.cost) as cost, sum(a.estimated_cost) as estimated_cost,
           sum(a.estimated_cost) filter ({in_doubt}) as in_doubt_cost
    from attempts a left join results r on r.row_number = a.row_number
    group by all
""".format(in_doubt=f"where a.error_kind = '{IN_DOUBT}'")
TOKEN_KINDS = f"""
    select {", ".join(f"sum({name})::bigint as {name}" for name in TOKEN_COLUMNS)},
           sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0))::bigint as billed
    from results where reused_from is null
"""
OUTCOMES = """
    select coalesce(endpoint, 'unknown') as endpoint, coalesce(error_kind, 'answered') as outcome,
           count(*) as requests
    from attempts group by all order by requests desc, endpoint, outcome
"""

# --- how long it took ---

RESPONSE_TIMES = f"""
    with seconds as not materialized (
        select coalesce(endpoint, 'unknown') as endpoint,
               unnest(['first event', 'whole exchange']) as what,
               unnest([first_chunk_s, latency_s]) as value
        from attempts where error_kind is null
    ), spread as (
        select endpoint, what, {_PERCENTILES} as seconds,
               greatest(min(value), 0.001) as low,
               greatest(log2(greatest(max(value), low) / low) / {_BARS}, {_NARROWEST_BAR}) as width
        from seconds where value is not null group by endpoint, what
    ), known as ( -- in one row: a join would hold all seconds
        select map_from_entries(list(((endpoint, what), (low, width)))) as scales from spread
    ), bar as (
        select endpoint, what, scales[(endpoint, what)] as scale, scale[1] as low,
               scale[2] as width,
               least(floor(log2(greatest(value, low) / low) / width), {_BARS - 1}) as slot,
               low * 2 ** (slot * width) as start, low * 2 ** ((slot + 1) * width) as "end",
               count(value) as count
        from seconds, known where value is not null group by all
    ), bars as (
        select endpoint, what,
               list({{'start': start, 'end': "end", 'count': count}} order by slot) as bins
        from bar group by endpoint, what
    )
    select endpoint, what, seconds, bins from spread join bars using (endpoint, what)
    order by endpoint, what
"""
WAITS = (
    f"select {_PERCENTILES} as seconds from ({ITEM_WAITS.format(prefix='')}) t(row_number, value)"
)
ESTIMATES = f"""
    select modality, sum(estimated_prompt_tokens)::bigint as estimated_tokens,
           sum(prompt_tokens)::bigint as billed_tokens, {_PERCENTILES} as ratio
    from (select *, prompt_tokens / estimated_prompt_tokens as value from results)
    where prompt_tokens > 0 and estimated_prompt_tokens > 0 and reused_from is null
          and modality is not null
    group by modality order by billed_tokens desc
"""

# --- when it was sent ---


def starts(since: datetime | None = None) -> str:
    """Requests and their tokens from a moment on, with the first and the last start."""
    after = f"and started_at >= timestamptz '{since.isoformat()}'" if since else ""
    return f"""
        select count(*) as requests, coalesce(sum({_TOKENS}), 0)::bigint as tokens,
               min(started_at) as first, max(started_at) as last
        from attempts where started_at is not null {after}
    """


BUSIEST_MINUTES = f"""
    with second as (
        select epoch_us(started_at) // 1000000 as slot, count(*) as requests,
               sum({_TOKENS}) as tokens
        from attempts where started_at is not null group by slot
    ), minute as (
        select slot, sum(requests) over minute as requests, sum(tokens) over minute as tokens
        from second
        window minute as (order by slot range between {_MINUTE_S - 1} preceding and current row)
    )
    select max(requests)::double as requests, max(tokens)::double as tokens,
           to_timestamp(arg_max(slot, requests) + 1) as requests_end,
           to_timestamp(arg_max(slot, tokens) + 1) as tokens_end
    from minute
"""


def timeline(width_s: int) -> str:
    """Requests by stretches of time, the empty ones too, with the minute up to each one's end."""
    before = max(1, _MINUTE_S // width_s) - 1
    minutes = max(1.0, width_s / _MINUTE_S)
    return f"""
        with sent as (
            select epoch_us(started_at) // {width_s * 1_000_000} as slot, count(*) as requests,
                   count(*) filter (where error_kind is null and number = 1) as answered,
                   count(*) filter (where error_kind is null and number > 1) as retried,
                   count(*) filter (where error_kind = 'rate_limited') as rate_limited,
                   count(*) filter (where error_kind <> 'rate_limited') as broken,
                   sum({_TOKENS}) as tokens
            from attempts where started_at is not null group by slot
        ), every as (select unnest(range(min(slot), max(slot) + 1)) as slot from sent)
        select to_timestamp(slot * {width_s}) as start,
               to_timestamp((slot + 1) * {width_s}) as "end",
               coalesce(answered, 0) as answered, coalesce(retried, 0) as retried,
               coalesce(rate_limited, 0) as rate_limited, coalesce(broken, 0) as broken,
               coalesce(sum(requests) over minute, 0) / {minutes} as requests_per_minute,
               (coalesce(sum(tokens) over minute, 0) / {minutes})::double as tokens_per_minute
        from every left join sent using (slot)
        window minute as (order by slot rows between {before} preceding and current row)
        order by slot
    """


# --- what failed ---

_NAMES = "|".join(
    (
        r"\B''[^'']*''\B",  # quoted, not an apostrophe
        '"[^"]*"',
        r"\S*/\S+",  # paths and URLs
        r"\S+\.[A-Za-z]\w{1,4}\b",  # file names
        r"\b[\w-]*\d[\w.,-]*",  # ids and numbers
    )
)
_STATUS = r"HTTP \d{3}\b"  # tells failures apart
FAILURES = rf"""
    with failed as (
        select coalesce(error_kind, 'unknown') as kind, item_id, request_id, row_number as row,
               coalesce(error_message, '') as whole, left(whole, {_MESSAGE_CHARS}) as message,
               trim(regexp_replace(message, '\s+', ' ', 'g')) as line,
               regexp_replace(line, '({_STATUS})|{_NAMES}', '\1…', 'g') as masked,
               left(regexp_replace(masked, '({_STATUS})…', '\1', 'g'), {_PATTERN_CHARS}) as pattern
        from results where status <> 'succeeded'
    ), grouped as (
        select kind, pattern, count(*) as items,
               sum(count(*)) over (partition by kind)::bigint as kind_items,
               row_number() over (partition by kind order by count(*) desc, pattern) as place
        from failed group by kind, pattern
        qualify place <= {_PATTERNS}
    )
    select kind, kind_items, pattern, items, arg_min({{
               'item_id': item_id, 'request_id': request_id,
               'message': if(whole = message, message, message || '…')
           }}, row, {_EXAMPLES}) as examples
    from grouped join failed using (kind, pattern)
    group by kind, kind_items, pattern, items
    order by kind_items desc, kind, items desc, pattern
"""
"""Failed items by kind and by what their messages have in common, the most frequent first."""


# --- what is doubted ---

DOUBTS = f"""
    with doubted as (
        select item_id, row_number as row, unnest(warnings) as text from results
    ), ruled as (
        select item_id, row, split_part(text, ': ', 1) as rule,
               left(substr(text, length(rule) + 3), {_MESSAGE_CHARS}) as message
        from doubted
    )
    select rule, arg_min(message, row) as message, count(distinct row)::bigint as rows,
           arg_min(item_id, row) as item_id
    from ruled group by rule order by rows desc, rule
"""
"""Rows by the rule that doubts them, each with its first row."""
