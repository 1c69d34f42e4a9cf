"""Looks after the partitions of a run until all have ended: a dead worker's is given to another."""

import asyncio
import logging
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from omni_batch import interrupts
from omni_batch.errors import StorageError
from omni_batch.fleet.pulse import Life, Pulse
from omni_batch.progress.eta import ProgressEstimator
from omni_batch.progress.partitions import combined
from omni_batch.store import RunDir, RunRecord, State
from omni_batch.store.disk import reason_of
from omni_batch.store.record import read_record, write_record

log = logging.getLogger("omni_batch")

_EVERY_S = 1.0
_STOPPED_WITHIN_S = 20.0
_MOST_TRIES = 3
"""Processes that begin a partition and bring nothing, one after the other."""
Word = Literal["open", "cancelled", "over"]


@dataclass(frozen=True, slots=True)
class Submission:
    """What has become of a partition in the hands of those who hand it to a worker."""

    word: Word
    """`open`: it waits for a worker, or a worker is on it; `over`: no worker is on it any more."""
    reason: str = ""


class Workers(Protocol):
    """Hands partitions to processes that work on them. None of it fails for long: where whoever
    hands them on is away, it is tried again."""

    async def submit(self, number: int) -> None:
        """Hand a partition to the next worker that is free; what was submitted before is over."""

    async def look(self, number: int) -> Submission:
        """What has become of it."""

    async def cancel(self) -> None:
        """Have all of them stop in order."""


