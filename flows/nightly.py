"""The nightly run as a Prefect flow: the whole manifest, and only what is new is sent.

`omni-batch schedule` serves it; `configs/prefect.yaml` deploys it to a work pool.
"""

import os
from contextlib import ExitStack
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import deployment, flow_run
from prefect.states import Completed, Failed

from omni_batch.config import load_config, notify_of
from omni_batch.errors import RunAtWork
from omni_batch.nights import NoNight, begin_night, end_night, notify, plan_night
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.remote.copies import runs_folder

from .batch import SKIPPED, known_in, own_directory, unfinished, work
from .parameters import ConfigFile, NightChanges, Overrides, every_override
from .secrets import tell_block

_NONE = NightChanges()


def _run_name() -> str:
    """Of a config and the time for which the run was scheduled, which may be long before it begins.

    Prefect says nothing of why a run crashes whose name can't be made, so nothing is read here.
    """
    stem = Path(str(flow_run.parameters.get("config") or "nightly")).stem
    return f"{stem} {flow_run.scheduled_start_time:%Y-%m-%d %H:%M} UTC"


@flow(name="omni-batch-nightly", flow_run_name=_run_name, persist_result=False)
async def nightly(
    config: ConfigFile, changes: NightChanges = _NONE, overrides: Overrides = ()
) -> State[None]:
    """One night of a config: what earlier nights have answered is not sent again.

    Args:
        config: path of a YAML file, read anew each night.
        changes: for this night, in place of what the config says.
        overrides: pairs of key=value over other keys of the config, as --set has them.
    """
    _leave_the_terminal()
    over = every_override(overrides, changes)
    who = notify_of(config, over)
    try:
        state = await _night(config, over)
    except Exception as exc:
        await notify(who, NoNight.of(exc, config), tell_block=tell_block)
        raise
    if state.name == SKIPPED:
        reason = RunAtWork(state.message or "")
        await notify(who, NoNight.of(reason, config), tell_block=tell_block)
    return state


async def _night(config: str, overrides: list[str]) -> State[None]:
    """The same as the command `nightly`, and told to the same place."""
    wanted = load_config(config, overrides)

    async def chosen(stack: ExitStack) -> RunDir:
        plan = plan_night(wanted)
        return await own_directory(plan, lambda: begin_night(plan), stack)

    async def ended(directory: RunDir, record: RunRecord) -> State[None]:
        night = end_night(RunDir(directory.root.resolve()))  # read elsewhere than here
        await notify(wanted.notify, night, tell_block=tell_block)
        if record.state != "finished":
            return unfinished(record, night.words)
        if night.failed:
            return Failed(message="; ".join((*night.to_do, night.words)))
        failures = night.failed_new + night.failed_known
        return Completed(name="PartiallyFailed" if failures else None, message=night.words)

    with ExitStack() as stack:
        await known_in(runs_folder(wanted.output), stack)
        return await work(chosen, ended)


def _leave_the_terminal() -> None:
    """Hear of the end from the serving process alone: a second signal would cut off requests.

    Ctrl-C goes to all processes of the terminal's group, and then the serving one ends its runs.
    """
    if deployment.id and hasattr(os, "setpgid") and os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
