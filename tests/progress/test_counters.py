"""Counts while a run goes on are the counts of its tables."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from omni_batch.errors import RateLimited, Rejected, SpeechMissing, StreamError
from omni_batch.progress.counters import Counters
from omni_batch.store.columns import (
    ATTEMPT_COLUMNS,
    RESULT_COLUMNS,
    RunFacts,
    attempt_rows,
    result_row,
    table,
)
from omni_batch.store.record import Counts
from omni_batch.types import Answer, Attempt, Cost, Item, Response, Result, Speech, Usage, WavFile

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


def live(*results: Result) -> Counters:
    tally = Counters()
    for result in results:
        list(map(tally.add_attempt, result.attempts))
        tally.add_result(result)
    return tally


def resumed(*results: Result) -> Counters:
    tally = Counters(Counts(elapsed_s=60.0))
    tally.add_tables(
        table(RESULT_COLUMNS, [result_row(FACTS, result) for result in results]),
        table(ATTEMPT_COLUMNS, [row for result in results for row in attempt_rows(FACTS, result)]),
    )
    return tally


def timeless(counts: Counts) -> dict[str, object]:
    return {name: value for name, value in asdict(counts).items() if name != "elapsed_s"}


EXPECTED = {
    "succeeded": 4,
    "failed": 2,
    "reused": 1,
    "requests": 9,
    "retries": 4,
    "rate_limited": 2,
    "prompt_tokens": 210,
    "completion_tokens": 120,
    "audio_s": 3.0,
    "cost": {"CNY": 1.0},
    "estimated_tokens": 140,
    "estimated_cost": {"CNY": 0.25},
    "failures": {"rejected": 1, "speech_missing": 1},
}


def test_counts_grow_with_every_result() -> None:
    assert timeless(live(*RESULTS).counts) == EXPECTED
    assert live(*RESULTS).done == 6


def test_a_resumed_run_counts_from_its_tables() -> None:
    assert timeless(resumed(*RESULTS).counts) == EXPECTED


def test_a_run_may_stop_anywhere_and_count_on() -> None:
    for cut in range(len(RESULTS) + 1):
        tally = resumed(*RESULTS[:cut])
        for result in RESULTS[cut:]:
            list(map(tally.add_attempt, result.attempts))
            tally.add_result(result)
        assert timeless(tally.counts) == EXPECTED


def test_nothing_counts_nothing() -> None:
    for tally in (live(), resumed()):
        assert timeless(tally.counts) == timeless(Counts())


def test_the_time_worked_is_that_of_all_processes() -> None:
    tally = Counters(Counts(elapsed_s=60.0), started_s=100.0)
    assert tally.snapshot(130.0).elapsed_s == 90
    assert tally.snapshot(131.0).elapsed_s == 91


@given(st.lists(st.sampled_from(RESULTS), max_size=4), st.lists(st.sampled_from(RESULTS)))
def test_counts_add_up_in_any_order(some: list[Result], more: list[Result]) -> None:
    one, other = live(*some).counts, live(*more).counts
    assert one + other == other + one == live(*some, *more).counts
    assert one + Counts() == one
