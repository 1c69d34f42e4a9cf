"""One plain simulator for all tests that change nothing about it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from omni_batch.simulator import Simulator


@pytest.fixture(scope="session")
def sim() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator
