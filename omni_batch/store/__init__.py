"""The run directory: the only place that a run writes, and all that remains of it."""

from omni_batch.counts import Counts
from omni_batch.store.audio import SpeechFile
from omni_batch.store.journal import Entry, Journal
from omni_batch.store.record import Owner, RunRecord, State
from omni_batch.store.run_dir import RunDir

__all__ = ["Counts", "Entry", "Journal", "Owner", "RunDir", "RunRecord", "SpeechFile", "State"]
