"""The nightly run as a Prefect flow: the whole manifest, and only what is new is sent.

`omni-batch schedule` serves it; `configs/prefect.yaml` deploys it to a work pool.
"""

import json
import os
from glob import escape
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import deployment, flow_run

from omni_batch.config import load_config

from .batch import batch


def _run_name() -> str:
    """Of a config and the time for which the run was scheduled, which may be long before it begins.

    Prefect says nothing of why a run crashes whose name can't be made, so nothing is read here.
    """
    stem = Path(str(flow_run.parameters.get("config") or "nightly")).stem
    return f"{stem} {flow_run.scheduled_start_time:%Y-%m-%d %H:%M} UTC"


@flow(name="omni-batch-nightly", flow_run_name=_run_name, persist_result=False)
async def nightly(config: str, overrides: list[str] | None = None) -> State[None]:
    """One night of a config: what earlier nights have answered is not sent again.

    Args:
        config: path of a YAML file, read anew each night.
        overrides: `a.b=value` pairs over the configuration. No secret belongs here: Prefect
            stores parameters in clear text.
    """
    _leave_the_terminal()
    return await _night(config, overrides or [])


async def _night(config: str, overrides: list[str]) -> State[None]:
    """A new run directory beside those of earlier nights, whose answers it takes over."""
    given = load_config(config, overrides)
    earlier = f"{escape(given.output)}/{escape(given.name)}-*"
    reuse = json.dumps([*(given.reuse or ()), earlier])
    return await batch.fn(config=config, overrides=[*overrides, f"reuse={reuse}"])


def _leave_the_terminal() -> None:
    """Hear of the end from the serving process alone: a second signal would cut off requests.

    Ctrl-C goes to all processes of the terminal's group, and then the serving one ends its runs.
    """
    if deployment.id and hasattr(os, "setpgid") and os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
