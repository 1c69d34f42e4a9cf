"""A night: one run of a config that is run again and again, and what it comes to."""

from omni_batch.nights.begin import begin_night, plan_night
from omni_batch.nights.end import end_night
from omni_batch.nights.hook import notify
from omni_batch.nights.night import Night, NoNight

__all__ = ["Night", "NoNight", "begin_night", "end_night", "notify", "plan_night"]
