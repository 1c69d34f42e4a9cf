"""The HTTP edge of a Batch API, against the simulator's."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from omni_batch.errors import EndpointError, StreamError, Unavailable
from omni_batch.jobs.service import AnswerLost, BatchService
from omni_batch.providers.api_key import ApiKey, KeyRedactor
from omni_batch.providers.http_client import http_client
from omni_batch.simulator import CallScript, JobScript, Simulator, SimulatorOptions

KEY = ApiKey("sk-0123456789-secret")
URL = "/v1/chat/completions"
NOW = datetime.now(UTC)


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator(SimulatorOptions(api_key=KEY.value)) as simulator:
        yield simulator


@pytest.fixture
async def service(server: Simulator) -> AsyncIterator[BatchService]:
    async with http_client(server.base_url, KEY, 5, 4) as http:
        yield BatchService(http, KeyRedactor([KEY]), quota_is_transient=True)


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    body = {"model": "qwen3.5-omni-plus", "messages": [{"role": "user", "content": "Hi"}]}
    line = {"custom_id": "row-0", "method": "POST", "url": URL, "body": body}
    path = tmp_path / "input.jsonl"
    path.write_text(json.dumps(line) + "\n")
    return path


def named(mark: str) -> dict[str, str]:
    return {"ds_name": mark, "mark": mark}


async def test_a_file_becomes_a_job_and_its_answers_a_file(
    service: BatchService, server: Simulator, requests: Path, tmp_path: Path
) -> None:
    file_id = await service.upload(requests, "a.jsonl")
    made = await service.create(file_id, URL, 24, named("a"))
    view = await service.job(made.id)
    assert (view.status, view.completed, view.input_file_id) == ("completed", 1, file_id)
    await service.download(view.output_file_id or "", tmp_path / "output.jsonl")
    assert json.loads((tmp_path / "output.jsonl").read_bytes())["custom_id"] == "row-0"
    await service.delete(file_id)
    with pytest.raises(EndpointError) as gone:
        await service.download(file_id, tmp_path / "x")
    assert gone.value.http_status == 404


async def test_a_job_is_found_among_many_by_its_file_or_its_mark(
    service: BatchService, server: Simulator, requests: Path
) -> None:
    file_id = await service.upload(requests, "a.jsonl")
    ours = await service.create(file_id, URL, 24, named("ours"))
    other = await service.upload(requests, "b.jsonl")
    for number in range(130):
        await service.create(other, URL, 24, named(f"other-{number}"))
    by_mark = await service.find(None, named("ours"), NOW)
    by_file = await service.find(file_id, {}, NOW)
    assert by_mark is not None
    assert by_file is not None
    assert by_mark.id == by_file.id == ours.id
    assert await service.find("file-none", named("none"), NOW) is None


async def test_a_name_that_begins_like_ours_is_not_ours(
    service: BatchService, requests: Path
) -> None:
    file_id = await service.upload(requests, "a.jsonl")
    await service.create(file_id, URL, 24, named("night-10"))
    assert await service.find(None, named("night-1"), NOW) is None


async def test_a_download_goes_on_where_it_broke_off(
    service: BatchService, server: Simulator, requests: Path, tmp_path: Path
) -> None:
    file_id = await service.upload(requests, "a.jsonl")
    server.script_calls("download", CallScript(cut=0.5), CallScript(cut=0.5))
    target = tmp_path / "copy.jsonl"
    for _ in range(2):
        with pytest.raises((StreamError, Unavailable)):
            await service.download(file_id, target)
        assert not target.exists()
    await service.download(file_id, target)
    whole, copy = (path.read_bytes() for path in (requests, target))
    assert copy == whole


async def test_a_download_that_is_packed_is_unpacked_and_never_mixed(
    service: BatchService, server: Simulator, requests: Path, tmp_path: Path
) -> None:
    file_id = await service.upload(requests, "a.jsonl")
    packed, target = CallScript(packed=True), tmp_path / "copy.jsonl"
    server.script_calls("download", packed, CallScript(cut=0.5), packed)
    await service.download(file_id, target)
    once = target.read_bytes()
    for _ in range(2):  # cut, then a rest that is packed
        with pytest.raises((StreamError, Unavailable)):
            await service.download(file_id, target)
    await service.download(file_id, target)
    again, whole = (path.read_bytes() for path in (target, requests))
    assert once == again == whole


@pytest.mark.parametrize(
    ("met", "refused"),
    [
        (CallScript(is_done=True), False),
        (CallScript(), False),
        (CallScript(status=502, page=True), False),
        (CallScript(status=504), False),
        (CallScript(status=500), True),
        (CallScript(status=503), True),
    ],
)
async def test_a_creation_without_a_clear_answer_is_lost(
    service: BatchService, server: Simulator, requests: Path, met: CallScript, refused: bool
) -> None:
    file_id = await service.upload(requests, "a.jsonl")
    server.script_calls("create", met)
    with pytest.raises(AnswerLost) as lost:
        await service.create(file_id, URL, 24, named("a"))
    assert lost.value.refused is refused


async def test_a_clear_refusal_and_a_server_that_is_not_there_made_no_job(
    service: BatchService, server: Simulator, requests: Path
) -> None:
    file_id = await service.upload(requests, "a.jsonl")
    server.script_calls("create", CallScript(status=429, retry_after_s=3))
    with pytest.raises(EndpointError) as limited:
        await service.create(file_id, URL, 24, named("a"))
    assert (limited.value.retry_after_s, limited.value.uses_attempt) == (3, True)
    with pytest.raises(EndpointError, match="completion_window"):
        await service.create(file_id, URL, 9, named("a"))
    async with http_client("http://127.0.0.1:9", KEY, 5, 4) as http:
        nowhere = BatchService(http, KeyRedactor([KEY]), quota_is_transient=True)
        with pytest.raises(Unavailable) as unreachable:
            await nowhere.create(file_id, URL, 24, named("a"))
    assert unreachable.value.not_sent
    assert server.jobs == []


async def test_a_key_stands_in_no_message(
    service: BatchService, server: Simulator, requests: Path
) -> None:
    server.script_jobs(JobScript(complaints=((KEY.value, f"bad key {KEY.value}", None),)))
    file_id = await service.upload(requests, "a.jsonl")
    made = await service.create(file_id, URL, 24, named("a"))
    view = await service.job(made.id)
    assert view.status == "failed"
    assert KEY.value not in str(view)
