"""`retry`: failed items of a finished run are tried again in place, and nothing else is touched."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch.config import Config
from omni_batch.engine.pipeline import execute
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.errors import ConfigError, StorageError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.disk import draft_path
from omni_batch.store.journal import read_journal
from omni_batch.store.record import read_record
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts, read_table

SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}


async def finish(config: Config) -> tuple[RunDir, RunRecord]:
    record = (await omni_batch.run_batch(config)).record
    return RunDir(Path(config.output) / record.run_id), record


async def half_failed(
    simulator: Simulator, make_config: MakeConfig, **changes: Any
) -> tuple[RunDir, RunRecord]:
    """Twelve items in three shards; three of the first two fail, two after three attempts each."""
    refused = reply.status(400, code="invalid_parameter_error")
    simulator.script(*[reply.status(500)] * 6, refused)
    config = make_config(
        prompts(12), shard_size=4, retry={"max_attempts": 3}, quota={"max_in_flight": 1}, **changes
    )
    return await finish(config)


def by_id(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in rows}


def files(folder: Path) -> dict[str, tuple[int, str]]:
    """Inode and content of every file."""
    return {
        path.name: (path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.iterdir()
    }


async def test_failed_items_are_tried_again_in_place(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    directory, record = await half_failed(simulator, make_config, request=SPEECH)
    before, wavs = by_id(read_table(directory.root)), files(directory.root / "audio")
    failed = {name for name, row in before.items() if row["status"] == "failed"}
    assert (len(failed), record.exit_code, record.counts.requests) == (3, 1, 16)
    untouched = files(directory.root / "results")["part-00002.parquet"]

    assert reopen_failed(directory) == 3
    assert read_record(directory.record).state == "prepared"
    record = await execute(directory)

    after = by_id(read_table(directory.root))
    assert (record.state, record.exit_code, record.reason) == ("finished", 0, None)
    assert list(after) == list(before)
    assert all(after[name] == row for name, row in before.items() if name not in failed)
    assert {name: after[name]["attempts"] for name in failed} == {
        name: before[name]["attempts"] + 1 for name in failed
    }
    assert {name: wav for name, wav in files(directory.root / "audio").items() if name in wavs} == (
        wavs
    )
    assert len(simulator.requests) == 16 + 3
    assert record.counts.requests == 19
    assert files(directory.root / "results")["part-00002.parquet"] == untouched
    assert not (directory.root / "journal").exists()


async def test_the_numbers_of_attempts_go_on_and_the_old_row_gives_way(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(*[reply.status(503)] * 2)
    directory, _ = await finish(make_config(prompts(1), retry={"max_attempts": 2}))
    simulator.script(reply.status(503), reply.status(400, code="invalid_parameter_error"))
    assert reopen_failed(directory) == 1
    record = await execute(directory)
    (row,) = read_table(directory.root)
    assert (row["error_kind"], row["attempts"], row["http_status"]) == ("rejected", 4, 400)
    attempts = read_table(directory.root, "attempts")
    assert [(a["number"], a["error_kind"]) for a in attempts] == [
        (1, "unavailable"),
        (2, "unavailable"),
        (3, "unavailable"),
        (4, "rejected"),
    ]
    assert (record.counts.failed, record.counts.requests, record.counts.retries) == (1, 4, 3)


async def test_only_the_kinds_that_were_asked_for(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    directory, _ = await half_failed(simulator, make_config)
    assert reopen_failed(directory, ["rejected"]) == 1
    record = await execute(directory)
    kinds = [row["error_kind"] for row in read_table(directory.root) if row["error_kind"]]
    assert kinds == ["unavailable", "unavailable"]
    assert record.counts.failed == 2
    assert reopen_failed(directory, ["timed_out", "stream_error"]) == 0
    assert read_record(directory.record) == record  # nothing matched, nothing changed
    assert reopen_failed(directory, ["rejected", "unavailable"]) == 2


async def test_an_unknown_kind_is_refused_with_the_nearest(make_config: MakeConfig) -> None:
    directory, _ = await finish(make_config(prompts(1)))
    with pytest.raises(ConfigError, match="--error timedout: no such kind; did you mean timed_out"):
        reopen_failed(directory, ["timedout"])


async def test_a_run_that_is_not_finished_or_not_free_is_refused(make_config: MakeConfig) -> None:
    directory = prepare_run(make_plan(make_config(prompts(1))))
    with pytest.raises(ConfigError, match="is prepared; finish it with: omni-batch resume"):
        reopen_failed(directory)
    await execute(directory)
    with directory.owned(), pytest.raises(ConfigError, match="in use by"):
        reopen_failed(directory)
    with pytest.raises(ConfigError, match=r"not a run directory"):
        reopen_failed(RunDir(directory.root / "results"))
    assert not list((directory.root / "results").glob("run.*"))


async def test_what_decides_the_answers_can_not_be_changed(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(reply.status(503))
    directory, record = await finish(make_config(prompts(1), retry={"max_attempts": 1}))
    with pytest.raises(ConfigError, match="--set request: this key can't change"):
        reopen_failed(directory, overrides=["request.temperature=1"])
    assert read_record(directory.record) == record
    assert reopen_failed(directory, overrides=["retry.max_attempts=2"]) == 1
    simulator.script(reply.status(503))
    assert (await execute(directory)).counts.succeeded == 1


class Died(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("instant", range(16))
async def test_dead_at_any_step_no_row_is_lost_and_resume_ends_it(
    simulator: Simulator,
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    instant: int,
) -> None:
    """Every call that changes the directory is an instant; the process dies before it."""
    directory, _ = await half_failed(simulator, make_config, request=SPEECH)
    before = by_id(read_table(directory.root))
    good = {name: row for name, row in before.items() if row["status"] == "succeeded"}
    with monkeypatch.context() as patched:
        left = count_down(patched, instant)
        try:
            reopen_failed(directory)
        except Died:
            pass
        else:
            assert left(), "there are more instants than this test tries"
    state = read_record(directory.record).state
    if state == "finished":
        assert by_id(read_table(directory.root)) == before
        assert reopen_failed(directory) == 3
    record = await execute(directory)
    after = by_id(read_table(directory.root))
    assert (record.state, list(after)) == ("finished", list(before))
    assert all(after[name] == row for name, row in good.items())
    if record.counts.failed:  # shards that were not reached keep their failures
        assert reopen_failed(directory) == record.counts.failed
        assert (await execute(directory)).counts.failed == 0
    attempts = [(a["item_id"], a["number"]) for a in read_table(directory.root, "attempts")]
    assert len(attempts) == len(set(attempts)) == 16 + 3


def count_down(monkeypatch: pytest.MonkeyPatch, instant: int) -> Any:
    """Die at the n-th change of a file's name or of what is on the disk."""
    calls = 0

    def mortal(change: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > instant:
                raise Died
            return change(*arguments, **options)

        return call

    monkeypatch.setattr(os, "fsync", mortal(os.fsync))
    for name in ("replace", "unlink", "mkdir"):
        monkeypatch.setattr(Path, name, mortal(getattr(Path, name)))
    return lambda: calls <= instant


async def test_dead_within_the_journal_the_part_stands(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    directory, _ = await half_failed(simulator, make_config)
    before = read_table(directory.root)
    failed = [row["row_number"] for row in before if row["status"] == "failed"]
    journal = directory.journal(failed[0] // 4)
    directory.journals.mkdir()
    draft = draft_path(journal)
    draft.write_bytes(b'{"result":{"row_number":0},"attempts":[]}\n{"resu')
    assert read_table(directory.root) == before
    reopen_failed(directory)
    kept = [entry.result["row_number"] for entry in read_journal(journal) if entry.result]
    first = failed[0] // 4 * 4
    assert kept == [row for row in range(first, first + 4) if row not in failed]
    assert (await execute(directory)).counts.succeeded == 12


async def test_a_part_that_can_not_be_read_is_said(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    directory, record = await half_failed(simulator, make_config)
    directory.results(1).write_bytes(b"PAR1 broken PAR1")
    with pytest.raises(StorageError, match=r"part-00001\.parquet can't be read"):
        reopen_failed(directory)
    assert read_record(directory.record) == record


def retry(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "omni_batch.cli.main", "retry", "--no-prefect", *arguments]
    environment = {**os.environ, KEY_ENV: KEY}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


async def test_the_command(simulator: Simulator, make_config: MakeConfig) -> None:
    directory, _ = await half_failed(simulator, make_config)
    none = retry(str(directory.root), "--error", "timed_out")
    assert (none.returncode, none.stdout.splitlines()[-1]) == (1, str(directory.root))
    assert f"no item of {directory.root} failed with timed_out; nothing is sent" in none.stderr
    assert len(simulator.requests) == 16
    done = retry(str(directory.root), "--error", "rejected", "--error", "unavailable")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, str(directory.root))
    assert "12 succeeded, 0 failed of 12 items" in done.stdout
