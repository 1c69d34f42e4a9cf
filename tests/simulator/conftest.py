"""Simulators that are kept for all tests that change nothing about them."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from tests.simulator.sim_dialects import Start


@pytest.fixture(scope="session")
def sim() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """A simulator for each set of options, kept for the whole file."""
    running: dict[str, Simulator] = {}
    with ExitStack() as stack:

        def started(dialect: str, **options: Any) -> Simulator:
            key = f"{dialect} {options}"
            if key not in running:
                chosen = SimulatorOptions(dialect=dialect, **options)
                running[key] = stack.enter_context(Simulator(chosen))
            return running[key]

        yield started
