"""Small files are replaced whole, and a failure leaves nothing behind."""

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest

from omni_batch.errors import StorageError
from omni_batch.store.disk import (
    PROCESS,
    Disk,
    draft_folder_of,
    draft_of,
    draft_path,
    in_thread,
    open_new,
    open_to_append,
    storage_errors,
)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    final = tmp_path / "run.json"
    for data in (b"old and long", b"new"):
        Disk(durable=True).replace(final, data)
        assert final.read_bytes() == data
    assert list(tmp_path.iterdir()) == [final]


def test_a_file_that_can_not_get_its_name_leaves_no_draft(tmp_path: Path) -> None:
    final = tmp_path / "run.json"
    (final / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        PROCESS.replace(final, b"{}")
    assert list(tmp_path.iterdir()) == [final]


def test_missing_folders_are_made_and_others_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept").touch()
    for _ in range(2):
        PROCESS.make_folders(tmp_path / "a" / "b" / "c")
        assert (tmp_path / "a" / "b" / "c").is_dir()
    assert (tmp_path / "a" / "kept").exists()


def test_a_draft_gets_its_name_or_is_gone(tmp_path: Path) -> None:
    final, other = tmp_path / "report", tmp_path / "other"
    _write_draft(final)
    assert final.read_bytes() == b"{}"
    with pytest.raises(KeyError):
        _write_draft(other, KeyError)
    assert list(tmp_path.iterdir()) == [final]


def test_the_draft_of_a_folder_gets_its_name_or_is_gone(tmp_path: Path) -> None:
    final, other = tmp_path / "dataset", tmp_path / "other"
    with draft_folder_of(final) as folder:
        (folder / "README.md").touch()
    assert [path.name for path in final.iterdir()] == ["README.md"]
    with pytest.raises(StorageError, match="can't be written"), draft_folder_of(other) as folder:
        folder.rmdir()
    assert list(tmp_path.iterdir()) == [final]


def _write_draft(final: Path, error: type[Exception] | None = None) -> None:
    with draft_of(final) as file:
        file.write(b"{}")
        if error:
            raise error


def test_a_final_name_that_is_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, final = tmp_path / "victim.txt", tmp_path / "run.json"
    victim.write_text("mine")
    for write in (partial(PROCESS.replace, final, b"{}"), partial(_write_draft, final)):
        final.unlink(missing_ok=True)
        final.symlink_to(victim)
        write()
        assert (final.read_bytes(), final.is_symlink()) == (b"{}", False)
    assert victim.read_text() == "mine"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim.txt", tmp_path / "link"
    victim.write_text("mine")
    for target in (victim, tmp_path / "not there yet"):
        link.symlink_to(target)
        with pytest.raises(FileExistsError):
            open_new(link)
        with pytest.raises(OSError, match="symbolic links"):
            open_to_append(link)
        link.unlink()
    assert victim.read_text() == "mine"
    assert not (tmp_path / "not there yet").exists()


def test_two_drafts_of_a_file_have_different_names(tmp_path: Path) -> None:
    assert draft_path(tmp_path / "run.json") != draft_path(tmp_path / "run.json")


def test_an_error_of_the_system_names_the_file() -> None:
    named = pytest.raises(StorageError, match=r"a\.txt can't be read: no")
    with named, storage_errors(Path("a.txt"), "read"):
        raise OSError("no")
    with pytest.raises(KeyError), storage_errors(Path("a.txt"), "read"):
        raise KeyError


async def test_a_cancelled_wait_for_a_thread_ends_with_the_thread() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        go_on.wait(10)
        ended.append(True)

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended
