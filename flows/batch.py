"""The batch as a Prefect flow: one task for each shard, in the flow's own event loop.

    python -m flows.batch CONFIG

Deployments name it `flows/batch.py:batch` in a checkout and `omni_batch.flows.batch:batch` where a
wheel is installed; its own imports are relative, so that both work.

A task costs the Prefect server some 30 ms of CPU, so it holds a shard and never an item. What has
been done is in the run directory alone; Prefect's states, caches and retries decide nothing.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace
from prefect import flow, get_run_logger, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext, TagsContext
from prefect.exceptions import Pause
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from omni_batch import interrupts
from omni_batch.config import load_config
from omni_batch.engine.pipeline import active_run, execute
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.engine.run import Run
from omni_batch.engine.shard import process_shard
from omni_batch.errors import ConfigError, Interrupted, OmniBatchError, RunAtWork
from omni_batch.planning.consent import accept, check_run
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.planning.prepare import asks_the_same, dropped_unless_begun, prepare_run
from omni_batch.progress import phrases
from omni_batch.progress.current import is_at_work
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import list_runs
from omni_batch.store.record import read_record, write_record
from omni_batch.store.remote.copies import runs_folder
from omni_batch.store.remote.fetch import run_at

from .entry import is_left_open, run_to_its_end, who_waits
from .parameters import ConfigFile, Overrides, RunChanges, every_override
from .presence import mark_the_dead, outlive_who_reads, present
from .secrets import load_keys
from .watch import PAUSED, FlowRunWatch

_ASK_EVERY_S = 1.0
SKIPPED = "Skipped"
"""The name of the state of a flow run that has left the rows to another run."""
_NONE = RunChanges()
_EITHER = "give the flow a config, with changes and overrides to it, or a run_dir alone"


def _run_name() -> str:
    parameters = flow_run.parameters
    if run_dir := parameters.get("run_dir"):
        return Path(run_dir).name
    return Path(parameters.get("config") or "batch").stem  # until its run has a name


@flow(name="omni-batch", flow_run_name=_run_name, persist_result=False, validate_parameters=True)
async def batch(
    config: ConfigFile | None = None,
    run_dir: str | None = None,
    changes: RunChanges = _NONE,
    overrides: Overrides = (),
    trust: bool = False,
) -> State[None]:
    """Rows of media in; text, speech and token counts out.

    Args:
        config: path of a YAML file; a new run directory is prepared from it.
        run_dir: a prepared or interrupted run, instead of `config`.
        changes: for this run, in place of what the config says.
        overrides: pairs of key=value over other keys of the config, as --set has them.
        trust: consent to a `run_dir` that somebody else prepared, with all that it asks for.
    """

    async def chosen(stack: ExitStack) -> RunDir:
        over = every_override(overrides, changes)
        if run_dir and (config or over):
            raise ConfigError(f"{_EITHER}: the configuration of a run_dir is its own")
        if run_dir:
            directory = await _given_directory(run_dir, trust=trust)
            await known_in(directory.root.parent, stack)
            return directory
        plan = _plan(config, over)
        await known_in(runs_folder(plan.config.output), stack)
        return await own_directory(plan, lambda: prepare_run(plan), stack)

    return await work(chosen, _ended)


async def work(
    chosen: Callable[[ExitStack], Awaitable[RunDir]],
    ended: Callable[[RunDir, RunRecord], Awaitable[State[None]]],
) -> State[None]:
    """Work on a run directory as the flow run that this process is for.

    Args:
        chosen: the run directory; what it enters is left when the work ends.
        ended: the state of the flow run, where nobody has cancelled it.
    """
    watch, worked = FlowRunWatch(_own_flow_run()), who_waits()
    try:
        with ExitStack() as stack:
            directory = await chosen(stack)
            await watch.name_it(directory.title)
            await load_keys(directory)
            record = await execute(directory, _run_shard, background=watch.follow)
    except Exception as exc:
        if worked is not None:
            worked.set_exception(exc)
        elif isinstance(exc, RunAtWork):
            return Cancelled(name=SKIPPED, message=str(exc))
        raise
    await watch.show_the_end(directory, record)
    if worked is not None:
        worked.set_result(watch)
    if watch.given_away and watch.is_of_deployment and record.state == "interrupted":
        raise Pause(state=watch.given_away)  # ends the process and leaves the state as it is
    if watch.cancelled:
        return Cancelled(message=phrases.outcome(record))
    return await ended(directory, record)


async def known_in(folder: Path, stack: ExitStack) -> None:
    """Show beside its runs that this flow run has a process, and tell Prefect which ones have none.

    Args:
        stack: ends it.
    """
    flow_run = _own_flow_run()
    stack.enter_context(present(folder, flow_run))
    if flow_run is not None and flow_run.deployment_id is not None:
        outlive_who_reads()
    await mark_the_dead(folder)


@task(
    name="shard",
    task_run_name="shard-{shard_number:05d}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def shard(run_dir: str, shard_number: int) -> None:
    """One shard of the active run; `run_dir` is there to be read in Prefect's pages."""
    await process_shard(active_run(), shard_number)
    counts = active_run().ledger.counts
    so_far = f"so far {counts.succeeded} succeeded, {counts.failed} failed"
    get_run_logger().info("shard %d of %s ended; %s", shard_number, run_dir, so_far)


