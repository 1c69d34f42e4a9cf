"""A run is what its lock says it is, not what its last words were."""

import errno
import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from omni_batch.cli.main import app
from omni_batch.errors import StorageError
from omni_batch.progress.current import DEAD, current_record, current_runs
from omni_batch.store import Owner, RunDir, RunRecord, State
from omni_batch.store.record import read_record, write_record
from tests.support.written_runs import Written, write_run

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
RUNNING = RunRecord(
    run_id="a", state="running", items=2, shard_size=2, created_at=WHEN, config={"model": "m"}
)


def owned_by(host: str) -> RunRecord:
    return replace(RUNNING, owner=Owner(1, host, WHEN))


def test_a_run_whose_lock_is_held_runs(tmp_path: Path) -> None:
    write_record(tmp_path / "run.json", RUNNING)
    with RunDir(tmp_path).owned():
        assert current_record(RunDir(tmp_path)).state == "running"
    assert current_record(RunDir(tmp_path)).state == "interrupted"


def test_a_dead_run_counts_what_it_has_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [Written("x"), Written("y", None)], items=2)
    write_record(run.record, RUNNING)
    record = current_record(run)
    assert (record.state, record.reason, record.owner) == ("interrupted", DEAD, None)
    assert (record.counts.succeeded, record.counts.failed) == (1, 1)


def test_a_run_of_another_machine_lives_while_its_record_is_fresh(tmp_path: Path) -> None:
    """Locks of shared storage are not seen on every machine."""
    path = tmp_path / "run.json"
    write_record(path, owned_by("another-machine"))
    assert current_record(RunDir(tmp_path)).state == "running"
    os.utime(path, (1e9, 1e9))
    assert current_record(RunDir(tmp_path)).state == "interrupted"


def test_a_damaged_run_hides_no_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run = write_run(tmp_path / name, [Written("x"), Written("y")], items=2)
    write_record(run.record, replace(RUNNING, run_id="b"))
    run.results(0).write_bytes(b"not a table")
    assert states_below(tmp_path) == {"a": "finished", "b": "interrupted"}


def test_a_record_of_another_manifest_hides_no_other_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run = write_run(tmp_path / name, [Written("x"), Written("y")], items=2)
    write_record(run.record, replace(read_record(run.record), items=5))
    assert states_below(tmp_path) == {"a": "finished", "b": "stopped"}
    with pytest.raises(StorageError, match="says 5 items"):
        current_record(run)


def states_below(folder: Path) -> dict[str, str]:
    return {directory.run_id: record.state for directory, record in current_runs(folder)}


@pytest.mark.parametrize("state", ["running", "finished"])
def test_a_damaged_run_has_a_state_and_says_what_is_damaged(tmp_path: Path, state: State) -> None:
    run = write_run(tmp_path / "a", [Written("x"), Written("y", None)], items=2)
    write_record(run.record, replace(read_record(run.record), state=state))
    run.results(0).write_bytes(b"not a table")
    shown = CliRunner().invoke(app, ["status", str(run.root)])
    assert shown.exit_code == 0
    assert shown.stdout.split()[0] == {"running": "interrupted:", "finished": "stopped:"}[state]
    assert f"{run.results(0)}can'tberead" in "".join(shown.stdout.split())  # lines are broken


def test_where_the_lock_can_not_be_asked_a_fresh_record_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_: int, __: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    write_record(tmp_path / "run.json", RUNNING)
    monkeypatch.setattr(fcntl, "flock", flock)
    assert RunDir(tmp_path).is_owned() is None
    assert current_record(RunDir(tmp_path)).state == "running"
    os.utime(tmp_path / "run.json", (1e9, 1e9))
    assert current_record(RunDir(tmp_path)).state == "interrupted"
