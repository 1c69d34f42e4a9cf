"""Commands over the tables of finished and unfinished runs: sql, reparse, verify, export."""

import sys
from dataclasses import asdict
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omni_batch.cli.options import (
    AsJson,
    RunPath,
    Trust,
    app,
    example,
    print_json,
    print_path,
    run_argument,
    with_consent,
)
from omni_batch.cli.streams import reader_may_leave
from omni_batch.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from omni_batch.analytics.export.rows import ExportCounts
    from omni_batch.analytics.verify import Verification


class Format(StrEnum):
    """What `export` writes."""

    hf, webdataset, jsonl, csv = "hf", "webdataset", "jsonl", "csv"
    label_studio, messages = "label-studio", "messages"


class Shape(StrEnum):
    """How `sql` writes its rows."""

    table, csv, json, parquet = "table", "csv", "json", "parquet"


@app.command(epilog=example('sql data/runs "select status, count(*) from results group by 1"'))
def sql(
    runs: Annotated[list[str], run_argument("RUN_DIR...", "Runs, folders of runs or patterns.")],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT, or - for stdin.")],
    to: Annotated[Shape, typer.Option("--to", help="How rows are written.")] = Shape.table,
    output: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
    as_json: AsJson = False,
) -> None:
    """Query the tables of one or many runs with DuckDB's SQL; reads only.

    Views: results, attempts and items, one row each; runs with one row per
    run; majority with what most samples of an item say. A run in progress
    shows its rows so far. In CSV, cells that a
    spreadsheet would run as a formula are prefixed with an apostrophe. Exits
    with 2 when the query is wrong.
    """
    from omni_batch.analytics.sql import RunDatabase, find_runs
    from omni_batch.cli.render.run import say_so_far

    to = Shape.json if as_json else to
    if output is None and to is Shape.parquet:
        raise ConfigError("--to parquet needs --output FILE")
    if output is not None and to is Shape.table:
        raise ConfigError("--output needs --to csv, json or parquet")
    with RunDatabase() as database:
        records = database.add(find_runs(runs))
        unfinished = [record for record in records if record.state != "finished"]
        if unfinished:
            say_so_far(database.rows_written(unfinished))
        answer = database.ask(sys.stdin.read() if query == "-" else query)
        if to is Shape.table:
            _print_rows(answer)
        else:
            _write_rows(answer, to, output)


def _print_rows(answer: "pa.RecordBatchReader") -> None:
    from omni_batch.analytics.sql import plain_rows
    from omni_batch.cli.render.console import err, out
    from omni_batch.cli.render.table import ROWS_SHOWN, answer_table

    rows = plain_rows(answer)
    out.print(answer_table(answer.schema, islice(rows, ROWS_SHOWN)))
    if next(rows, None) is not None:
        err.print(f"the first {ROWS_SHOWN} rows; --to csv, json or parquet gives all of them")


def _write_rows(answer: "pa.RecordBatchReader", to: Shape, output: Path | None) -> None:
    from omni_batch.analytics.table_files import write_csv, write_file, write_json, write_parquet

    write = {Shape.csv: write_csv, Shape.json: write_json}.get(to, write_parquet)
    if output is not None:
        write_file(output, write, answer)
        return
    with reader_may_leave():
        write(answer, sys.stdout.buffer)
        sys.stdout.flush()


