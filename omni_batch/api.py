"""For notebooks and programs: the engine of the command line, with rows and results in memory."""

import asyncio
import json
import tempfile
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from omni_batch.config import Config, load_config, override_tree, parse_config
from omni_batch.counts import Counts
from omni_batch.engine.pipeline import execute
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.engine.run import Run
from omni_batch.engine.supervise import interrupt
from omni_batch.planning.check import CheckReport, check_manifest
from omni_batch.planning.consent import check_run
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.planning.prepare import change_run, dropped_unless_begun, prepare_run
from omni_batch.progress.current import current_record, current_runs, published_runs
from omni_batch.requests.python_rows import Rows, write_rows
from omni_batch.sources import is_store
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.remote.copies import address_of, made_runs_folder
from omni_batch.store.remote.fetch import run_at, runs_below

if TYPE_CHECKING:
    import pandas

    from omni_batch.analytics.export.rows import ExportCounts
    from omni_batch.analytics.export.write import Format

T = TypeVar("T")
ConfigSource: TypeAlias = Config | Mapping[str, Any] | str | Path
"""A config, its keys and values, or the path of a YAML file."""
Overrides: TypeAlias = Mapping[str, Any]
"""Values by key, such as `{"limit": 20, "budget.max_cost": 5}`."""
_ROWS_FOLDER = ".rows"


@dataclass(frozen=True, slots=True)
class RunHandle:
    """One run directory. Everything is read from disk when it is asked for, so that a run which is
    still working, here or elsewhere, shows what it has so far.
    """

    path: Path
    """Of a run at a store: that of its local copy."""

    @property
    def address(self) -> str | None:
        """Where it is at a store; None of a run in a folder."""
        address = address_of(self.path)
        return str(address) if address else None

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self.record.run_id

    @property
    def record(self) -> RunRecord:
        """State, counts, endpoints and config: the content of run.json."""
        return current_record(self._directory)

    @property
    def counts(self) -> Counts:
        """Items, requests, tokens, seconds of speech and cost so far."""
        return self.record.counts

    def results(self) -> "pandas.DataFrame":
        """One row per finished item, in the order of the manifest."""
        from omni_batch.analytics.results import read_results

        return read_results(self.path)

    def sql(self, query: str) -> "pandas.DataFrame":
        """Query the views `results`, `attempts`, `items`, `runs` and `majority` by DuckDB's SQL.

        Raises:
            QueryError: the query is wrong, or does more than read.
        """
        from omni_batch.analytics.sql import RunDatabase

        with RunDatabase() as database:
            database.add([self._directory])
            frame: pandas.DataFrame = database.ask(query).read_pandas()
        return frame

    def resume(self, overrides: Overrides | None = None, *, trust: bool = False) -> "RunHandle":
        """Finish the run if it was interrupted or stopped; items with a result are not sent again.

        Args:
            overrides: `budget`, `quota`, `retry`, `reuse`, `durability` and `shutdown_grace_s`
                may change.
            trust: consent to a run that somebody else prepared, with all that it asks for.

        Raises:
            ConfigError: it is finished, another process works on it, or a key is wrong.
            UntrustedRun: somebody else prepared it; the message says what it asks for.
        """
        change_run(self._directory, _pairs(overrides), trust=trust)
        _execute(self._directory)
        return self

    def retry(
        self, *kinds: str, overrides: Overrides | None = None, trust: bool = False
    ) -> "RunHandle":
        """Retry failed items of the finished run in place; where none failed, nothing is sent.

        Args:
            kinds: only items with one of these values of `error_kind`; none stands for all.
            overrides, trust: as for `resume`.

        Raises:
            ConfigError: it is not finished, another process works on it, or a kind or key is wrong.
            UntrustedRun: as for `resume`.
        """
        if reopen_failed(self._directory, kinds, _pairs(overrides), trust=trust):
            _execute(self._directory)
        return self

    def export(
        self,
        to: "Format",
        dest: str | Path,
        *,
        failed_too: bool = False,
        split: str | None = None,
        seed: int = 0,
        trust: bool = False,
    ) -> "ExportCounts":
        """Write the results so far as a dataset.

        Args:
            to: `hf`, `webdataset`, `jsonl`, `csv`, `label-studio` or `messages`.
            dest: a new folder, or file; it appears only when it is complete.
            failed_too: also failed items, which all but `jsonl` and `csv` leave out.
            split: shares of the items, such as `train=0.9,test=0.1`.
            seed: of the draw; the same one draws the same items.
            trust: consent, this time, to a run that somebody else prepared.

        Returns:
            How many items were written, and which media could not be embedded.

        Raises:
            ConfigError: `dest` exists, or the shares are not 1 together.
            UntrustedRun: somebody else prepared it; the message says which files it asks for.
            StorageError: a table can't be read, or `dest` can't be written.
        """
        from omni_batch.analytics.export.splits import read_shares
        from omni_batch.analytics.export.write import ExportOptions, export_run

        check_run(self._directory, trust=trust)
        shares = read_shares(split, seed) if split is not None else None
        options = ExportOptions(failed_too, shares=shares)
        return export_run(self._directory, to, Path(dest), options)

    def report(self, *, trust: bool = False) -> Path:
        """Write report.html into the run directory, and return its path.

        Args:
            trust: as for `export`.

        Raises:
            UntrustedRun: as for `export`.
        """
        from omni_batch.analytics.report import write_report

        check_run(self._directory, trust=trust)
        page, _ = write_report(self._directory)
        return page

    @property
    def _directory(self) -> RunDir:
        return RunDir(self.path)


