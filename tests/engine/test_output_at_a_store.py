"""Runs whose output is an object store: what is there is whole, and what is gone is known."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import soundfile

import omni_batch
from omni_batch import RunHandle
from omni_batch.analytics.compare import compare_runs
from omni_batch.analytics.verify import verify_run
from omni_batch.config import Config
from omni_batch.errors import ConfigError, UntrustedRun
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.simulator import Simulator
from omni_batch.store.remote import uploads
from omni_batch.store.remote.fetch import run_at
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts, read_table
from tests.support.object_store import SECRET, TOKEN, Fault, ObjectServer

OUTPUT = "s3://photos/out"
RUN = f"{OUTPUT}/a"
SPOKEN = {"request": {"modalities": ["text", "audio"], "voice": "Cherry"}}
ITEMS = 9
Elsewhere = Callable[[], None]


@pytest.fixture
def config(make_config: MakeConfig, object_server: ObjectServer) -> Config:
    """Nine spoken items in three shards."""
    retry = {"outage_timeout_s": 1}
    return make_config(prompts(ITEMS), output=OUTPUT, shard_size=3, retry=retry, **SPOKEN)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Elsewhere:
    """From now on it is another machine of the same user: nothing of the run is there."""
    return lambda: monkeypatch.setenv("OMNI_BATCH_COPIES", str(tmp_path / "elsewhere"))


def run_batch(config: Config) -> RunHandle:
    return asyncio.run(omni_batch.run_batch(config, run_id="a"))


def said(server: ObjectServer) -> dict[str, Any]:
    """run.json at the store."""
    found: dict[str, Any] = json.loads(server.content("out/a/run.json") or b"{}")
    return found


def rows_there(server: ObjectServer) -> list[dict[str, Any]]:
    """What the parts at the store hold; each is whole, and so is the speech that it names."""
    rows: list[dict[str, Any]] = []
    for key in server.all_keys():
        content = server.content(key) or b""
        if key.startswith("out/a/results/"):
            rows += pq.read_table(BytesIO(content)).to_pylist()
        elif key.endswith(".wav"):
            soundfile.info(BytesIO(content))
    for row in rows:
        wav = soundfile.info(BytesIO(server.content(f"out/a/{row['audio_path']}") or b""))
        assert wav.frames / wav.samplerate == pytest.approx(row["audio_s"])
    return rows


def test_a_run_is_published_in_the_order_of_what_relies_on_what(
    config: Config, object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_batch(config)
    assert run.address == RUN
    written = [key for method, key in object_server.asked if method == "PUT"]
    for shard in range(3):
        place = written.index(f"out/a/results/part-0000{shard}.parquet")
        assert written.index(f"out/a/attempts/part-0000{shard}.parquet") < place
        rows = read_table(run.path)[3 * shard : 3 * shard + 3]
        assert all(written.index(f"out/a/{row['audio_path']}") < place for row in rows)
    assert written.index("out/a/items.parquet") < written.index("out/a/run.json")
    assert written[-1] == "out/a/run.json"
    assert said(object_server)["state"] == "finished"
    assert len(rows_there(object_server)) == ITEMS
    assert len(object_server.all_keys()) == ITEMS + 2 * 3 + 2  # no lease, no test of writing
    assert not Path("s3:").exists()


FAULTS = {
    "SlowDown": Fault(503, "SlowDown", method="PUT", times=4),
    "cut uploads": Fault(method="PUT", key="results|audio", hang_up="before", times=4),
    "lost answers": Fault(method="PUT", hang_up="after", times=4),
    "SlowDown of all but writing": Fault(503, "SlowDown", method="GET|HEAD|LIST", times=3),
}


@pytest.mark.parametrize("trouble", FAULTS)
def test_trouble_that_passes_is_not_noticed(
    config: Config, object_server: ObjectServer, simulator: Simulator, trouble: str
) -> None:
    fault = FAULTS[trouble]
    object_server.faults.append(fault)
    run = run_batch(config)
    assert run.record.state == "finished"
    assert fault.times == 0
    assert len(rows_there(object_server)) == ITEMS
    assert object_server.unfinished() == 0
    assert simulator.counters.requests == ITEMS


def test_a_small_disk_keeps_no_speech_that_is_at_the_store(
    config: Config, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_KEPT_SPEECH_BYTES", 0)
    monkeypatch.setattr(uploads, "_MOST_WAITING_BYTES", 0)
    monkeypatch.setattr(uploads, "_LOOK_EVERY_S", 0.01)
    run = run_batch(config)
    assert run.record.state == "finished"
    assert not any((run.path / "audio").iterdir())
    assert len(rows_there(object_server)) == ITEMS
    assert verify_run(run_at(RUN, "all")).problems == 0


REFUSED = {
    "no permission to write": (Fault(403, "AccessDenied", method="PUT"), "AccessDenied"),
    "expired credentials": (Fault(400, "ExpiredToken"), "ExpiredToken"),
    "no such bucket": (Fault(404, "NoSuchBucket"), "there is no such bucket"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cant_be_written_is_found_before_anything_is_sent(
    config: Config, object_server: ObjectServer, simulator: Simulator, why: str
) -> None:
    fault, words = REFUSED[why]
    object_server.faults.append(fault)
    with pytest.raises(ConfigError, match=words) as refused:
        run_batch(config)
    assert "output s3://photos/out: s3://photos" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert simulator.counters.requests == 0
    assert object_server.all_keys() == []


def test_workers_have_no_folder_in_common_there(
    config: Config, object_server: ObjectServer
) -> None:
    with pytest.raises(ConfigError, match="workers share a run by a folder"):
        prepare_run(make_plan(config), workers=2)


def test_credentials_that_expire_on_the_way_lose_nothing(
    config: Config, object_server: ObjectServer, simulator: Simulator
) -> None:
    expired = Fault(400, "ExpiredToken", method="PUT", key="results|attempts")
    object_server.faults.append(expired)
    run = run_batch(config)
    assert run.record.exit_code == 3
    assert "ExpiredToken" in (run.record.reason or "")
    assert f"omni-batch resume {RUN}" in (run.record.reason or "")
    assert rows_there(object_server) == []
    object_server.faults.clear()
    resumed = omni_batch.read_run(RUN).resume()
    assert resumed.record.state == "finished"
    assert simulator.counters.requests == ITEMS
    assert len(rows_there(object_server)) == ITEMS


def test_a_run_is_finished_only_when_the_store_says_so(
    config: Config, object_server: ObjectServer
) -> None:
    """Everything is there but the last word."""
    denied = Fault(403, "AccessDenied", method="PUT", key="run.json", times=0)
    last = Fault(method="PUT", key="results/part-00002", then=lambda: setattr(denied, "times", 99))
    object_server.faults += [last, denied]
    run = run_batch(config)
    assert run.record.state == "stopped"
    object_server.faults.clear()
    assert omni_batch.read_run(RUN).resume().record.state == "finished"
    assert said(object_server)["state"] == "finished"


def test_kill_9_and_another_machine_goes_on_with_what_was_published(
    config: Config,
    object_server: ObjectServer,
    simulator: Simulator,
    tmp_path: Path,
    elsewhere: Elsewhere,
) -> None:
    config = config.model_copy(update={"shard_size": 3})
    tree = config.model_dump(mode="json")
    tree["quota"] |= {"requests_per_minute": 240, "max_in_flight": 1, "adaptive": False}
    (tmp_path / "config.yaml").write_text(json.dumps(tree))
    published = threading.Event()
    object_server.faults.append(
        Fault(method="PUT", key="results/part-00000", times=1, then=published.set)
    )
    command = ["run", "config.yaml", "--no-prefect", "--run-id", "a"]
    process = subprocess.Popen(
        [sys.executable, "-m", "omni_batch", *command],
        cwd=tmp_path,
        env={**os.environ, KEY_ENV: KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert published.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {row["item_id"] for row in rows_there(object_server)}
    assert len(kept) >= 3
    asked = len(simulator.requests)
    object_server.asked.clear()
    elsewhere()
    handle = omni_batch.read_run(RUN)
    resumed = handle.resume({"quota.requests_per_minute": 1e9})
    assert resumed.record.state == "finished"
    again: list[Any] = [request.body for request in simulator.requests[asked:]]
    texts = [str(body["messages"][-1]["content"]) for body in again]
    numbers = {name.removeprefix("row-") for name in kept}
    assert not [text for text in texts if any(f"Say {number}." in text for number in numbers)]
    assert len(texts) == ITEMS - len(kept)
    assert object_server.count("GET", ".wav") == 0  # speech is known by its size alone
    assert len(rows_there(object_server)) == ITEMS
    assert object_server.content("out/a/lease.json") is None


def test_two_machines_dont_work_on_one_run(
    config: Config, object_server: ObjectServer, simulator: Simulator, elsewhere: Elsewhere
) -> None:
    """The other one has it since long and shows that it lives."""
    other = {"pid": 7, "host": "other", "machine": "other", "since": "2026-11-27T01:02:03Z"}
    marks = iter(range(100))

    def renew() -> None:
        content = msgspec.json.encode({**other, "nonce": "x", "mark": next(marks)})
        object_server.put("out/a/lease.json", content)

    object_server.faults.append(Fault(method="HEAD", key="lease", then=renew))
    with pytest.raises(ConfigError, match="s3://photos/out/a is in use by process 7 on other"):
        run_batch(config)
    assert simulator.counters.requests == 0


def test_a_run_of_that_name_may_be_there_from_another_machine(
    config: Config, object_server: ObjectServer, simulator: Simulator, elsewhere: Elsewhere
) -> None:
    run_batch(config)
    elsewhere()
    with pytest.raises(ConfigError, match="run s3://photos/out/a exists already"):
        run_batch(config)
    assert simulator.counters.requests == ITEMS


def test_what_was_published_is_read_from_anywhere(
    config: Config, object_server: ObjectServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    run_batch(config)
    elsewhere()
    run = omni_batch.read_run(RUN)
    assert run.counts.succeeded == ITEMS
    assert len(run.results()) == ITEMS
    assert run.sql("select count(*) n from results")["n"].tolist() == [ITEMS]
    assert [each.run_id for each in omni_batch.list_runs(OUTPUT)] == ["a"]
    assert object_server.count("GET", ".wav") == 0
    assert verify_run(run_at(RUN, "all")).problems == 0
    counts = run.export("webdataset", tmp_path / "set")
    assert counts.missing == []
    assert counts.embedded == ITEMS
    assert not any((run.path / "audio").glob("*"))  # read, and not kept
    page = run.report()
    assert len(list((page.parent / "audio").glob("*.wav"))) == ITEMS
    object_server.asked.clear()
    assert omni_batch.read_run(RUN).counts.succeeded == ITEMS
    assert object_server.count("GET") == 0  # nothing is new there


def test_two_runs_there_are_compared(config: Config, elsewhere: Elsewhere) -> None:
    run_batch(config)
    louder = config.model_copy(
        update={"request": config.request.model_copy(update={"temperature": 0.9})}
    )
    asyncio.run(omni_batch.run_batch(louder, run_id="b"))
    elsewhere()
    found = compare_runs(run_at(RUN, "all"), run_at(f"{OUTPUT}/b", "all"))
    assert (found.both, found.only_left, found.only_right) == (ITEMS, 0, 0)


def test_answers_there_are_read_again_by_another_schema(
    make_config: MakeConfig, object_server: ObjectServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    rows = [
        {"item_id": "a", "prompt": 'Say {"colour": "red"}'},
        {"item_id": "b", "prompt": "Say nothing of use"},
    ]
    run_batch(make_config(rows, output=OUTPUT))
    elsewhere()
    (tmp_path / "schema.json").write_text(
        '{"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}'
    )
    command = [sys.executable, "-m", "omni_batch", "reparse", RUN, "--schema"]
    again = [*command, str(tmp_path / "schema.json"), "--json"]
    told = json.loads(subprocess.run(again, check=False, capture_output=True).stdout)
    assert told["answers"] == 2
    part = pq.read_table(BytesIO(object_server.content("out/a/results/part-00000.parquet") or b""))
    assert part["annotation"].type.names == ["colour"]
    assert said(object_server)["annotation_schema"]["required"] == ["colour"]


def test_answers_at_an_address_are_reused(
    config: Config, object_server: ObjectServer, simulator: Simulator, elsewhere: Elsewhere
) -> None:
    run_batch(config)
    elsewhere()
    again = config.model_copy(update={"output": "s3://photos/later", "reuse": (f"{OUTPUT}/*",)})
    run = asyncio.run(omni_batch.run_batch(again, run_id="b"))
    assert run.counts.reused == ITEMS
    assert simulator.counters.requests == ITEMS
    assert (
        len([key for key in object_server.all_keys() if key.startswith("later/b/audio/")]) == ITEMS
    )


def test_what_is_damaged_there_is_found_and_asked_again(
    config: Config, object_server: ObjectServer, simulator: Simulator, elsewhere: Elsewhere
) -> None:
    run = run_batch(config)
    first, second = (row["audio_path"] for row in read_table(run.path)[:2])
    object_server.put(f"out/a/{first}", b"RIFF")
    content = bytearray(object_server.content(f"out/a/{second}") or b"")
    content[-1] ^= 1
    object_server.put(f"out/a/{second}", bytes(content))
    elsewhere()
    copy = run_at(RUN, "all")
    found = verify_run(copy, repair=True)
    assert found.listed == [
        f"{RUN}/{first} has 4 bytes, not {len(_wav(run, first))}",
        f"{RUN}/{second} is not the speech that was received (its SHA-256 differs)",
    ]
    assert omni_batch.read_run(RUN).resume().record.state == "finished"
    assert simulator.counters.requests == ITEMS + 2
    assert verify_run(run_at(RUN, "all")).problems == 0
    assert len(rows_there(object_server)) == ITEMS


def _wav(run: RunHandle, name: str) -> bytes:
    return (run.path / name).read_bytes()


def test_failed_rows_are_retried_there(
    make_config: MakeConfig, object_server: ObjectServer, simulator: Simulator, elsewhere: Elsewhere
) -> None:
    rows = [*prompts(2), {"item_id": "refused", "prompt": "forbidden-input"}]
    run_batch(make_config(rows, output=OUTPUT))
    elsewhere()
    asked = simulator.counters.requests
    run = omni_batch.read_run(RUN).retry()
    assert run.counts.failed == 1
    assert simulator.counters.requests == asked + 1
    there = pq.read_table(
        BytesIO(object_server.content("out/a/attempts/part-00000.parquet") or b"")
    )
    assert there["item_id"].to_pylist().count("refused") == 2


def test_who_did_not_prepare_it_has_to_consent(
    config: Config,
    object_server: ObjectServer,
    elsewhere: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    run_batch(config)
    elsewhere()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-another-user"))
    run = omni_batch.read_run(RUN)
    with pytest.raises(UntrustedRun, match="run s3://photos/out/a was not prepared by you"):
        run.report()
    assert run.report(trust=True).exists()


def test_only_what_a_run_is_made_of_is_fetched(
    config: Config, object_server: ObjectServer, elsewhere: Elsewhere
) -> None:
    run_batch(config)
    foreign = ("results/evil/part-00000.parquet", "results/x.sh", "audio/.a.wav", "journal/s")
    for name in foreign:
        object_server.put(f"out/a/{name}", b"evil")
    elsewhere()
    run = omni_batch.read_run(RUN)
    assert not [name for name in foreign if (run.path / name).exists()]
    assert len(read_table(run.path)) == ITEMS


@pytest.mark.parametrize("address", ["s3://photos/nothing", "s3://photos", "s3://photos/out/.."])
def test_what_is_no_run_is_said(object_server: ObjectServer, address: str) -> None:
    with pytest.raises(ConfigError, match=r"no run|is not a run|without //"):
        omni_batch.read_run(address)


def test_no_secret_of_the_store_is_written_down(
    config: Config, object_server: ObjectServer, tmp_path: Path
) -> None:
    run_batch(config)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    files += [object_server.content(key) or b"" for key in object_server.all_keys()]
    assert not [1 for content in files for held in (SECRET, TOKEN) if held.encode() in content]
