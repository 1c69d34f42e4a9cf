"""A run that stood still takes in what has come meanwhile, and asks for nothing twice."""

import asyncio

from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store.record import read_record
from tests.conftest import KEY_ENV, MakeConfig, prompts, read_table
from tests.support.pauses import PausableLoop

ROWS = 4
IMPATIENT = {
    "max_attempts": 1,
    "connect_timeout_s": 5,
    "first_byte_timeout_s": 5,
    "idle_timeout_s": 5,
    "item_timeout_s": 5,
}


async def _stand_still(run: Run) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, PausableLoop)
    while run.router.statuses()[0].in_flight < ROWS:  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0)
    loop.paused_s += 600


def test_a_pause_costs_no_request(make_config: MakeConfig) -> None:
    with Simulator(SimulatorOptions(first_chunk_s=1.0)) as slow:  # longer than what is left unread
        endpoint = {"name": "custom", "base_url": slow.base_url, "api_key_env": KEY_ENV}
        config = make_config(prompts(ROWS), endpoint=endpoint, retry=IMPATIENT)
        directory = prepare_run(make_plan(config), "run-1")
        with asyncio.Runner(loop_factory=PausableLoop) as runner:
            runner.run(execute(directory, background=_stand_still))
        assert read_record(directory.record).counts.succeeded == ROWS
        assert len(slow.requests) == len(read_table(directory.root, "attempts")) == ROWS
