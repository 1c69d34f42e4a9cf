"""A night begins: a run whose answered rows are reused, and whose failed rows come first."""

from collections.abc import Callable
from glob import escape
from pathlib import Path

import pyarrow.compute as pc

from omni_batch.config import Config
from omni_batch.nights.earlier import newest_results, nights_before
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.sources import is_store
from omni_batch.store import RunDir
from omni_batch.store.remote.copies import runs_folder
from omni_batch.store.remote.fetch import runs_below


def plan_night(config: Config, base_folder: Path | None = None, *, needs_key: bool = True) -> Plan:
    """Plan a night: answers of all runs of the config's name are reused, besides its own `reuse`.

    Args:
        base_folder: where relative references of the manifest start; its own folder by default.
        needs_key: False for a night that is only looked at.

    Raises:
        ConfigError: as `make_plan`.
    """
    own = _own_runs(config)
    reuse = (own, *(config.reuse or ()))
    config = config.model_copy(update={"reuse": reuse})
    return make_plan(config, base_folder, needs_key=needs_key)


def _own_runs(config: Config) -> str:
    """A pattern for the runs of its name."""
    names = f"{escape(config.name)}-*"
    if is_store(config.output):
        return f"{config.output.rstrip('/')}/{names}"
    return str(Path(escape(config.output), names))


def begin_night(plan: Plan, on_rows: Callable[[int], None] = lambda rows: None) -> RunDir:
    """Prepare the night's run: the manifest as it is now, and what earlier nights have answered.

    A night that was killed or stopped is left as it is: what it has answered is reused, and what
    it has not is asked.

    Args:
        plan: of `plan_night`.
        on_rows: called now and then with the number of rows read.

    Raises:
        ConfigError, ManifestError: rejected; nothing was sent, no run directory is left.
    """
    if is_store(plan.config.output):
        runs_below(_own_runs(plan.config), "tables")  # nights of other machines
    results = newest_results(nights_before(runs_folder(plan.config.output), plan.config.name))
    failed = results.filter(pc.equal(results["status"], "failed"))["item_id"]
    return prepare_run(plan, on_rows=on_rows, failed=frozenset(failed.to_pylist()))
