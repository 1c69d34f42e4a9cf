"""The run directory: the only place that is written, and all that a run is afterwards."""

from omni_batch.counts import Counts
from omni_batch.rundir.journal import Entry, Journal
from omni_batch.rundir.layout import RunDir
from omni_batch.rundir.record import Owner, RunRecord, State
from omni_batch.rundir.speech import SpeechFile

__all__ = ["Counts", "Entry", "Journal", "Owner", "RunDir", "RunRecord", "SpeechFile", "State"]
