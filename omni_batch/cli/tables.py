"""Commands over the tables of finished and unfinished runs: sql, verify, export, compare."""

import sys
from dataclasses import asdict
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

    from omni_batch.analytics.compare import Comparison
    from omni_batch.analytics.export.rows import ExportCounts
    from omni_batch.analytics.verify import Verification


class Format(StrEnum):
    """What `export` writes."""

    hf, webdataset, jsonl, csv = "hf", "webdataset", "jsonl", "csv"
    label_studio, messages = "label-studio", "messages"


class Side(StrEnum):
    """What `compare` compares of one run."""

    variant = "variant"


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
    from omni_batch.store import RunDir

    with_consent(lambda trusted: check_run(RunDir(run_dir), trust=trusted), trust)
    chosen = read_schema(schema_file(schema)) if schema is not None else None
    found = reparse_run(RunDir(run_dir), chosen)
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
    from omni_batch.store import RunDir

    if repair:
        refuse_links(RunDir(run_dir))
    found = verify_run(RunDir(run_dir), repair=repair)
    if as_json:
        print_json(found)
    else:
        _print_verification(run_dir, found, repair=repair)
    raise typer.Exit(1 if found.problems else 0)


def _print_verification(run_dir: Path, found: "Verification", *, repair: bool) -> None:
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
    from omni_batch.store import RunDir

    with_consent(lambda trusted: check_run(RunDir(run_dir), trust=trusted), trust)
    limits = ShardLimits(shard_items, round(shard_mb * 1_000_000))
    if seed is not None and split is None:
        raise ConfigError("--seed needs --split, such as --split train=0.9,test=0.1")
    shares = read_shares(split, seed or 0) if split is not None else None
    options = ExportOptions(failed_too, limits, licence, shares)
    directory = RunDir(run_dir)
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


@app.command(epilog=example("compare data/runs/a data/runs/b --html changes.html"))
def compare(
    left: Annotated[Path, run_argument("RUN_A", "The earlier run.")],
    right: Annotated[Path | None, run_argument("[RUN_B]", "The later run.")] = None,
    by: Annotated[
        Side | None, typer.Option("--by", help="The variants of one run, in place of two runs.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV with item_id and what is true.")
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="With --truth: field of annotation, such as box.w.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="With --truth: column of the file, if not named as the field."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Longest list to show.")] = 10,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page that opens from disk.")
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two runs over the same items, by item_id.

    Items in only one of them, changes of status, the words of the texts that
    changed most; cost, tokens and time of both; how far the fields of
    `annotation` agree. With --by variant: the same for each two variants of
    one run. With --truth and --field: how right one run is, or each variant
    of it. --html: of typed answers also the items on which both disagree,
    with their pictures and sounds.
    """
    if (right is None) == (by is None and truth is None):
        raise ConfigError(
            "compare needs two runs, or one run with --by variant, or with --truth FILE and "
            "--field NAME"
        )
    if truth is not None:
        _compare_with_truth(left, truth, field, column, html, as_json=as_json)
    elif right is not None:
        from omni_batch.analytics.compare import compare_runs
        from omni_batch.store import RunDir

        comparison = compare_runs(RunDir(left), RunDir(right), limit)
        _show_comparison(comparison, html, trust=trust, as_json=as_json)
    else:
        _compare_variants(left, limit, html, trust=trust, as_json=as_json)


def _compare_variants(
    run: Path, limit: int, html: Path | None, *, trust: bool, as_json: bool
) -> None:
    from omni_batch.analytics.compare import compare_variants
    from omni_batch.cli.render.compare import variants_report
    from omni_batch.cli.render.console import out
    from omni_batch.store import RunDir

    found = compare_variants(RunDir(run), limit)
    if len(found.pairs) == 1:
        _show_comparison(found.pairs[0], html, trust=trust, as_json=as_json)
    elif html is not None:
        raise ConfigError(f"--html shows two variants; run {run} has {len(found.variants)}")
    elif as_json:
        print_json(found)
    else:
        out.print(variants_report(found))


def _show_comparison(
    comparison: "Comparison", html: Path | None, *, trust: bool, as_json: bool
) -> None:
    from omni_batch.cli.render.compare import comparison_report
    from omni_batch.cli.render.console import out

    if html is not None:
        _write_comparison(html, comparison, trust=trust)
    if as_json:
        print_json(comparison)
        return
    out.print(comparison_report(comparison))
    if html is not None:
        print_path(html)


def _compare_with_truth(
    run: Path,
    truth: Path,
    field: str | None,
    column: str | None,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    from omni_batch.analytics.truth import compare_with_truth
    from omni_batch.cli.render.compare import quality_report
    from omni_batch.cli.render.console import out
    from omni_batch.store import RunDir
    from omni_batch.store.record import read_record

    if field is None:
        raise ConfigError("--truth FILE needs --field NAME, a field of annotation")
    directory = RunDir(run)
    found = {
        variant: compare_with_truth(directory, truth, field, column, variant)
        for variant in read_record(directory.record).variants or (None,)
    }
    if html is not None:
        page = {"field": field, "run_id": directory.run_id, "truth": truth}
        _write_page(html, "truth.html.j2", qualities=found, **page)
    if as_json:
        print_json(found.get(None) or {"variants": found})
        return
    for variant, quality in found.items():
        out.print(quality_report(quality, variant))
    if html is not None:
        print_path(html)


def _write_comparison(path: Path, comparison: "Comparison", *, trust: bool) -> None:
    from omni_batch.analytics.disagreements import find_disagreements
    from omni_batch.analytics.report.page import data_uri
    from omni_batch.cli.render.compare import comparison_lines
    from omni_batch.planning.consent import check_run
    from omni_batch.store import RunDir

    left, right = RunDir(Path(comparison.left.path)), RunDir(Path(comparison.right.path))
    found = None
    if comparison.agreement:  # the page shows what was sent
        with_consent(lambda trusted: check_run(right, trust=trusted), trust)
        fields = [each.field for each in comparison.agreement]
        variants = comparison.left.variant, comparison.right.variant
        found = find_disagreements(left, right, fields, path.parent, variants)
    _write_page(
        path,
        "compare.html.j2",
        comparison=comparison,
        lines=comparison_lines(comparison),
        differing=found,
        pictures=list(map(data_uri, found.pictures)) if found else [],
    )


def _write_page(path: Path, template: str, **context: Any) -> None:
    from omni_batch.analytics.report.page import render
    from omni_batch.store.disk import draft_of

    page = render(template, **context)
    with draft_of(path) as draft:
        draft.write(page.encode("utf-8", "replace"))