def run_with_prefect(directory: RunDir, say: Callable[[str], None]) -> None:
    """Work on a prepared or interrupted run as a tagged flow run, from a program without a loop.

    Args:
        say: told what is being waited for.

    Raises:
        ConfigError: Prefect's API can't be reached, or no temporary server starts.
        KeyboardInterrupt: it was asked to stop before the run began.
        OmniBatchError: as `execute`.
    """
    run_to_its_end(_run_flow, directory, say)


async def _run_flow(directory: RunDir) -> None:
    with tags("omni-batch"):
        await batch(run_dir=str(directory.root), return_state=True)


async def _run_shard(run: Run, shard_number: int) -> None:
    # A task with a tag asks the server for a slot of that tag, and can't begin without the server.
    with TagsContext(current_tags=set()):
        try:
            await shard(str(run.directory.root.resolve()), shard_number)
        except Pause:  # Prefect begins no task of a flow run that was suspended
            run.stop(Interrupted(PAUSED))


async def _given_directory(run_dir: str, *, trust: bool) -> RunDir:
    directory, flow_run = run_at(run_dir, "all"), _own_flow_run()
    if flow_run is not None and flow_run.deployment_id is not None:
        await _until_free(directory)
    return _gone_on_with(directory, trust=trust, again=bool(flow_run and flow_run.run_count > 1))


async def own_directory(plan: Plan, prepare: Callable[[], RunDir], stack: ExitStack) -> RunDir:
    """The run directory that this flow run has made already, else a new one.

    Args:
        plan: of the run.
        prepare: makes the new one.
        stack: drops the new one where it is refused.
    """
    flow_run = _own_flow_run()
    # Prefect does not count a beginning after Resume, so the runs themselves are asked.
    for directory, record in list_runs(runs_folder(plan.config.output)) if flow_run else ():
        if flow_run and record.flow_run_id == str(flow_run.id):
            await _until_free(directory)
            # A machine without our secret may go on with it.
            return _gone_on_with(directory, trust=asks_the_same(record, plan), again=True)
    directory = prepare()
    stack.enter_context(dropped_unless_begun(directory))
    if flow_run:
        record = replace(read_record(directory.record), flow_run_id=str(flow_run.id))
        write_record(directory.record, record, directory.disk)
    return directory


def _gone_on_with(directory: RunDir, *, trust: bool, again: bool) -> RunDir:
    """A run that is there already; what failed in it is asked for again where a run is retried."""
    if trust:
        accept(directory)
    check_run(directory)  # before any key is read
    if again and read_record(directory.record).state == "finished":
        reopen_failed(directory)
    return directory


async def _until_free(directory: RunDir) -> None:
    """Wait for an earlier process of the same flow run, which ends or has the run to its end."""
    # Nobody is told when another process gives up a lock.
    while is_at_work(directory, read_record(directory.record)):  # noqa: ASYNC110
        await asyncio.sleep(_ASK_EVERY_S)


def _plan(config: str | None, overrides: list[str]) -> Plan:
    if config is None:
        raise ConfigError(_EITHER)
    return make_plan(load_config(config, overrides))


def _own_flow_run() -> FlowRun | None:
    """The flow run that this process works for."""
    context = FlowRunContext.get()
    return context.flow_run if context else None


async def _ended(_: RunDir, record: RunRecord) -> State[None]:
    message = phrases.outcome(record)
    if record.state != "finished":
        return unfinished(record, message)
    return Completed(name="PartiallyFailed" if record.counts.failed else None, message=message)


def unfinished(record: RunRecord, message: str) -> State[None]:
    """The state of a flow run whose run stopped on the way."""
    return Failed(name=record.state.capitalize(), message=f"{message}: {record.reason}")


def main() -> int:
    """`python -m flows.batch CONFIG`: prints the run directory, returns the exit code."""
    what = "Runs a configuration as a Prefect flow, with one task for each shard."
    parser = argparse.ArgumentParser(prog="python -m flows.batch", description=what)
    parser.add_argument("config", help="YAML file, see configs/reference.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", dest="overrides")
    arguments = parser.parse_args()
    interrupts.unwind()
    try:
        code = _run_new(arguments.config, arguments.overrides)
    except OmniBatchError as exc:
        print(f"Error: {exc}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = interrupts.INTERRUPTED
    interrupts.end_at_once(code)
    sys.stdout.flush()
    if is_left_open() or code == interrupts.INTERRUPTED:
        interrupts.leave(code)
    return code


def _run_new(config: str, overrides: list[str]) -> int:
    directory = prepare_run(_plan(config, overrides))
    with dropped_unless_begun(directory):
        run_with_prefect(directory, lambda text: print(text, file=sys.stderr))
    print(directory.root)
    return read_record(directory.record).exit_code


if __name__ == "__main__":
    sys.exit(main())
