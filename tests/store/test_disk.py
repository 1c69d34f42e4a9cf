"""Small files are replaced whole, and a failure leaves nothing behind."""

import asyncio
import threading
from pathlib import Path

import pytest

from omni_batch.errors import StorageError
from omni_batch.store.disk import PROCESS, Disk, draft_of, in_thread, storage_errors


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    final = tmp_path / "run.json"
    for data in (b"old and long", b"new"):
        Disk(durable=True).replace(final, tmp_path / "run.json.part", data)
        assert final.read_bytes() == data
    assert list(tmp_path.iterdir()) == [final]


def test_a_file_that_can_not_get_its_name_leaves_no_draft(tmp_path: Path) -> None:
    final = tmp_path / "run.json"
    (final / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        PROCESS.replace(final, tmp_path / "run.json.part", b"{}")
    assert list(tmp_path.iterdir()) == [final]


def test_missing_folders_are_made_and_others_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept").touch()
    for _ in range(2):
        PROCESS.make_folders(tmp_path / "a" / "b" / "c")
        assert (tmp_path / "a" / "b" / "c").is_dir()
    assert (tmp_path / "a" / "kept").exists()


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_draft_gets_its_name_or_is_gone(tmp_path: Path, is_folder: bool) -> None:
    final, other = tmp_path / "report", tmp_path / "other"

    def make(draft: Path, error: type[Exception] | None = None) -> None:
        draft.mkdir() if is_folder else draft.write_text("whole")
        if error:
            raise error

    with draft_of(final) as draft:
        make(draft)
    assert final.is_dir() is is_folder
    with pytest.raises(KeyError), draft_of(other) as draft:
        make(draft, KeyError)
    with pytest.raises(StorageError, match="other can't be written"), draft_of(other):
        pass
    assert list(tmp_path.iterdir()) == [final]


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
