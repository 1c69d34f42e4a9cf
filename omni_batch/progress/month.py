"""What the runs of a config have spent in a calendar month."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path

from omni_batch.config import Config
from omni_batch.counts import Counts
from omni_batch.doubts import Doubt
from omni_batch.errors import ConfigError, StorageError
from omni_batch.progress.current import current_record
from omni_batch.progress.spending.budget import Month
from omni_batch.store.read import broken_runs, list_runs
from omni_batch.store.record import RunRecord
from omni_batch.store.run_dir import RunDir

_LONGEST = timedelta(days=31)


def month_of(folder: Path, config: Config, at: datetime, own: str | None = None) -> Month | None:
    """A month, with what the runs of a config in a folder have spent that were begun in it; None
    where the budget has no month.

    A run belongs to the month in which it was begun, also when it ends in the next one.

    Args:
        at: any moment of the month.
        own: id of a run that is left out.
    """
    if config.budget.month is None:
        return None
    first = _first_day(at, config)
    spent = Counts()
    for other, theirs in list_runs(folder):
        ours = theirs.config.get("name") == config.name and other.run_id != own
        if ours and _first_day(theirs.created_at, config) == first:
            spent += _counts(other, theirs)
    return Month(f"{first:%B %Y}", f"{first.replace(day=1) + _LONGEST:%B %Y}", spent)


def unread_doubts(folder: Path, config: Config) -> Iterator[Doubt]:
    """Runs of a config that can't be counted."""
    if config.budget.month is None:
        return
    for directory, why in broken_runs(folder):
        if directory.run_id.startswith(f"{config.name}-"):
            yield Doubt("month-uncounted", f"budget.month leaves out {directory.root}: {why}")


def _first_day(moment: datetime, config: Config) -> date:
    return moment.astimezone(config.zone).date().replace(day=1)


def _counts(directory: RunDir, record: RunRecord) -> Counts:
    """Of a process that died: what it wrote, as its last word may be a second old."""
    if record.state == "running":
        with suppress(StorageError, ConfigError):
            return current_record(directory).counts
    return record.counts
