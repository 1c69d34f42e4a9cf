"""Jobs of a Batch API in words: nothing of them can be had before they end."""

from datetime import UTC, datetime, timedelta

import pytest

from omni_batch.endpoint_status import JobStatus
from omni_batch.progress import phrases
from omni_batch.store import RunRecord, State

NOW = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
AT_WORK = JobStatus(
    number=2,
    endpoint="dashscope-batch",
    status="in_progress",
    lines=50_000,
    id="batch-7",
    completed=1_200,
    failed=3,
    since=NOW - timedelta(minutes=34),
    until=NOW + timedelta(hours=24),
)


def record(*jobs: JobStatus, state: State = "interrupted") -> RunRecord:
    return RunRecord(run_id="night", state=state, items=9, shard_size=3, created_at=NOW, jobs=jobs)


def test_a_job_is_told_with_its_counts_and_its_times() -> None:
    assert phrases.jobs(record(AT_WORK, state="running"), NOW) == [
        "job 2 (batch-7): in progress, 1,203 of 50,000 rows done, for 34:00 min, "
        "ends by 2026-11-28 08:00 UTC"
    ]


def test_a_job_that_is_not_made_yet_has_no_times() -> None:
    written = JobStatus(number=1, endpoint="e", status="written", lines=8)
    assert phrases.jobs(record(written), NOW) == ["job 1: written, 8 rows"]


def test_of_many_jobs_some_are_told() -> None:
    told = phrases.jobs(record(*[AT_WORK] * 8), NOW)
    assert len(told) == 6
    assert told[-1] == "and 3 more jobs"


@pytest.mark.parametrize("state", ["interrupted", "stopped"])
def test_who_stops_a_run_is_told_that_its_jobs_go_on(state: State) -> None:
    said = phrases.jobs_go_on(record(AT_WORK, state=state))
    assert said.startswith("job batch-7 stays at the service and goes on; resume fetches")
    assert said in phrases.outcome(record(AT_WORK, state=state))
    assert "2 jobs stay" in phrases.jobs_go_on(record(AT_WORK, AT_WORK, state=state))


@pytest.mark.parametrize("state", ["running", "finished"])
def test_nothing_of_it_is_said_otherwise(state: State) -> None:
    assert phrases.jobs_go_on(record(AT_WORK, state=state)) == ""
    assert phrases.jobs_go_on(record()) == ""
