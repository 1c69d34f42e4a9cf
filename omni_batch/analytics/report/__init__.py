"""A run as a page that opens from disk: what it came to, what it cost, what failed, its speech."""

from pathlib import Path

from omni_batch.analytics.report.charts import draw_run
from omni_batch.analytics.report.collect import collect
from omni_batch.analytics.report.facts import RunReport
from omni_batch.analytics.report.gallery import FIELDS, make_gallery
from omni_batch.analytics.report.page import render
from omni_batch.store import RunDir
from omni_batch.store.disk import draft_of

__all__ = ["write_report"]

PAGE = "report.html"


def write_report(directory: RunDir) -> tuple[Path, RunReport]:
    """Write report.html into a run directory, also while the run goes on.

    Returns:
        The page's path, and the facts it shows.

    Raises:
        ConfigError: not a run directory, or the drawing library is not installed.
        StorageError: a table can't be read, or the page can't be written.
    """
    report = collect(directory)
    page = render(
        "report.html.j2",
        report=report,
        pictures=draw_run(report),
        gallery=make_gallery(directory, report.record, report.annotation),
        fields=FIELDS,
        run_dir=str(directory.root),
    )
    path = directory.root / PAGE
    with draft_of(path) as draft:
        draft.writelines(page)
    return path, report
