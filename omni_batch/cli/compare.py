"""The command that compares: two runs, the variants of one, or a run with a truth."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omni_batch.cli.options import (
    AsJson,
    Trust,
    app,
    example,
    print_json,
    print_path,
    run_argument,
    with_consent,
)
from omni_batch.errors import ConfigError

if TYPE_CHECKING:
    from omni_batch.analytics.compare import Comparison


class Side(StrEnum):
    """What `compare` compares of one run."""

    variant = "variant"


@app.command(epilog=example("compare data/runs/a data/runs/b --html changes.html"))
def compare(
    left: Annotated[str, run_argument("RUN_A", "The earlier run.")],
    right: Annotated[str | None, run_argument("[RUN_B]", "The later run.")] = None,
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
        from omni_batch.store.remote.fetch import run_at

        comparison = compare_runs(run_at(left, "all"), run_at(right, "all"), limit)
        _show_comparison(comparison, html, trust=trust, as_json=as_json)
    else:
        _compare_variants(left, limit, html, trust=trust, as_json=as_json)


def _compare_variants(
    run: str, limit: int, html: Path | None, *, trust: bool, as_json: bool
) -> None:
    from omni_batch.analytics.compare import compare_variants
    from omni_batch.cli.render.compare import variants_report
    from omni_batch.cli.render.console import out
    from omni_batch.store.remote.fetch import run_at

    found = compare_variants(run_at(run, "all"), limit)
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
    run: str,
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
    from omni_batch.store.record import read_record
    from omni_batch.store.remote.fetch import run_at

    if field is None:
        raise ConfigError("--truth FILE needs --field NAME, a field of annotation")
    directory = run_at(run)
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
        draft.writelines(page)
