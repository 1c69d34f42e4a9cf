"""Runs over archives and stores: each medium is read once, and what is refused costs nothing."""

import asyncio
import base64
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch import RunHandle
from omni_batch.config import Config
from omni_batch.errors import ManifestError
from omni_batch.simulator import Simulator
from omni_batch.store.record import read_record
from tests.conftest import MakeConfig, read_table
from tests.support.media_files import picture
from tests.support.object_store import SECRET, TOKEN, Fault, ObjectServer

CAT, DOG = picture("PNG"), picture("PNG", 90, 60)
ASK: dict[str, Any] = {"request": {"prompt": "What is it?"}, "same_question": "send"}
"""What is sent for each row is looked at, also where rows show the same."""


def run_batch(config: Config) -> RunHandle:
    return asyncio.run(omni_batch.run_batch(config))


def urls(simulator: Simulator) -> list[str]:
    """What was sent as media, in the order of the requests."""
    bodies: list[Any] = [request.body for request in simulator.requests]
    parts = [part for body in bodies for part in body["messages"][-1]["content"]]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def inline(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def outcomes(run: RunHandle) -> dict[str, str | None]:
    return {row["item_id"]: row["error_message"] for row in read_table(run.path)}


def rows_of(*keys: str) -> list[dict[str, str]]:
    return [{"item_id": key, "image": f"s3://photos/{key}"} for key in keys]


def test_members_of_an_archive_are_sent_as_files_are(
    make_config: MakeConfig, simulator: Simulator, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        entry = tarfile.TarInfo("./in/cat #1.png")
        entry.size = len(CAT)
        archive.addfile(entry, io.BytesIO(CAT))
    rows = [
        {"item_id": "cat", "image": "set.tar!/in/cat #1.png"},
        {"item_id": "gone", "image": "set.tar!/gone.png"},
    ]
    run = run_batch(make_config(rows, **ASK))
    assert urls(simulator) == [inline(CAT)]
    assert outcomes(run) == {
        "cat": None,
        "gone": "set.tar has no member gone.png; check the manifest",
    }


def test_an_object_of_many_rows_and_variants_is_read_once(
    make_config: MakeConfig, simulator: Simulator, object_server: ObjectServer
) -> None:
    object_server.put("a b#1.png", CAT)
    rows = [{"item_id": f"row-{n}", "image": "s3://photos/a b#1.png"} for n in range(20)]
    variants = {"short": {"prompt": "Name it."}, "long": {"prompt": "Describe it."}}
    run = run_batch(make_config(rows, variants=variants, same_question="send"))
    assert {row["status"] for row in read_table(run.path)} == {"succeeded"}
    assert urls(simulator) == [inline(CAT)] * 40
    assert object_server.count("GET") == 1


def test_a_manifest_in_a_store_names_what_lies_beside_it(
    make_config: MakeConfig, simulator: Simulator, object_server: ObjectServer
) -> None:
    object_server.put("m/50%.png", CAT)
    object_server.put("m/rows.csv", b"item_id,image\nbeside,./50%.png\nout,../other.png\n")
    run = run_batch(make_config([], **ASK, manifest={"path": "s3://photos/m/rows.csv"}))
    assert urls(simulator) == [inline(CAT)]
    said = outcomes(run)
    assert said["beside"] is None
    assert "leads out of the manifest's folder" in str(said["out"])


def test_a_key_that_fails_fails_its_row_alone(
    make_config: MakeConfig, simulator: Simulator, object_server: ObjectServer
) -> None:
    for key in ("a.png", "gone.png", "denied.png", "z.png"):
        object_server.put(key, CAT)
    object_server.faults += [
        Fault(404, "NoSuchKey", key="gone"),
        Fault(403, "AccessDenied", key="denied"),
    ]
    said = outcomes(
        run_batch(make_config(rows_of("a.png", "gone.png", "denied.png", "z.png"), **ASK))
    )
    assert said["a.png"] is None
    assert said["z.png"] is None
    assert "s3://photos/gone.png does not exist (NoSuchKey" in str(said["gone.png"])
    assert "s3://photos/denied.png may not be read (AccessDenied" in str(said["denied.png"])
    assert len(simulator.requests) == 2


@pytest.mark.parametrize(
    "fault",
    [Fault(403, "AccessDenied"), Fault(400, "ExpiredToken"), Fault(404, "NoSuchBucket")],
    ids=lambda fault: fault.code,
)
@pytest.mark.parametrize("manifest", [None, "s3://photos/"])
def test_a_store_that_refuses_all_is_found_before_anything_is_sent(
    make_config: MakeConfig,
    simulator: Simulator,
    object_server: ObjectServer,
    fault: Fault,
    manifest: str | None,
    tmp_path: Path,
) -> None:
    object_server.faults.append(fault)
    own: dict[str, Any] = {"manifest": {"path": manifest}} if manifest else {}
    rows = rows_of("1.png", "2.png", "3.png", "4.png")
    with pytest.raises(ManifestError, match=fault.code):
        run_batch(make_config(rows, **ASK, **own))
    assert not simulator.requests
    assert not list((tmp_path / "runs").glob("[!.]*"))


def test_credentials_that_expire_stop_the_run_and_resume_goes_on(
    make_config: MakeConfig, simulator: Simulator, object_server: ObjectServer
) -> None:
    keys = [f"{n}.png" for n in range(30)]
    for key in keys:
        object_server.put(key, CAT)
    expired = Fault(400, "ExpiredToken", method="GET", key="^2")
    object_server.faults.append(expired)
    run = run_batch(make_config(rows_of(*keys), **ASK, quota={"max_in_flight": 1}))
    record = read_record(run.path / "run.json")
    assert record.state == "stopped"
    assert "ExpiredToken" in str(record.reason)
    answered = len(simulator.requests)
    assert 0 < answered < 30
    object_server.faults.clear()
    run.resume()
    assert set(outcomes(run).values()) == {None}
    assert len(simulator.requests) == 30


def test_an_object_that_is_replaced_between_its_rows_is_never_mixed(
    make_config: MakeConfig, simulator: Simulator, object_server: ObjectServer
) -> None:
    object_server.put("a.png", CAT)
    replaced = Fault(method="GET", times=1, then=lambda: object_server.put("a.png", DOG))
    object_server.faults.append(replaced)
    rows = [{"item_id": f"row-{n}", "image": "s3://photos/a.png"} for n in range(5)]
    run = run_batch(make_config(rows, **ASK))
    assert {row["status"] for row in read_table(run.path)} == {"succeeded"}
    assert urls(simulator) == [inline(CAT)] * 5


def test_signed_urls_work_and_stand_in_no_file_of_the_run(
    make_config: MakeConfig, simulator: Simulator, object_server: ObjectServer, tmp_path: Path
) -> None:
    keys = ("a b+c#1.png", "odd//a.png")
    for key in keys:
        object_server.put(key, CAT)
    run = run_batch(make_config(rows_of(*keys), **ASK, media={"transport": "url"}))
    assert outcomes(run) == dict.fromkeys(keys)
    sent = urls(simulator)
    assert [object_server.fetched(url) for url in sent] == [CAT, CAT]
    written = b"".join(path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    for secret in ("X-Amz-Signature", SECRET, TOKEN, "AKIATESTS0123456789"):
        assert secret.encode() not in written


def test_the_content_tells_whether_an_answer_may_be_reused(
    make_config: MakeConfig, simulator: Simulator, object_server: ObjectServer, tmp_path: Path
) -> None:
    config: dict[str, Any] = {
        **ASK,
        "media": {"transport": "url"},
        "reuse": [str(tmp_path / "runs" / "*")],
    }
    object_server.put("a.png", CAT)
    run_batch(make_config(rows_of("a.png"), **config))
    run_batch(make_config(rows_of("a.png"), **config))
    assert len(simulator.requests) == 1
    object_server.put("a.png", DOG)
    run_batch(make_config(rows_of("a.png"), **config))
    assert len(simulator.requests) == 2
