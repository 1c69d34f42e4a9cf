"""Commands over the tables of finished and unfinished runs: sql, export, compare."""

import os
import sys
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from omni_batch.errors import ConfigError

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


class Shape(StrEnum):
    """How `sql` gives its rows."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(
        epilog='Example: omni-batch sql data/runs "select status, count(*) from results group by 1"'
    )(sql)


def sql(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN_DIR...", help="Runs, folders of runs or patterns.")
    ],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT, or - for stdin.")],
    to: Annotated[Shape, typer.Option("--to", help="How rows are written.")] = Shape.table,
    output: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the tables of one or many runs with DuckDB's SQL; reads only.

    Views: results, attempts and items as the README lists their columns, and runs with one row for
    each run. A run in progress shows what it has so far. In CSV, cells that a spreadsheet would
    take for a formula begin with an apostrophe. Exits with 2 when the query is wrong.
    """
    from omni_batch.query import RunDatabase, find_runs

    to = Shape.json if as_json else to
    if output is None and to is Shape.parquet:
        raise ConfigError("--to parquet needs --output FILE")
    if output is not None and to is Shape.table:
        raise ConfigError("--output needs --to csv, json or parquet")
    with RunDatabase() as database:
        database.add(find_runs(runs))
        answer = database.ask(sys.stdin.read() if query == "-" else query)
        if to is Shape.table:
            _print_rows(answer)
        else:
            _write_rows(answer, to, output)


def _print_rows(answer: Any) -> None:
    from omni_batch.display import err, out
    from omni_batch.display_tables import ROWS_SHOWN, answer_table

    rows = chain.from_iterable(batch.to_pylist() for batch in answer.batches)
    out.print(answer_table(answer.schema, islice(rows, ROWS_SHOWN)))
    if next(rows, None) is not None:
        err.print(f"the first {ROWS_SHOWN} rows; --to csv, json or parquet gives all of them")


def _write_rows(answer: Any, to: Shape, output: Path | None) -> None:
    from omni_batch import flat

    write = {Shape.csv: flat.write_csv, Shape.json: flat.write_json}.get(to, flat.write_parquet)
    if output is not None:
        flat.write_file(output, write, answer.schema, answer.batches)
        return
    try:
        write(answer.schema, answer.batches, sys.stdout.buffer)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
