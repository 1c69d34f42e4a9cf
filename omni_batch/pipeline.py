"""The way of an item through the system, and of a run through its items."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from omni_batch.attempt import Question, Service, ask
from omni_batch.catalogue import Price
from omni_batch.columns import RunFacts, attempt_rows, result_row
from omni_batch.config import Config, load_config, parse_config
from omni_batch.conversation import references, turns_of
from omni_batch.endpoints.client import Endpoint
from omni_batch.endpoints.dashscope import encode
from omni_batch.endpoints.profiles import Profile, read_api_key
from omni_batch.errors import BudgetReached, Interrupted, OmniBatchError, StorageError
from omni_batch.fingerprint import fingerprint
from omni_batch.media import MediaLoader
from omni_batch.prepare import Plan, effective_quota, make_plan, prepare_run, template_row
from omni_batch.prices import cost_of
from omni_batch.quota import Quota
from omni_batch.request import build_request
from omni_batch.rundir import Entry, Journal, Owner, RunDir, RunRecord, State
from omni_batch.rundir.items import read_items
from omni_batch.rundir.journal import read_journal
from omni_batch.rundir.parts import read_tables, write_parts
from omni_batch.rundir.record import read_record, write_record
from omni_batch.tally import Tally
from omni_batch.tokens import TokenRules, estimate_prompt, rules_of
from omni_batch.types import Answer, Attempt, Cost, Item, Request, Result

log = logging.getLogger("omni_batch")

_SNAPSHOT_S = 1.0
_JUDGED_AFTER = 50
_FIRST_GUESS_TOKENS = {False: 250.0, True: 600.0}
"""Completion tokens to expect before any answer has come: text only, with speech."""
ShardRunner = Callable[["Run", int], Awaitable[None]]


@dataclass(slots=True)
class Run:
    """A run under way. One process, one event loop."""

    directory: RunDir
    plan: Plan
    record: RunRecord
    service: Service
    loader: MediaLoader
    tally: Tally
    rules: TokenRules
    price: Price | None
    gate: asyncio.Semaphore
    """Bounds the items that were begun: those in flight and as many that get ready."""
    expected_completion_tokens: float
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
        return RunFacts(self.directory.run_id, self.config.model, self.plan.profile.name)

    def stop(self, reason: OmniBatchError) -> None:
        """Start no more items. The first reason stands."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.stopping.set()

    def check_going(self) -> None:
        """Raise the reason when the run has begun to stop."""
        if self.stop_reason is not None:
            raise self.stop_reason

    def snapshot(self, state: State) -> None:
        """Write run.json as things stand."""
        ended = state not in ("prepared", "running")
        self.record = msgspec.structs.replace(
            self.record,
            state=state,
            counts=self.tally.counts(self.service.quota.in_flight),
            owner=None if ended else self.record.owner,
            finished_at=datetime.now(UTC) if ended else None,
            reason=str(self.stop_reason) if self.stop_reason else None,
        )
        write_record(self.directory.record, self.record)


_ACTIVE: ContextVar[Run] = ContextVar("active_run")


def active_run() -> Run:
    """The run that the current task works for."""
    return _ACTIVE.get()


async def run_batch(config: Config | str | Path, *, run_id: str | None = None) -> RunRecord:
    """Run a configuration from manifest to Parquet.

    Raises:
        ConfigError, ManifestError: refused; nothing was sent, no run directory is left.
    """
    plan = make_plan(config if isinstance(config, Config) else load_config(config))
    return await execute(prepare_run(plan, run_id))


async def execute(directory: RunDir, run_shard: ShardRunner | None = None) -> RunRecord:
    """Work on a prepared or interrupted run until it is finished or has to stop.

    Args:
        run_shard: how a shard is run, `process_shard` by default; Prefect wraps a task around it.

    Raises:
        ConfigError: no run directory, or another process owns it.
    """
    async with open_run(directory) as run:
        _ACTIVE.set(run)
        try:
            with _stop_on_signals(run):
                await _run_shards(run, run_shard or process_shard)
        finally:
            _finish(run)
    return run.record


