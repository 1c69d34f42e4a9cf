"""What those that wait, and those that look on, may rely on in any limiter."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from omni_batch.errors import Interrupted, ServerLimits, Unavailable
from omni_batch.quota import RateLimiter
from tests.quota.laws import limiter, now_s, refusal, request, run, status

SLOW: dict[str, Any] = {"tokens_per_minute": 6000, "max_in_flight": 10}


# --- who waits ---


def test_all_that_wait_are_told_when_their_endpoint_is_closed() -> None:
    """None of them waits for ever, and what is under way goes on."""
    quota = limiter(max_in_flight=1)

    async def close() -> None:
        await asyncio.sleep(1)
        assert (quota.in_flight, quota.waiting) == (1, 3)
        quota.reject_waiting(Interrupted("closed"))
        assert (quota.in_flight, quota.waiting) == (1, 0)

    waiting = [ended_by(quota) for _ in range(3)]
    first, _, *others = run(request(quota, takes_s=5), close(), *waiting)
    assert first == 0
    assert others == [(1, "closed")] * 3
    assert quota.in_flight == 0


async def ended_by(quota: RateLimiter) -> tuple[float, str]:
    await asyncio.sleep(0.5)
    try:
        await request(quota)
    except Interrupted as exc:
        return now_s(), str(exc)
    return now_s(), "let out"


def test_a_closed_endpoint_may_be_used_again() -> None:
    quota = limiter(max_in_flight=1)

    async def close() -> None:
        quota.reject_waiting(Interrupted("closed"))

    assert run(close(), request(quota, begins_s=1)) == [None, 1]
    assert (quota.in_flight, quota.waiting) == (0, 0)


def test_one_that_was_cancelled_while_it_waited_is_not_told() -> None:
    quota = limiter(max_in_flight=1)

    async def cancel_and_close() -> None:
        waiter = asyncio.ensure_future(request(quota))
        await asyncio.sleep(1)
        waiter.cancel()
        quota.reject_waiting(Interrupted("closed"))
        with pytest.raises(asyncio.CancelledError):
            await waiter

    assert run(request(quota, takes_s=5), cancel_and_close()) == [0, None]
    assert run(request(quota)) == [0]


def test_one_that_is_cancelled_as_its_turn_comes_is_charged_nothing() -> None:
    quota = limiter(max_in_flight=1)

    async def served_and_cancelled() -> None:
        async with quota.permit(lambda: 0):
            waiter = asyncio.ensure_future(request(quota, 500))
            await asyncio.sleep(1)
        waiter.cancel()  # its turn has come in this very moment
        await asyncio.wait([waiter])

    *_, shown = run(served_and_cancelled(), status(quota, 5))
    assert (shown.in_flight, shown.tokens_last_minute) == (0, 0)


# --- what is charged ---


def test_what_has_been_billed_is_charged_once_however_long_it_stays() -> None:
    quota = limiter(tokens_per_minute=6000, max_in_flight=1000, adaptive=False)

    async def billed_early() -> None:
        async with quota.permit(lambda: 10) as permit:
            permit.used(0)
            await asyncio.sleep(600)

    early = [billed_early() for _ in range(200)]
    starts = run(*early, *[request(quota, 100, begins_s=200) for _ in range(4)])[200:]
    assert max(starts) == pytest.approx(203, abs=1)  # at a hundred a second


@pytest.mark.parametrize("of", ["requests_per_minute", "tokens_per_minute"])
def test_a_limit_that_the_service_names_is_the_one_in_force(of: str) -> None:
    quota = limiter(**{of: 6000})  # type: ignore[arg-type]

    async def named() -> None:
        async with quota.permit(lambda: 1) as permit:
            permit.admitted(ServerLimits(**{of: 1200}))

    _, shown = run(named(), status(quota, 1))
    assert getattr(shown, of) == 1200


# --- how long it would take one more ---


def backlog_s(quota: RateLimiter, at_s: float, *work: Coroutine[Any, Any, Any]) -> float:
    async def asked() -> float:
        await asyncio.sleep(at_s)
        return quota.backlog_s(now_s())

    return float(run(*work, asked())[-1])


def test_the_tokens_of_those_that_wait_are_counted() -> None:
    def behind(tokens: float) -> float:
        quota = limiter(**SLOW)
        return backlog_s(quota, 0, *[request(quota, tokens) for _ in range(3)])

    assert behind(100) < behind(1000) < behind(10_000)
    assert behind(1000) == pytest.approx(30, rel=0.2)  # at 100 tokens a second


@pytest.mark.parametrize("closed", [False, True])
def test_those_that_wait_no_longer_are_not_counted(closed: bool) -> None:
    quota = limiter(**SLOW)

    async def close() -> None:
        await asyncio.sleep(1)
        if closed:
            quota.reject_waiting(Interrupted("closed"))

    waiting = [request(quota, 1000) for _ in range(3)]
    assert backlog_s(quota, 60, *waiting, close()) < 2


def test_a_full_line_is_longer_the_longer_answers_take() -> None:
    def behind(takes_s: float) -> float:
        quota = limiter(max_in_flight=2, requests_per_minute=6000)
        first = [request(quota, takes_s=takes_s) for _ in range(2)]
        line = [request(quota, begins_s=takes_s, takes_s=takes_s) for _ in range(6)]
        return backlog_s(quota, takes_s + 0.5, *first, *line)

    assert behind(40) > 3 * behind(4)
    assert behind(40) >= 80  # two at a time, four before it


@pytest.mark.parametrize("tokens_per_minute", [None, 6000])
@pytest.mark.parametrize("in_flight", [0, 1])
def test_where_there_is_room_nobody_waits(in_flight: int, tokens_per_minute: float | None) -> None:
    quota = limiter(max_in_flight=2, adaptive=False, tokens_per_minute=tokens_per_minute)
    work = [request(quota, takes_s=9) for _ in range(in_flight)]
    assert backlog_s(quota, 1, *work) == 0


def test_a_pause_and_an_outage_are_waits() -> None:
    paused, down = limiter(), limiter(adaptive=False)
    assert backlog_s(paused, 1, request(paused, error=refusal(retry_after_s=30))) == 29
    failures = [request_of(down, number) for number in range(5)]
    assert backlog_s(down, 0.5, *failures) > 0


async def request_of(quota: RateLimiter, item: int) -> None:
    try:
        async with quota.permit(lambda: 0, item):
            raise Unavailable("refused")
    except Unavailable:
        pass


def test_an_endpoint_that_is_down_asks_for_a_probe_when_one_is_due() -> None:
    quota = limiter(adaptive=False)

    async def asked() -> list[bool]:
        wants = [quota.wants_probe(now_s())]
        for seconds in (0.5, 10):
            await asyncio.sleep(seconds)
            wants.append(quota.wants_probe(now_s()))
        return wants

    assert run(asked())[-1] == [False] * 3
    assert run(*[request_of(quota, number) for number in range(5)], asked())[-1] == [
        False,
        False,
        True,
    ]


# --- what is shown ---


def test_the_last_minute_is_shown_and_what_lies_before_it_is_not() -> None:
    quota = limiter(adaptive=False)
    work = [request(quota, 100, begins_s=at_s) for at_s in (0, 10, 10, 50)]
    *_, soon, later, last = run(*work, status(quota, 55), status(quota, 65), status(quota, 200))
    assert (soon.requests_last_minute, soon.tokens_last_minute) == (4, 400)
    assert (later.requests_last_minute, later.tokens_last_minute) == (3, 300)
    assert (last.requests_last_minute, last.tokens_last_minute) == (0, 0)


@pytest.mark.parametrize("billed", [0, 40, 100, 900])
def test_the_last_minute_is_what_was_billed(billed: float) -> None:
    quota = limiter(adaptive=False)
    *_, shown = run(
        request(quota, 100, billed=billed),
        request(quota, 100, takes_s=9),
        status(quota, 5),
    )
    assert shown.tokens_last_minute == billed + 100
    assert (shown.in_flight, shown.waiting) == (1, 0)


def test_the_last_minute_is_what_was_billed_however_often_it_was_estimated_anew() -> None:
    quota = limiter(adaptive=False)

    async def ever_better() -> None:
        async with quota.permit(lambda: 100 + 10 * now_s()) as permit:
            await asyncio.sleep(9)
            permit.used(300)

    others = [request(quota, begins_s=at_s) for at_s in (2, 4, 6)]
    *_, midway, after = run(ever_better(), *others, status(quota, 6.5), status(quota, 20))
    assert midway.tokens_last_minute > 100
    assert after.tokens_last_minute == 300


def test_the_last_minute_counts_no_tokens_for_a_refusal() -> None:
    quota = limiter(adaptive=False)
    *_, shown = run(request(quota, 100, error=refusal("tokens", 7)), status(quota, 5))
    assert shown.tokens_last_minute == 0
    assert (shown.paused_s, shown.paused_after_429) == (2, True)
    assert shown.rate_limited == {"tokens": 1}
