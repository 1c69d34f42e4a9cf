"""The command for a night."""

import asyncio

import typer

from omni_batch.cli.options import AsJson, ConfigPath, Log, Overrides, app, example, print_json


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
    from omni_batch.cli.execute import notes_on_screen, print_night, run_new, way_of
    from omni_batch.cli.runs import counting
    from omni_batch.config import load_config
    from omni_batch.nights import begin_night, end_night, notify, plan_night

    wanted = load_config(config, set_ or [])
    plan = plan_night(wanted)
    with counting("Reading the manifest") as count:
        directory = begin_night(plan, on_rows=count)
    run_new(directory, way_of(prefect=False))
    night = end_night(directory)
    with notes_on_screen():
        asyncio.run(notify(wanted.notify, night))
    if as_json:
        print_json(night.as_dict())
    else:
        print_night(directory, night)
    raise typer.Exit(night.exit_code)
