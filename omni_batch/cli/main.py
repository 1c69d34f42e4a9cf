"""The command line: thin doors to the same functions that a notebook calls."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from omni_batch._version import __version__
from omni_batch.cli import service, tables
from omni_batch.errors import ConfigError, OmniBatchError

app = typer.Typer(
    name="omni-batch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Rows of media in; text, speech and token counts out, over the Qwen-Omni chat API.",
)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Directory of a run.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override a key of the config.")
]
ManifestPath = Annotated[str | None, typer.Option("--manifest", help="Instead of manifest.path.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first rows.")]
Prefect = Annotated[
    bool, typer.Option("--prefect/--no-prefect", help="Without Prefect: the same engine.")
]


def _open_log(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        from omni_batch.progress.log_files import logging_to

        context.with_resource(logging_to(path, debug=_debug()))
    return path


Log = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", callback=_open_log, help="Append JSON lines to it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def main() -> None:
    """Entry point: errors become one line and an exit code."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as exc:
        sys.exit(_explain(exc))


def _explain(exc: Exception) -> int:
    from omni_batch.cli.render import err, print_error

    if _debug():
        err.print_exception()
    elif isinstance(exc, OmniBatchError):
        print_error(str(exc))
    else:
        reason = f"{type(exc).__name__}: {exc}"
        print_error(f"{reason}; this is a bug, `omni-batch --debug …` shows where")
    return 2 if isinstance(exc, OmniBatchError) and not exc.stops_run else 3


def _debug() -> bool:
    return "--debug" in sys.argv


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks; log attempts.")] = False,
) -> None:
    if version:
        print(f"omni-batch {__version__}")
        raise typer.Exit


@app.command(epilog="Example: omni-batch demo")
def demo(prefect: Prefect = True) -> None:
    """Run the sample rows against the bundled simulator: no key, no network.

    Two of the rows fail on purpose. Exits with 0 when things went as planned.
    """
    from omni_batch.cli.render import out, results_table
    from omni_batch.planning.plan import make_plan
    from omni_batch.planning.prepare import prepare_run
    from omni_batch.store.record import read_record

    config = _config(_demo_file("configs/demo.yaml"), [], None, None, None)
    manifest = _demo_file("data/sample/manifest.csv")
    config = config.model_copy(
        update={"manifest": config.manifest.model_copy(update={"path": str(manifest)})}
    )
    out.print(
        "12 sample rows (text, images, sound, video, frames, a conversation) go to a\n"
        "simulated Qwen-Omni service, whose answers only describe what arrived.\n"
        "Two rows fail on purpose: a photo that is cut off and one that does not exist.\n"
    )
    directory = prepare_run(make_plan(config))
    _work(directory, prefect)
    out.print(results_table(directory))
    _print_summary(directory)
    out.print(
        f"\nTable:  {directory.root}/results   (pandas, DuckDB, Polars)\n"
        f"Speech: {directory.root}/audio\n"
        f"Next:   omni-batch status {directory.root}"
    )
    counts = read_record(directory.record).counts
    raise typer.Exit(0 if (counts.succeeded, counts.failed) == (10, 2) else 1)


@app.command(epilog="Example: omni-batch run configs/captions.yaml --limit 20")
def run(
    config: ConfigPath,
    manifest: ManifestPath = None,
    output: Annotated[str | None, typer.Option(help="Instead of output.")] = None,
    run_id: Annotated[str | None, typer.Option(help="Name of the run directory.")] = None,
    limit: Limit = None,
    set_: Overrides = None,
    prefect: Prefect = True,
    as_json: AsJson = False,
    log: Log = None,
) -> None:
    """Send every row of the manifest; prints the run directory as its last line.

    Exit codes: 0 all succeeded, 1 some failed, 2 refused before sending, 3 stopped on the way,
    130 interrupted. A run that ended with 3 or 130 goes on with: omni-batch resume RUN_DIR
    """
    from omni_batch.planning.plan import make_plan
    from omni_batch.planning.prepare import prepare_run

    plan = make_plan(_config(config, set_ or [], manifest, output, limit))
    with _counting("Reading the manifest") as count:
        directory = prepare_run(plan, run_id, count)
    _run_and_report(directory, prefect, as_json)


@app.command(epilog="Example: omni-batch resume data/runs/captions-20261121-020000")
def resume(
    run_dir: RunPath,
    set_: Overrides = None,
    prefect: Prefect = True,
    as_json: AsJson = False,
    log: Log = None,
) -> None:
    """Finish a run that was interrupted or stopped; what has a result is not sent again.

    --set may change budget, quota, retry, reuse and shutdown_grace_s: --set budget.max_cost=20.
    """
    from omni_batch.planning.prepare import change_run
    from omni_batch.store import RunDir
    from omni_batch.store.record import read_record

    directory = RunDir(run_dir)
    if read_record(directory.record).state == "finished":
        raise ConfigError(f"run {run_dir} is finished; there is nothing to resume")
    change_run(directory, set_ or [])
    _run_and_report(directory, prefect, as_json)


