"""From a program without an event loop into the flow. Prefect's errors end here."""

import asyncio
from collections.abc import Callable

from prefect.settings import PREFECT_API_URL, PREFECT_HOME

from omni_batch.errors import ConfigError
from omni_batch.store import RunDir
from omni_batch.store.record import read_record

from .batch import run_flow

_FIRST_START = (
    "Starting a temporary Prefect server; on its first start on this machine it makes its "
    "database, which takes about 20 seconds"
)
_LATER_START = "Starting a temporary Prefect server (about 10 seconds)"


def run_with_prefect(directory: RunDir, say: Callable[[str], None]) -> None:
    """Work on a prepared or interrupted run as a flow run.

    Args:
        say: told what is being waited for.

    Raises:
        ConfigError: Prefect's API can't be reached.
    """
    say(_waiting_for())
    try:
        asyncio.run(run_flow(directory))
    except Exception as exc:
        if read_record(directory.record).state in ("finished", "stopped", "interrupted"):
            return  # the work is done and written; only Prefect's own record of it is not
        if "reach API" not in str(exc):
            raise
        raise ConfigError(
            f"Prefect's API at {PREFECT_API_URL.value()} can't be reached: start it, unset "
            "PREFECT_API_URL, or add --no-prefect"
        ) from exc


def _waiting_for() -> str:
    url = PREFECT_API_URL.value()
    if url:
        return f"Connecting to Prefect at {url}"
    return _LATER_START if (PREFECT_HOME.value() / "prefect.db").exists() else _FIRST_START
