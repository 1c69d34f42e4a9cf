"""What an attempt, a result or a table counts for: each is `Counts`, and they add up. Pure."""

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.counts import Counts, Money, add_money
from omni_batch.errors import RateLimited, error_kind
from omni_batch.store.columns import IN_DOUBT
from omni_batch.store.read import Names
from omni_batch.types import Attempt, Cost, Result

COUNTED = Names(
    results=frozenset({"status", "error_kind", "reused_from", "audio_s", "cost", "currency"}),
    attempts=frozenset(
        {"number", "error_kind", "prompt_tokens", "completion_tokens", "cost", "currency"}
        | {"estimated_tokens", "estimated_cost"}
    ),
)
"""Columns that `of_tables` looks at."""


def of_result(result: Result) -> Counts:
    """One item."""
    reused, answer = result.reused_from is not None, result.answer
    spoken = answer.wav.speech.duration_s if answer and answer.wav and not reused else 0.0
    return Counts(
        succeeded=int(result.succeeded),
        failed=int(not result.succeeded),
        reused=int(reused),
        audio_s=spoken,
        # A reused answer costs nothing, and says in which currency.
        cost={result.cost.currency: 0.0} if result.cost else {},
        failures={} if result.succeeded else {error_kind(result.error) or "unknown": 1},
    )


def of_attempt(attempt: Attempt) -> Counts:
    """One HTTP exchange."""
    usage = attempt.usage
    return Counts(
        requests=1,
        answers=int(attempt.error is None),
        retries=int(attempt.number > 1),
        rate_limited=int(isinstance(attempt.error, RateLimited)),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        cost=_money(attempt.cost),
        estimated_tokens=attempt.estimated_tokens or 0,
        estimated_cost=_money(attempt.estimated_cost),
    )


def of_tables(results: pa.Table, attempts: pa.Table) -> Counts:
    """What is on disk.

    Args:
        results: with the columns that are `COUNTED`; so are `attempts`.
    """
    failed = results.filter(pc.equal(results["status"], "failed"))
    asked = results.filter(pc.is_null(results["reused_from"]))
    in_doubt = attempts.filter(pc.equal(attempts["error_kind"], IN_DOUBT))
    kinds = pc.value_counts(failed["error_kind"]).to_pylist()
    return Counts(
        succeeded=results.num_rows - failed.num_rows,
        failed=failed.num_rows,
        reused=results.num_rows - asked.num_rows,
        requests=attempts.num_rows,
        answers=attempts["error_kind"].null_count,
        retries=_sum(pc.greater(attempts["number"], 1)),
        rate_limited=_sum(pc.equal(attempts["error_kind"], "rate_limited")),
        prompt_tokens=_sum(attempts["prompt_tokens"]),
        completion_tokens=_sum(attempts["completion_tokens"]),
        audio_s=_sum(asked["audio_s"]),
        cost=add_money(dict.fromkeys(_money_of(results, "cost"), 0.0), _money_of(attempts, "cost")),
        estimated_tokens=_sum(attempts["estimated_tokens"]),
        estimated_cost=_money_of(attempts, "estimated_cost"),
        in_doubt=in_doubt.num_rows,
        in_doubt_tokens=_sum(in_doubt["estimated_tokens"]),
        in_doubt_cost=_money_of(in_doubt, "estimated_cost"),
        failures={kind["values"] or "unknown": kind["counts"] for kind in kinds},
    )


def _money(cost: Cost | None) -> Money:
    return {cost.currency: cost.amount} if cost else {}


def _money_of(table: pa.Table, column: str) -> Money:
    """The sum of a column of amounts by the currency beside it."""
    known = table.select([column, "currency"]).filter(pc.is_valid(table[column]))
    sums = known.group_by("currency").aggregate([(column, "sum")]).to_pylist()
    return {row["currency"]: row[f"{column}_sum"] for row in sums}


def _sum(values: pa.ChunkedArray) -> int:
    return pc.sum(values).as_py() or 0
