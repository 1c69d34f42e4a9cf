"""Commands for the first minutes: a demonstration, and files to begin with."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from omni_batch.cli.options import Prefect, app, example
from omni_batch.errors import ConfigError
from omni_batch.package_files import package_file

STARTER = {
    "batch.yaml": "configs/starter/batch.yaml",
    "rows.csv": "configs/starter/rows.csv",
    "media/coffee.jpg": "data/sample/photos/coffee.jpg",
    "media/announcement.mp3": "data/sample/audio/announcement.mp3",
}
"""What `init` writes, and where it comes from."""


@app.command(epilog=example("demo"))
def demo(prefect: Prefect = True) -> None:
    """Run the sample rows against the bundled simulator: no key, no network.

    Two of the rows fail on purpose. Exits with 0 when everything went as planned.
    """
    from omni_batch.cli.execute import print_summary, run_new, way_of
    from omni_batch.cli.render.console import out
    from omni_batch.cli.render.pages import results_table
    from omni_batch.config import load_config
    from omni_batch.planning.plan import make_plan
    from omni_batch.planning.prepare import prepare_run
    from omni_batch.store.record import read_record

    manifest = package_file("data/sample/manifest.csv")
    config = load_config(package_file("configs/demo.yaml"))
    source = config.manifest.model_copy(update={"path": str(manifest)})
    out.print(
        "12 sample rows (text, images, sound, video, frames, a conversation) go to a\n"
        "simulated Qwen-Omni service, whose answers only describe what arrived.\n"
        "Two rows fail on purpose: a photo that is cut off and one that does not exist.\n"
    )
    directory = prepare_run(make_plan(config.model_copy(update={"manifest": source})))
    run_new(directory, way_of(prefect=prefect))
    out.print(results_table(directory))
    print_summary(directory)
    out.print(
        f"\nTable:  {directory.root}/results   (pandas, DuckDB, Polars)\n"
        f"Speech: {directory.root}/audio\n"
        f"Next:   omni-batch status {directory.root}"
    )
    counts = read_record(directory.record).counts
    raise typer.Exit(0 if (counts.succeeded, counts.failed) == (10, 2) else 1)


@app.command(epilog=example("init captions", all_keys=True))
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Created if it does not exist.")
    ] = Path(),
) -> None:
    """Write a commented config and three rows to start from; nothing is overwritten.

    They run as they are, against the bundled simulator: no key, no network.
    """
    taken = [name for name in STARTER if os.path.lexists(folder / name)]
    if taken:
        raise ConfigError(f"{folder / taken[0]} exists; move it, or name another folder")
    try:
        for name, source in STARTER.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("xb") as file:
                file.write(package_file(source).read_bytes())
    except OSError as exc:
        raise ConfigError(f"{folder} can't be written: {exc}") from exc
    where = "" if folder == Path() else f"cd {shlex.quote(str(folder))}\n"
    typer.echo(
        f"Wrote {', '.join(str(folder / name) for name in STARTER)}. Next:\n\n{where}"
        "omni-batch check batch.yaml\nomni-batch run batch.yaml"
    )
