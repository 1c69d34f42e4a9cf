"""What run.json says of a run under way: made anew each second, handed to observers, written."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from omni_batch.counts import Counts
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.progress.eta import ProgressEstimator
from omni_batch.progress.limit_history import with_history
from omni_batch.progress.observers import Observers
from omni_batch.store.record import Owner, RunRecord, State, write_record
from omni_batch.store.run_dir import RunDir


class Publisher:
    """Holds the record of a run. Its file is whole at every instant.

    Args:
        record: as the last process left it.
        now_s: when this process began to work on the run (monotonic seconds).
        before: what was done by then.
    """

    def __init__(
        self,
        directory: RunDir,
        record: RunRecord,
        observers: Observers,
        now_s: float,
        before: Counts,
    ) -> None:
        self.record = msgspec.structs.replace(record, owner=Owner.this_process())
        self._directory, self._observers = directory, observers
        self._eta = ProgressEstimator(record.items, now_s, before)

    def warn(self, warnings: Iterable[str]) -> None:
        """Put on record what is worth knowing, once."""
        together = dict.fromkeys((*self.record.warnings, *warnings))
        self.record = msgspec.structs.replace(self.record, warnings=tuple(together))

    def update(
        self,
        state: State,
        at: datetime,
        now_s: float,
        counts: Counts,
        endpoints: tuple[EndpointStatus, ...],
        text_factor: float,
        reason: Exception | None,
    ) -> RunRecord:
        """Bring the record up to date; nothing is written yet."""
        before, ended = self.record, state not in ("prepared", "running")
        endpoints = with_history(before.endpoints, endpoints, at)
        self.record = msgspec.structs.replace(
            before,
            state=state,
            counts=counts,
            endpoints=endpoints,
            projection=self._eta.update(now_s, counts, endpoints),
            text_factor=round(text_factor, 3),
            owner=None if ended else before.owner,
            finished_at=at if ended else None,
            reason=str(reason) if reason else None,
        )
        self._observers.on_snapshot(before, self.record)
        return self.record

    def write(self) -> None:
        """Write run.json.

        Raises:
            StorageError: disk full or not writable.
        """
        write_record(self._directory.record, self.record, self._directory.disk)
