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
from pathlib import Path

from prefect import flow, get_run_logger, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from omni_batch.config import load_config
from omni_batch.engine.pipeline import active_run, execute
from omni_batch.engine.run import Run
from omni_batch.engine.shard import process_shard
from omni_batch.errors import ConfigError, OmniBatchError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.progress import phrases
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record

from .artifacts import keep_progress, publish_summary
from .secrets import load_keys


def _run_name() -> str:
    parameters = flow_run.parameters
    return Path(parameters.get("run_dir") or parameters.get("config") or "batch").stem


@flow(name="omni-batch", flow_run_name=_run_name, persist_result=False, validate_parameters=True)
async def batch(
    config: str | None = None, run_dir: str | None = None, overrides: list[str] | None = None
) -> State[None]:
    """Rows of media in; text, speech and token counts out.

    Args:
        config: path of a YAML file; a new run directory is prepared from it.
        run_dir: a prepared or interrupted run, instead of `config`.
        overrides: `a.b=value` pairs over the configuration. No secret belongs here: Prefect
            stores parameters in clear text.
    """
    directory = RunDir(Path(run_dir)) if run_dir else _prepare(config, overrides or [])
    await load_keys(directory)
    record = await execute(directory, _run_shard, background=keep_progress)
    await publish_summary(directory)
    return _state(record)


@task(
    name="shard",
    task_run_name="shard-{shard_number:05d}",
    tags=["omni-batch"],
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def shard(run_dir: str, shard_number: int) -> None:
    """One shard of the active run; `run_dir` is there to be read in Prefect's pages."""
    await process_shard(active_run(), shard_number)
    counts = active_run().ledger.counts
    so_far = f"so far {counts.succeeded} succeeded, {counts.failed} failed"
    get_run_logger().info("shard %d of %s ended; %s", shard_number, run_dir, so_far)


async def run_flow(directory: RunDir) -> None:
    """Work on a prepared or interrupted run as a tagged flow run."""
    with tags("omni-batch"):
        await batch(run_dir=str(directory.root), return_state=True)


async def _run_shard(run: Run, shard_number: int) -> None:
    await shard(str(run.directory.root), shard_number)


def _prepare(config: str | None, overrides: list[str]) -> RunDir:
    if config is None:
        raise ConfigError("give the flow a config or a run_dir")
    return prepare_run(make_plan(load_config(config, overrides)))


def _state(record: RunRecord) -> State[None]:
    message = phrases.outcome(record)
    if record.state != "finished":
        return Failed(name=record.state.capitalize(), message=f"{message}: {record.reason}")
    return Completed(name="PartiallyFailed" if record.counts.failed else None, message=message)


def main() -> int:
    """`python -m flows.batch CONFIG`: prints the run directory, returns the exit code."""
    what = "Runs a configuration as a Prefect flow, with one task for each shard."
    parser = argparse.ArgumentParser(prog="python -m flows.batch", description=what)
    parser.add_argument("config", help="YAML file, see configs/reference.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", dest="overrides")
    arguments = parser.parse_args()
    try:
        directory = _prepare(arguments.config, arguments.overrides)
    except OmniBatchError as exc:
        print(f"Error: {exc}", file=sys.stderr)
        return 2
    asyncio.run(run_flow(directory))
    print(directory.root)
    return read_record(directory.record).exit_code


if __name__ == "__main__":
    sys.exit(main())
