"""Serves the nightly flow of a config on a schedule, in this process, until it is told to end.

The server keeps the schedule: it stays on while nobody serves it, and what was missed meanwhile is
one late run. At most one run of a config works at a time; others are cancelled before they begin.
"""

import asyncio
import hashlib
import logging
import platform
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.schedules import Cron, Schedule
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

from omni_batch import interrupts
from omni_batch.errors import ConfigError, Outage
from omni_batch.planning.plan import Plan
from omni_batch.store.remote.copies import runs_folder
from omni_batch.text import one_line, redacted, visible

from . import nightly
from .clocks import clock_changes, next_times
from .entry import both_versions, version_of, why_not
from .parameters import check_overrides
from .presence import mark_the_dead

log = logging.getLogger("omni_batch")

_HELLO_S = 10.0
_LEFT_ALONE_AFTER_S = 15.0
"""A run that has been told to end: in time for who waits 20 s for this process."""
_LOOK_EVERY_S = 20.0
_START_ONE = "start one with `prefect server start`"
ENTRYPOINT = f"{Path(nightly.__file__).resolve()}:nightly"
"""By its place, for installed copies and checkouts alike: each run imports it in a new process."""
_ENDING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Nights:
    """What is to be run, and when."""

    config: Path
    overrides: tuple[str, ...]
    plan: Plan
    cron: str
    zone: str

    @property
    def name(self) -> str:
        """Of the deployment: the same for the same file, and another one for a namesake of it."""
        path = str(self.config.resolve())
        return f"{self.plan.config.name}-{hashlib.sha256(path.encode()).hexdigest()[:6]}"


def serve_nights(
    nights: Nights, say: Callable[[str], None], schedule: Schedule | None = None
) -> None:
    """Register the schedule and begin its runs, until Ctrl-C or SIGTERM.

    Args:
        say: told what was registered.
        schedule: of Prefect, in place of the cron line.

    Raises:
        ConfigError: there is no Prefect server, or it refuses the schedule; an override may hold a
            secret.
        Outage: the server was away for so long that Prefect's runner gave up.
    """
    check_overrides(nights.overrides)
    before = {number: signal.getsignal(number) for number in _ENDING}
    # The command line ends a process soon after a signal; this one has runs to end.
    woken = signal.set_wakeup_fd(-1)
    try:
        schedule = schedule or Cron(nights.cron, timezone=nights.zone)
        words = _words(nights)
        asyncio.run(_serve(nights, schedule, lambda: say("\n".join(words))))
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)


async def _serve(nights: Nights, schedule: Schedule, ready: Callable[[], None]) -> None:
    told = asyncio.Event()
    _hear(told)
    await reach_server("a schedule")
    runner = Runner(name=nights.name, pause_on_shutdown=False)
    try:
        await runner.aadd_deployment(await _deployment(nights, schedule))
    except Exception as exc:
        raise ConfigError(await _refused(exc)) from exc
    await mark_the_dead(runs_folder(nights.plan.config.output))  # before what is late begins
    serving = asyncio.ensure_future(runner.start())
    await asyncio.sleep(0)  # it takes SIGTERM for itself, to end in the middle of everything
    _hear(told)
    ready()
    looking = asyncio.ensure_future(_look_for_the_dead(runs_folder(nights.plan.config.output)))
    await _until(told, serving)
    looking.cancel()
    if not serving.done():
        await _end(runner, serving)
    elif failure := serving.exception():
        raise Outage(
            f"Prefect's runner gave up ({type(failure).__name__}: {one_line(str(failure)):.200}); "
            "the schedule is kept: look after the server, then start this again"
        ) from failure


async def _look_for_the_dead(folder: Path) -> None:
    """Other runs in the folder: ours are known to be dead by the process that serves them."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        await mark_the_dead(folder)


def _hear(told: asyncio.Event) -> None:
    for number in _ENDING:
        asyncio.get_running_loop().add_signal_handler(number, told.set)


async def _until(told: asyncio.Event, serving: asyncio.Future[None]) -> None:
    ends = asyncio.ensure_future(told.wait())
    both: set[asyncio.Future[Any]] = {serving, ends}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    ends.cancel()


async def _end(runner: Runner, serving: asyncio.Future[None]) -> None:
    """Have a run at work end in order. If it takes long it ends alone: else it would be killed."""
    try:
        async with asyncio.timeout(_LEFT_ALONE_AFTER_S):
            if runner.started:
                await runner.astop()
            else:
                serving.cancel()
            await asyncio.wait({serving})
    except TimeoutError:
        log.warning("a run at work was told to end and takes its time; it ends by itself")
        interrupts.leave(0)


async def _deployment(nights: Nights, schedule: Schedule) -> RunnerDeployment:
    config = nights.config.resolve()
    deployment = await nightly.nightly.ato_deployment(
        name=nights.name,
        schedule=schedule,
        parameters={"config": str(config), "overrides": list(nights.overrides)},
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        description=_description(nights),
        tags=["omni-batch"],
    )
    deployment.entrypoint = ENTRYPOINT
    return deployment


def _description(nights: Nights) -> str:
    """Markdown for the deployment's page; paths as code, which may hold any sign."""
    return "\n".join(
        [
            f"Runs this config at `{nights.cron}` in {nights.zone}, and reads it anew each time:",
            "",
            f"    {visible(str(nights.config.resolve()))}",
            "",
            "Only rows are sent that no earlier run of it has answered. `omni-batch schedule` on "
            f"{platform.node()} begins the runs; while it does not work they wait, Late. Relative "
            "paths in the config start here:",
            "",
            f"    {visible(str(Path.cwd()))}",
            "",
            "*Run*, *Custom run* takes changes for one run. No secret belongs there: Prefect keeps "
            "parameters in clear text.",
        ]
    )


async def reach_server(what: str) -> None:
    """Refuse to begin without a Prefect server that stays.

    Args:
        what: needs it.

    Raises:
        ConfigError: there is none.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise ConfigError(
            f"PREFECT_API_URL is not set, and {what} needs a Prefect server that stays: "
            f"{_START_ONE}, then export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    try:
        async with asyncio.timeout(_HELLO_S), get_client() as client:
            version_of(await client.api_version())
    except Exception as exc:
        reason = (
            f"no answer within {_HELLO_S:g} s" if isinstance(exc, TimeoutError) else why_not(exc)
        )
        raise ConfigError(
            f"no Prefect API answers at PREFECT_API_URL = {redacted(url)} ({reason}); "
            f"{_START_ONE}, or correct the URL, which ends in /api"
        ) from exc


async def _refused(exc: Exception) -> str:
    async with get_client() as client:
        theirs = await client.api_version()
    return (
        f"{both_versions(theirs)}; it refuses the schedule: {one_line(str(exc)):.300}; use the "
        "same version on both sides"
    )


def _words(nights: Nights) -> list[str]:
    now = datetime.now(UTC)
    first, second = next_times(nights.cron, nights.zone, now, 2)
    warnings = (*nights.plan.doubts, *clock_changes(nights.cron, nights.zone, now))
    return [
        f"Runs of {nights.config} start at {first:%Y-%m-%d %H:%M}, {second:%Y-%m-%d %H:%M} and so "
        f"on ({nights.cron}, {nights.zone}), as long as this process works",
        *(f"warning: {warning}" for warning in warnings),
        f"Deployment {nightly.nightly.name}/{nights.name} at {PREFECT_UI_URL.value()}",
        "Ctrl-C ends this process; the schedule stays on, and a missed run starts late",
    ]
