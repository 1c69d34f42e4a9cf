"""One run worked on by several processes: it is split into partitions, watched, and put together.

A partition is whole shards of the run. Its process sees them as a run of its own, with a lock, a
record and drafts of its own; tables, journals and speech are those of the run. So the engine knows
nothing of fleets, and whatever reads a run reads it while many work on it.
"""

from omni_batch.fleet.lead import Workers, lead
from omni_batch.fleet.partitions import partitioned

__all__ = ["Workers", "lead", "partitioned"]
