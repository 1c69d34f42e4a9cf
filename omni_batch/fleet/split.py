"""How the shards of a run are shared out. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from omni_batch.counts import Counts


@dataclass(frozen=True, slots=True)
class ShardWork:
    """What a shard has taken so far, and what is left of it."""

    rows: int
    counts: Counts

    @property
    def open_rows(self) -> int:
        """Without a result."""
        return self.rows - self.counts.done


@dataclass(frozen=True, slots=True)
class PartWork:
    """The same of some shards, one after the other."""

    first_shard: int
    shards: tuple[ShardWork, ...]

    @property
    def rows(self) -> int:
        """All of its rows."""
        return sum(shard.rows for shard in self.shards)

    @property
    def open_rows(self) -> int:
        """Without a result."""
        return sum(shard.open_rows for shard in self.shards)

    @property
    def counts(self) -> Counts:
        """What they have taken."""
        return sum((shard.counts for shard in self.shards), Counts())


def split(shards: Sequence[ShardWork], workers: int) -> list[PartWork]:
    """Shards in so many runs of about as many open rows each; fewer where there are fewer shards.

    Every shard is in exactly one of them, in order, and none of them is empty.
    """
    parts, first, passed = min(workers, len(shards)), 0, 0
    whole = sum(shard.open_rows for shard in shards)
    ends: list[int] = []
    for number, shard in enumerate(shards, start=1):
        passed += shard.open_rows
        wanted = whole * (len(ends) + 1) / parts
        left = len(shards) - number
        is_last_chance = left == parts - len(ends) - 1
        if len(ends) < parts - 1 and (is_last_chance or passed >= wanted):
            ends.append(number)
    return list(_between([*ends, len(shards)], shards, first))


def _between(ends: Sequence[int], shards: Sequence[ShardWork], first: int) -> Iterator[PartWork]:
    for end in ends:
        yield PartWork(first, tuple(shards[first:end]))
        first = end