@app.command(
    epilog="Example: omni-batch retry data/runs/captions-20261121-020000 --error timed_out"
)
def retry(
    run_dir: RunPath,
    error: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Only items of this error_kind.")
    ] = None,
    set_: Overrides = None,
    prefect: Prefect = True,
    as_json: AsJson = False,
    log: Log = None,
) -> None:
    """Try the failed items of a finished run again, in place; what succeeded stands as it is.

    --error may be given several times. --set may change what it may change for resume.
    """
    from omni_batch.cli.render import print_note
    from omni_batch.engine.retry_run import reopen_failed
    from omni_batch.store import RunDir

    directory = RunDir(run_dir)
    if not reopen_failed(directory, error or [], set_ or []):
        kinds = f" with {' or '.join(error)}" if error else ""
        print_note(f"no item of {run_dir} failed{kinds}; nothing is sent")
        _report(directory, as_json)
    _run_and_report(directory, prefect, as_json)


@app.command(epilog="Example: omni-batch check configs/captions.yaml --json")
def check(
    config: ConfigPath,
    manifest: ManifestPath = None,
    limit: Limit = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Read every row and probe all media; sends nothing, needs no key.

    Exit codes: 0 nothing would be refused, 1 some rows would fail, 2 the run would be refused.
    """
    from omni_batch.cli.render import check_report, out
    from omni_batch.planning.check import check_manifest
    from omni_batch.planning.plan import make_plan

    plan = make_plan(_config(config, set_ or [], manifest, None, limit), needs_key=False)
    with _counting("Checking") as count:
        report = asyncio.run(check_manifest(plan, count))
    if as_json:
        service.print_json(report.as_dict())
    else:
        out.print(check_report(report))
    raise typer.Exit(1 if report.refused else 0)


@app.command(epilog="Example: omni-batch status data/runs/captions-20261121-020000")
def status(
    run_dir: RunPath,
    watch: Annotated[bool, typer.Option("--watch", help="Until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """How far a run is, also while it goes on in another terminal."""
    from omni_batch.cli import render_run
    from omni_batch.progress.current import current_record
    from omni_batch.store import RunDir

    directory = RunDir(run_dir)
    current_record(directory)
    if watch:
        render_run.watch(directory)
    if as_json:
        service.print_json(current_record(directory))
    else:
        render_run.show(directory)


@app.command(epilog="Example: omni-batch report data/runs/captions-20261121-020000 --open")
def report(
    run_dir: RunPath,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write report.html: cost, failures, quota, latency, and a gallery to look at and listen to.

    It opens from disk, offline, and works for a run in progress as well.
    """
    from omni_batch.analytics.report import write_report
    from omni_batch.cli.render_report import report_summary
    from omni_batch.store import RunDir

    page, facts = write_report(RunDir(run_dir))
    if as_json:
        service.print_json(facts)
    else:
        from omni_batch.cli.render import out

        out.print(report_summary(facts, page))
    if open_:
        typer.launch(page.resolve().as_uri())


@app.command("list", epilog="Example: omni-batch list data/runs")
def list_(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path("data/runs"),
    as_json: AsJson = False,
) -> None:
    """All runs in a folder, the newest first."""
    from omni_batch.cli.render import out, runs_table
    from omni_batch.progress.current import current_runs

    runs = current_runs(folder)
    if as_json:
        service.print_json([record for _, record in runs])
    else:
        out.print(runs_table(runs) if runs else f"no runs in {folder}")


tables.register(app)
service.register(app)


def _config(
    path: Path, overrides: list[str], manifest: str | None, output: str | None, limit: int | None
) -> Any:
    from omni_batch.config import load_config

    options = {"manifest.path": manifest, "output": output, "limit": limit}
    given = [f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None]
    return load_config(path, [*overrides, *given])


def _run_and_report(directory: Any, prefect: bool, as_json: bool) -> None:
    _work(directory, prefect)
    _report(directory, as_json)


def _report(directory: Any, as_json: bool) -> NoReturn:
    """Say how a run stands, and exit accordingly."""
    from omni_batch.cli.render import print_line
    from omni_batch.store.record import read_record

    record = read_record(directory.record)
    if as_json:
        service.print_json(record)
    else:
        _print_summary(directory)
        print_line(directory.root)
    raise typer.Exit(record.exit_code)


def _work(directory: Any, prefect: bool) -> None:
    """Execute a run with its progress on the screen."""
    from omni_batch.cli.notes import notes_on_screen
    from omni_batch.cli.render_run import watching

    if not prefect:
        from omni_batch.engine.pipeline import execute

        with notes_on_screen(debug=_debug()), watching(directory):
            asyncio.run(execute(directory))
        return
    # Prefect's own log lines would tear the progress display; its pages keep them all.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    with notes_on_screen(debug=_debug()), watching(directory) as say:
        say("Loading Prefect")
        from flows.entry import run_with_prefect

        run_with_prefect(directory, say)


def _print_summary(directory: Any) -> None:
    from omni_batch.cli.render import out
    from omni_batch.cli.render_run import summary
    from omni_batch.progress.current import current_record

    out.print()
    out.print(summary(directory, current_record(directory)))


@contextmanager
def _counting(what: str) -> Iterator[Any]:
    """A line that counts rows, for manifests that take a while."""
    from omni_batch.cli.render import err

    with err.status(what) as line:
        yield lambda rows: line.update(f"{what}: {rows:,} rows")


def _demo_file(name: str) -> Path:
    """A file of the repository, or of an installed copy of it."""
    here = Path(__file__).parents[2], Path(sys.prefix) / "share" / "omni-batch"
    for folder in here:
        if (folder / name).exists():
            return folder / name
    raise ConfigError(f"{name} was not found in {' or '.join(map(str, here))}; install again")


if __name__ == "__main__":
    main()