@app.command(epilog=example("reparse data/runs/labels-20261121-020000 --schema labels.json"))
def reparse(
    run_dir: RunPath,
    schema: Annotated[
        str | None, typer.Option("--schema", help="JSON Schema in place of the run's own.")
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Read the answers of a finished run again as annotations; sends nothing.

    For a changed schema, or after an update that reads more answers. Rows
    that failed for another reason stay as they are. Afterwards `retry
    RUN_DIR --error annotation_error` asks again for the rest.
    """
    from omni_batch.analytics.reparse import reparse_run
    from omni_batch.annotation.schema import read_schema
    from omni_batch.planning.consent import check_run
    from omni_batch.requests.annotation_schema import schema_file
    from omni_batch.store.remote.fetch import run_at
    from omni_batch.store.remote.uploads import publish_changes

    directory = run_at(run_dir, "all")
    with_consent(lambda trusted: check_run(directory, trust=trusted), trust)
    chosen = read_schema(schema_file(schema)) if schema is not None else None
    found = reparse_run(directory, chosen)
    publish_changes(directory)
    if as_json:
        print_json(found)
        return
    from omni_batch.cli.render.console import out

    out.print(
        f"{found.answers:,} answers were read again: {found.now_succeeded:,} rows now succeed, "
        f"{found.now_failed:,} now fail"
    )


@app.command(epilog=example("verify data/runs/captions-20261121-020000"))
def verify(
    run_dir: RunPath,
    repair: Annotated[
        bool, typer.Option("--repair", help="Let resume ask again for what is damaged or gone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look whether a run directory is whole: rows, speech to the last byte, sums; sends nothing.

    Exit codes: 0 all that should be there is there, 1 something is not, 2
    not a run directory, or a process works on it.
    """
    from omni_batch.analytics.verify import verify_run
    from omni_batch.planning.consent import refuse_links
    from omni_batch.store.remote.fetch import run_at

    directory = run_at(run_dir, "all")
    if repair:
        refuse_links(directory)
    found = verify_run(directory, repair=repair)
    if as_json:
        print_json(found)
    else:
        _print_verification(run_dir, found, repair=repair)
    raise typer.Exit(1 if found.problems else 0)


def _print_verification(run_dir: str, found: "Verification", *, repair: bool) -> None:
    from omni_batch.cli.render.console import out
    from omni_batch.text import one_line

    def say(line: str) -> None:
        out.print(one_line(line), soft_wrap=True, markup=False)

    for problem in found.listed:
        say(problem)
    if found.problems > len(found.listed):
        say(f"and {found.problems - len(found.listed):,} more")
    problems = "1 problem" if found.problems == 1 else f"{found.problems:,} problems"
    say(
        f"{problems}; {found.rows:,} of {found.items:,} rows and "
        f"{found.speech_files:,} files of speech were looked at ({found.state})"
    )
    if repair and found.problems:
        say(f"{found.to_be_asked:,} rows are to be asked for: omni-batch resume {run_dir}")
    elif found.problems:
        say(f"make it fit to be resumed with: omni-batch verify {run_dir} --repair")


@app.command(epilog=example("export data/runs/captions-20261121-020000 --to hf captions"))
def export(
    run_dir: RunPath,
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="New folder, or file.")],
    to: Annotated[Format, typer.Option("--to", help="Format.")],
    failed_too: Annotated[
        bool, typer.Option("--all", help="Failed items too; jsonl and csv always contain them.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(metavar="NAME=SHARE,...", help="Such as train=0.9,test=0.1.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --split: another one draws other items; 0.")
    ] = None,
    shard_items: Annotated[
        int | None, typer.Option(min=1, help="Most items in one file of hf or webdataset.")
    ] = None,
    shard_mb: Annotated[
        float, typer.Option(min=0.001, help="Megabytes after which the next file begins.")
    ] = 500.0,
    licence: Annotated[
        str | None, typer.Option("--license", help="For the dataset card, such as cc-by-4.0.")
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's results as a dataset.

    hf: a folder for datasets.load_dataset with sound and images inside, and a
    card. webdataset: tar shards. label-studio: tasks with predictions, the
    labelling config and the media. Input files that are still in media.roots
    are embedded, URLs stay URLs. jsonl and csv: the table alone; in csv,
    cells that a spreadsheet would run as a formula are prefixed with an
    apostrophe. messages: chats in JSON lines, as fine-tuning tools read them.
    DEST must not exist; it appears only when it is complete.
    """
    from omni_batch.analytics.export.rows import ShardLimits
    from omni_batch.analytics.export.splits import read_shares
    from omni_batch.analytics.export.write import ExportOptions, export_run
    from omni_batch.cli.render.run import say_so_far
    from omni_batch.planning.consent import check_run
    from omni_batch.progress.current import current_record
    from omni_batch.store.remote.fetch import run_at

    directory = run_at(run_dir, "all")
    with_consent(lambda trusted: check_run(directory, trust=trusted), trust)
    limits = ShardLimits(shard_items, round(shard_mb * 1_000_000))
    if seed is not None and split is None:
        raise ConfigError("--seed needs --split, such as --split train=0.9,test=0.1")
    shares = read_shares(split, seed or 0) if split is not None else None
    options = ExportOptions(failed_too, limits, licence, shares)
    counts = export_run(directory, to.value, dest, options)
    say_so_far([(current_record(directory), counts.items + counts.left_out)])
    if as_json:
        print_json({"path": str(dest), **asdict(counts)})
    else:
        _print_export(dest, counts)


def _print_export(dest: Path, counts: "ExportCounts") -> None:
    from omni_batch.cli.render.console import err, out
    from omni_batch.text import one_line

    embedded = f", {counts.embedded:,} files embedded" if counts.embedded else ""
    left_out = f", {counts.left_out:,} failed left out" if counts.left_out else ""
    splits = ", ".join(f"{items:,} {split}" for split, items in counts.splits.items())
    items = f"{counts.items:,} items{f' ({splits})' if splits else ''}"
    out.print(f"{items}{embedded}{left_out}", soft_wrap=True, markup=False)
    for note in counts.notes:
        err.print(f"note: {one_line(note)}", soft_wrap=True, markup=False)
    for reason in counts.missing:
        err.print(f"warning: {reason}", soft_wrap=True)
    if counts.missing_files:
        err.print(f"{counts.missing_files:,} files could not be embedded", soft_wrap=True)
    print_path(dest)
