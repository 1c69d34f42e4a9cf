"""When to try again: the errors decide, the policy bounds. No test waits."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.config import RetryConfig
from omni_batch.engine.sending.retry import with_retries
from omni_batch.errors import (
    AccountError,
    ContentRefused,
    MediaError,
    MediaUnreachable,
    OmniBatchError,
    RateLimited,
    Rejected,
    SpeechMissing,
    StreamError,
    Unavailable,
)


class Play:
    """An attempt that meets these errors, one after the other, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.numbers: list[int] = []
        self.waits_s: list[float] = []

    async def attempt(self, number: int) -> str:
        self.numbers.append(number)
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)

    async def run(self, **policy: Any) -> str:
        return await with_retries(self.attempt, RetryConfig(**policy), self.sleep)


def down() -> Unavailable:
    return Unavailable("down")


async def test_a_success_is_asked_for_once() -> None:
    play = Play()
    assert await play.run() == "done"
    assert (play.numbers, play.waits_s) == ([1], [])


@pytest.mark.parametrize("error", [down(), StreamError("cut"), RateLimited("slow")])
async def test_what_may_pass_is_tried_again(error: OmniBatchError) -> None:
    play = Play(error, error)
    assert await play.run() == "done"
    assert play.numbers == [1, 2, 3]


@pytest.mark.parametrize(
    "error",
    [
        Rejected("no"),
        ContentRefused("no"),
        AccountError("no"),
        SpeechMissing("no"),
        MediaError("no"),
        ValueError("a bug of ours"),
        asyncio.CancelledError(),
    ],
)
async def test_what_would_fail_again_is_raised_at_once(error: Exception) -> None:
    play = Play(error)
    with pytest.raises(type(error)) as caught:
        await play.run()
    assert caught.value is error
    assert (play.numbers, play.waits_s) == ([1], [])


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_it_gives_up_after_so_many_attempts_with_the_last_error(attempts: int) -> None:
    errors = [down() for _ in range(9)]
    play = Play(*errors)
    with pytest.raises(Unavailable) as caught:
        await play.run(max_attempts=attempts)
    assert caught.value is errors[attempts - 1]
    assert len(play.waits_s) == attempts - 1


async def test_a_429_uses_up_no_attempt() -> None:
    play = Play(*[RateLimited("slow")] * 300)
    assert await play.run(max_attempts=1) == "done"
    assert len(play.numbers) == 301


async def test_429s_in_between_do_not_count() -> None:
    play = Play(RateLimited("slow"), down(), RateLimited("slow"), down(), RateLimited("slow"))
    assert await play.run(max_attempts=3) == "done"
    assert play.numbers == [1, 2, 3, 4, 5, 6]


async def test_a_class_may_have_fewer_attempts_than_the_policy() -> None:
    play = Play(*[MediaUnreachable("404") for _ in range(9)])
    with pytest.raises(MediaUnreachable):
        await play.run(max_attempts=10)
    assert play.numbers == [1, 2, 3]


async def test_and_never_more() -> None:
    play = Play(*[MediaUnreachable("404") for _ in range(9)])
    with pytest.raises(MediaUnreachable):
        await play.run(max_attempts=2)
    assert play.numbers == [1, 2]


async def test_a_wait_that_the_service_names_is_kept() -> None:
    play = Play(Unavailable("down", retry_after_s=77.5), MediaUnreachable("no", retry_after_s=0.0))
    await play.run(max_wait_s=10)
    assert play.waits_s == [77.5, 0.0]


async def test_what_uses_no_attempt_is_waited_for_in_the_line_of_the_quota() -> None:
    outage = Unavailable("down")
    outage.uses_attempt = False
    play = Play(RateLimited("slow", retry_after_s=77.5), outage, RateLimited("slow"))
    await play.run(max_attempts=1)
    assert play.waits_s == [0, 0, 0]


@given(st.floats(0.01, 5), st.floats(5, 90), st.integers(1, 12))
async def test_other_waits_are_random_and_may_double_up_to_the_longest(
    first_s: float, longest_s: float, failures: int
) -> None:
    play = Play(*[down() for _ in range(failures)])
    await play.run(max_attempts=20, first_wait_s=first_s, max_wait_s=longest_s)
    bounds = [min(first_s * 2**n, longest_s) for n in range(failures)]
    assert all(0 <= wait <= bound for wait, bound in zip(play.waits_s, bounds, strict=True))


async def test_waits_are_spread_so_that_items_do_not_come_back_together() -> None:
    plays = [Play(down()) for _ in range(20)]
    for play in plays:
        await play.run()
    assert len({play.waits_s[0] for play in plays}) == 20
