"""A run that buys nothing stops; one that buys something goes on."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.doubts import EMPTY_ANSWER, Doubt
from omni_batch.errors import (
    AbnormalFinish,
    ContentRefused,
    Interrupted,
    MediaError,
    MediaUnreachable,
    NothingBought,
    RateLimited,
    Rejected,
    StreamError,
)
from omni_batch.progress.spending.buys_nothing import FIRST_ITEMS, IN_A_ROW, FirstAnswers
from omni_batch.types import Answer, Attempt, Item, Response, Result

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
IN_FLIGHT = 16
CUT = StreamError("the reply was cut")
NO_MODEL = Rejected("no such model (HTTP 404)", code="model_not_found", http_status=404)
NO_PICTURE = Rejected("that is no picture", code="invalid_parameter_error", http_status=400)


def attempt(error: Exception | None = None, status: int | None = 200) -> Attempt:
    return Attempt(1, WHEN, 1.0, http_status=status, error=error)


def failed(error: Exception, **known: Any) -> Result:
    tried = attempt(error, getattr(error, "http_status", 200))
    return Result(Item("a", 0), WHEN, 1.0, attempts=(tried,), error=error, **known)


def answered(*doubts: Doubt) -> Result:
    answer = Answer(Response("Hello", None, "stop", None, None, None, doubts), None)
    return Result(Item("a", 0), WHEN, 1.0, attempts=(attempt(),), answer=answer, doubts=doubts)


GOOD, EMPTY = answered(), answered(Doubt(EMPTY_ANSWER, "the answer is empty"))
UNSENT = Result(Item("a", 0), WHEN, 1.0, error=MediaError("gone.jpg does not exist"))


def feed(answers: FirstAnswers, result: Result) -> None:
    for one in result.attempts:
        answers.attempt_started()
        answers.attempt_ended(result.item, one)
    answers.item_ended(result)


def taken_in(*results: Result) -> int:
    """How many are taken in before the run stops; all of them where it does not."""
    answers = FirstAnswers(IN_FLIGHT)
    for number, result in enumerate(results, 1):
        feed(answers, result)
        if answers.verdict is not None:
            return number
    return len(results)


def reason(results: Iterable[Result]) -> str:
    answers = FirstAnswers(IN_FLIGHT)
    for result in results:
        assert answers.verdict is None
        feed(answers, result)
    assert isinstance(answers.verdict, NothingBought)
    return str(answers.verdict)


def test_items_that_all_fail_in_one_way_stop_the_run() -> None:
    said = reason([failed(NO_MODEL)] * FIRST_ITEMS)
    assert said == (
        "the first 20 items all failed in one way and none succeeded (rejected): no such model "
        "(HTTP 404). Check model and endpoint.base_url"
    )


def test_others_among_them_do_not_hide_it() -> None:
    said = reason([failed(NO_PICTURE), *[failed(NO_MODEL)] * FIRST_ITEMS])
    assert said.startswith("20 of 21 items failed in one way and none succeeded")


def test_answers_that_are_all_empty_stop_the_run() -> None:
    assert "the first 20 items all got an empty answer" in reason([EMPTY] * FIRST_ITEMS)


@pytest.mark.parametrize(
    "results",
    [
        [failed(NO_MODEL)] * (FIRST_ITEMS - 1),
        [GOOD, *[failed(NO_PICTURE)] * 500],
        [GOOD, *[EMPTY] * 500],
        [UNSENT] * 500,
        [*[failed(NO_MODEL)] * 19, *[failed(NO_PICTURE)] * 19, *[EMPTY] * 19],
    ],
    ids=[
        "too few",
        "pictures are the rows' own",
        "so are empty answers",
        "nothing was sent",
        "several ways",
    ],
)
def test_a_run_goes_on_while_it_may_buy_something(results: list[Result]) -> None:
    assert taken_in(*results) == len(results)


def test_a_model_that_goes_away_in_the_middle_stops_the_run_later() -> None:
    fault = failed(NO_MODEL)
    assert taken_in(GOOD, *[fault] * 99, GOOD, *[fault] * 500) == 101 + IN_A_ROW
    said = reason([GOOD, *[fault] * IN_A_ROW])
    assert said.startswith("the last 100 items all failed in one way and none succeeded (rejected)")


@pytest.mark.parametrize("status", [404, 405, 410])
def test_an_address_that_is_no_more_is_no_fault_of_the_rows(status: int) -> None:
    gone = failed(Rejected("gone", http_status=status))
    assert taken_in(GOOD, *[gone] * 500) == 1 + IN_A_ROW


def test_codes_that_are_made_up_for_each_answer_are_not_all_remembered() -> None:
    made_up = [failed(Rejected("no", code=f"e-{n}", http_status=400)) for n in range(150)]
    assert taken_in(*made_up, *[failed(NO_MODEL)] * 50) == 200


def test_a_refused_upload_counts_though_nothing_was_sent_after_it() -> None:
    refused = Result(Item("a", 0), WHEN, 1.0, error=NO_MODEL)
    assert "no such model" in reason([refused] * FIRST_ITEMS)
    gone = Result(Item("a", 0), WHEN, 1.0, error=MediaUnreachable("not there", http_status=404))
    assert taken_in(*[gone] * 500) == 500  # it is the row's own


def test_a_reused_answer_is_nothing_bought() -> None:
    reused = Result(Item("a", 0), WHEN, 1.0, answer=GOOD.answer, reused_from="run-0")
    assert taken_in(reused, *[failed(NO_MODEL)] * 30) == 1 + FIRST_ITEMS


# --- paid answers ---


def attempts_taken_in(answers: FirstAnswers, attempts: Iterable[Attempt]) -> int:
    count = 0
    for count, one in enumerate(attempts, 1):
        answers.attempt_started()
        answers.attempt_ended(GOOD.item, one)
        if answers.verdict is not None:
            return count
    return count


@pytest.mark.parametrize(
    "one",
    [
        attempt(CUT),
        attempt(CUT, None),  # packed in a way that was not asked for: nothing was read
        attempt(AbnormalFinish("finish_reason 'STOP'"), 201),
        attempt(ContentRefused("moderation ended the reply")),
        attempt(ValueError("a fault of ours")),
    ],
)
def test_paid_answers_that_can_not_be_used_stop_the_run(one: Attempt) -> None:
    assert attempts_taken_in(FirstAnswers(IN_FLIGHT), [one] * 500) == FIRST_ITEMS


@pytest.mark.parametrize(
    "one",
    [
        attempt(),
        attempt(NO_MODEL, 404),
        attempt(RateLimited("slow down"), 200),
        attempt(Interrupted("the run stopped")),
    ],
    ids=["fine so far", "refused", "to wait for", "cut by us"],
)
def test_what_was_not_paid_in_vain_is_not_counted(one: Attempt) -> None:
    assert attempts_taken_in(FirstAnswers(IN_FLIGHT), [one] * 500) == 500


def test_after_a_success_a_service_may_restart_with_all_requests_in_flight() -> None:
    answers = FirstAnswers(IN_FLIGHT)
    feed(answers, GOOD)
    assert attempts_taken_in(answers, [attempt(CUT)] * (IN_FLIGHT + 50)) == IN_FLIGHT + 50
    feed(answers, GOOD)
    assert attempts_taken_in(answers, [attempt(CUT)] * 500) == IN_A_ROW + IN_FLIGHT


def test_the_message_says_what_came_and_what_to_do() -> None:
    answers = FirstAnswers(IN_FLIGHT)
    assert attempts_taken_in(answers, [attempt(CUT)] * 20) == 20
    said = str(answers.verdict)
    assert said.startswith("20 answers in a row were paid for and can't be used and none could")
    assert "the reply was cut. Check that endpoint.name and endpoint.base_url" in said


# --- on trial ---


def test_what_is_under_way_is_waited_for_as_failures_come_first() -> None:
    answers = FirstAnswers(IN_FLIGHT)
    answers.attempt_started()  # of a long answer
    for _ in range(FIRST_ITEMS):
        assert not answers.on_trial
        feed(answers, failed(NO_MODEL))
    assert answers.on_trial
    assert answers.verdict is None

    answers.item_ended(GOOD)
    assert not answers.on_trial
    assert answers.verdict is None


@pytest.mark.parametrize("last", [failed(CUT), EMPTY, failed(NO_PICTURE)])
def test_with_the_last_one_under_way_as_useless_the_run_stops(last: Result) -> None:
    answers = FirstAnswers(IN_FLIGHT)
    answers.attempt_started()
    attempts_taken_in(answers, [attempt(CUT)] * FIRST_ITEMS)
    assert answers.verdict is None
    answers.attempt_ended(last.item, last.attempts[-1])
    answers.item_ended(last)
    assert answers.verdict is not None


def test_what_is_left_because_the_run_stops_is_waited_for_no_longer() -> None:
    answers = FirstAnswers(IN_FLIGHT)
    answers.attempt_started()
    attempts_taken_in(answers, [attempt(CUT)] * FIRST_ITEMS)
    answers.item_left(GOOD)
    assert answers.verdict is not None


@given(st.lists(st.sampled_from([failed(NO_MODEL), failed(NO_PICTURE), EMPTY, GOOD]), max_size=90))
def test_it_stops_at_the_first_moment_that_twenty_are_alike_and_never_after_a_success(
    results: list[Result],
) -> None:
    seen: list[Result] = []
    for result in results:
        seen.append(result)
        if GOOD in seen or seen.count(result) >= FIRST_ITEMS:
            break
    expected = len(results) if GOOD in seen else len(seen)
    assert taken_in(*results) == expected
