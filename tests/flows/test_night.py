"""The nightly flow: how its flow run ends, and that each night is told once, whatever it was."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from omni_batch.simulator import Simulator
from omni_batch.store.record import Owner, read_record, write_record
from tests.conftest import MakeConfig, prompts
from tests.nights.test_notify import hook

pytestmark = pytest.mark.prefect
NIGHTS = """
import asyncio, json, sys
from flows.nightly import nightly

for path in sys.argv[1:]:
    state = asyncio.run(nightly(config=path, return_state=True))
    print(json.dumps([state.type.value, state.name, state.message]))
"""


def ended_as(url: str, *paths: Path) -> list[list[str]]:
    """Type, name and message of the states in which nights end, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", NIGHTS, *map(str, paths)],
        env={**os.environ, "PREFECT_API_URL": url},
        stdout=subprocess.PIPE,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_night_is_told_once(
    prefect_server: str, simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    def write(name: str, **changes: Any) -> Path:
        config = make_config(prompts(3), name=name, output=str(tmp_path / name), **changes)
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
        return path

    with hook() as server:
        good = write("good", notify=server.url)
        bad = write("bad", notify=server.url, manifest={"path": "gone.csv"})
        states = ended_as(prefect_server, good, bad)
        (run,) = (tmp_path / "good").iterdir()  # and nothing beside it
        assert server.told[0]["run_id"] == run.name
        be_at_work_elsewhere(run / "run.json")
        states += ended_as(prefect_server, good)

    told, rejected, skipped = server.told
    assert states[0] == ["COMPLETED", "Completed", told["words"]]
    assert told["new"] == len(simulator.requests) == 3

    assert (states[1][0], rejected["state"], rejected["exit_code"]) == ("FAILED", "rejected", 2)
    assert "gone.csv does not exist" in rejected["reason"]
    assert rejected["reason"] in states[1][2]
    assert list((tmp_path / "bad").iterdir()) == []

    assert states[2] == ["CANCELLED", "Skipped", skipped["reason"]]
    assert "of this config is at work" in skipped["reason"]


def be_at_work_elsewhere(path: Path) -> None:
    owner = Owner(pid=1, host="elsewhere", since=datetime.now(UTC))
    record = msgspec.structs.replace(read_record(path), state="running", owner=owner)
    write_record(path, record)