class _Member:
    """One partition, as its leader sees it."""

    def __init__(self, partition: RunDir) -> None:
        self.number = partition.partition or 0
        self.pulse = Pulse(partition)
        self.words = f"partition {self.number + 1}"
        self.given_up: str | None = None
        self._tries, self._done = 0, -1
        self._left: tuple[object, ...] | None = None
        self._owner: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody will work on it any more."""
        return self.given_up is not None or self.pulse.record.state == "finished"

    def life(self) -> Life:
        """What is going on; how the last process has left it means that the next one is waited
        for.
        """
        life = self.pulse.feel()
        return "waiting" if life != "at work" and self._trace() == self._left else life

    def handed_on(self) -> None:
        """It is in the hands of the next worker."""
        self._left = self._trace()

    def _trace(self) -> tuple[object, ...]:
        record = self.pulse.record
        return record.state, record.owner, record.finished_at

    def may_try(self) -> bool:
        """Whether another worker may have it: not if one after the other brings nothing."""
        done = self.pulse.record.counts.done
        self._tries = self._tries + 1 if done <= self._done else 1
        self._done = max(done, self._done)
        return self._tries <= _MOST_TRIES

    def told(self) -> str | None:
        """Who works on it, where that is news."""
        owner = self.pulse.record.owner
        who = f"pid {owner.pid} on {owner.host}" if owner else None
        is_new, self._owner = who is not None and who != self._owner, who
        return f"{self.words}: {who} is at work" if is_new else None


async def lead(directory: RunDir, partitions: Sequence[RunDir], workers: Workers) -> bool:
    """Have all partitions worked on, and keep run.json, until they have ended or it is interrupted.

    Args:
        directory: the run, which this process leads.
        workers: who works on the partitions.

    Returns:
        Whether all of them are finished, so that the rows can be counted.
    """
    members = [_Member(partition) for partition in partitions]
    board = _Board(directory, members)
    for member in members:
        if not member.is_over:
            await _hand_on(member, workers)
    with _asked_to_stop() as asked:
        while not all(member.is_over for member in members) and not asked.is_set():
            for member in members:
                await _look_after(member, workers)
            board.publish("running")
            with suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), _EVERY_S)
        if asked.is_set():
            await _stop(members, workers, board)
    return board.end(interrupted=asked.is_set())


async def _look_after(member: _Member, workers: Workers) -> None:
    if member.is_over:
        return
    life = member.life()
    if life == "at work":
        if said := member.told():
            log.info(said)
        return
    found = await workers.look(member.number)
    if life == "ended" and (found.word == "cancelled" or not _was_interrupted(member)):
        _end(member)
    elif found.word == "cancelled":
        member.given_up = f"{member.words} was cancelled"
    elif life == "dead" or found.word == "over":
        await _hand_on(member, workers, found.reason or "its worker died")


def _was_interrupted(member: _Member) -> bool:
    return member.pulse.record.state == "interrupted"


def _end(member: _Member) -> None:
    record = member.pulse.record
    if record.state != "finished":
        member.given_up = f"{member.words}: {record.reason or record.state}"


async def _hand_on(member: _Member, workers: Workers, reason: str = "") -> None:
    """To the next worker; `reason`: why the last one ended."""
    if not member.may_try():
        member.given_up = f"{member.words}: {reason}, {_MOST_TRIES} times"
        return
    if reason:
        log.warning("%s: %s; another worker goes on with it", member.words, reason)
    member.handed_on()
    await workers.submit(member.number)


async def _stop(members: Sequence[_Member], workers: Workers, board: "_Board") -> None:
    """Have all stop in order; those that do not are left alone, and end by themselves."""
    board.put_up_stop_sign()
    await workers.cancel()
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOPPED_WITHIN_S):
            while any(member.pulse.feel() == "at work" for member in members):
                board.publish("running")
                await asyncio.sleep(_EVERY_S / 4)


class _Board:
    """What run.json says of all of them together."""

    def __init__(self, directory: RunDir, members: Sequence[_Member]) -> None:
        self._directory, self._members = directory, members
        self._record = read_record(directory.record)
        self._before_s = self._record.counts.elapsed_s
        self._begun_s = time.monotonic()
        self._eta = ProgressEstimator(self._record.items, self._begun_s, self._together().counts)

    def put_up_stop_sign(self) -> None:
        """Seen by all partitions within a second or two, whatever else is away."""
        try:
            self._directory.disk.replace(self._directory.stop_sign, b"")
        except OSError as exc:
            log.warning("%s can't be written: %s", self._directory.stop_sign, reason_of(exc))

    def _together(self) -> RunRecord:
        return combined(self._record, [member.pulse.record for member in self._members])

    def publish(self, state: State, reason: str | None = None) -> None:
        """Write it; a share that is away for a moment does not end the run."""
        now_s, record = time.monotonic(), self._together()
        elapsed_s = round(self._before_s + now_s - self._begun_s, 3)
        counts = msgspec.structs.replace(record.counts, elapsed_s=elapsed_s)
        record = msgspec.structs.replace(
            record,
            state=state,
            reason=reason,
            counts=counts,
            projection=self._eta.update(now_s, counts, record.endpoints),
            owner=record.owner if state == "running" else None,
        )
        try:
            write_record(self._directory.record, record, self._directory.disk)
        except StorageError as exc:
            log.warning("%s", exc)

    def end(self, *, interrupted: bool) -> bool:
        """The last word, unless all partitions are finished: then it is who counts the rows."""
        for member in self._members:
            member.pulse.feel()
        if all(member.pulse.record.state == "finished" for member in self._members):
            self.publish("running")
            return True
        given_up = [member.given_up for member in self._members if member.given_up]
        is_stopped = any(member.pulse.record.state == "stopped" for member in self._members)
        if interrupted:
            self.publish("interrupted", "it was asked to stop (Ctrl-C)")
        else:
            self.publish("stopped" if is_stopped else "interrupted", "; ".join(given_up))
        return False


@contextmanager
def _asked_to_stop() -> Iterator[asyncio.Event]:
    """Set at Ctrl-C or SIGTERM; a second one ends the process, and leaves the workers alone."""
    asked = asyncio.Event()

    def hear() -> None:
        if asked.is_set():
            interrupts.leave()
        asked.set()

    with interrupts.heard_in_loop({signal.SIGINT: hear, signal.SIGTERM: hear}):
        yield asked
