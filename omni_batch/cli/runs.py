"""Commands over runs: make one, finish it, look at it. Thin over what a notebook calls."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from omni_batch.cli import complete
from omni_batch.cli.options import (
    AsJson,
    ConfigPath,
    Limit,
    Log,
    ManifestPath,
    Overrides,
    Prefect,
    RunPath,
    Trust,
    Workers,
    WorkPool,
    app,
    example,
    print_json,
    with_consent,
)
from omni_batch.text import one_line

if TYPE_CHECKING:
    from omni_batch.config import Config
    from omni_batch.store import RunRecord

_TELL_EVERY_S = 0.1


@app.command(epilog=example("run captions.yaml --limit 20", all_keys=True))
def run(
    config: ConfigPath,
    manifest: ManifestPath = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Replaces output: a folder, or an address at a store."),
    ] = None,
    run_id: Annotated[str | None, typer.Option(help="Name of the run directory.")] = None,
    limit: Limit = None,
    set_: Overrides = None,
    workers: Workers = None,
    work_pool: WorkPool = None,
    prefect: Prefect = True,
    as_json: AsJson = False,
    log: Log = None,
) -> None:
    """Send every row of the manifest; prints the run directory as its last line.

    Exit codes: 0 all succeeded, 1 some failed, 2 rejected before sending,
    3 stopped, 130 interrupted. After 3 and 130: omni-batch resume RUN_DIR
    """
    from omni_batch.cli.execute import print_outcome, run_new, way_of
    from omni_batch.planning.plan import make_plan
    from omni_batch.planning.prepare import prepare_run

    way = way_of(workers, work_pool, prefect=prefect)
    plan = make_plan(_config(config, set_, manifest=manifest, limit=limit, output=output))
    with counting("Reading the manifest") as count:
        directory = prepare_run(plan, run_id, count, workers=workers or 1)
    run_new(directory, way)
    print_outcome(directory, as_json=as_json)


@app.command(epilog=example("resume data/runs/captions-20261121-020000"))
def resume(
    run_dir: RunPath,
    set_: Overrides = None,
    trust: Trust = False,
    workers: Workers = None,
    work_pool: WorkPool = None,
    prefect: Prefect = True,
    as_json: AsJson = False,
    log: Log = None,
) -> None:
    """Finish a run that was interrupted or stopped; items with a result are not sent again.

    --set accepts budget, quota, retry, reuse, durability and
    shutdown_grace_s, such as --set budget.max_cost=20.
    """
    from omni_batch.cli.execute import print_outcome, run_to_its_end, way_of
    from omni_batch.planning.prepare import change_run
    from omni_batch.store.remote.fetch import run_at

    way, directory = way_of(workers, work_pool, prefect=prefect), run_at(run_dir, "all")
    with_consent(lambda trusted: change_run(directory, set_ or [], trust=trusted), trust)
    run_to_its_end(directory, way)
    print_outcome(directory, as_json=as_json)


@app.command(epilog=example("retry data/runs/captions-20261121-020000 --error timed_out"))
def retry(
    run_dir: RunPath,
    error: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="Only items with this error_kind.",
            autocompletion=complete.error_kinds,
        ),
    ] = None,
    set_: Overrides = None,
    trust: Trust = False,
    prefect: Prefect = True,
    as_json: AsJson = False,
    log: Log = None,
) -> None:
    """Retry the failed items of a finished run, in place; results of the others stay as they are.

    --error may be repeated. --set accepts the same keys as resume.
    """
    from omni_batch.cli.execute import print_outcome, run_to_its_end, way_of
    from omni_batch.cli.render.console import err
    from omni_batch.engine.retry_run import reopen_failed
    from omni_batch.store.remote.fetch import run_at

    directory = run_at(run_dir, "all")
    items = with_consent(
        lambda trusted: reopen_failed(directory, error or [], set_ or [], trust=trusted), trust
    )
    if items:
        run_to_its_end(directory, way_of(prefect=prefect))
    else:
        kinds = f" with {' or '.join(error)}" if error else ""
        err.print(f"no item of {run_dir} failed{kinds}; nothing is sent", soft_wrap=True)
    print_outcome(directory, as_json=as_json)


@app.command(epilog=example("check captions.yaml --json", all_keys=True))
def check(
    config: ConfigPath,
    manifest: ManifestPath = None,
    limit: Limit = None,
    nightly: Annotated[
        bool, typer.Option("--nightly", help="As the next night: answered rows are reused.")
    ] = False,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Read every row and probe all media; sends nothing, needs no key.

    Exit codes: 0 every row can be sent, 1 some rows would fail, 2 the run
    would be rejected.
    """
    from omni_batch.cli.render.console import out
    from omni_batch.cli.render.pages import check_report
    from omni_batch.nights import plan_night
    from omni_batch.planning.check import check_manifest
    from omni_batch.planning.plan import make_plan

    wanted = _config(config, set_, manifest=manifest, limit=limit)
    plan = (plan_night if nightly else make_plan)(wanted, needs_key=False)
    with counting("Checking") as count:
        report = asyncio.run(check_manifest(plan, count))
    if as_json:
        print_json(report.as_dict())
    else:
        out.print(check_report(report))
    raise typer.Exit(1 if report.refused else 0)