def run(
    config: ConfigSource,
    rows: Rows | None = None,
    *,
    run_id: str | None = None,
    overrides: Overrides | None = None,
) -> RunHandle:
    """Run a batch to its end; also where an event loop is running already, as in Jupyter.

    Ctrl-C, or the notebook's interrupt, ends the run in good order: requests in flight may end,
    and `resume` continues. A second one ends it at once.

    Args:
        rows: dicts or a DataFrame in the place of `manifest.path`. Their columns are those of a
            manifest; relative paths start from the current folder. They are kept beside the runs.
        run_id: name of the run directory.
        overrides: values that replace those of the config.

    Raises:
        ConfigError, ManifestError: rejected; nothing was sent, no run directory is left.
    """
    directory = prepare_run(_plan(config, rows, overrides), run_id)
    with dropped_unless_begun(directory):
        _execute(directory)
    return RunHandle(directory.root)


async def run_batch(
    config: ConfigSource,
    rows: Rows | None = None,
    *,
    run_id: str | None = None,
    overrides: Overrides | None = None,
) -> RunHandle:
    """The same as `run`, in the event loop of the caller."""
    directory = prepare_run(_plan(config, rows, overrides), run_id)
    with dropped_unless_begun(directory):
        await execute(directory)
    return RunHandle(directory.root)


def check(
    config: ConfigSource, rows: Rows | None = None, *, overrides: Overrides | None = None
) -> CheckReport:
    """What a run would do: rejected rows, tokens, cost and time. Sends nothing, needs no key.

    Raises:
        ConfigError, ManifestError: what would reject the whole run.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(config, rows, overrides, Path(folder), needs_key=False)
        return _start(check_manifest(plan)).result()


def read_run(path: str | Path) -> RunHandle:
    """A run that exists already, finished or not.

    Args:
        path: of its directory, or its address at a store, from which it is brought as it is now.

    Raises:
        ConfigError: `path` is not a run directory.
    """
    handle = RunHandle(run_at(path, "all").root)
    _ = handle.record
    return handle


def list_runs(folder: str | Path = "data/runs") -> list[RunHandle]:
    """All runs in a folder, or below an address at a store, the newest first."""
    if is_store(str(folder)):
        runs = published_runs(runs_below(str(folder), "tables"))
    else:
        runs = current_runs(Path(folder))
    return [RunHandle(directory.root) for directory, _ in runs]


def _plan(
    source: ConfigSource,
    rows: Rows | None,
    overrides: Overrides | None,
    folder: Path | None = None,
    *,
    needs_key: bool = True,
) -> Plan:
    if rows is None:
        return make_plan(_config(source, _pairs(overrides)), needs_key=needs_key)
    config = _config(source, [*_pairs(overrides), 'manifest.path="rows"'])
    make_plan(config, Path.cwd(), needs_key=needs_key)  # a wrong config writes nothing
    path = write_rows(rows, folder or made_runs_folder(config.output) / _ROWS_FOLDER)
    manifest = config.manifest.model_copy(update={"path": str(path)})
    config = config.model_copy(update={"manifest": manifest})
    return make_plan(config, Path.cwd(), needs_key=needs_key)


def _config(source: ConfigSource, overrides: Iterable[str]) -> Config:
    if isinstance(source, str | Path):
        return load_config(source, overrides)
    tree = source.model_dump() if isinstance(source, Config) else source
    return parse_config(override_tree(tree, overrides))


def _pairs(overrides: Overrides | None) -> list[str]:
    return [f"{key}={json.dumps(value, default=str)}" for key, value in (overrides or {}).items()]


def _execute(directory: RunDir) -> None:
    """Work on a run until it is finished or has to stop.

    In a thread its loop hears of no signals, so an interrupt is handed to it from here.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, Run]] = Future()

    async def note(run: Run) -> None:
        begun.set_result((asyncio.get_running_loop(), run))

    working = _start(execute(directory, background=note))
    while not working.done():
        try:
            working.exception()
        except KeyboardInterrupt:
            begun.add_done_callback(_interrupt)
    working.result()


def _interrupt(begun: "Future[tuple[asyncio.AbstractEventLoop, Run]]") -> None:
    loop, run = begun.result()
    with suppress(RuntimeError):  # the loop has ended in this moment
        loop.call_soon_threadsafe(interrupt, run)


def _start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Complete a coroutine: here, or in a thread where this one's event loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        done: Future[T] = Future()
        done.set_result(asyncio.run(work))
        return done
    pool = ThreadPoolExecutor(1, "omni-batch")
    working = pool.submit(asyncio.run, work)
    pool.shutdown(wait=False)  # nobody waits for its thread but who asks for the result
    return working
