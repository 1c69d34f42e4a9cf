"""The Batch API of the simulator, by its documents: what it refuses, what it answers."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from omni_batch.simulator import CallScript, JobScript, Simulator, SimulatorOptions
from omni_batch.simulator.jobs.script import LINE_FAULTS
from tests.simulator.sim_client import CLIENT, HEADERS

MODEL = "qwen3.5-omni-plus"
URL = "/v1/chat/completions"


@pytest.fixture
def jobs() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def line(custom_id: Any = "a", body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], **(body or {})}
    return {"custom_id": custom_id, "method": "POST", "url": URL, "body": asked, **more}


def upload(sim: Simulator, lines: list[Any], purpose: str = "batch") -> httpx.Response:
    text = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines)
    form = {"file": ("a.jsonl", text.encode())}
    return CLIENT.post(
        f"{sim.base_url}/files", headers=HEADERS, data={"purpose": purpose}, files=form
    )


def create(sim: Simulator, lines: list[Any], **wish: Any) -> httpx.Response:
    asked = {
        "input_file_id": upload(sim, lines).json()["id"],
        "endpoint": URL,
        "completion_window": "24h",
        **wish,
    }
    return CLIENT.post(f"{sim.base_url}/batches", headers=HEADERS, json=asked)


def get(sim: Simulator, path: str, **query: Any) -> httpx.Response:
    return CLIENT.get(f"{sim.base_url}{path}", headers=HEADERS, params=query)


def look(sim: Simulator, job_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = get(sim, f"/batches/{job_id}").json()
    return shown


def made(sim: Simulator, lines: list[Any], **wish: Any) -> dict[str, Any]:
    """A job once it was looked at."""
    return look(sim, create(sim, lines, **wish).json()["id"])


def content(sim: Simulator, file_id: str) -> list[dict[str, Any]]:
    text = get(sim, f"/files/{file_id}/content").text
    return [json.loads(each) for each in text.splitlines() if each.strip()]


def test_each_line_is_answered_as_the_live_service_would(jobs: Simulator) -> None:
    job = made(jobs, [line("a"), line("b", {"temperature": 9})])
    assert (job["status"], job["request_counts"]) == (
        "completed",
        {"total": 2, "completed": 1, "failed": 1},
    )
    (good,) = content(jobs, job["output_file_id"])
    (bad,) = content(jobs, job["error_file_id"])
    assert (good["custom_id"], good["response"]["status_code"]) == ("a", 200)
    assert good["response"]["body"]["usage"]["total_tokens"] > 0
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("b", 400)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], "empty_file"),
        ([line("a"), line("a")], "duplicate_custom_id"),
        ([line("a"), line("b", {"model": "qwen-omni-turbo"})], "mismatched_model"),
        ([line("x" * 65)], "invalid_custom_id"),
        ([line(7)], "invalid_custom_id"),
        ([line("a", method="GET")], "invalid_method"),
        ([line("a", url="/v1/embeddings")], "invalid_url"),
        ([line("a", {"model": "batch-test-model"})], "invalid_url"),
        ([line("a", {"stream": True})], "invalid_request"),
        ([line("a", {"extra_body": {"enable_thinking": False}})], "invalid_request"),
        ([line("a", {"messages": [{"role": "user", "content": "x" * 2**23}]})], "line_too_large"),
        (['{"custom_id": '], "invalid_json_line"),
    ],
)
def test_a_file_that_breaks_a_rule_fails_its_job(
    jobs: Simulator, lines: list[Any], code: str
) -> None:
    job = made(jobs, lines)
    assert job["status"] == "failed"
    assert code in [each["code"] for each in job["errors"]["data"]]
    assert job["output_file_id"] is None


@pytest.mark.parametrize(
    "wish",
    [
        {"completion_window": "1h"},
        {"completion_window": "400h"},
        {"completion_window": 24},
        {"metadata": {"n": 1}},
        {"metadata": {"long": "x" * 513}},
        {"metadata": {str(n): "x" for n in range(17)}},
    ],
)
def test_a_wish_that_breaks_a_rule_makes_no_job(jobs: Simulator, wish: dict[str, Any]) -> None:
    assert create(jobs, [line()], **wish).status_code == 400
    assert jobs.jobs == []


def test_speech_and_other_models_are_refused_line_by_line(jobs: Simulator) -> None:
    spoken = line("a", {"modalities": ["text", "audio"], "audio": {"voice": "Tina"}})
    (refused,) = content(jobs, made(jobs, [spoken])["error_file_id"])
    assert "Audio output is not supported" in refused["response"]["body"]["error"]["message"]
    (other,) = content(
        jobs, made(jobs, [line("a", {"model": "qwen3-omni-flash"})])["error_file_id"]
    )
    assert other["response"]["body"]["error"]["code"] == "model_not_supported"


def test_the_trial_model_is_answered_at_its_own_url(jobs: Simulator) -> None:
    trial = line("a", {"model": "batch-test-model"}, url="/v1/chat/ds-test")
    assert made(jobs, [trial], endpoint="/v1/chat/ds-test")["status"] == "completed"


def test_a_job_passes_through_its_states_and_is_empty_before_its_end(jobs: Simulator) -> None:
    jobs.script_jobs(JobScript(takes_s=1000))
    job_id = create(jobs, [line()]).json()["id"]
    states = {}
    for elapsed_s in (0, 250, 950, 1001):
        jobs.jobs[0].made_s -= elapsed_s
        shown = look(jobs, job_id)
        states[shown["status"]] = shown["output_file_id"]
        jobs.jobs[0].made_s += elapsed_s
    assert list(states) == ["validating", "in_progress", "finalizing", "completed"]
    assert [bool(file_id) for file_id in states.values()] == [False, False, False, True]


def test_a_job_that_is_cancelled_leaves_the_rest_in_its_error_file(jobs: Simulator) -> None:
    jobs.script_jobs(JobScript(takes_s=1000))
    job_id = create(jobs, [line()]).json()["id"]
    shown = CLIENT.post(f"{jobs.base_url}/batches/{job_id}/cancel", headers=HEADERS).json()
    assert shown["status"] == "cancelling"
    jobs.jobs[0].cancelled_s = 0.0
    shown = look(jobs, job_id)
    (undone,) = content(jobs, shown["error_file_id"])
    assert (shown["status"], undone["error"]["code"]) == ("cancelled", "batch_cancelled")


def test_a_job_may_end_before_all_its_lines_are_done(jobs: Simulator) -> None:
    jobs.script_jobs(JobScript(ends="expired", lines={1: "undone"}))
    job = made(jobs, [line("a"), line("b")])
    assert job["status"] == "expired"
    assert [each["custom_id"] for each in content(jobs, job["output_file_id"])] == ["a"]
    assert content(jobs, job["error_file_id"])[0]["error"]["code"] == "batch_expired"


@pytest.mark.parametrize("fault", LINE_FAULTS)
def test_every_fault_of_a_line_strikes_that_line_alone(jobs: Simulator, fault: str) -> None:
    jobs.script_jobs(JobScript(lines={0: fault}))
    job = made(jobs, [line("hit"), line("spared")])
    files = filter(None, (job["output_file_id"], job["error_file_id"]))
    texts = [get(jobs, f"/files/{file_id}/content").text for file_id in files]
    lines = [each for text in texts for each in text.splitlines()]
    spared = [each for each in lines if '"spared"' in each]
    assert json.loads(spared[0])["response"]["status_code"] == 200
    hit = [each for each in lines if '"hit"' in each]
    assert len(hit) == {"absent": 0, "twice": 2}.get(fault, 1)
    whole = len(lines) == 2 and job["request_counts"]["completed"] == 2 and fault != "half"
    assert whole is (fault in ("unbilled", "two_choices", "empty"))


def test_the_list_is_the_newest_first_in_pages_and_by_name(jobs: Simulator) -> None:
    for number in range(5):
        create(jobs, [line()], metadata={"ds_name": f"job-{number}"})
    ids = [job.id for job in reversed(jobs.jobs)]
    first = get(jobs, "/batches", limit=2).json()
    assert ([job["id"] for job in first["data"]], first["has_more"]) == (ids[:2], True)
    rest = get(jobs, "/batches", limit=10, after=ids[1]).json()
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == (ids[2:], False)
    named = get(jobs, "/batches", ds_name="job-3").json()
    assert [job["id"] for job in named["data"]] == [ids[1]]


def test_a_job_may_be_absent_from_the_list_at_first(jobs: Simulator) -> None:
    jobs.script_jobs(JobScript(unlisted_s=1000))
    create(jobs, [line()])
    assert get(jobs, "/batches").json()["data"] == []
    jobs.jobs[0].made_s -= 1001
    assert len(get(jobs, "/batches").json()["data"]) == 1


def test_files_are_described_read_in_part_and_deleted(jobs: Simulator) -> None:
    file_id = upload(jobs, [line()]).json()["id"]
    whole = get(jobs, f"/files/{file_id}/content").content
    assert get(jobs, f"/files/{file_id}").json()["bytes"] == len(whole)
    part = CLIENT.get(
        f"{jobs.base_url}/files/{file_id}/content", headers={**HEADERS, "Range": "bytes=9-"}
    )
    assert (part.status_code, part.content) == (206, whole[9:])
    assert CLIENT.delete(f"{jobs.base_url}/files/{file_id}", headers=HEADERS).json()["deleted"]
    assert get(jobs, f"/files/{file_id}").status_code == 404


def test_what_is_forgotten_is_not_found(jobs: Simulator) -> None:
    jobs.script_jobs(JobScript(forgets=("output",)), JobScript(forgets=("job",)))
    job = made(jobs, [line()])
    assert get(jobs, f"/files/{job['output_file_id']}/content").status_code == 404
    assert get(jobs, f"/batches/{create(jobs, [line()]).json()['id']}").status_code == 404


def test_calls_meet_what_was_scripted_for_them(jobs: Simulator) -> None:
    jobs.script_calls("create", CallScript(status=429, retry_after_s=2), CallScript(is_done=True))
    refused = create(jobs, [line()])
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert jobs.jobs == []
    with pytest.raises(httpx.HTTPError):
        create(jobs, [line()])
    assert len(jobs.jobs) == 1  # the job was made, its answer lost
    with pytest.raises(ValueError, match="call"):
        jobs.script_calls("delete", CallScript())


def test_another_purpose_or_no_file_is_refused(jobs: Simulator) -> None:
    assert upload(jobs, [line()], purpose="fine-tune").status_code == 400
    form = {"purpose": (None, "batch")}
    response = CLIENT.post(f"{jobs.base_url}/files", headers=HEADERS, files=form)
    assert response.status_code == 400


def test_a_key_is_asked_for(jobs: Simulator) -> None:
    assert CLIENT.get(f"{jobs.base_url}/batches").status_code == 401


def test_only_beijing_and_openai_have_jobs() -> None:
    with Simulator(SimulatorOptions(region="singapore")) as singapore:
        assert get(singapore, "/batches").status_code == 404
    with Simulator(SimulatorOptions(dialect="openai")) as openai:
        assert made(openai, [line("a", {"model": "gpt-4o-audio-preview"})])["status"] == "completed"
