"""The command that runs a config night after night."""

from typing import Annotated

import typer

from omni_batch.cli.options import ConfigPath, Overrides, app, example


@app.command(epilog=example('schedule captions.yaml --cron "0 3 * * *" --timezone Europe/Berlin'))
def schedule(
    config: ConfigPath,
    cron: Annotated[
        str,
        typer.Option(metavar="FIELDS", help="Minute, hour, day, month, weekday: five fields."),
    ],
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Where cron's hours are meant.")
    ] = "UTC",
    set_: Overrides = None,
) -> None:
    """Run a config every night, through a Prefect server, until Ctrl-C or SIGTERM.

    Each run sends only rows that no earlier run of this config has answered.
    Needs PREFECT_API_URL. Started again, it replaces its schedule.
    """
    from omni_batch.cli.render.console import err
    from omni_batch.config import load_config
    from omni_batch.nights.cron import check_times
    from omni_batch.package_files import import_flows
    from omni_batch.planning.plan import make_plan

    check_times(cron, timezone)
    plan = make_plan(load_config(config, set_ or ()))
    flow = import_flows("schedule")
    nights = flow.Nights(config, tuple(set_ or ()), plan, cron, timezone)
    flow.serve_nights(nights, lambda text: err.print(text, soft_wrap=True, markup=False))
