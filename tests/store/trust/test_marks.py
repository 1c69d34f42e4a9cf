"""A run is known by a mark of its maker's secret, and no longer once what it asks for changes."""

import logging
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record, write_record
from omni_batch.store.trust.marks import is_known, links_of, vouched
from omni_batch.store.trust.secret import secret_path

CONFIG: dict[str, Any] = {
    "endpoint": {"name": "custom", "base_url": "https://a.example/v1", "api_key_env": "A_KEY"},
    "media": {"roots": ["."]},
    "request": {"extra": {"b": 1, "a": 0.5}},
}
RECORD = RunRecord(
    run_id="night",
    state="prepared",
    items=4,
    shard_size=2,
    created_at=datetime(2026, 11, 21, tzinfo=UTC),
    base_folder="/data",
    config=CONFIG,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    directory = RunDir(tmp_path / "night")
    directory.make_folders()
    write_record(directory.record, vouched(directory, RECORD))
    return directory


@pytest.fixture
def other_user(run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Once the run is there, the state of somebody else is used, who has none yet."""
    del run
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    return tmp_path / "other"


def known(directory: RunDir, **changes: Any) -> bool:
    return is_known(directory, replace(read_record(directory.record), **changes))


def test_what_was_prepared_here_is_known(run: RunDir) -> None:
    assert known(run)


def test_how_far_it_has_come_and_who_works_on_it_change_nothing(run: RunDir) -> None:
    assert known(run, state="interrupted", owner=None, items=5, reason="because", warnings=("w",))


@pytest.mark.parametrize(
    "changes",
    [
        {"base_folder": "/"},
        {"config": CONFIG | {"media": {"roots": ["/"]}}},
        {"config": CONFIG | {"endpoint": {"name": "custom", "base_url": "https://b.example/v1"}}},
        {"config": CONFIG | {"endpoint": CONFIG["endpoint"] | {"api_key_env": "B_KEY"}}},
        {"config": CONFIG | {"budget": {"max_cost": None}}},
        {"marks": ()},
        {"marks": ("0" * 64, "")},
    ],
)
def test_what_it_asks_for_is_what_is_known(run: RunDir, changes: dict[str, Any]) -> None:
    assert not known(run, **changes)


def test_a_directory_may_be_moved_and_its_files_belong_to_anybody(run: RunDir) -> None:
    moved = RunDir(run.root.rename(run.root.with_name("moved")))
    assert known(moved)


def test_a_folder_that_became_a_link_is_a_change(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run.root / "audio").rmdir()
    (run.root / "audio").symlink_to(tmp_path / "elsewhere")
    assert links_of(run) == {"audio": str(tmp_path / "elsewhere")}
    assert not known(run)
    write_record(run.record, vouched(run, read_record(run.record)))
    assert known(run)


@pytest.mark.usefixtures("other_user")
def test_another_user_knows_nothing_of_it_until_they_consent(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = os.environ["XDG_STATE_HOME"]
    assert not known(run)
    write_record(run.record, vouched(run, read_record(run.record)))
    assert known(run)
    monkeypatch.undo()
    assert os.environ["XDG_STATE_HOME"] != theirs
    assert known(run), "the mark of who made it stays"


def test_the_secret_is_made_once_and_nobody_else_may_read_it(other_user: Path) -> None:
    path = secret_path()
    assert path.parent.parent == other_user
    vouched(RunDir(other_user), RECORD)
    made = path.read_bytes()
    vouched(RunDir(other_user), RECORD)
    assert (path.read_bytes(), len(made)) == (made, 32)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def spoil_mode(path: Path) -> None:
    path.chmod(0o644)


def spoil_length(path: Path) -> None:
    path.write_bytes(b"short")


def become_a_link(path: Path) -> None:
    path.rename(path.with_name("target"))
    path.symlink_to(path.with_name("target"))


@pytest.mark.parametrize("spoil", [spoil_mode, spoil_length, become_a_link])
@pytest.mark.usefixtures("other_user")
def test_a_secret_that_others_may_have_made_is_not_used(
    run: RunDir, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write_record(run.record, vouched(run, read_record(run.record)))
    spoil(secret_path())
    assert not known(run)
    with caplog.at_level(logging.WARNING):
        assert is_known(run, vouched(run, RECORD)), "by this process"
    assert "can't be used" in caplog.text


@pytest.mark.parametrize("where", ["", "file"])
def test_without_a_place_for_the_secret_a_run_is_known_to_its_process(
    run: RunDir,
    tmp_path: Path,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / where) if where else "")
    monkeypatch.setenv("HOME", "")
    assert not known(run)
    with caplog.at_level(logging.WARNING):
        marked = vouched(run, RECORD)
    assert is_known(run, marked)
    (line,) = caplog.messages
    assert "--trust" in line
    assert "XDG_STATE_HOME" in line
