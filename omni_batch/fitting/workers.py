"""Worker processes: as many as there are cores, started when they are needed.

A medium that kills its worker, or takes it for too long, costs a row and a process.
"""

import asyncio
import os
import sys
from contextlib import suppress

import msgspec

from omni_batch.changes import ImageChange
from omni_batch.errors import MediaError, StorageError
from omni_batch.fitting.tasks import Look, Reply, Task
from omni_batch.store.disk import when_files_are_free

_CODE = "import sys; sys.path[:] = {!r}; from omni_batch.fitting import worker; worker.main()"
_KEPT = ("PATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
"""Of the environment, which holds keys: what an interpreter needs to start."""
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_LONGEST_LINE_BYTES = 16 * 2**20
_IMAGE_S = 120.0
"""For a look, and for all that is done to an image."""
_PLAYED_S = 3600.0
"""For a recording or video, which may last for hours."""
_DIED = "its decoder died of it: it is damaged, or takes too much memory"


class Workers:
    """Does tasks, each in a process of its own at that time. To be closed.

    Args:
        count: how many at once; None: one for each core that this process may use.
        patience_s: longest that a task may take; None: two minutes for a look or an image, an hour
            for what is played.
    """

    def __init__(self, count: int | None = None, patience_s: float | None = None) -> None:
        self._room = asyncio.Semaphore(count or _cores())
        self._patience_s = patience_s
        self._all: set[asyncio.subprocess.Process] = set()
        self._idle: list[asyncio.subprocess.Process] = []

    async def do(self, task: Task) -> Reply:
        """The answer to a task.

        Raises:
            MediaError: the medium can't be used, or not within the limits.
            StorageError: nothing can be written, or no process be started.
        """
        async with self._room:
            worker = self._idle.pop() if self._idle else await when_files_are_free(self._started)
            try:
                reply = await self._asked(worker, task)
            except BaseException:  # half an answer may be under way
                await self._end(worker)
                raise
            self._idle.append(worker)
        if reply.failed is not None:
            raise MediaError(reply.failed)
        if reply.no_disk is not None:
            raise StorageError(f"media that were made to fit can't be written: {reply.no_disk}")
        return reply

    async def aclose(self) -> None:
        """End all of them, whatever they are doing."""
        for worker in tuple(self._all):
            await self._end(worker)

    async def _asked(self, worker: asyncio.subprocess.Process, task: Task) -> Reply:
        is_short = isinstance(task, Look) or isinstance(task.change, ImageChange)
        patience_s = self._patience_s or (_IMAGE_S if is_short else _PLAYED_S)
        try:
            async with asyncio.timeout(patience_s):
                line = await _exchange(worker, msgspec.json.encode(task) + b"\n")
        except TimeoutError:
            raise MediaError(f"it takes more than {patience_s:g} s to be decoded") from None
        if not line:
            raise MediaError(_DIED)
        return msgspec.json.decode(line, type=Reply)

    async def _started(self) -> asyncio.subprocess.Process:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        try:
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _CODE.format(sys.path)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=kept | _ONE_THREAD,
                limit=_LONGEST_LINE_BYTES,
                start_new_session=True,  # Ctrl-C and signals to our group are not meant for it
            )
        except OSError as exc:
            raise StorageError(
                f"media.fit needs processes of its own, which can't be started: {exc.strerror}"
            ) from exc
        self._all.add(worker)
        return worker

    async def _end(self, worker: asyncio.subprocess.Process) -> None:
        self._all.discard(worker)
        with suppress(ProcessLookupError):
            worker.kill()
        if worker.stdin is not None:
            worker.stdin.close()
        await worker.wait()


async def _exchange(worker: asyncio.subprocess.Process, line: bytes) -> bytes:
    if worker.stdin is None or worker.stdout is None:
        return b""
    with suppress(BrokenPipeError, ConnectionResetError):  # nothing is read then
        worker.stdin.write(line)
        await worker.stdin.drain()
        return await worker.stdout.readline()
    return b""


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
