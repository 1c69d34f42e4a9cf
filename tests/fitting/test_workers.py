"""Whatever a medium does to the process that decodes it, it costs its row only."""

import asyncio
import os
import select
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from omni_batch.changes import ImageChange
from omni_batch.errors import MediaError, StorageError
from omni_batch.fitting.tasks import Look, Make
from omni_batch.fitting.workers import Workers
from tests.support.media_files import picture


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    async with aclosing(Workers(2)) as pool:
        yield pool


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """An image that takes a while."""
    (tmp_path / "large.bmp").write_bytes(picture("BMP", 3000, 2000))
    return tmp_path / "large.bmp"


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def processes(workers: Workers) -> list[int]:
    return [process.pid for process in workers._all]


async def test_processes_are_started_when_needed_and_used_again(
    workers: Workers, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    look = Look(str(tmp_path / "a.png"), "image")
    assert processes(workers) == []
    first = await workers.do(look)
    assert first.image is not None
    assert first.image.shown_px == (48, 32)
    one = processes(workers)
    await workers.do(look)
    assert processes(workers) == one
    await asyncio.gather(*(workers.do(look) for _ in range(8)))
    assert len(processes(workers)) <= 2


async def test_a_medium_that_kills_its_process_costs_itself_only(
    workers: Workers, large: Path, tmp_path: Path
) -> None:
    await workers.do(Look(str(large), "image"))
    (pid,) = processes(workers)
    (folder := tmp_path / "made").mkdir()
    task = asyncio.create_task(
        workers.do(Make(str(large), ImageChange(2900, 1900, "png"), str(folder)))
    )
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(MediaError, match="its decoder died of it"):
        await task
    assert (await workers.do(Look(str(large), "image"))).image is not None


async def test_a_medium_that_takes_too_long_is_given_up(large: Path, tmp_path: Path) -> None:
    async with aclosing(Workers(1, patience_s=0.01)) as workers:
        task = Make(str(large), ImageChange(2900, 1900, "png"), str(tmp_path))
        with pytest.raises(MediaError, match=r"takes more than 0\.01 s"):
            await workers.do(task)
        assert processes(workers) == []


async def test_a_task_that_is_cancelled_ends_its_process(
    workers: Workers, large: Path, tmp_path: Path
) -> None:
    await workers.do(Look(str(large), "image"))
    (pid,) = processes(workers)
    task = asyncio.create_task(
        workers.do(Make(str(large), ImageChange(2900, 1900, "png"), str(tmp_path)))
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_what_is_no_medium_is_said_so(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for kind in ("image", "audio", "video"):
        with pytest.raises(MediaError, match="it is cut off or damaged"):
            await workers.do(Look(str(tmp_path / "a.png"), kind))


async def test_a_full_disk_stops_the_run_and_is_no_fault_of_the_medium(
    workers: Workers, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "0.png").symlink_to("/dev/full")
    task = Make(str(tmp_path / "a.png"), ImageChange(20, 20, "png"), str(tmp_path))
    with pytest.raises(StorageError, match="No space left"):
        await workers.do(task)


async def test_a_worker_has_no_key_in_its_environment(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-secret-0123456789")
    (tmp_path / "a.png").write_bytes(picture())
    await workers.do(Look(str(tmp_path / "a.png"), "image"))
    (pid,) = processes(workers)
    assert b"sk-secret" not in environment(pid)


async def test_a_file_that_changes_meanwhile_is_not_kept_under_its_old_name(
    workers: Workers, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    task = Make(str(tmp_path / "a.png"), ImageChange(20, 20, "png"), str(tmp_path), "0" * 64)
    with pytest.raises(MediaError, match="changed while it was read"):
        await workers.do(task)
    (tmp_path / "a.png").unlink()
    with pytest.raises(MediaError, match="not there any more"):
        await workers.do(task)


async def test_a_worker_ends_with_the_process_that_asks(tmp_path: Path) -> None:
    code = """
import asyncio, os, signal, sys
from omni_batch.fitting.tasks import Look
from omni_batch.fitting.workers import Workers

async def main():
    workers = Workers(1)
    await workers.do(Look(sys.argv[1], "image"))
    (worker,) = workers._all
    os.kill(worker.pid, signal.SIGSTOP)  # it does not see that its pipe is closed
    print(worker.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    (tmp_path / "a.png").write_bytes(picture())
    command = (sys.executable, "-c", code, str(tmp_path / "a.png"))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    worker = int(said)
    os.kill(worker, signal.SIGCONT)
    await asyncio.to_thread(wait_for_end, worker)


def wait_for_end(pid: int) -> None:
    """Of a process that is not our child; a PID file descriptor can be read from when it ends."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([ended], [], [], 20)[0]
    finally:
        os.close(ended)