@asynccontextmanager
async def open_run(directory: RunDir) -> AsyncIterator[Run]:
    """Own a run directory and connect to its endpoint."""
    async with AsyncExitStack() as stack:
        record = read_record(directory.record)
        stack.enter_context(directory.owned())
        plan = make_plan(parse_config(record.config), Path(record.base_folder))
        quota = effective_quota(plan)
        base_url, key = stack.enter_context(_reached(plan.profile))
        endpoint = Endpoint(base_url, key, plan.config.retry, quota.max_in_flight)
        stack.push_async_callback(endpoint.aclose)
        profile, model = plan.profile, plan.model
        run = Run(
            directory=directory,
            plan=plan,
            record=msgspec.structs.replace(record, owner=Owner.this_process()),
            service=Service(endpoint, Quota(quota), plan.config.retry),
            loader=MediaLoader(
                plan.base_folder,
                plan.config.media.roots,
                model.limits.data_uri_max_bytes if model else None,
            ),
            tally=Tally(record.counts.elapsed_s),
            rules=rules_of(model),
            price=model.price(profile.region, profile.currency)
            if model and profile.region
            else None,
            gate=asyncio.Semaphore(2 * quota.max_in_flight),
            expected_completion_tokens=_FIRST_GUESS_TOKENS[plan.config.request.wants_audio],
        )
        _recover(run)
        yield run


async def process_shard(run: Run, shard_number: int) -> None:
    """Finish one shard: every item that has no result yet, then the part."""
    directory = run.directory
    items = await asyncio.to_thread(
        read_items, directory.items, shard_number, run.record.shard_size
    )
    done = {e.result["row_number"] for e in read_journal(directory.journal(shard_number))}
    with Journal(directory.journal(shard_number)) as journal:
        async with asyncio.TaskGroup() as group:
            for item in items:
                if item.row_number in done:
                    continue
                await run.gate.acquire()
                if run.stop_reason is not None:
                    run.gate.release()
                    break
                task = group.create_task(_run_item(run, journal, item))
                run.tasks.add(task)
                task.add_done_callback(run.tasks.discard)
    if run.stop_reason is None:
        await asyncio.to_thread(write_parts, directory, shard_number)


async def process_item(run: Run, item: Item) -> Result:
    """One item, from its row to its result.

    Raises:
        OmniBatchError: only what stops the run; all else becomes the result.
    """
    started_at, started_s = datetime.now(UTC), time.monotonic()
    attempts: list[Attempt] = []
    request: Request | None = None
    answer: Answer | None = None
    error: Exception | None = None
    estimated: int | None = None

    def record(attempt: Attempt) -> None:
        attempts.append(attempt)
        run.tally.add_attempt(attempt)

    try:
        request = await _request(run, item)
        estimated = estimate_prompt(request, run.rules).total
        question = _question(run, item, request, estimated)
        answer = await ask(
            run.service, question, run.directory, may_send=run.check_going, record=record
        )
    except OmniBatchError as exc:
        if exc.stops_run:
            raise
        error = exc
    except Exception as exc:  # a bug of ours costs a row, not the batch
        log.exception("item %s", item.item_id)
        error = exc
    return Result(
        item=item,
        started_at=started_at,
        latency_s=time.monotonic() - started_s,
        attempts=tuple(attempts),
        request=request,
        answer=answer,
        error=error,
        estimated_prompt_tokens=estimated,
        cost=_cost(run, answer),
        fingerprint=fingerprint(request, run.plan.profile.name) if request else None,
        warnings=answer.response.warnings if answer else (),
    )


async def _request(run: Run, item: Item) -> Request:
    plan = run.plan
    prompt = plan.template.render(template_row(item)) if plan.template else None
    turns = turns_of(item, prompt)
    media = {ref: await run.loader.load(ref) for ref in references(turns)}
    return build_request(item, turns, media, run.config.request, run.config.model, plan.model)


def _question(run: Run, item: Item, request: Request, estimated: int) -> Question:
    model = run.plan.model
    return Question(
        item_id=item.item_id,
        body=encode(request),
        estimated_tokens=estimated + run.expected_completion_tokens,
        wants_audio=request.wants_audio,
        audio_tokens_per_s=model.tokens.audio_out_per_s if model else None,
    )


def _cost(run: Run, answer: Answer | None) -> Cost | None:
    usage = answer.response.usage if answer else None
    if usage is None or run.price is None:
        return None
    return cost_of(usage, run.price, wants_audio=run.config.request.wants_audio)


async def _run_item(run: Run, journal: Journal, item: Item) -> None:
    try:
        _keep(run, journal, await process_item(run, item))
    except OmniBatchError as exc:
        run.stop(exc)
    finally:
        run.gate.release()


