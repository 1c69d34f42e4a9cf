"""A server that behaves like the Qwen-Omni chat API, as far as its documents and traffic show.

It reads the API independently of the client: it shares no code with the rest of omni_batch, so
that one misreading cannot hide on both sides.
"""

from omni_batch.simulator import reply
from omni_batch.simulator.api.upload_store import Stored
from omni_batch.simulator.fault_kinds import FAULTS
from omni_batch.simulator.jobs.script import LINE_FAULTS, CallScript, JobScript
from omni_batch.simulator.jobs.store import MadeJob
from omni_batch.simulator.metrics import Counters, Recorded
from omni_batch.simulator.option_values import (
    BASE64_CUTS,
    DIALECTS,
    EDITIONS,
    FRAMINGS,
    REASONING_COUNTED,
    REASONING_KEYS,
    REGIONS,
    USAGE_DETAILS,
    USAGE_PLACES,
    WAV_HEADERS,
)
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.server import Simulator, serve

__all__ = [
    "BASE64_CUTS",
    "DIALECTS",
    "EDITIONS",
    "FAULTS",
    "FRAMINGS",
    "LINE_FAULTS",
    "REASONING_COUNTED",
    "REASONING_KEYS",
    "REGIONS",
    "USAGE_DETAILS",
    "USAGE_PLACES",
    "WAV_HEADERS",
    "CallScript",
    "Counters",
    "JobScript",
    "MadeJob",
    "Recorded",
    "Simulator",
    "SimulatorOptions",
    "Stored",
    "reply",
    "serve",
]
