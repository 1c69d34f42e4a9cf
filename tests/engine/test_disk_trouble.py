"""Full, broken, moved and contested run directories: one clear error, nothing overwritten."""

import asyncio
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.engine.shard import process_shard
from omni_batch.errors import ConfigError, Interrupted, OmniBatchError, StorageError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store import RunDir, RunRecord, SpeechFile
from omni_batch.store.disk import storage_errors
from omni_batch.store.record import read_record
from tests.conftest import KEY, SAMPLE, MakeConfig, prompts, read_table
from tests.support.laws import check_finished, hidden, rows_so_far
from tests.support.small_disk import no_file_beyond

ONE_BY_ONE: dict[str, Any] = {"quota": {"max_in_flight": 1}, "shutdown_grace_s": 0}
SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}


def prepared(make_config: MakeConfig, items: int = 6, **changes: Any) -> RunDir:
    return prepare_run(make_plan(make_config(prompts(items), shard_size=3, **changes)), "run-1")


def work(directory: RunDir) -> RunRecord:
    return asyncio.run(execute(directory))


def finish(directory: RunDir) -> None:
    """Go on once the trouble is over; what was kept stands."""
    kept = rows_so_far(directory)
    work(directory)
    check_finished(directory, kept)


# --- a full disk ---


@pytest.mark.parametrize(
    ("phase", "request_", "size_bytes"),
    [
        ("run.json", {}, 300),
        ("journal", {}, 9000),
        ("wav", SPEECH, 20_000),
        ("parts", {}, 7000),
    ],
)
def test_a_full_disk_stops_the_run_and_it_goes_on_later(
    make_config: MakeConfig, phase: str, request_: dict[str, object], size_bytes: int
) -> None:
    items = 20 if phase == "journal" else 6
    config = make_config(prompts(items), shard_size=items // 2, request=request_, **ONE_BY_ONE)
    directory = prepare_run(make_plan(config), "run-1")
    with no_file_beyond(size_bytes):
        if phase == "run.json":
            with pytest.raises(StorageError, match=r"run\.json can't be written"):
                work(directory)
        else:
            record = work(directory)
            assert (record.state, record.exit_code) == ("stopped", 3)
            named = {"journal": "jsonl", "wav": "wav", "parts": "parquet"}[phase]
            assert record.reason is not None
            assert f"{named}" in (record.reason or "")
            assert "can't be written" in (record.reason or "")
    finish(directory)


def test_a_disk_that_is_full_before_anything_is_sent_leaves_nothing(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = make_config(prompts(3))
    with no_file_beyond(1000), pytest.raises(ConfigError, match="can't be written"):
        prepare_run(make_plan(config))
    assert hidden(Path(config.output)) == []
    assert simulator.counters.requests == 0


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own; only root may mount one."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_real_disk_that_fills_up_stops_the_run_and_it_goes_on_later(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "runs", "size=300k"):
        directory = prepared(make_config, items=9, request=SPEECH, quota={"max_in_flight": 2})
        with suppress(StorageError):  # where not even run.json found room
            record = work(directory)
            assert record.state == "stopped"
            assert "the disk is full (no space left on device)" in (record.reason or "")
        assert len(rows_so_far(directory)) < 9
        subprocess.run(
            ["mount", "-o", "remount,size=50m", "tmpfs", str(tmp_path / "runs")], check=True
        )
        finish(directory)


def test_a_run_that_can_only_be_read_is_refused_and_unchanged(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "runs", "size=10m"):
        directory = prepared(make_config)
        runs = str(tmp_path / "runs")
        subprocess.run(["mount", "-o", "remount,ro", "tmpfs", runs], check=True)
        with pytest.raises(StorageError, match="the file system is read-only"):
            work(directory)
        assert simulator.counters.requests == 0
        subprocess.run(["mount", "-o", "remount,rw", "tmpfs", runs], check=True)
        finish(directory)


def test_a_run_is_made_and_finished_without_locks(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some of Lustre, FUSE and network mounts."""

    def flock(_: int, __: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with warnings.catch_warnings(action="error"):
        directory = prepared(make_config)
        finish(directory)


def test_a_full_disk_is_named_where_a_library_hides_it(tmp_path: Path) -> None:
    """libsndfile says "System error." whatever it was."""
    with small_disk(tmp_path / "disk", "size=400k"):
        sound = SpeechFile(tmp_path / "disk" / "a.wav.part")

        async def write() -> None:
            for _ in range(4):
                await sound.write(bytes(300_000), 24_000)
            await sound.commit(tmp_path / "disk" / "a.wav", 24_000)

        with pytest.raises(StorageError, match=r"the disk is full \(no space left on device\)"):
            asyncio.run(write())
        sound.discard()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
    ],
)
def test_why_nothing_can_be_written_is_told_in_plain_words(
    tmp_path: Path, number: int, said: str
) -> None:
    with pytest.raises(StorageError) as caught, storage_errors(tmp_path, "written"):
        raise OSError(number, "Error writing bytes to file", "a blob")
    assert str(caught.value).startswith(f"{tmp_path} can't be written: {said}")


# --- broken and missing files ---


def interrupted(directory: RunDir) -> RunDir:
    """One shard done, and a row or two of the next in its journal."""
    turn = asyncio.Lock()

    async def one_after_another(run: Run, shard_number: int) -> None:
        async with turn:
            await process_shard(run, shard_number)

    async def enough(run: Run) -> None:
        while run.ledger.counts.done < 4:  # noqa: ASYNC110  a moment, not an event
            await asyncio.sleep(0)
        run.stop(Interrupted("enough"))

    record = asyncio.run(execute(directory, one_after_another, background=enough))
    assert record.state == "interrupted"
    assert directory.results(0).exists()
    assert directory.journal(1).read_bytes().count(b"\n") in (1, 2)
    return directory


BREAKS: dict[str, tuple[Callable[[RunDir], Path], bytes]] = {
    "results": (lambda run: run.results(0), b"PAR1 no parquet PAR1"),
    "attempts": (lambda run: run.attempts(0), b""),
    "journal": (lambda run: run.journal(1), b"no json\n"),
    "a journal's row": (lambda run: run.journal(1), b'{"result": {}, "attempts": []}\n'),
    "a journal's type": (
        lambda run: run.journal(1),
        b'{"result": {"row_number": "x"}, "attempts": []}\n',
    ),
    "run.json": (lambda run: run.record, b'{"run_id": '),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_file_is_named_and_nothing_is_overwritten(
    simulator: Simulator, make_config: MakeConfig, name: str
) -> None:
    directory = interrupted(prepared(make_config, **ONE_BY_ONE))
    which, content = BREAKS[name]
    path = which(directory)
    whole = path.read_bytes()
    path.write_bytes(content)
    before, sent = contents(directory), simulator.counters.requests
    with pytest.raises(OmniBatchError) as refused:
        work(directory)
    assert str(path) in str(refused.value)
    assert contents(directory) == before
    assert simulator.counters.requests == sent
    path.write_bytes(whole)
    finish(directory)


def contents(directory: RunDir) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", [b"PAR1 no parquet PAR1", None])
def test_a_manifest_copy_that_is_broken_or_gone_stops_the_run(
    simulator: Simulator, make_config: MakeConfig, content: bytes | None
) -> None:
    directory = interrupted(prepared(make_config, **ONE_BY_ONE))
    whole, sent = directory.items.read_bytes(), simulator.counters.requests
    directory.items.unlink() if content is None else directory.items.write_bytes(content)
    record = work(directory)
    assert record.state == "stopped"
    assert f"{directory.items} can't be read" in str(record.reason)
    assert simulator.counters.requests == sent
    directory.items.write_bytes(whole)
    finish(directory)


def test_media_that_vanished_or_changed_since_the_check_fail_their_own_rows(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        shutil.copy(SAMPLE / "photos" / "coffee.jpg", tmp_path / f"{name}.jpg")
    rows = [{"item_id": name, "image": f"{name}.jpg", "prompt": "What is it?"} for name in "abc"]
    directory = prepare_run(make_plan(make_config(rows)))
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.jpg").write_text("no photo any more")
    record = work(directory)
    assert (record.counts.succeeded, record.counts.failed) == (1, 2)
    assert [row["error_kind"] for row in read_table(directory.root)] == ["media_error"] * 2 + [None]
    check_finished(directory, {})


# --- owners, names and places ---


def test_a_second_process_is_refused_while_a_run_goes_on(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    directory = prepared(make_config, shutdown_grace_s=0)
    simulator.change(first_chunk_s=60)
    told = b""

    async def intrude(run: Run) -> None:
        nonlocal told
        command = [sys.executable, "-m", "omni_batch.cli.main", "resume", "--no-prefect"]
        other = await asyncio.create_subprocess_exec(
            *command, str(directory.root), stderr=asyncio.subprocess.PIPE
        )
        _, told = await other.communicate()
        assert other.returncode == 2
        run.stop(Interrupted("enough"))

    asyncio.run(execute(directory, background=intrude))
    assert f"in use by process {os.getpid()}".encode() in told
    simulator.change(first_chunk_s=0)
    finish(directory)


@pytest.mark.parametrize("name", ["with spaces and 图像 é", "link", "moved"])
def test_a_run_goes_on_at_another_place_and_under_another_name(
    make_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    shutil.copy(SAMPLE / "photos" / "coffee.jpg", tmp_path / "photo.jpg")
    rows = [*prompts(5), {"item_id": "photo", "image": "photo.jpg", "prompt": "What is it?"}]
    config = make_config(rows, shard_size=3, request=SPEECH, **ONE_BY_ONE)
    directory = interrupted(prepare_run(make_plan(config), "run-1"))
    place = tmp_path / "elsewhere" / name
    place.parent.mkdir()
    if name == "link":
        place.symlink_to(directory.root)
    else:
        shutil.move(directory.root, place)
        shutil.rmtree(place / "audio") if not list((place / "audio").iterdir()) else None
    finish(RunDir(place))
    rows_now = read_table(place)
    assert {row["run_id"] for row in rows_now} == {"run-1"}
    assert [row["status"] for row in rows_now] == ["succeeded"] * 6


# --- other ends of a process ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_signals_end_a_run_at_once_and_lose_nothing(
    make_config: MakeConfig, number: signal.Signals
) -> None:
    with Simulator(SimulatorOptions(api_key=KEY)) as slow:
        config = make_config(prompts(40), shard_size=10, quota={"max_in_flight": 4})
        endpoint = config.endpoint.model_copy(update={"base_url": slow.base_url})
        directory = prepare_run(make_plan(config.model_copy(update={"endpoint": endpoint})))

        async def signalled(run: Run) -> None:
            while run.ledger.counts.done < 12:  # noqa: ASYNC110  a moment, not an event
                await asyncio.sleep(0)
            slow.change(first_chunk_s=30)
            while not run.stopping.is_on:
                signal.raise_signal(number)
                await asyncio.sleep(0.01)
            signal.raise_signal(number)

        record = asyncio.run(execute(directory, background=signalled))
        assert (record.state, record.exit_code) == ("interrupted", 130)
        assert record.counts.done == len(rows_so_far(directory)) >= 12
        sent = slow.counters.requests
        slow.change(first_chunk_s=0)
        left = 40 - record.counts.done
        finish(directory)
        assert slow.counters.requests == sent + left


def test_an_answer_that_waits_for_the_disk_is_not_dropped_when_the_run_stops(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def slow_disk(file: int) -> None:
        time.sleep(0.02)
        real(file)

    monkeypatch.setattr(os, "fsync", slow_disk)
    directory = prepared(make_config, 12, durability="disk", shutdown_grace_s=0)

    async def stop(run: Run) -> None:
        journal = directory.journal(0)
        while not (journal.exists() and b'"status":' in journal.read_bytes()):  # noqa: ASYNC110
            await asyncio.sleep(0)
        run.stop(Interrupted("enough"))

    record = asyncio.run(execute(directory, background=stop))
    assert record.counts.done == len(rows_so_far(directory)) > 0
    finish(directory)


_WITH_LITTLE_MEMORY = """
import asyncio, resource, sys
from pathlib import Path
from omni_batch.engine.pipeline import execute
from omni_batch.store import RunDir

async def tighten(run):
    while run.ledger.counts.done < 3:
        await asyncio.sleep(0)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), used + int(sys.argv[2])))

sys.exit(asyncio.run(execute(RunDir(Path(sys.argv[1])), background=tighten)).exit_code)
"""


@pytest.mark.parametrize("left_bytes", [0, 2**20])
def test_a_process_without_memory_loses_nothing(make_config: MakeConfig, left_bytes: int) -> None:
    directory = prepared(make_config, items=12, request=SPEECH)
    command = [sys.executable, "-c", _WITH_LITTLE_MEMORY, str(directory.root), str(left_bytes)]
    subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert len(rows_so_far(directory)) >= 3
    assert not any(row["error_kind"] for row in rows_so_far(directory).values())
    record = read_record(directory.record)
    if record.state != "finished":
        assert record.state == "stopped"
        assert "no more" in (record.reason or "")
        assert record.counts.done == len(rows_so_far(directory))
        finish(directory)