def _keep(run: Run, journal: Journal, result: Result) -> None:
    """Write the result before anything else can fail, then learn from it."""
    journal.append(Entry(result_row(run.facts, result), attempt_rows(run.facts, result)))
    run.tally.add_result(result)
    usage = result.answer.response.usage if result.answer else None
    if usage is not None:
        gap = usage.completion_tokens - run.expected_completion_tokens
        run.expected_completion_tokens += gap / min(50, run.tally.succeeded + 1)
    _check_budget(run)


def _check_budget(run: Run) -> None:
    budget, tally = run.config.budget, run.tally
    tokens = tally.prompt_tokens + tally.completion_tokens
    if budget.max_cost is not None and tally.cost >= budget.max_cost:
        raise BudgetReached(
            f"cost {tally.cost:.4f} {tally.currency} reached budget.max_cost "
            f"{budget.max_cost:g}; raise it and resume"
        )
    if budget.max_tokens is not None and tokens >= budget.max_tokens:
        raise BudgetReached(
            f"{tokens} tokens reached budget.max_tokens {budget.max_tokens}; raise it and resume"
        )
    rate = budget.max_failure_rate
    if rate is not None and tally.done >= _JUDGED_AFTER and tally.failed > rate * tally.done:
        raise BudgetReached(
            f"{tally.failed} of {tally.done} items failed, more than budget.max_failure_rate "
            f"{rate:g} allows; look at error_message in the results"
        )


def _recover(run: Run) -> None:
    """Count what earlier processes have finished, and clear what they left half done."""
    for results, attempts in read_tables(run.directory, run.record.shards):
        run.tally.add_tables(results, attempts)
    for leftover in run.directory.journals.glob("*.part"):
        leftover.unlink(missing_ok=True)


async def _run_shards(run: Run, run_shard: ShardRunner) -> None:
    numbers = (n for n in range(run.record.shards) if not run.directory.results(n).exists())

    async def lane() -> None:
        for number in numbers:
            if run.stop_reason is None:
                await run_shard(run, number)

    async with _watched(run), asyncio.TaskGroup() as group:
        # A second shard fills the gap while the last items of the first one end.
        for _ in range(2 + run.config.quota.max_in_flight // run.record.shard_size):
            group.create_task(lane())


@asynccontextmanager
async def _watched(run: Run) -> AsyncIterator[None]:
    helpers = [asyncio.create_task(_report(run)), asyncio.create_task(_end_in_time(run))]
    try:
        yield
    finally:
        for helper in helpers:
            helper.cancel()


async def _report(run: Run) -> None:
    while True:
        try:
            run.snapshot("running")
        except StorageError as exc:
            run.stop(exc)
        await asyncio.sleep(_SNAPSHOT_S)


async def _end_in_time(run: Run) -> None:
    """Once the run stops: let requests in flight end for a while, drop all else."""
    await run.stopping.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(run.config.shutdown_grace_s):
            await run.service.quota.drained()
    for task in tuple(run.tasks):
        task.cancel()


@contextmanager
def _stop_on_signals(run: Run) -> Iterator[None]:
    """First Ctrl-C or SIGTERM: stop in order. Second: at once."""
    loop = asyncio.get_running_loop()

    def handle() -> None:
        if run.stop_reason is None:
            run.stop(Interrupted("interrupted; finish it with omni-batch resume"))
        else:
            for task in tuple(run.tasks):
                task.cancel()

    signals = (signal.SIGINT, signal.SIGTERM)
    with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
        for number in signals:
            loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _finish(run: Run) -> None:
    whole = all(run.directory.results(n).exists() for n in range(run.record.shards))
    if whole and run.stop_reason is None:
        run.snapshot("finished")
        with suppress(OSError):
            run.directory.journals.rmdir()
        return
    reason = run.stop_reason
    run.snapshot("interrupted" if reason is None or isinstance(reason, Interrupted) else "stopped")


@contextmanager
def _reached(profile: Profile) -> Iterator[tuple[str, str | None]]:
    """Base URL and key; starts the bundled simulator where it is the endpoint."""
    if profile.base_url is not None:
        yield profile.base_url, read_api_key(profile)
        return
    from omni_batch.simulator import Simulator, SimulatorOptions

    with Simulator(SimulatorOptions(keep_requests=0)) as simulator:
        yield simulator.base_url, "sk-simulated"
