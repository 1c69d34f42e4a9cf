"""A run under way: its directory, its connections, its counts."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from omni_batch.config import Config, parse_config
from omni_batch.counts import Counts
from omni_batch.endpoint_status import Learned
from omni_batch.engine.router import EndpointHandle, EndpointRouter
from omni_batch.errors import OmniBatchError
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint
from omni_batch.planning.reuse import open_reuse_index
from omni_batch.progress.counters import Counters
from omni_batch.progress.estimates import TokenEstimates
from omni_batch.progress.eta import ProgressEstimator
from omni_batch.progress.events import RunLog
from omni_batch.progress.limit_history import with_history
from omni_batch.progress.observers import Observers
from omni_batch.progress.telemetry import open_telemetry
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.client import EndpointClient
from omni_batch.providers.delivery import MediaDelivery
from omni_batch.providers.download import Downloader
from omni_batch.providers.profiles import SIMULATED_KEY, Profile, read_api_key
from omni_batch.providers.upload import Uploader
from omni_batch.quota import RateLimiter
from omni_batch.requests.media import MediaLoader
from omni_batch.store import Owner, RunDir, RunRecord, State
from omni_batch.store.columns import RunFacts
from omni_batch.store.disk import Disk
from omni_batch.store.parts import drop_leftovers
from omni_batch.store.read import read_tables
from omni_batch.store.record import read_record, write_record
from omni_batch.store.reuse_index import ReuseIndex


@dataclass(slots=True)
class Run:
    """A run under way. One process, one event loop."""

    directory: RunDir
    plan: Plan
    record: RunRecord
    router: EndpointRouter
    loader: MediaLoader
    counters: Counters
    eta: ProgressEstimator
    """What the counts come to."""
    observers: Observers
    """Logs and telemetry."""
    estimates: TokenEstimates
    reuse_index: ReuseIndex | None
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
        endpoints = self.plan.endpoints
        only = endpoints[0].name if len(endpoints) == 1 else None
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

    def write_record(self, state: State) -> None:
        """Write run.json as things stand."""
        self.update_record(state)
        write_record(self.directory.record, self.record, self.directory.disk)

    def update_record(self, state: State) -> RunRecord:
        """Bring the record up to date. In the event loop, where all that it counts is counted."""
        ended = state not in ("prepared", "running")
        now_s, now = time.monotonic(), datetime.now(UTC)
        endpoints = with_history(self.record.endpoints, self.router.statuses(), now)
        counts, before = self.counters.snapshot(now_s), self.record
        self.record = msgspec.structs.replace(
            self.record,
            state=state,
            counts=counts,
            endpoints=endpoints,
            projection=self.eta.update(now_s, counts, endpoints),
            text_factor=round(self.estimates.text_factor, 3),
            owner=None if ended else self.record.owner,
            finished_at=now if ended else None,
            reason=str(self.stop_reason) if self.stop_reason else None,
        )
        self.observers.on_snapshot(before, self.record)
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
        known = {endpoint.name: endpoint.learned for endpoint in record.endpoints}
        handles = [
            await _connect(plan, endpoint, directory, known.get(endpoint.name), stack)
            for endpoint in plan.endpoints
        ]
        counters = _recover(directory, record)
        run = Run(
            directory=directory,
            plan=plan,
            record=msgspec.structs.replace(record, owner=Owner.this_process()),
            router=EndpointRouter(tuple(handles)),
            loader=plan.loader(),
            counters=counters,
            eta=ProgressEstimator(record.items, counters.started_s, counters.counts),
            observers=await _observers(plan, record.run_id, stack),
            estimates=TokenEstimates(),
            reuse_index=await asyncio.to_thread(open_reuse_index, plan.config, directory),
            gate=asyncio.Semaphore(2 * plan.max_in_flight),
        )
        if run.reuse_index:
            run.warn(run.reuse_index.warnings)
        yield run


async def _connect(
    plan: Plan,
    endpoint: ResolvedEndpoint,
    directory: RunDir,
    known: Learned | None,
    stack: AsyncExitStack,
) -> EndpointHandle:
    base_url, key = stack.enter_context(_reached(endpoint.profile))
    media, patience = plan.config.media, {"first_byte_timeout_s": endpoint.first_byte_timeout_s}
    retry = plan.config.retry.model_copy(update=patience)
    client = EndpointClient(base_url, key, endpoint.dialect, retry, endpoint.max_in_flight)
    stack.push_async_callback(client.aclose)
    downloader = Downloader(
        directory.downloads,
        max_bytes=media.download_max_bytes,
        allow_private=media.allow_private_downloads,
        connect_timeout_s=retry.connect_timeout_s,
    )
    stack.push_async_callback(downloader.aclose)
    storage = endpoint.profile.storage_url or base_url
    uploader = Uploader(storage, key, plan.config.model, client.http)
    return EndpointHandle(
        name=endpoint.name,
        client=client,
        delivery=MediaDelivery(media, endpoint.dialect, uploader, downloader),
        limiter=RateLimiter(endpoint.quota, known),
        weight=endpoint.entry.weight,
        item_timeout_s=endpoint.item_timeout_s,
        audio_tokens_per_s=plan.model.tokens.audio_out_per_s if plan.model else None,
    )


async def _observers(plan: Plan, run_id: str, stack: AsyncExitStack) -> Observers:
    dialects = {endpoint.name: endpoint.dialect.name for endpoint in plan.endpoints}
    telemetry = await asyncio.to_thread(open_telemetry, run_id, plan.config.model, dialects)
    if telemetry is None:
        return Observers((RunLog(run_id),))
    stack.push_async_callback(asyncio.to_thread, telemetry.close)
    return Observers((RunLog(run_id), telemetry))


def _recover(directory: RunDir, record: RunRecord) -> Counters:
    """Count what earlier processes have finished, and clear what they left half done."""
    counters = Counters(Counts(elapsed_s=record.counts.elapsed_s))
    for results, attempts in read_tables(directory, record.shards):
        counters.add_tables(results, attempts)
    drop_leftovers(directory, record.shards)
    return counters


@contextmanager
def _reached(profile: Profile) -> Iterator[tuple[str, ApiKey | None]]:
    """Base URL and key; starts the bundled simulator where it is the endpoint."""
    if profile.base_url is not None:
        yield profile.base_url, read_api_key(profile)
        return
    from omni_batch.simulator import Simulator, SimulatorOptions

    with Simulator(SimulatorOptions(keep_requests=0)) as simulator:
        yield simulator.base_url, SIMULATED_KEY
