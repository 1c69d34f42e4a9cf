"""Which flow runs still have a process. Prefect holds one that was killed as Running, for ever.

Each process shows beside the runs for which flow run it works: a hidden folder that it holds the
lock of, whatever ends it, and a heartbeat for machines that do not see the lock. Who begins next in
that folder tells Prefect of those that are gone, which frees their place in their deployment.
"""

import asyncio
import logging
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from omni_batch.store.locks.lock import Taken, locked
from omni_batch.store.read import list_runs
from omni_batch.text import one_line

log = logging.getLogger("omni_batch")

_BEAT_S = 10.0
_SILENT_S = 60.0
_LOCK_WAIT_S = 2.0  # whoever looks for the dead holds it for an instant
_TIMEOUT_S = 5.0
_UNKNOWN_S = 86400.0
"""A flow run that this server does not know may be another one's, whose turn comes later."""
_NAME = re.compile(r"\.([0-9a-f-]{36})\.(\d+)\.(.+)\.flow-run")


@contextmanager
def present(folder: Path, flow_run: FlowRun | None) -> Iterator[None]:
    """Show that this process works for a flow run.

    Args:
        folder: where its runs are kept.
    """
    with ExitStack() as stack:
        if flow_run is not None:
            with suppress(OSError, Taken):  # the run says what is wrong with its folder
                _show(folder, flow_run.id, stack)
        yield


def _show(folder: Path, flow_run_id: UUID, stack: ExitStack) -> None:
    mark = folder / f".{flow_run_id}.{os.getpid()}.{socket.gethostname()}.flow-run"
    mark.mkdir(parents=True)
    stack.callback(shutil.rmtree, mark, ignore_errors=True)
    stack.enter_context(locked(mark, _LOCK_WAIT_S))
    ended = threading.Event()  # of a thread, as the event loop may be busy for minutes
    threading.Thread(target=_beat, args=(mark, ended), daemon=True).start()
    stack.callback(ended.set)


def _beat(mark: Path, ended: threading.Event) -> None:
    while True:
        with suppress(OSError):
            _heartbeat(mark).touch()
        if ended.wait(_BEAT_S):
            return


def _heartbeat(mark: Path) -> Path:
    return mark / "heartbeat"


def outlive_who_reads() -> None:
    """Lose lines of the log, and not the run, where the process that started this one is gone.

    The console that Prefect logs to ends its process once nobody reads it any more.
    """
    for logger in map(logging.getLogger, ("", *logging.root.manager.loggerDict)):
        for handler in logger.handlers:
            if console := getattr(handler, "console", None):
                console.on_broken_pipe = lambda: None


async def mark_the_dead(folder: Path) -> None:
    """Set flow runs Crashed whose process has gone without their end; a server that fails is left.

    Those that somebody was cancelling are Cancelled.

    Args:
        folder: where their runs are kept.
    """
    for flow_run_id, marks in _dead(folder).items():
        try:
            async with asyncio.timeout(_TIMEOUT_S), get_client() as client:
                if await _is_settled(client, flow_run_id, folder, marks):
                    for mark in marks:
                        shutil.rmtree(mark, ignore_errors=True)
        except Exception as exc:
            log.info("Prefect was not told of dead flow run %s: %s", flow_run_id, exc)


async def _is_settled(
    client: PrefectClient, flow_run_id: UUID, folder: Path, marks: list[Path]
) -> bool:
    """Whether Prefect knows of the end of a flow run, now or before."""
    heard = max(_heartbeat(mark).stat().st_mtime for mark in marks)
    try:
        flow_run = await client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        return time.time() - heard > _UNKNOWN_S
    state = flow_run.state
    if state is None or state.type not in (StateType.RUNNING, StateType.CANCELLING):
        return True
    if state.type is StateType.RUNNING and state.timestamp.timestamp() > heard:
        return False  # it was begun again, by a process that is about to show itself
    message = _last_words(flow_run, folder, marks[0])
    # Without force, so that the server refuses it for a flow run that ends in this instant; one
    # that is being cancelled may end in one way only.
    ended = Crashed if state.type is StateType.RUNNING else Cancelled
    await client.set_flow_run_state(flow_run_id, ended(message=message))
    log.warning("flow run %s has ended: %s", flow_run.name, message)
    return True


def _last_words(flow_run: FlowRun, folder: Path, mark: Path) -> str:
    _, pid, host = _parts(mark)
    runs = [
        directory.root.resolve()
        for directory, record in list_runs(folder)
        if record.flow_run_id == str(flow_run.id) or record.run_id == flow_run.name
    ]
    to_do = f"omni-batch resume {runs[0]}" if runs else f"omni-batch list {folder.resolve()}"
    return one_line(
        f"its process {pid} on {host} is gone without its end (killed, out of memory, or the "
        f"machine stopped); the next run of its config asks for what is left, and Retry or "
        f"`{to_do}` goes on with it"
    )


def _dead(folder: Path) -> dict[UUID, list[Path]]:
    """Flow runs with marks that nobody holds. One that was resumed may have several for a while."""
    found: dict[UUID, list[Path]] = {}
    for mark in sorted(folder.glob(".*.flow-run")):
        if _NAME.fullmatch(mark.name):
            found.setdefault(UUID(_parts(mark)[0]), []).append(mark)
    return {key: marks for key, marks in found.items() if not any(map(_is_held, marks))}


def _is_held(mark: Path) -> bool:
    _, pid, host = _parts(mark)
    try:
        with locked(mark):
            silent_s = time.time() - _heartbeat(mark).stat().st_mtime
    except (OSError, Taken):  # it was just begun, or has ended in this instant
        return True
    is_gone = host == socket.gethostname() and not _is_process(int(pid))
    return not is_gone and silent_s < _SILENT_S


def _is_process(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # where the question would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _parts(mark: Path) -> tuple[str, str, str]:
    """Of a mark's name: flow run, process, host."""
    match = _NAME.fullmatch(mark.name)
    return (match[1], match[2], match[3]) if match else ("", "", "")
