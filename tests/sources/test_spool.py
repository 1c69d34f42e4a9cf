"""Files without a path of their own: there while they are held, few beside, none afterwards."""

import gc
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from omni_batch.errors import StorageError
from omni_batch.sources.kept import Kept
from omni_batch.sources.spool import Spool, Target
from tests.support.small_disk import no_file_beyond


def write(data: bytes, made: list[bytes] | None = None):  # type: ignore[no-untyped-def]
    def into(target: Target) -> None:
        if made is not None:
            made.append(data)
        target.write(data)

    return into


def files(folder: Path) -> int:
    return len(list(folder.glob("*/[0-9]*")))


def test_a_file_stays_while_it_is_held_and_the_oldest_goes_first(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path, kept_bytes=25_000), []  # type: ignore[var-annotated]
    held = spool.hold("held", write(bytes(10_000), made))
    for name in ("a", "b", "c"):
        spool.hold(name, write(name.encode() * 10_000, made))
    assert held.path.read_bytes() == bytes(10_000)
    assert files(tmp_path) == 2
    assert spool.hold("c", write(b"", made)).size_bytes == 10_000
    assert spool.hold("a", write(b"a" * 10_000, made)).size_bytes == 10_000
    assert len(made) == 5


def test_many_small_files_are_bounded_too(tmp_path: Path) -> None:
    spool = Spool(tmp_path, kept_bytes=40_960)
    for number in range(50):
        spool.hold(number, write(b"x"))
    assert files(tmp_path) == 10


def test_what_many_ask_for_at_once_is_made_once(tmp_path: Path) -> None:
    spool, made, start = Spool(tmp_path), [], threading.Barrier(8)  # type: ignore[var-annotated]
    found = []

    def ask() -> None:
        start.wait()
        found.append(spool.hold("key", write(b"x", made)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert {file.path for file in found} == {found[0].path}


def test_nothing_is_left_of_what_was_not_written_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path)

    def breaks(target: Target) -> None:
        target.write(b"half")
        raise ValueError("cut")

    with pytest.raises(ValueError, match="cut"):
        spool.hold("key", breaks)
    assert files(tmp_path) == 0
    assert spool.hold("key", write(b"whole")).size_bytes == 5


def test_the_folder_goes_with_its_spool_and_what_a_crash_left_with_the_next(
    tmp_path: Path,
) -> None:
    left = tmp_path / "omni-batch-left"
    left.mkdir()
    (left / "in-use.lock").touch()
    used = tmp_path / "omni-batch-used"
    used.mkdir()
    with FileLock(used / "in-use.lock"):
        spool = Spool(tmp_path)
        spool.hold("key", write(b"x"))
        assert not left.exists()
        assert used.exists()
    assert files(tmp_path) == 1
    del spool
    gc.collect()
    assert files(tmp_path) == 0


def test_a_failure_is_told_and_not_remembered() -> None:
    kept: Kept[str, int] = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert [kept.get("a", lambda: 1), kept.get("a", lambda: 2)] == [1, 1]
    kept.get("b", lambda: 1)
    kept.get("c", lambda: 1)
    assert kept.get("a", lambda: 3) == 3


def test_a_full_disk_stops_the_run_and_says_what_to_do(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.hold("small", write(b"x"))
    with no_file_beyond(100_000), pytest.raises(StorageError, match="TMPDIR"):
        spool.hold("large", write(bytes(1_000_000)))
    assert files(tmp_path) == 1
