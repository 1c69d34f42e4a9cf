"""A run has one owner at a time, on any file system, and none after its process has died."""

import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from omni_batch.errors import ConfigError, StorageError
from omni_batch.store import RunDir

_OWN = """
import errno, fcntl, os, stat, sys
from pathlib import Path

real, kind = fcntl.flock, sys.argv[2]

def flock(file, operation):
    if kind == "none" or (kind == "nfs" and stat.S_ISDIR(os.fstat(file).st_mode)):
        raise OSError(errno.ENOSYS if kind == "none" else errno.EBADF, "flock")
    real(file, operation)

fcntl.flock = flock
from omni_batch.store import RunDir

with RunDir(Path(sys.argv[1])).owned():
    print("owned", flush=True)
    sys.stdin.read()
"""
FileSystem = str
FILE_SYSTEMS = ("local", "nfs", "none")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run-1")
    run.make_folders()
    return run


@pytest.fixture(params=FILE_SYSTEMS)
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FileSystem:
    """What locks there are: of folders, of files only, or none."""
    kind = str(request.param)
    if kind != "local":
        monkeypatch.setattr(fcntl, "flock", _flock_of(kind))
    return kind


def _flock_of(kind: str) -> Callable[[int, int], None]:
    real = fcntl.flock

    def flock(file: int, operation: int) -> None:
        if kind == "none":
            raise OSError(errno.ENOSYS, "Function not implemented")
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(file, operation)

    return flock


def own_elsewhere(run: RunDir, file_system: FileSystem) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _OWN, str(run.root), file_system],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "owned\n"
    return process


def test_a_second_owner_is_refused_until_the_first_has_ended(
    run: RunDir, file_system: FileSystem
) -> None:
    for _ in range(2):
        assert not run.is_owned()
        with run.owned():
            assert run.is_owned()
            with pytest.raises(ConfigError, match="run-1 is in use"), run.owned():
                pass
    assert not run.is_owned()


def test_a_second_process_is_refused_until_the_first_is_killed(
    run: RunDir, file_system: FileSystem
) -> None:
    process = own_elsewhere(run, file_system)
    try:
        assert run.is_owned()
        with pytest.raises(ConfigError, match="run-1 is in use by another process"), run.owned():
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not run.is_owned()
    with run.owned(), warnings.catch_warnings(action="error"):
        pass


def test_a_lock_needs_no_file_that_a_cleaner_could_take(run: RunDir) -> None:
    with run.owned():
        assert {path.name for path in run.root.iterdir()} == {
            *("results", "attempts", "audio", "journal")
        }


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL])
def test_a_file_system_without_locks_is_no_hindrance(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(_: int, __: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with warnings.catch_warnings(action="error"), run.owned():
        assert (run.root / "run.owner").exists()
    assert not (run.root / "run.owner").exists()


@pytest.mark.parametrize("file_system", ["none"], indirect=True)
def test_a_marker_of_another_machine_is_told_with_what_to_remove(
    run: RunDir, file_system: FileSystem
) -> None:
    with run.owned():
        marker = (run.root / "run.owner").read_text()
    (run.root / "run.owner").write_text(marker.replace(socket.gethostname(), "another-machine"))
    said = r"if that process is gone, remove .*run-1/run\.owner"
    with pytest.raises(ConfigError, match=said), run.owned():
        pass
    (run.root / "run.owner").unlink()
    with run.owned():
        pass


def test_an_error_inside_gives_the_run_free(run: RunDir, file_system: FileSystem) -> None:
    with pytest.raises(ZeroDivisionError), run.owned():
        raise ZeroDivisionError
    with run.owned():
        pass


def test_a_run_that_cannot_be_locked_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't be locked"), RunDir(tmp_path / "file").owned():
        pass
