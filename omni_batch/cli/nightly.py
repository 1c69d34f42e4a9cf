"""The command for a night."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from omni_batch.cli.options import AsJson, ConfigPath, Log, Overrides, app, example, print_json

if TYPE_CHECKING:
    from omni_batch.store import RunDir


@app.command(epilog=example("nightly captions.yaml", all_keys=True))
def nightly(
    config: ConfigPath,
    set_: Overrides = None,
    as_json: AsJson = False,
    log: Log = None,
) -> None:
    """Run one night of a config, without Prefect: only what is new, changed or failed is sent.

    Earlier runs of the same name in output are reused; what failed in them
    comes first. Prints the run directory as its last line.

    Exit codes: 0 fine, 1 more new failures than fail_above, 2 rejected before
    sending, 3 stopped, 130 interrupted. The next night goes on after all of them.
    """
    from omni_batch.cli.execute import notes_on_screen, print_night
    from omni_batch.config import notify_of
    from omni_batch.nights import NoNight, end_night, notify

    try:
        directory = _ran(config, set_ or [])
        night = end_night(directory)
    except Exception as exc:
        with notes_on_screen():
            asyncio.run(notify(notify_of(config, set_ or []), NoNight.of(exc, str(config))))
        raise
    with notes_on_screen():
        asyncio.run(notify(notify_of(config, set_ or []), night))
    if as_json:
        print_json(night.as_dict())
    else:
        print_night(directory, night)
    raise typer.Exit(night.exit_code)


def _ran(config: Path, overrides: list[str]) -> "RunDir":
    """The night's run, which has come to its end or was stopped."""
    from omni_batch.cli.execute import run_new, way_of
    from omni_batch.cli.runs import counting
    from omni_batch.config import load_config
    from omni_batch.nights import begin_night, plan_night

    plan = plan_night(load_config(config, overrides))
    with counting("Reading the manifest") as count:
        directory = begin_night(plan, on_rows=count)
    run_new(directory, way_of(prefect=False))
    return directory
