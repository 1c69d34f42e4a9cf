"""Time that passes while nobody works, and never otherwise."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.support.virtual_time import Stuck, run


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_an_hour_of_sleep_takes_no_time() -> None:
    async def sleep() -> float:
        await asyncio.sleep(3600)
        return now_s()

    started_s = time.monotonic()
    assert run(sleep()) == pytest.approx(3600)
    assert time.monotonic() - started_s < 600


def test_days_are_slept_whole() -> None:
    async def sleep() -> float:
        await asyncio.sleep(10 * 86_400)
        return now_s()

    assert run(sleep()) == pytest.approx(10 * 86_400)


def test_work_takes_no_virtual_time() -> None:
    async def work() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return now_s()

    assert run(work()) == 0


def test_timers_go_off_in_the_order_of_their_time() -> None:
    async def race() -> list[tuple[float, int]]:
        seen: list[tuple[float, int]] = []

        async def wait(seconds: int) -> None:
            await asyncio.sleep(seconds)
            seen.append((round(now_s(), 6), seconds))

        await asyncio.gather(*map(wait, [30, 10, 20, 10]))
        return seen

    assert run(race()) == [(10, 10), (10, 10), (20, 20), (30, 30)]


def test_a_timeout_comes_at_its_time() -> None:
    async def hang() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(90):
                await asyncio.Event().wait()
        return now_s()

    assert run(hang()) == pytest.approx(90)


def test_what_ends_before_its_timeout_waits_for_nothing() -> None:
    async def answer() -> float:
        async with asyncio.timeout(90):
            await asyncio.sleep(1)
        return now_s()

    assert run(answer()) == pytest.approx(1)


def test_a_deadlock_is_stated_by_server_from_waiting() -> None:
    async def wait_for_ever() -> None:
        await asyncio.sleep(5)
        waiter = asyncio.create_task(asyncio.Event().wait(), name="the waiter")
        await waiter

    with pytest.raises(Stuck, match=r"no timer is set: 2 tasks wait .*the waiter"):
        run(wait_for_ever())


def test_code_that_never_lets_time_pass_is_found_out() -> None:
    async def spin() -> None:
        await asyncio.sleep(7)
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_at(loop.time() + 1e-15, again)

        again()
        await asyncio.sleep(1)

    with pytest.raises(Stuck, match="stands still at 7 s"):
        run(spin())


async def use_a_thread() -> None:
    await asyncio.to_thread(time.sleep, 0)


async def use_a_socket() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        await asyncio.get_running_loop().sock_recv(here, 1)


@pytest.mark.parametrize("use", [use_a_thread, use_a_socket])
def test_the_outside_world_is_refused(use: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await use()

    with pytest.raises(RuntimeError, match="virtual time can't wait for a"):
        run(main())


def test_the_result_and_the_error_come_through() -> None:
    async def fails() -> None:
        await asyncio.sleep(1)
        raise ValueError("as it was")

    with pytest.raises(ValueError, match="as it was"):
        run(fails())
