"""A run under way: what its items share. One process, one event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from omni_batch.catalogue.prices import Pricing
from omni_batch.config import Config, parse_config
from omni_batch.counts import Counts
from omni_batch.doubts import Doubt
from omni_batch.engine.annotator import Annotator, annotator_of
from omni_batch.engine.same_questions import SameQuestions
from omni_batch.engine.sending.budget_gate import BudgetGate
from omni_batch.engine.sending.connect import connect
from omni_batch.engine.sending.router import EndpointRouter
from omni_batch.engine.sending.send import History, Sender
from omni_batch.engine.stop import StopSwitch
from omni_batch.engine.want import prepared_for_want
from omni_batch.errors import OmniBatchError
from omni_batch.planning.consent import require_known
from omni_batch.planning.earlier_answers import load_answers
from omni_batch.planning.fitness.at_work import owned_alone
from omni_batch.planning.media_source import MediaSource
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.planning.resolved_endpoint import room_doubts
from omni_batch.planning.reuse import open_reuse_index
from omni_batch.progress.current import written_counts
from omni_batch.progress.events import RunLog
from omni_batch.progress.ledger import Ledger
from omni_batch.progress.month import month_of, unread_doubts
from omni_batch.progress.observers import Observers
from omni_batch.progress.publisher import Publisher
from omni_batch.progress.spending.budget import Month
from omni_batch.progress.spending.estimates import TokenEstimates
from omni_batch.progress.spending.reservations import Reservations
from omni_batch.progress.telemetry import open_telemetry
from omni_batch.quota.loop_clock import pauses_left_out
from omni_batch.quota.room import raise_limit
from omni_batch.store import RunDir, RunRecord, State
from omni_batch.store.census import refuse_other_manifest
from omni_batch.store.columns import RunFacts
from omni_batch.store.disk import Disk
from omni_batch.store.own_answers import OwnAnswers
from omni_batch.store.parts import drop_leftovers
from omni_batch.store.remote.uploads import Publishing, publishing
from omni_batch.store.reopen import mend
from omni_batch.store.reuse_index import ReuseIndex
from omni_batch.types import Item, Result

Work = Callable[["Run", Item, History], Awaitable[Result | None]]
"""Works on an item; None: it has no result yet, and is asked again later."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the items of a run share."""

    directory: RunDir
    plan: Plan
    media_source: MediaSource
    reuse_index: ReuseIndex | None
    """What need not be sent, because an earlier run has the answer."""
    questions: SameQuestions
    """What need not be sent, because another row of this run asks the same."""
    annotator: Annotator | None
    """What makes typed answers, where they are asked for."""
    sender: Sender
    ledger: Ledger
    publisher: Publisher
    stopping: StopSwitch
    outlet: Publishing
    """Sends what is final to a store, where that is the run's output."""
    gate: asyncio.Semaphore
    """Bounds the items under way: those in flight and as many that are being prepared."""
    answered: Work | None = None
    """Where answers come as files: what becomes of an item once they are here."""

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self.plan.config

    @property
    def record(self) -> RunRecord:
        """The content of run.json, as last published."""
        return self.publisher.record

    @property
    def router(self) -> EndpointRouter:
        """Its endpoints."""
        return self.sender.router

    def facts(self, item: Item) -> RunFacts:
        """What an item's rows share with those of all that are asked alike."""
        # By the record: a directory may have been moved, or be reached by another name.
        asked = self.plan.asking(item)
        only = asked.endpoints[0].name if len(asked.endpoints) == 1 else None
        return RunFacts(self.record.run_id, asked.config.model, only)

    def stop(self, reason: OmniBatchError) -> None:
        """Start no more items. The first reason counts."""
        self.stopping.stop(reason)

    def update_record(self, state: State) -> RunRecord:
        """Bring the record up to date. In the event loop, where all that it counts is counted."""
        return self.publisher.update(state, self.stopping.reason)

    def write_record(self, state: State) -> None:
        """Write run.json as of now."""
        self.update_record(state)
        self.publisher.write()


