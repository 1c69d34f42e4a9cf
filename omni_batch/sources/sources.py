"""Sources: one place that all members and objects of a run come from."""

from pathlib import Path

from omni_batch.sources.archives import Archives
from omni_batch.sources.spool import Spool, Spooled


class Sources:
    """Reads what is no plain file, each thing once while it is in use.

    May be used by any number of threads.
    """

    def __init__(self, spool: Spool | None = None) -> None:
        self._spool = spool or Spool()
        self.archives = Archives(self._spool)

    def member(self, path: Path, member: str, name: str) -> Spooled:
        """A member of an archive that lies here; as of `Archives.member`."""
        return self.archives.member(path, member, name)
