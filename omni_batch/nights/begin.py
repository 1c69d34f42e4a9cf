"""A night begins: a run whose answered rows are reused, and whose failed rows come first."""

from collections.abc import Callable
from glob import escape
from pathlib import Path

import pyarrow.compute as pc

from omni_batch.config import Config
from omni_batch.nights.earlier import newest_results, nights_before
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.store import RunDir


def plan_night(config: Config, base_folder: Path | None = None, *, needs_key: bool = True) -> Plan:
    """Plan a night: answers of all runs of the config's name are reused, besides its own `reuse`.

    Args:
        base_folder: where relative references of the manifest start; its own folder by default.
        needs_key: False for a night that is only looked at.

    Raises:
        ConfigError: as `make_plan`.
    """
    own = str(Path(escape(config.output), f"{escape(config.name)}-*"))
    reuse = (own, *(config.reuse or ()))
    config = config.model_copy(update={"reuse": reuse})
    return make_plan(config, base_folder, needs_key=needs_key)


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
    results = newest_results(nights_before(Path(plan.config.output), plan.config.name))
    failed = results.filter(pc.equal(results["status"], "failed"))["item_id"]
    return prepare_run(plan, on_rows=on_rows, failed=frozenset(failed.to_pylist()))
