"""configs/prefect.yaml on a real server, and a worker that runs what it deploys."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client

from omni_batch.store.read import list_runs
from tests.conftest import ROOT, prompts, write_csv
from tests.support.terminal import Terminal

pytestmark = pytest.mark.prefect

PREFECT = (sys.executable, "-m", "prefect")


def test_it_deploys_without_a_question_and_a_worker_in_another_folder_runs_it(
    prefect_server: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "PREFECT_API_URL": prefect_server}
    pool = (*PREFECT, "work-pool", "create", "omni-batch", "--type", "process")
    subprocess.run(pool, env=environment, check=True, capture_output=True)
    deploy = (*PREFECT, "deploy", "--all", "--prefect-file", "configs/prefect.yaml")
    with Terminal(*deploy, cwd=ROOT, PREFECT_API_URL=prefect_server, PWD=str(ROOT)) as terminal:
        terminal.until("successfully created|\\?")
        assert terminal.ended_within(60) == 0, terminal.shown
    assert "?" not in terminal.shown

    (tmp_path / "elsewhere").mkdir()
    write_csv(tmp_path / "rows.csv", prompts(3))
    config = tmp_path / "night.yaml"
    config.write_text(
        f"name: night\nmanifest: {{path: '{tmp_path}/rows.csv'}}\noutput: '{tmp_path}/runs'\n"
    )
    changes = {"config": str(config), "changes": {"limit": 2}}
    started = asyncio.run(_start(changes))
    worker = (*PREFECT, "worker", "start", "--pool", "omni-batch", "--run-once")
    cwd = tmp_path / "elsewhere"
    subprocess.run(worker, cwd=cwd, env=environment, check=True, capture_output=True)
    ((_, record),) = list_runs(tmp_path / "runs")
    assert (record.state, record.counts.succeeded, record.items) == ("finished", 2, 2)
    run = asyncio.run(_read(started.id))
    assert (run.state.name, run.name) == ("Completed", record.run_id)


async def _start(parameters: dict[str, Any]) -> Any:
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("omni-batch-nightly/nightly")
        assert deployment.concurrency_options is not None
        assert deployment.concurrency_options.collision_strategy.value == "CANCEL_NEW"
        return await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)


async def _read(flow_run_id: Any) -> Any:
    async with get_client() as client:
        return await client.read_flow_run(flow_run_id)