@app.command(epilog=example("status data/runs/captions-20261121-020000"))
def status(
    run_dir: RunPath,
    watch: Annotated[bool, typer.Option("--watch", help="Until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a run is, also while it is working in another terminal."""
    from omni_batch.cli.render import run as render_run
    from omni_batch.progress.current import current_record
    from omni_batch.store.remote.fetch import run_at

    directory = run_at(run_dir)
    current_record(directory)
    if watch:
        render_run.watch(directory)
    if as_json:
        print_json(current_record(directory))
    else:
        render_run.show(directory)


@app.command("list", epilog=example("list data/runs"))
def list_(
    folder: Annotated[
        str, typer.Argument(metavar="[DIR]", help="Where runs are kept: a folder, or an address.")
    ] = complete.RUNS,
    as_json: AsJson = False,
) -> None:
    """List all runs in a folder, the newest first; days on which no night began are told."""
    from omni_batch.cli.render.console import out
    from omni_batch.cli.render.pages import runs_table
    from omni_batch.progress.current import current_runs, published_runs
    from omni_batch.sources import is_store
    from omni_batch.store.read import broken_runs
    from omni_batch.store.remote.fetch import runs_below

    if is_store(folder):
        runs, broken = published_runs(runs_below(folder)), []
    else:
        runs, broken = current_runs(Path(folder)), list(broken_runs(Path(folder)))
    if as_json:
        records = [record for _, record in runs]
        lost = [{"run_id": run.run_id, "state": "broken", "reason": why} for run, why in broken]
        print_json([*records, *lost])
        return
    if runs or not broken:
        out.print(runs_table(runs) if runs else f"no runs in {folder}")
    for words in _days_without_a_night(record for _, record in runs):
        out.print(words, soft_wrap=True, markup=False, style="yellow")
    for directory, why in broken:
        out.print(one_line(f"{directory.root} is broken: {why}"), soft_wrap=True, markup=False)


def _days_without_a_night(records: "Iterable[RunRecord]") -> Iterator[str]:
    from omni_batch.nights.days import days_without, in_words

    nights: dict[tuple[str, str | None], list[datetime]] = {}
    for record in records:
        if record.failed_before is not None:
            key = str(record.config.get("name")), record.config.get("timezone")
            nights.setdefault(key, []).append(record.created_at)
    for (name, zone), begun in nights.items():
        if days := days_without(begun, datetime.now(UTC), ZoneInfo(zone) if zone else None):
            yield one_line(in_words(name, days))


@app.command(epilog=example("report data/runs/captions-20261121-020000 --open"))
def report(
    run_dir: RunPath,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Write report.html: cost, failures, quota, latency, and a gallery to look at and listen to.

    It opens from disk, offline, and works for a run in progress as well. Of
    typed answers it shows the values of each field, what broke the schema,
    and how far samples agree (Krippendorff's alpha).
    """
    from omni_batch.analytics.report import write_report
    from omni_batch.cli.render.console import out
    from omni_batch.cli.render.report import report_summary
    from omni_batch.cli.render.run import say_so_far
    from omni_batch.planning.consent import check_run
    from omni_batch.store.remote.fetch import run_at

    directory = run_at(run_dir, "all")
    with_consent(lambda trusted: check_run(directory, trust=trusted), trust)
    page, facts = write_report(directory)
    say_so_far([(facts.record, sum(group.counts.done for group in facts.modalities))])
    if as_json:
        print_json(facts)
    else:
        out.print(report_summary(facts, page))
    if open_:
        typer.launch(page.resolve().as_uri())


def _config(
    path: Path,
    overrides: list[str] | None,
    *,
    manifest: str | None,
    limit: int | None,
    output: str | None = None,
) -> "Config":
    from omni_batch.config import load_config

    options = {"manifest.path": manifest, "output": output, "limit": limit}
    given = [f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None]
    return load_config(path, [*(overrides or []), *given])


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """A line that counts rows, for manifests that take a while."""
    from omni_batch.cli.render.console import err

    told_s = 0.0

    def tell(rows: int) -> None:
        nonlocal told_s
        if (now_s := time.monotonic()) - told_s >= _TELL_EVERY_S:
            told_s = now_s
            line.update(f"{what}: {rows:,} rows")

    with err.status(what) as line:
        yield tell
