"""Runs that share an account: in virtual time, and as processes of which one is killed."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from omni_batch.config import QuotaConfig
from omni_batch.errors import Interrupted, StorageError
from omni_batch.quota import RateLimiter
from omni_batch.quota.sharing import LineTurns
from omni_batch.quota.sharing.machine import MachineTurns, account_id
from tests.support import virtual_time


class Line:
    """The account's time, within one process."""

    def __init__(self) -> None:
        self.free_s = 0.0
        self.closed = 0

    async def lease(self, seconds: float) -> float:
        await asyncio.sleep(0.002)
        begin_s = max(self.free_s, asyncio.get_running_loop().time())
        self.free_s = begin_s + seconds
        return begin_s

    def close(self) -> None:
        self.closed += 1


class Fleet:
    """Several limiters of one account, and when each started its requests."""

    def __init__(self, runs: int, **config: Any) -> None:
        config = {"max_in_flight": 1000, **config}
        self.line = Line()
        self.limiters = [RateLimiter(QuotaConfig(**config), None, self.line) for _ in range(runs)]
        self.started_s: list[list[float]] = [[] for _ in range(runs)]

    async def busy(self, run: int, begin_s: float, end_s: float, tokens: float = 0) -> None:
        """One run with more to send than it may."""
        await asyncio.sleep(begin_s)
        loop, limiter = asyncio.get_running_loop(), self.limiters[run]

        async def one() -> None:
            with suppress(Interrupted):
                async with limiter.permit(lambda: tokens) as permit:
                    self.started_s[run].append(loop.time())
                    permit.admitted()
                    permit.used(tokens)

        async with asyncio.TaskGroup() as group:
            while loop.time() < end_s:
                if limiter.waiting < 20:
                    group.create_task(one())
                await asyncio.sleep(0 if limiter.waiting < 20 else 0.05)
            limiter.reject_waiting(Interrupted("the end"))
        await limiter.aclose()

    @property
    def together_s(self) -> list[float]:
        """All starts in order."""
        return sorted(at_s for starts_s in self.started_s for at_s in starts_s)


async def all_of(*work: Any) -> None:
    await asyncio.gather(*work, return_exceptions=True)


@pytest.mark.parametrize("per_minute", [60, 600])
def test_four_runs_start_as_evenly_as_one(per_minute: int) -> None:
    fleet = Fleet(4, requests_per_minute=per_minute)
    virtual_time.run(all_of(*[fleet.busy(run, 0, 120) for run in range(4)]))
    counts = [len(starts_s) for starts_s in fleet.started_s]
    assert 0.95 * 2 * per_minute <= sum(counts) <= 2 * per_minute + 1
    assert min(counts) >= 0.9 * sum(counts) / 4
    assert min(late - early for early, late in pairwise(fleet.together_s)) > 59 / per_minute


def test_a_run_alone_has_all_and_gives_half_to_the_next_at_once() -> None:
    fleet = Fleet(2, requests_per_minute=600)
    virtual_time.run(all_of(fleet.busy(0, 0, 60), fleet.busy(1, 30, 60)))
    first, second = fleet.started_s
    assert sum(5 <= at_s < 30 for at_s in first) >= 0.97 * 250
    assert sum(31 <= at_s < 60 for at_s in first) == pytest.approx(145, abs=8)
    assert sum(31 <= at_s < 60 for at_s in second) == pytest.approx(145, abs=8)


def test_who_needs_little_leaves_the_rest() -> None:
    fleet = Fleet(2, requests_per_minute=600)

    async def now_and_then() -> None:
        for _ in range(60):
            async with fleet.limiters[1].permit(lambda: 0):
                fleet.started_s[1].append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.5)

    virtual_time.run(all_of(fleet.busy(0, 0, 30), now_and_then()))
    assert len(fleet.started_s[1]) == 60
    assert sum(at_s < 30 for at_s in fleet.started_s[0]) >= 200


def test_tokens_are_shared_as_well() -> None:
    fleet = Fleet(3, tokens_per_minute=60_000)
    virtual_time.run(all_of(*[fleet.busy(run, 0, 120, 700 + 900 * run) for run in range(3)]))
    used = [(700 + 900 * run) * len(fleet.started_s[run]) for run in range(3)]
    assert 0.95 * 120_000 <= sum(used) <= 120_000 + 3 * 2500


def test_limits_that_are_far_away_are_not_shared() -> None:
    fleet = Fleet(1, requests_per_minute=1e8)
    virtual_time.run(all_of(fleet.busy(0, 0, 0.01)))
    assert fleet.line.free_s == 0


