"""Prefect flows over omni_batch: order, names, tags, artifacts. The only importers of Prefect."""

import os
import sys

from omni_batch import interrupts
from omni_batch.providers.environment import environment_for_httpx

from .settings import check_settings


def _take_over_its_server() -> None:
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        from .temporary.server import take_over

        take_over()


if sys.argv[:1] == ["-m"]:  # `python -m flows.batch`, which is still being looked for
    interrupts.end_at_once()

# Set before Prefect is imported anywhere; what the user has set is kept. Nothing phones home, and a
# temporary server gets the time that its first start on a machine needs (17 to 20 s, measured).
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}.items():
    os.environ.setdefault(_name, _value)
os.environ.update(environment_for_httpx())  # Prefect's client can't begin where httpx can't read it
check_settings()
_take_over_its_server()
