"""Flow runs whose process is gone are Crashed; healthy ones, and those that have ended, are not."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

pytestmark = pytest.mark.prefect
HOLDS = """
import sys
from pathlib import Path
from types import SimpleNamespace
from flows.presence import present

with present(Path(sys.argv[1]), SimpleNamespace(id=sys.argv[2])):
    print("present", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def deployment(prefect_server: str) -> UUID:
    """One run at a time; others are cancelled."""
    return asyncio.run(deployed())


async def deployed() -> UUID:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    from flows.nightly import nightly

    only_one = ConcurrencyLimitConfig(
        limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
    )
    made = await nightly.ato_deployment(name="one", concurrency_limit=only_one)
    made.entrypoint = "flows/nightly.py:nightly"
    return await made.aapply()


async def begun(deployment: UUID) -> "FlowRun":
    """A flow run that is about to begin, as its runner asks for it; it may be refused."""
    from prefect import get_client
    from prefect.states import Pending, Running

    async with get_client() as client:
        run = await client.create_flow_run_from_deployment(deployment, parameters={"config": "c"})
        await client.set_flow_run_state(run.id, Pending())
        pending = await client.read_flow_run(run.id)
        if pending.state is not None and pending.state.is_pending():
            await client.set_flow_run_state(run.id, Running())
        return await client.read_flow_run(run.id)


async def state_of(run: "FlowRun") -> tuple[str, str]:
    from prefect import get_client

    async with get_client() as client:
        state = (await client.read_flow_run(run.id)).state
    assert state is not None
    return state.type.value, state.message or ""


async def ended(run: "FlowRun") -> None:
    from prefect import get_client
    from prefect.states import Completed

    async with get_client() as client:
        await client.set_flow_run_state(run.id, Completed(message="by itself"))


async def cancelled(run: "FlowRun") -> None:
    from prefect import get_client
    from prefect.states import Cancelled

    async with get_client() as client:
        await client.set_flow_run_state(run.id, Cancelled())


@contextmanager
def holding(folder: Path, run_id: UUID) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works for a flow run."""
    command = [sys.executable, "-c", HOLDS, str(folder), str(run_id)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"present\n"
        yield process
        process.kill()


@pytest.fixture(scope="module")
def mark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process leaves that is killed."""
    folder = tmp_path_factory.mktemp("killed")
    with holding(folder, uuid4()):
        pass
    (left,) = folder.iterdir()
    return left


def left_behind(mark: Path, folder: Path, run_id: UUID, host: str | None = None) -> Path:
    """The same for another flow run, and from another machine."""
    _, _, pid, here = mark.name.removesuffix(".flow-run").split(".", 3)
    copy = folder / f".{run_id}.{pid}.{host or here}.flow-run"
    shutil.copytree(mark, copy)
    heard(copy, 0)
    return copy


def heard(mark: Path, silent_s: float) -> None:
    """Have its last heartbeat so long ago."""
    then = time.time() - silent_s
    os.utime(mark / "heartbeat", (then, then))


def marks(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_one_that_was_killed_is_crashed_and_its_place_is_free(
    deployment: UUID, tmp_path: Path
) -> None:
    from flows.presence import mark_the_dead

    run = await begun(deployment)
    assert run.state is not None
    assert run.state.is_running()
    with holding(tmp_path, run.id) as process:
        await mark_the_dead(tmp_path)
        assert (await state_of(run))[0] == "RUNNING"
        refused = await begun(deployment)
        assert (await state_of(refused))[0] == "CANCELLED"
        process.kill()
        process.wait()
        await mark_the_dead(tmp_path)
    kind, message = await state_of(run)
    assert kind == "CRASHED"
    assert f"its process {process.pid} on {socket.gethostname()} is gone" in message
    assert f"omni-batch list {tmp_path}" in message
    assert marks(tmp_path) == []
    following = await begun(deployment)
    assert (await state_of(following))[0] == "RUNNING"
    await ended(following)


@pytest.mark.parametrize(("silent_s", "kind"), [(50.0, "CANCELLING"), (70.0, "CANCELLED")])
async def test_one_on_another_machine_is_known_by_its_heartbeat(
    deployment: UUID, tmp_path: Path, mark: Path, silent_s: float, kind: str
) -> None:
    """Somebody was cancelling it."""
    from prefect import get_client
    from prefect.states import Cancelling

    from flows.presence import mark_the_dead

    run = await begun(deployment)
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Cancelling())
    heard(left_behind(mark, tmp_path, run.id, host="elsewhere.example.org"), silent_s)
    await mark_the_dead(tmp_path)
    found, message = await state_of(run)
    assert found == kind
    assert ("on elsewhere.example.org is gone" in message) == (kind == "CANCELLED")
    await cancelled(run)


async def test_one_that_has_ended_stays_as_it_is(
    deployment: UUID, tmp_path: Path, mark: Path
) -> None:
    from flows.presence import mark_the_dead

    run = await begun(deployment)
    await ended(run)
    left_behind(mark, tmp_path, run.id)
    await mark_the_dead(tmp_path)
    assert await state_of(run) == ("COMPLETED", "by itself")
    assert marks(tmp_path) == []


async def test_one_that_was_begun_again_is_left_to_its_new_process(
    deployment: UUID, tmp_path: Path, mark: Path
) -> None:
    from flows.presence import mark_the_dead, present

    run = await begun(deployment)
    old = left_behind(mark, tmp_path, run.id)
    heard(old, 30)  # before it was Running
    await mark_the_dead(tmp_path)
    assert (await state_of(run))[0] == "RUNNING"
    heard(old, 0)
    with present(tmp_path, run):
        await mark_the_dead(tmp_path)
        assert (await state_of(run))[0] == "RUNNING"
    assert marks(tmp_path) == [old.name]
    await mark_the_dead(tmp_path)
    assert (await state_of(run))[0] == "CRASHED"


async def test_one_that_this_server_does_not_know_is_forgotten_after_a_day(
    prefect_server: str, tmp_path: Path, mark: Path
) -> None:
    from flows.presence import mark_the_dead

    left = left_behind(mark, tmp_path, uuid4())
    await mark_the_dead(tmp_path)
    assert marks(tmp_path) == [left.name]
    heard(left, 90_000)
    await mark_the_dead(tmp_path)
    assert marks(tmp_path) == []
