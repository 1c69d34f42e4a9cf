"""Counts while a run goes on are the counts of its tables."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from omni_batch.config import BudgetConfig
from omni_batch.counts import Counts
from omni_batch.errors import (
    BudgetReached,
    OmniBatchError,
    RateLimited,
    Rejected,
    SpeechMissing,
    StreamError,
)
from omni_batch.progress import phrases
from omni_batch.progress.counters import of_tables
from omni_batch.progress.ledger import Ledger
from omni_batch.progress.spending.estimates import TokenEstimates
from omni_batch.store.columns import (
    ATTEMPT_COLUMNS,
    RESULT_COLUMNS,
    RunFacts,
    attempt_rows,
    in_doubt_row,
    result_row,
    table,
)
from omni_batch.types import (
    Answer,
    Attempt,
    Cost,
    Item,
    Response,
    Result,
    Sent,
    Speech,
    Usage,
    WavFile,
)

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
FACTS = RunFacts("run-1", "m", "e")
SPEECH = Speech(36_000, 24_000)


def attempt(number: int, error: Exception | None = None, **known: Any) -> Attempt:
    return Attempt(number, WHEN, 1.0, error=error, **known)


CUT = attempt(
    2, StreamError("cut"), text="x", estimated_tokens=70, estimated_cost=Cost(0.125, "CNY")
)
PAID = attempt(3, usage=Usage(100, 50, 150), cost=Cost(0.25, "CNY"))
SPOKEN = Result(
    Item("a", 0),
    WHEN,
    1.0,
    attempts=(attempt(1, RateLimited("slow")), CUT, PAID),
    answer=Answer(
        Response("x", None, "stop", Usage(100, 50, 150), SPEECH, None),
        WavFile("audio/a.wav", SPEECH, "ab"),
    ),
    cost=Cost(0.25, "CNY"),
)
UNBILLED = Result(
    Item("b", 1),
    WHEN,
    1.0,
    attempts=(attempt(1),),
    answer=Answer(Response("x", None, "stop", None, None, None), None),
)
NO = Rejected("no")
REFUSED = Result(Item("c", 2), WHEN, 1.0, attempts=(attempt(1, NO),), error=NO)
MUTE = SpeechMissing("no sound")
BILLED = Result(
    Item("e", 4),
    WHEN,
    1.0,
    attempts=(attempt(1, MUTE, usage=Usage(10, 20, 30), cost=Cost(0.5, "CNY")),),
    error=MUTE,
)
REUSED = replace(SPOKEN, item=Item("f", 5), attempts=(), reused_from="run-0", cost=Cost(0, "CNY"))
RESULTS = [SPOKEN, UNBILLED, REFUSED, replace(SPOKEN, item=Item("d", 3)), BILLED, REUSED]


def ledger(before: Counts | None = None) -> Ledger:
    return books(before or Counts(), BudgetConfig(), no_stop)


def books(before: Counts, budget: BudgetConfig, stop: Callable[[OmniBatchError], None]) -> Ledger:
    learned = TokenEstimates()
    return Ledger(before, budget, (), stop, items=10, in_flight=4, estimates=learned)


def no_stop(reason: OmniBatchError) -> None:
    pytest.fail(str(reason))


def keep(ledger: Ledger, *results: Result) -> Ledger:
    for result in results:
        for attempt in result.attempts:
            ledger.attempt_ended(result.item, attempt)
        ledger.item_ended(result)
    return ledger


def live(*results: Result) -> Counts:
    return keep(ledger(), *results).counts


def resumed(*results: Result) -> Counts:
    return Counts(elapsed_s=60.0) + of_tables(
        table(RESULT_COLUMNS, [result_row(FACTS, result) for result in results]),
        table(ATTEMPT_COLUMNS, [row for result in results for row in attempt_rows(FACTS, result)]),
    )


def timeless(counts: Counts) -> dict[str, object]:
    return {name: value for name, value in asdict(counts).items() if name != "elapsed_s"}


EXPECTED = {
    "succeeded": 4,
    "failed": 2,
    "reused": 1,
    "requests": 9,
    "answers": 3,
    "retries": 4,
    "rate_limited": 2,
    "prompt_tokens": 210,
    "completion_tokens": 120,
    "audio_s": 3.0,
    "cost": {"CNY": 1.0},
    "estimated_tokens": 140,
    "estimated_cost": {"CNY": 0.25},
    "in_doubt": 0,
    "in_doubt_tokens": 0,
    "in_doubt_cost": {},
    "failures": {"rejected": 1, "speech_missing": 1},
}


def test_counts_grow_with_every_result() -> None:
    assert timeless(live(*RESULTS)) == EXPECTED
    assert live(*RESULTS).done == 6


def test_a_resumed_run_counts_from_its_tables() -> None:
    assert timeless(resumed(*RESULTS)) == EXPECTED


def test_a_run_may_stop_anywhere_and_count_on() -> None:
    for cut in range(len(RESULTS) + 1):
        counts = keep(ledger(resumed(*RESULTS[:cut])), *RESULTS[cut:]).counts
        assert timeless(counts) == EXPECTED


def test_nothing_counts_nothing() -> None:
    for counts in (live(), resumed()):
        assert timeless(counts) == timeless(Counts())


def test_the_time_worked_is_that_of_all_processes() -> None:
    found = ledger(Counts(elapsed_s=60.0))
    assert found.snapshot(found.started_s + 30).elapsed_s == 90
    assert found.snapshot(found.started_s + 31).elapsed_s == 91


def test_amounts_of_two_currencies_are_never_added() -> None:
    dollars = replace(SPOKEN, attempts=(attempt(1, None, cost=Cost(0.5, "USD")),))
    counts = live(SPOKEN, dollars)
    assert counts.cost == {"CNY": 0.25, "USD": 0.5}
    assert (counts + counts).cost == {"CNY": 0.5, "USD": 1.0}
    assert resumed(SPOKEN, dollars).cost == counts.cost


def test_the_budget_stops_the_run_and_estimates_count() -> None:
    reasons: list[OmniBatchError] = []
    budget = BudgetConfig.model_validate({"max_cost": "0.375 CNY"})
    keep(books(Counts(), budget, reasons.append), SPOKEN)
    assert "reached budget.max_cost 0.375 CNY" in str(reasons[0])
    assert isinstance(reasons[0], BudgetReached)


def test_with_the_last_item_done_nothing_is_left_to_stop() -> None:
    budget = BudgetConfig.model_validate({"max_tokens": 1})
    found = books(Counts(succeeded=10), budget, no_stop)
    found.check_budget()


@given(st.lists(st.sampled_from(RESULTS), max_size=4), st.lists(st.sampled_from(RESULTS)))
def test_counts_add_up_in_any_order(some: list[Result], more: list[Result]) -> None:
    one, other = live(*some), live(*more)
    assert one + other == other + one == live(*some, *more)
    assert one + Counts() == one


def test_what_is_in_doubt_counts_as_spent_and_apart() -> None:
    sent = Sent(4, WHEN, "e", 500, Cost(0.5, "CNY"))
    rows = [*attempt_rows(FACTS, SPOKEN), in_doubt_row(FACTS, SPOKEN.item, sent)]
    counts = of_tables(
        table(RESULT_COLUMNS, [result_row(FACTS, SPOKEN)]), table(ATTEMPT_COLUMNS, rows)
    )
    assert (counts.in_doubt, counts.in_doubt_tokens, counts.in_doubt_cost) == (1, 500, {"CNY": 0.5})
    assert counts.spent == {"CNY": 0.25 + 0.125 + 0.5}
    assert (counts.unbilled_tokens, counts.unbilled_cost) == (70, {"CNY": 0.125})
    assert phrases.in_doubt(counts) == "1 request in doubt, at most 0.5000 CNY"
    assert phrases.spent(counts) == (
        "0.2500 CNY (about 70 more tokens: 0.1250 CNY for answers without a bill)"
    )
