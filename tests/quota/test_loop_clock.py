"""A process that stood still has lost no time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from omni_batch.quota.loop_clock import pauses_left_out
from tests.support.pauses import PausableLoop

HOUR_S = 3600.0


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=PausableLoop) as runner:
        runner.run(work)


async def _wait_through_a_pause() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, PausableLoop)
    async with asyncio.timeout(5):
        loop.paused_s += HOUR_S
        await asyncio.sleep(0.01)


def test_a_pause_uses_up_no_timeout() -> None:
    async def work() -> None:
        with pauses_left_out():
            await _wait_through_a_pause()
            await _wait_through_a_pause()

    run(work())


def test_without_the_clock_it_would() -> None:
    async def work() -> None:
        with pytest.raises(TimeoutError):
            await _wait_through_a_pause()

    run(work())


def test_the_clock_never_goes_back_and_counts_what_is_waited_for() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, PausableLoop)
        with pauses_left_out():
            before_s = loop.time()
            loop.paused_s += HOUR_S
            behind_s = loop.time()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            assert before_s <= behind_s < before_s + 1 < before_s + HOUR_S
            assert loop.time() >= behind_s + 0.01

    run(work())


def test_afterwards_the_loop_has_its_own_clock_again() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        with pauses_left_out(), pauses_left_out():
            pass
        assert "time" not in vars(loop) or loop.time == type(loop).time.__get__(loop)

    run(work())
