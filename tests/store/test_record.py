"""run.json is replaced in one step and reads back as it was written."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from omni_batch.errors import ConfigError, StorageError
from omni_batch.store import Counts, Owner, RunRecord, State
from omni_batch.store.record import read_record, write_record
from tests.support.small_disk import no_file_beyond

RECORD = RunRecord(
    run_id="run-1",
    state="running",
    items=1001,
    shard_size=500,
    created_at=datetime(2026, 11, 21, 2, 0, tzinfo=UTC),
    warnings=("look",),
    base_folder="/data",
    owner=Owner(17, "host", datetime(2026, 11, 21, 2, 1, tzinfo=UTC)),
    counts=Counts(succeeded=3, failed=1, cost={"CNY": 0.25}),
    config={"name": "é", "request": {"voice": None}},
    versions={"python": "3.11"},
)


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path / "run.json", RECORD)
    assert read_record(tmp_path / "run.json") == RECORD


def test_a_record_is_json_that_people_can_read(tmp_path: Path) -> None:
    write_record(tmp_path / "run.json", RECORD)
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert text.count("\n") > 20
    assert json.loads(text)["counts"]["cost"] == {"CNY": 0.25}


def test_whoever_reads_sees_the_old_record_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_record(path, RECORD)
    old = path.read_bytes()
    with path.open("rb") as reader:
        assert reader.read(10) == old[:10]
        write_record(path, msgspec.structs.replace(RECORD, state="finished"))
        assert reader.read() == old[10:]
    assert read_record(path).state == "finished"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_record(path, RECORD)
    with no_file_beyond(20), pytest.raises(StorageError, match=r"run\.json can't be written"):
        write_record(path, msgspec.structs.replace(RECORD, state="finished"))
    assert read_record(path) == RECORD
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_a_record_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} is not a run directory"):
        read_record(tmp_path / "run.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "somebody else\'s"}', '{"run_id": 1}'])
def test_a_record_of_somebody_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ConfigError, match=r"run\.json can't be read"):
        read_record(tmp_path / "run.json")


def test_a_record_of_a_later_version_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    write_record(tmp_path / "run.json", RECORD)
    tree = json.loads((tmp_path / "run.json").read_bytes())
    (tmp_path / "run.json").write_text(json.dumps({**tree, "of_the_future": 1}))
    assert read_record(tmp_path / "run.json") == RECORD


@pytest.mark.parametrize(("items", "shards"), [(1, 1), (499, 1), (500, 1), (501, 2), (1001, 3)])
def test_shards_hold_all_items(items: int, shards: int) -> None:
    assert len(msgspec.structs.replace(RECORD, items=items).shards) == shards


@pytest.mark.parametrize(
    ("state", "failed", "exit_code"),
    [
        ("finished", 0, 0),
        ("finished", 1, 1),
        ("stopped", 0, 3),
        ("stopped", 1, 3),
        ("interrupted", 0, 130),
        ("running", 0, 3),
    ],
)
def test_exit_codes_tell_how_a_run_ended(state: State, failed: int, exit_code: int) -> None:
    record = msgspec.structs.replace(RECORD, state=state, counts=Counts(failed=failed))
    assert record.exit_code == exit_code
