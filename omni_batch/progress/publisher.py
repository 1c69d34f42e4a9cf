"""What run.json says of a run under way: made anew each second, handed to observers, written."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from omni_batch.doubts import Doubt
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.progress.eta import ProgressEstimator
from omni_batch.progress.ledger import Ledger
from omni_batch.progress.limit_history import with_history
from omni_batch.progress.observers import tell
from omni_batch.store.record import Owner, RunRecord, State, write_record
from omni_batch.store.run_dir import RunDir


class Publisher:
    """Holds the record of a run. Its file is whole at every instant.

    Args:
        record: as the last process left it.
        ledger: of this process, in which nothing has been sent yet.
        statuses: tells how each endpoint is used.
    """

    def __init__(
        self,
        directory: RunDir,
        record: RunRecord,
        ledger: Ledger,
        statuses: Callable[[], tuple[EndpointStatus, ...]],
    ) -> None:
        self.record = msgspec.structs.replace(record, owner=Owner.this_process())
        self.jobs = record.jobs
        """Where requests go as files; whoever sees to the jobs sets it."""
        self._directory, self._ledger, self._statuses = directory, ledger, statuses
        self._eta = ProgressEstimator(record.items, ledger.started_s, ledger.counts)

    def warn(self, doubts: Iterable[Doubt]) -> None:
        """Put on record what is worth knowing, once."""
        together = dict.fromkeys((*self.record.warnings, *map(str, doubts)))
        self.record = msgspec.structs.replace(self.record, warnings=tuple(together))

    def update(self, state: State, reason: Exception | None) -> RunRecord:
        """Bring the record up to date, in the event loop; nothing is written yet."""
        before, at, now_s = self.record, datetime.now(UTC), time.monotonic()
        counts, running = self._ledger.snapshot(now_s), state == "running"
        endpoints = with_history(before.endpoints, self._statuses(), at)
        self.record = msgspec.structs.replace(
            before,
            state=state,
            counts=counts,
            endpoints=endpoints,
            jobs=self.jobs,
            projection=self._eta.update(now_s, counts, endpoints),
            text_factor=round(self._ledger.estimates.text_factor, 3),
            owner=before.owner if running else None,
            finished_at=None if running else at,
            reason=str(reason) if reason else None,
        )
        now = self.record
        tell(self._ledger.observers, lambda observer: observer.on_snapshot(before, now))
        return now

    def write(self) -> None:
        """Write run.json; StorageError where the disk is full or not writable."""
        write_record(self._directory.record, self.record, self._directory.disk)
