"""Whether somebody works on a partition. Its run.json, written every second, is the heartbeat."""

import socket
import time
from typing import Literal

from omni_batch.errors import ConfigError
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record

SILENT_S = 15.0
"""Without a heartbeat a process that may be on another machine is taken for dead."""
Life = Literal["waiting", "at work", "dead", "ended"]


class Pulse:
    """Of one partition. Clocks of other machines are not asked: what counts is that it changes."""

    def __init__(self, partition: RunDir) -> None:
        self._partition = partition
        self._seen: tuple[int, int] | None = None
        self._seen_s = time.monotonic()
        self.record = read_record(partition.record)

    def feel(self) -> Life:
        """What is going on at this moment; `record` is as up to date."""
        try:
            stat = self._partition.record.stat()
            seen = stat.st_mtime_ns, stat.st_ino
            if seen != self._seen:
                self.record = read_record(self._partition.record)
                self._seen, self._seen_s = seen, time.monotonic()
        except (OSError, ConfigError):
            pass  # a share that is away for a moment: it is as silent as a worker
        return self._life()

    def _life(self) -> Life:
        if self.record.state == "prepared":
            return "waiting"
        if self.record.state != "running":
            return "ended"
        if self._partition.is_owned():
            return "at work"
        # Whoever died on this machine has lost its lock; that of another one may not be seen here.
        is_here = _host(self.record) == socket.gethostname()
        if is_here or time.monotonic() - self._seen_s > SILENT_S:
            return "dead"
        return "at work"


def _host(record: RunRecord) -> str | None:
    return record.owner.host if record.owner else None
