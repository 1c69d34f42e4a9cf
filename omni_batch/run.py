"""A run under way: its directory, its connections, its counts."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from omni_batch.columns import RunFacts
from omni_batch.config import Config, parse_config
from omni_batch.counts import Counts
from omni_batch.deliver import Courier
from omni_batch.endpoints.api_key import ApiKey
from omni_batch.endpoints.client import Endpoint
from omni_batch.endpoints.download import Downloader
from omni_batch.endpoints.profiles import SIMULATED_KEY, Profile, read_api_key
from omni_batch.endpoints.upload import Uploader
from omni_batch.errors import OmniBatchError
from omni_batch.fleet import Fleet, Service
from omni_batch.forecast import Forecast
from omni_batch.media import MediaLoader
from omni_batch.observers import Observers
from omni_batch.outlook import Watch
from omni_batch.pace import Learned
from omni_batch.plan import Plan, make_plan
from omni_batch.quota import Quota
from omni_batch.reuse import earlier_answers
from omni_batch.route import Route
from omni_batch.run_log import RunLog
from omni_batch.rundir import Owner, RunDir, RunRecord, State
from omni_batch.rundir.disk import Disk
from omni_batch.rundir.earlier import EarlierAnswers
from omni_batch.rundir.parts import drop_leftovers, read_tables
from omni_batch.rundir.record import read_record, write_record
from omni_batch.tally import Tally
from omni_batch.telemetry import open_telemetry


@dataclass(slots=True)
class Run:
    """A run under way. One process, one event loop."""

    directory: RunDir
    plan: Plan
    record: RunRecord
    fleet: Fleet
    loader: MediaLoader
    tally: Tally
    watch: Watch
    """What the counts come to."""
    observers: Observers
    """Logs and telemetry."""
    forecast: Forecast
    earlier: EarlierAnswers | None
    """What need not be sent, because an earlier run has the answer."""
    gate: asyncio.Semaphore
    """Bounds the items that were begun: those in flight and as many that get ready."""
    stop_reason: OmniBatchError | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self.plan.config

    @property
    def facts(self) -> RunFacts:
        """What all rows share."""
        # By the record: a directory may have been moved, or be reached by another name.
        routes = self.plan.routes
        only = routes[0].name if len(routes) == 1 else None
        return RunFacts(self.record.run_id, self.config.model, only)

    def stop(self, reason: OmniBatchError) -> None:
        """Start no more items. The first reason stands."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.stopping.set()

    def check_going(self) -> None:
        """Raise the reason when the run has begun to stop."""
        if self.stop_reason is not None:
            raise self.stop_reason

    def warn(self, warnings: Iterable[str]) -> None:
        """Put on record what is worth knowing, once."""
        together = dict.fromkeys((*self.record.warnings, *warnings))
        self.record = msgspec.structs.replace(self.record, warnings=tuple(together))

    def snapshot(self, state: State) -> None:
        """Write run.json as things stand."""
        self.take_stock(state)
        write_record(self.directory.record, self.record, self.directory.disk)

    def take_stock(self, state: State) -> RunRecord:
        """Bring the record up to date. In the event loop, where all that it counts is counted."""
        ended = state not in ("prepared", "running")
        now_s, paces = time.monotonic(), self.fleet.paces()
        counts, before = self.tally.picture(now_s), self.record
        self.record = msgspec.structs.replace(
            self.record,
            state=state,
            counts=counts,
            paces=paces,
            outlook=self.watch.look(now_s, counts, paces),
            text_factor=round(self.forecast.text_factor, 3),
            owner=None if ended else self.record.owner,
            finished_at=datetime.now(UTC) if ended else None,
            reason=str(self.stop_reason) if self.stop_reason else None,
        )
        self.observers.saw(before, self.record)
        return self.record


@asynccontextmanager
async def open_run(directory: RunDir) -> AsyncIterator[Run]:
    """Own a run directory and connect to its endpoints."""
    async with AsyncExitStack() as stack:
        record = read_record(directory.record)
        stack.enter_context(directory.owned())
        plan = make_plan(parse_config(record.config), Path(record.base_folder))
        directory = RunDir(directory.root, Disk(durable=plan.config.durability == "disk"))
        directory.make_folders()  # what copies a run may leave out folders that are empty
        known = {pace.endpoint: pace.learned for pace in record.paces}
        services = [
            await _connect(plan, route, directory, known.get(route.name), stack)
            for route in plan.routes
        ]
        tally = _recover(directory, record)
        run = Run(
            directory=directory,
            plan=plan,
            record=msgspec.structs.replace(record, owner=Owner.this_process()),
            fleet=Fleet(tuple(services)),
            loader=plan.loader(),
            tally=tally,
            watch=Watch(record.items, tally.started_s, tally.counts),
            observers=await _observers(plan, record.run_id, stack),
            forecast=Forecast(),
            earlier=await asyncio.to_thread(earlier_answers, plan.config, directory),
            gate=asyncio.Semaphore(2 * plan.max_in_flight),
        )
        if run.earlier:
            run.warn(run.earlier.warnings)
        yield run


async def _connect(
    plan: Plan, route: Route, directory: RunDir, known: Learned | None, stack: AsyncExitStack
) -> Service:
    base_url, key = stack.enter_context(_reached(route.profile))
    media, patience = plan.config.media, {"first_byte_timeout_s": route.first_byte_timeout_s}
    retry = plan.config.retry.model_copy(update=patience)
    endpoint = Endpoint(base_url, key, route.dialect, retry, route.max_in_flight)
    stack.push_async_callback(endpoint.aclose)
    downloader = Downloader(
        directory.downloads,
        max_bytes=media.download_max_bytes,
        allow_private=media.allow_private_downloads,
        connect_timeout_s=retry.connect_timeout_s,
    )
    stack.push_async_callback(downloader.aclose)
    storage = route.profile.storage_url or base_url
    uploader = Uploader(storage, key, plan.config.model, endpoint.http)
    return Service(
        name=route.name,
        endpoint=endpoint,
        courier=Courier(media, route.dialect, uploader, downloader),
        quota=Quota(route.quota, known),
        weight=route.entry.weight,
        item_timeout_s=route.item_timeout_s,
        audio_tokens_per_s=plan.model.tokens.audio_out_per_s if plan.model else None,
    )


async def _observers(plan: Plan, run_id: str, stack: AsyncExitStack) -> Observers:
    telemetry = await asyncio.to_thread(open_telemetry, plan, run_id)
    if telemetry is None:
        return Observers((RunLog(run_id),))
    stack.push_async_callback(asyncio.to_thread, telemetry.close)
    return Observers((RunLog(run_id), telemetry))


def _recover(directory: RunDir, record: RunRecord) -> Tally:
    """Count what earlier processes have finished, and clear what they left half done."""
    tally = Tally(Counts(elapsed_s=record.counts.elapsed_s))
    for results, attempts in read_tables(directory, record.shards):
        tally.add_tables(results, attempts)
    drop_leftovers(directory, record.shards)
    return tally


@contextmanager
def _reached(profile: Profile) -> Iterator[tuple[str, ApiKey | None]]:
    """Base URL and key; starts the bundled simulator where it is the endpoint."""
    if profile.base_url is not None:
        yield profile.base_url, read_api_key(profile)
        return
    from omni_batch.simulator import Simulator, SimulatorOptions

    with Simulator(SimulatorOptions(keep_requests=0)) as simulator:
        yield simulator.base_url, SIMULATED_KEY