# --- On one machine, and in a folder that machines share ---

_HOLDER = """
import asyncio, sys, time
from pathlib import Path
from omni_batch.config import QuotaConfig
from omni_batch.quota import RateLimiter
from omni_batch.quota.sharing import LineTurns, MachineTurns
from omni_batch.store.locks.line import take_turn

async def main():
    quota, folder = QuotaConfig(requests_per_minute=1200, max_in_flight=100), Path(sys.argv[1])
    line = LineTurns(lambda seconds: take_turn(folder, seconds), of=3)
    turns = line if sys.argv[2] == "line" else MachineTurns("account", folder)
    limiter = RateLimiter(quota, None, turns)
    async def one():
        async with limiter.permit(lambda: 0):
            print(time.monotonic(), flush=True)
    async with asyncio.TaskGroup() as group:
        while True:
            if limiter.waiting < 10:
                group.create_task(one())
            await asyncio.sleep(0.01)

asyncio.run(main())
"""


@contextmanager
def holders(count: int, folder: Path, kept: str) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-c", _HOLDER, str(folder), kept]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def starts_of(process: subprocess.Popen[str]) -> list[float]:
    process.kill()
    said, _ = process.communicate()
    return [float(line) for line in said.splitlines()]


@pytest.mark.parametrize("kept", ["machine", "line"])
def test_processes_share_and_a_killed_one_s_share_is_back(tmp_path: Path, kept: str) -> None:
    with holders(3, tmp_path, kept) as processes:
        for process in processes:
            assert process.stdout
            process.stdout.readline()  # all are there
        began_s = time.monotonic()
        time.sleep(3)
        killed = starts_of(processes[0])
        killed_s = time.monotonic()
        time.sleep(4)
        ended_s = time.monotonic()
        others = [starts_of(process) for process in processes[1:]]
    shared = [[at_s for at_s in one if began_s <= at_s < killed_s] for one in (killed, *others)]
    assert sum(map(len, shared)) <= 20 * (killed_s - began_s) + 2
    assert min(map(len, shared)) >= 0.5 * sum(map(len, shared)) / 3
    after = sum(killed_s + 1.5 <= at_s < ended_s for one in others for at_s in one)
    assert after >= 0.7 * 20 * (ended_s - killed_s - 1.5)


async def test_a_folder_that_cannot_be_used_is_one_line_and_no_sharing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    turns = MachineTurns("account", tmp_path / "file")
    limiter = RateLimiter(QuotaConfig(requests_per_minute=6000), None, turns)
    for _ in range(5):
        async with limiter.permit(lambda: 0):
            pass
    await limiter.aclose()
    assert [record.message for record in caplog.records] == [
        f"runs on this machine do not share the quota: {tmp_path}/file/turns.sqlite "
        "can't be used (File exists)"
    ]


async def test_a_moment_of_before_the_machine_was_started_is_not_waited_for(tmp_path: Path) -> None:
    turns = MachineTurns("account", tmp_path)
    far_s = await turns.lease(1000.0)
    await turns.lease(1e6)
    begin_s = await turns.lease(1.0)
    turns.close()
    assert begin_s == pytest.approx(far_s, abs=5)


def test_an_account_s_name_says_nothing_of_its_key() -> None:
    names = {
        account_id("https://a.example/v1", "sk-secret-1", "m"),
        account_id("https://a.example/v1", "sk-secret-2", "m"),
        account_id("https://a.example/v1", None, "m"),
        account_id("https://a.example/v1", None, "n"),
    }
    assert len(names) == 4
    assert "secret" not in json.dumps(sorted(names))


async def test_where_the_line_cannot_be_used_each_keeps_to_its_share(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And takes its turns in the line again once it can be used."""
    monkeypatch.setattr("omni_batch.quota.sharing.line._AGAIN_S", 0.0)
    away = True

    def take(seconds: float) -> float:
        if away:
            raise StorageError("the share is away")
        return time.time() + 1000

    turns = LineTurns(take, of=4)
    alone = [await turns.lease(2.0) for _ in range(4)]
    away = False
    begin_s = await turns.lease(2.0)
    turns.close()
    assert [late - early for early, late in pairwise(alone)] == pytest.approx([8.0] * 3)
    assert begin_s == pytest.approx(asyncio.get_running_loop().time() + 1000, abs=5)
    assert [record.message for record in caplog.records] == [
        "1 of 4 shares of the quota is used: the share is away"
    ]