@asynccontextmanager
async def open_run(directory: RunDir) -> AsyncIterator[Run]:
    """Own a run directory and connect to its endpoints."""
    async with AsyncExitStack() as stack:
        record = stack.enter_context(owned_alone(directory))
        require_known(directory, record)
        refuse_other_manifest(directory, record)
        plan = make_plan(parse_config(record.config), Path(record.base_folder))
        raise_limit(plan.room.in_flight)
        stopping = StopSwitch()
        stack.enter_context(prepared_for_want(plan.room, stopping))
        stack.enter_context(pauses_left_out())
        outlet = await stack.enter_async_context(publishing(directory, record, stopping.stop))
        disk = Disk(durable=plan.config.durability == "disk", told=outlet.final)
        directory = replace(directory, disk=disk)
        directory.make_folders()  # what copies a run may leave out folders that are empty
        router = EndpointRouter(await connect(plan, directory, record, stack))
        observers = await _observers(plan, record.run_id, stack)
        source = await stack.enter_async_context(aclosing(plan.media_source(checking=False)))
        damages = await asyncio.to_thread(mend, directory, record)
        ledger = await _ledger(plan, directory, record, observers, stopping)
        month = await asyncio.to_thread(
            month_of, directory.root.parent, plan.config, record.created_at, directory.run_id
        )
        gate = _gate(plan, ledger, stopping, month)
        run = Run(
            directory=directory,
            plan=plan,
            media_source=source,
            reuse_index=await asyncio.to_thread(open_reuse_index, plan.config, directory),
            questions=SameQuestions(await asyncio.to_thread(_own_answers, plan, directory, record)),
            annotator=annotator_of(plan),
            sender=Sender(router, directory, plan, ledger, gate, stopping),
            ledger=ledger,
            publisher=Publisher(directory, record, ledger, router.statuses),
            stopping=stopping,
            outlet=outlet,
            gate=asyncio.Semaphore(2 * plan.max_in_flight),
        )
        run.publisher.warn(room_doubts(plan.endpoints, plan.room))
        run.publisher.warn(_losses(record, ledger.counts, damages))
        run.publisher.warn(unread_doubts(directory.root.parent, plan.config))
        if run.reuse_index is not None:
            run.publisher.warn(run.reuse_index.doubts)
        yield run


async def _observers(plan: Plan, run_id: str, stack: AsyncExitStack) -> Observers:
    served = {
        endpoint.name: (endpoint.config.model, endpoint.dialect.name) for endpoint in plan.endpoints
    }
    telemetry = await asyncio.to_thread(open_telemetry, run_id, served)
    if telemetry is None:
        return (RunLog(run_id),)
    stack.push_async_callback(asyncio.to_thread, telemetry.close)
    return (RunLog(run_id), telemetry)


async def _ledger(
    plan: Plan,
    directory: RunDir,
    record: RunRecord,
    observers: Observers,
    stopping: StopSwitch,
) -> Ledger:
    earlier = await asyncio.to_thread(load_answers, plan, directory.root.parent)
    return Ledger(
        _recover(directory, record),
        plan.config.budget,
        observers,
        stopping.stop_later if plan.by_file else stopping.stop,
        items=record.items,
        in_flight=plan.max_in_flight,
        estimates=TokenEstimates(earlier.bills if earlier else ()),
        failed_before=record.failed_before or 0,
        unjudged=frozenset(endpoint.name for endpoint in plan.by_file),
    )


def _own_answers(plan: Plan, directory: RunDir, record: RunRecord) -> OwnAnswers | None:
    return OwnAnswers(directory, record) if plan.config.same_question == "reuse" else None


def _gate(plan: Plan, ledger: Ledger, stopping: StopSwitch, month: Month | None) -> BudgetGate:
    @cache
    def pricing(endpoint: str, spoken: bool) -> Pricing:
        return plan.pricing(endpoint, spoken=spoken)

    budget = plan.config.budget
    return BudgetGate(Reservations(budget, ledger.estimates, pricing, month), ledger, stopping)


def _losses(record: RunRecord, found: Counts, damages: Sequence[str]) -> Iterator[Doubt]:
    """What an earlier process had, and what can't be found any more."""
    before = record.counts
    lost = before.succeeded - before.reused - (found.succeeded - found.reused)
    if lost > 0:
        where = f" ({damages[0]})" if damages else ""
        yield Doubt("answers-gone", _gone(lost, where))
    elif damages:
        yield Doubt("run-damaged", f"{damages[0]}; what was left of it is used")


def _gone(lost: int, where: str) -> str:
    if lost == 1:
        return f"1 answer that was paid for is gone{where}; it is asked for again"
    return f"{lost:,} answers that were paid for are gone{where}; they are asked for again"


def _recover(directory: RunDir, record: RunRecord) -> Counts:
    """Count what earlier processes have finished, and clear what they left half done."""
    counts = written_counts(directory, record)
    drop_leftovers(directory, record.shards)
    return counts
