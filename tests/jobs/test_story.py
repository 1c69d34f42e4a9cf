"""What has happened to a job says what is next, at every point where a process may die."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from omni_batch.jobs.agenda import Task, next_task
from omni_batch.jobs.coverage import Coverage
from omni_batch.jobs.story import Job, JobEvent, What, jobs_of, of_view, wait_s
from omni_batch.jobs.view import Complaint, JobView, job_view, jobs_of_list

NOW = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)


def event(what: What, job: int = 1, **facts: Any) -> JobEvent:
    return JobEvent(job=job, what=what, at=NOW, **facts)


def written(job: int = 1, lines: int = 2) -> JobEvent:
    return event("written", job, lines=lines, endpoint="e", model="m", mark=f"mark-{job}")


def job_after(*events: JobEvent) -> Job:
    return jobs_of(events)[1]


UPLOADED, CREATING = event("uploaded", file_id="f"), event("creating")
CREATED = event("created", id="b", status="validating", since=NOW)
ENDED = event("ended", id="b", status="completed", output_file_id="o")


@pytest.mark.parametrize(
    ("events", "step"),
    [
        ([], "upload"),
        ([UPLOADED], "create"),
        ([UPLOADED, CREATING], "search"),
        ([UPLOADED, CREATING, event("lost")], "search"),
        ([UPLOADED, CREATING, event("not_created")], "create"),
        ([UPLOADED, CREATING, event("not_created"), event("unloaded")], "upload"),
        ([UPLOADED, CREATING, CREATED], "poll"),
        ([UPLOADED, CREATING, CREATED, event("seen", status="in_progress")], "poll"),
        ([UPLOADED, CREATING, CREATED, ENDED], "fetch"),
        ([UPLOADED, CREATING, CREATED, ENDED, event("fetched")], "merge"),
        ([UPLOADED, CREATING, CREATED, ENDED, event("fetched"), event("settled")], "none"),
    ],
)
def test_the_next_step_follows_from_what_was_written_down(
    events: list[JobEvent], step: str
) -> None:
    assert job_after(written(), *events).next_step == step


def test_a_file_without_a_line_needs_no_service() -> None:
    assert job_after(written(lines=0)).next_step == "fetch"


def test_a_creation_that_was_not_answered_knows_whether_the_service_said_so() -> None:
    lost = job_after(written(), UPLOADED, CREATING, event("lost", refused="500"))
    assert lost.was_refused
    assert not job_after(written(), UPLOADED, CREATING, event("lost")).was_refused
    again = job_after(written(), UPLOADED, CREATING, event("lost", refused="500"), CREATING)
    assert not again.was_refused


def test_lines_about_jobs_that_were_never_written_are_left_out() -> None:
    assert jobs_of([event("uploaded", 7, file_id="f")]) == {}


def test_a_job_is_asked_for_less_often_the_older_it_is() -> None:
    job = job_after(written(), UPLOADED, CREATING, CREATED)
    ages_s = (0, 60, 600, 86_400)
    assert [wait_s(job, NOW + timedelta(seconds=age)) for age in ages_s] == [1, 3, 30, 60]


def test_the_window_ends_as_the_service_says_or_as_it_was_asked() -> None:
    view = JobView("b", "validating", created_at=NOW)
    job = job_after(written(), of_view(1, "created", NOW, view, timedelta(hours=48)))
    assert job.until == NOW + timedelta(hours=48)
    said = JobView("b", "validating", expires_at=NOW + timedelta(hours=24))
    job = job_after(written(), of_view(1, "created", NOW, said, timedelta(hours=48)))
    assert job.until == NOW + timedelta(hours=24)


# --- which of several jobs ---


def task(events: list[JobEvent], rows: dict[int, list[int]], **given: Any) -> Task | None:
    """The next task where shards have 10 rows, and all three are unfinished."""
    jobs = [job for job in jobs_of(events).values() if not job.is_settled]
    coverage = Coverage(10)
    for number, own in rows.items():
        coverage.add(number, own, range(3))
    given = {"unwritten": [], "due": {}, "may_write": True, **given}
    return next_task(jobs, coverage, now=NOW, **given)


def at_work(job: int) -> list[JobEvent]:
    made = event("created", job, id=f"b{job}", status="in_progress")
    return [written(job), event("uploaded", job, file_id="f"), event("creating", job), made]


def fetched(job: int) -> list[JobEvent]:
    return [*at_work(job), event("ended", job, status="completed"), event("fetched", job)]


def test_what_is_here_is_taken_in_before_anything_is_written() -> None:
    assert task(fetched(1), {1: [1, 2]}, unwritten=[1]) == Task("merge", 0)


def test_a_shard_waits_for_all_jobs_that_have_rows_of_it() -> None:
    rows = {1: [1, 11], 2: [12]}
    assert task([*fetched(1), *at_work(2)], rows) == Task("merge", 0)
    later = {2: NOW + timedelta(seconds=5)}
    coverage_of_0 = {1: [11], 2: [12]}
    assert task([*fetched(1), *at_work(2)], coverage_of_0, due=later) == Task("wait", wait_s=5)
    assert task([*fetched(1), *fetched(2)], coverage_of_0) == Task("merge", 1)


def test_a_shard_that_is_half_written_waits_unless_the_budget_is_used_up() -> None:
    assert task(fetched(1), {1: [1]}, unwritten=[0]) == Task("write")
    assert task(fetched(1), {1: [1]}, unwritten=[0], may_write=False) == Task("merge", 0)
    assert task([], {}, unwritten=[0], may_write=False) == Task("stuck")


def test_a_job_of_finished_shards_is_settled() -> None:
    assert task(fetched(1), {1: [31]}) == Task("settle", 1)
    assert task([], {}) is None


def test_jobs_go_out_before_others_are_looked_at_and_before_more_is_written() -> None:
    assert task([*at_work(1), written(2)], {1: [1], 2: [2]}, unwritten=[1]) == Task("upload", 2)
    assert task(at_work(1), {1: [1]}, unwritten=[1]) == Task("poll", 1)
    later = {1: NOW + timedelta(seconds=9)}
    assert task(at_work(1), {1: [1]}, unwritten=[1], due=later) == Task("write")


def test_no_more_jobs_are_made_than_an_account_may_have() -> None:
    events = [made for number in range(1, 901) for made in at_work(number)]
    later = {number: NOW + timedelta(seconds=9) for number in range(1, 901)}
    assert task(events, {}, unwritten=[1], due=later) == Task("wait", wait_s=9)


def test_rows_of_a_shard_are_found_in_all_its_jobs() -> None:
    coverage = Coverage(10)
    coverage.add(1, [19, 3, 25], [0, 1, 2])
    coverage.add(2, [11, 30], [0, 1, 2])
    assert coverage.rows_in(1) == {11, 19}
    assert coverage.jobs_of(1) == [1, 2]
    coverage.drop(1)
    assert coverage.rows_in(1) == {11}
    assert coverage.is_merged(1)


# --- as the service shows it ---


def test_a_job_is_read_from_the_documented_form() -> None:
    view = job_view(
        {
            "id": "b",
            "status": "FAILED",
            "output_file_id": "",
            "error_file_id": None,
            "created_at": 1_795_766_400,
            "request_counts": {"total": 3, "completed": 1, "failed": 2},
            "errors": {"data": [{"code": "c", "message": "m", "line": 2}, {"message": "n"}]},
        }
    )
    assert view is not None
    assert (view.status, view.has_ended, view.has_files) == ("failed", True, False)
    assert (view.completed, view.failed, view.created_at) == (1, 2, NOW)
    assert view.complaints == (Complaint("c", "m", 2), Complaint("", "n"))
    assert [str(each) for each in view.complaints] == ["m (c, line 2)", "n"]


@pytest.mark.parametrize(
    "tree",
    [
        {"id": "b"},
        {"id": "b", "status": 3, "errors": "none", "metadata": [], "request_counts": None},
        {"id": "b", "created_at": "today", "request_counts": {"completed": -1, "failed": True}},
        {"id": "b", "created_at": 1e99, "errors": {"data": [1, None]}},
    ],
)
def test_what_is_odd_about_a_job_is_left_out(tree: dict[str, Any]) -> None:
    view = job_view(tree)
    assert view is not None
    assert (view.completed, view.failed, view.complaints, view.created_at) == (0, 0, (), None)
    assert not view.has_ended


@pytest.mark.parametrize("tree", [None, [], {}, {"id": ""}, {"id": 3}, "b"])
def test_what_names_no_job_is_none(tree: Any) -> None:
    assert job_view(tree) is None
    assert jobs_of_list({"data": [tree], "has_more": True}) == ([], True)


def test_milliseconds_are_told_from_seconds() -> None:
    view = job_view({"id": "b", "created_at": 1_795_766_400_000})
    assert view is not None
    assert view.created_at == NOW
