"""What is to be done next for the jobs of a run. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from omni_batch.jobs.coverage import Coverage
from omni_batch.jobs.story import Job

MOST_AT_WORK = 900
"""Jobs at once; Model Studio takes 1,000 of an account (Batch pages, 2026)."""


class Task(NamedTuple):
    """One thing to do."""

    kind: Literal[
        "fetch", "settle", "merge", "upload", "create", "search", "poll", "write", "wait", "stuck"
    ]
    """merge: a shard takes the answers that are here. stuck: rows are left, and fit into no job."""
    number: int = 0
    """Of the job; of the shard, for merge."""
    wait_s: float = 0.0


def next_task(
    jobs: Sequence[Job],
    coverage: Coverage,
    unwritten: Collection[int],
    due: Mapping[int, datetime],
    now: datetime,
    *,
    may_write: bool,
) -> Task | None:
    """The next task; None where nothing is left.

    What is here comes first, then what is on its way out, then what may have ended.

    Args:
        jobs: those that are not settled.
        unwritten: shards with rows that are in no job.
        due: when to ask the service for a job again; at once where it is not there.
        may_write: False where the budget has no room for another line.
    """
    # A shard with rows that go into the next job waits for them, unless there will be none.
    found = (
        _at_hand(jobs, coverage, unwritten if may_write else ())
        or _going_out(jobs)
        or _to_poll(jobs, due, now)
    )
    if found is not None:
        return found
    at_work = [job for job in jobs if job.is_at_work]
    if unwritten and may_write and len(at_work) < MOST_AT_WORK:
        return Task("write")
    if at_work:
        first = min(due.get(job.number, now) for job in at_work)
        return Task("wait", wait_s=max((first - now).total_seconds(), 0.0))
    return Task("stuck") if unwritten else None


def _at_hand(jobs: Sequence[Job], coverage: Coverage, unwritten: Collection[int]) -> Task | None:
    fetched = []
    for job in jobs:
        if job.next_step == "fetch":
            return Task("fetch", job.number)
        if job.next_step == "merge":
            fetched.append(job.number)
    for number in fetched:
        if coverage.is_merged(number):
            return Task("settle", number)
    shard = coverage.ready(fetched, unwritten)
    return None if shard is None else Task("merge", shard)


def _going_out(jobs: Sequence[Job]) -> Task | None:
    for job in jobs:
        match job.next_step:
            case "upload" | "create" | "search" as kind:
                return Task(kind, job.number)
    return None


def _to_poll(jobs: Sequence[Job], due: Mapping[int, datetime], now: datetime) -> Task | None:
    polled = (job for job in jobs if job.next_step == "poll")
    ready = next((job for job in polled if due.get(job.number, now) <= now), None)
    return None if ready is None else Task("poll", ready.number)
