"""A Prefect server with a database of its own, for all tests of flows that one process runs."""

import os
from collections.abc import Iterator

import pytest

MEASURING = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
"""Variables by which coverage measures a process; in Prefect's server there is nothing of ours."""


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of its API."""
    home = tmp_path_factory.mktemp("prefect")
    settings = {
        "PREFECT_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    os.environ.update(settings)
    from prefect.testing.utilities import prefect_test_harness

    measuring = {name: os.environ.pop(name) for name in MEASURING if name in os.environ}
    with prefect_test_harness(server_startup_timeout=90):
        os.environ.update(measuring)
        from prefect.settings import PREFECT_API_URL

        yield PREFECT_API_URL.value()
