"""Small files are replaced whole, and a failure leaves nothing behind."""

import asyncio
import errno
import os
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
    reason_of,
    storage_errors,
)
from tests.support.small_disk import no_file_beyond


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


# --- what must survive a loss of power ---


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str]]]:
    """What the system was asked to bring to the disk, and the names beside it at that moment."""
    real, asked = os.fsync, list[tuple[str, set[str]]]()

    def fsync(file: int) -> None:
        path = Path(f"/proc/self/fd/{file}").readlink()
        folder = path if path.is_dir() else path.parent
        asked.append((path.name, {inner.name for inner in folder.iterdir()}))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    return asked


def test_a_name_is_given_to_what_is_on_the_disk_and_then_settled_itself(
    tmp_path: Path, settled: list[tuple[str, set[str]]]
) -> None:
    (tmp_path / "draft").write_bytes(b"whole")
    Disk(durable=True).publish(tmp_path / "draft", tmp_path / "final")
    assert settled == [("draft", {"draft"}), (tmp_path.name, {"final"})]


def test_each_new_folder_is_settled_in_the_one_above_it(
    tmp_path: Path, settled: list[tuple[str, set[str]]]
) -> None:
    Disk(durable=True).make_folders(tmp_path / "a" / "b")
    assert settled == [(tmp_path.name, {"a"}), ("a", {"b"})]


def test_an_open_file_is_settled(tmp_path: Path, settled: list[tuple[str, set[str]]]) -> None:
    with (tmp_path / "journal").open("wb") as file:
        Disk(durable=True).sync(file.fileno())
    assert settled == [("journal", {"journal"})]


def test_nothing_waits_for_the_disk_where_only_the_process_may_die(
    tmp_path: Path, settled: list[tuple[str, set[str]]]
) -> None:
    PROCESS.make_folders(tmp_path / "a")
    PROCESS.replace(tmp_path / "final", b"{}")
    with (tmp_path / "final").open("rb") as file:
        PROCESS.sync(file.fileno())
    assert settled == []


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    disk, open_files = Disk(durable=True), Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    for _ in range(5):
        disk.make_folders(tmp_path / "a" / "b")
        disk.replace(tmp_path / "final", b"{}")
        disk.sync_path(tmp_path)
    assert len(list(open_files.iterdir())) == before


def test_a_long_line_is_written_whole(tmp_path: Path) -> None:
    """The system may take only a part of it at a time."""
    reader, writer = os.pipe()
    data, read = os.urandom(300_000), list[bytes]()
    with os.fdopen(reader, "rb") as file:
        thread = threading.Thread(target=lambda: read.append(file.read()))
        thread.start()
        os.set_blocking(writer, True)
        PROCESS.append(writer, data)
        os.close(writer)
        thread.join()
    assert read == [data]


# --- drafts and errors ---


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


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "x"), "the disk is full (no space left on device)"),
        (OSError(errno.EROFS, "x"), "the file system is read-only"),
        (OSError(errno.EACCES, "x"), "permission denied"),
        (OSError("it is odd"), "it is odd"),
        (ValueError("bad page"), "bad page"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_reason_is_said_in_words(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    ("done", "reason"),
    [
        ("written", r"the file may not become that large \(file too large\)"),
        ("read", "broken pipe"),
    ],
)
def test_a_library_that_hides_why_it_could_not_write_is_asked_no_further(
    tmp_path: Path, done: str, reason: str
) -> None:
    """The system says it again; for a failure to read it has nothing to say."""
    with (
        no_file_beyond(1000),
        pytest.raises(StorageError, match=rf"a\.png can't be {done}: {reason}"),
        storage_errors(tmp_path / "a.png", done, ValueError),
    ):
        raise ValueError("broken pipe")
    assert not list(tmp_path.iterdir())


def test_what_the_system_does_not_explain_is_said_as_the_library_says_it(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"a\.png can't be written: broken pipe"),
        storage_errors(tmp_path / "a.png", "written", ValueError),
    ):
        raise ValueError("broken pipe")


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
