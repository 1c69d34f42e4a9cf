"""Which rows are in which job, and which shards wait for what. Pure."""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable


class Coverage:
    """Jobs whose answers are not all in the journals yet.

    Args:
        shard_size: rows of a shard.
    """

    def __init__(self, shard_size: int) -> None:
        self._shard_size = shard_size
        self._rows: dict[int, array[int]] = {}
        self._shards: dict[int, set[int]] = {}
        """Of each shard the jobs with rows of it."""
        self._unmerged: dict[int, set[int]] = {}
        """Of each job the shards that have not taken its answers yet."""

    def add(self, job: int, rows: Iterable[int], shards: Collection[int]) -> None:
        """A job was written.

        Args:
            shards: those that are unfinished.
        """
        self._rows[job] = array("q", sorted(rows))
        found = {row // self._shard_size for row in self._rows[job]} & set(shards)
        self._unmerged[job] = found
        for shard in found:
            self._shards.setdefault(shard, set()).add(job)

    def rows(self, job: int) -> Collection[int]:
        """All rows of a job."""
        return self._rows[job]

    def rows_in(self, shard: int) -> set[int]:
        """Rows of a shard that are in a job."""
        found: set[int] = set()
        for rows in (self._rows[job] for job in self._shards.get(shard, ())):
            start = bisect_left(rows, shard * self._shard_size)
            found.update(rows[start : bisect_left(rows, (shard + 1) * self._shard_size)])
        return found

    def jobs_of(self, shard: int) -> list[int]:
        """The jobs that have rows of a shard, the first one first."""
        return sorted(self._shards.get(shard, ()))

    def ready(self, fetched: Collection[int], unwritten: Collection[int]) -> int | None:
        """A shard whose answers are all here; None where there is none.

        Args:
            fetched: jobs whose answers are here.
            unwritten: shards that wait until their other rows are in a job as well.
        """
        for job in sorted(fetched):
            for shard in sorted(self._unmerged.get(job, ())):
                if shard not in unwritten and self._shards[shard] <= set(fetched):
                    return shard
        return None

    def merged(self, shard: int) -> None:
        """A shard has taken all the answers that are here."""
        for job in self._shards.pop(shard, ()):
            self._unmerged[job].discard(shard)

    def is_merged(self, job: int) -> bool:
        """Whether all shards have taken a job's answers."""
        return not self._unmerged.get(job)

    def drop(self, job: int) -> None:
        """Its answers are all in the journals, or its rows go into another one."""
        for shard in self._unmerged.pop(job, ()):
            self._shards[shard].discard(job)
        self._rows.pop(job, None)
