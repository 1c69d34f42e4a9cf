"""The flow on a real Prefect server: names, tags, states, artifacts."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.artifacts import summary_markdown
from omni_batch.analytics.results import FailureGroup
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir
from omni_batch.store.record import read_record
from tests.conftest import KEY, KEY_ENV, ROOT, prompts, write_csv

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a database of its own."""
    home = tmp_path_factory.mktemp("prefect")
    settings = {
        "PREFECT_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    os.environ.update(settings)
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=90):
        from prefect.settings import PREFECT_API_URL

        yield PREFECT_API_URL.value()


def test_a_run_as_a_flow(prefect_server: str, tmp_path: Path) -> None:
    rows = [*prompts(5), {"item_id": "gone", "image": "gone.jpg"}]
    write_csv(tmp_path / "rows.csv", rows)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"name: nightly\nmanifest: {{path: {tmp_path}/rows.csv}}\noutput: {tmp_path}/runs\n"
        "shard_size: 3\nendpoint: {name: simulator}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "flows.batch", str(config)],
        env={**os.environ, "PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    run_dir = RunDir(Path(done.stdout.splitlines()[-1]))
    assert read_record(run_dir.record).counts.succeeded == 5
    asyncio.run(_check_server(run_dir.run_id))


def test_prefect_learns_no_key_from_a_run_that_fails(
    prefect_server: str, simulator: Simulator, tmp_path: Path
) -> None:
    """At debug level, with a service that echoes the key in its errors."""
    echo = f"Incorrect API key provided: {KEY}."
    simulator.script(*[reply.status(400, message=echo)] * 3, reply.status(401, message=echo))
    write_csv(tmp_path / "rows.csv", prompts(10))
    config = tmp_path / "config.yaml"
    config.write_text(
        f"name: leaky\nmanifest: {{path: {tmp_path}/rows.csv}}\noutput: {tmp_path}/runs\n"
        f"endpoint: {{name: custom, base_url: '{simulator.base_url}', api_key_env: {KEY_ENV}}}\n"
        "quota: {max_in_flight: 1}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "flows.batch", str(config)],
        env={**os.environ, "PREFECT_API_URL": prefect_server, KEY_ENV: KEY}
        | {"PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG"},
        capture_output=True,
        text=True,
        check=False,
    )
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    assert done.returncode == 3, done.stderr
    assert KEY not in done.stdout + done.stderr
    database = Path(
        PREFECT_API_DATABASE_CONNECTION_URL.value().removeprefix("sqlite+aiosqlite:///")
    )
    kept = [database, *database.parent.glob(f"{database.name}-*"), *tmp_path.rglob("*")]
    data = b"\0".join(path.read_bytes() for path in kept if path.is_file())
    assert b"leaky" in data
    assert b"Incorrect API key provided" in data
    assert KEY.encode() not in data


def test_a_key_may_come_from_a_secret_block(
    prefect_server: str, simulator: Simulator, tmp_path: Path
) -> None:
    from prefect.blocks.system import Secret

    asyncio.run(Secret(value=KEY).asave("model-studio", overwrite=True))  # type: ignore[arg-type]
    write_csv(tmp_path / "rows.csv", prompts(2))
    config = tmp_path / "config.yaml"
    config.write_text(
        f"name: blocked\nmanifest: {{path: {tmp_path}/rows.csv}}\noutput: {tmp_path}/runs\n"
        f"endpoint: {{name: custom, base_url: '{simulator.base_url}', api_key_env: NO_SUCH_KEY, "
        "api_key_block: model-studio}\n"
    )
    command = [sys.executable, "-m", "omni_batch.cli.main", "run", str(config)]
    environment = {**os.environ, "PREFECT_API_URL": prefect_server}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in left + (done.stdout + done.stderr).encode()

    alone = subprocess.run(
        [*command, "--no-prefect"], env=environment, capture_output=True, text=True, check=False
    )
    assert (alone.returncode, "reads the block model-studio" in alone.stderr) == (2, True)


@pytest.mark.parametrize("cwd", [ROOT, ROOT / "docs"])
def test_a_deployment_names_the_flow_by_its_path(cwd: Path) -> None:
    entrypoint = f"{os.path.relpath(ROOT / 'flows' / 'batch.py', cwd)}:batch"
    code = f"""if True:
        from prefect.flows import load_flow_from_entrypoint
        flow = load_flow_from_entrypoint({entrypoint!r})
        print(flow.name, flow.fn.__globals__["keep_progress"].__name__)
        """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.stdout == "omni-batch keep_progress\n", done.stderr


def test_the_command_line_takes_the_flows_of_its_checkout(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("raise ImportError('somebody else')")
    code = "from omni_batch.package_files import import_flows as f; print(f('entry').__file__)"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout == f"{ROOT / 'flows' / 'entry.py'}\n", done.stderr


async def _check_server(run_id: str) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter, FlowRunFilterName

    async with get_client() as client:
        name = FlowRunFilterName(any_=[run_id])
        (flow_run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=name))
        task_runs = await client.read_task_runs(flow_run_filter=FlowRunFilter(name=name))
        artifacts = await client.read_artifacts(artifact_filter=ArtifactFilter())
    assert flow_run.state is not None
    assert (flow_run.state.type.value, flow_run.state.name) == ("COMPLETED", "PartiallyFailed")
    assert flow_run.state.message == "5 succeeded, 1 failed of 6"
    assert flow_run.tags == ["omni-batch"]
    assert flow_run.parameters["config"] is None
    assert sorted(task.name for task in task_runs) == ["shard-00000", "shard-00001"]
    by_type = {artifact.type: artifact for artifact in artifacts}
    assert {"progress", "markdown"} <= by_type.keys()
    markdown = str(by_type["markdown"].data)
    assert run_id in markdown
    assert "gone.jpg" in markdown


def test_the_summary_says_what_failed_and_text_can_not_break_its_table(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from omni_batch.store import Counts, RunRecord

    record = RunRecord(
        run_id="r",
        state="finished",
        items=2,
        shard_size=500,
        created_at=datetime.now(UTC),
        counts=Counts(succeeded=1, failed=1, cost={"CNY": 0.5}),
        config={"model": "m", "endpoint": {"name": "e"}},
    )
    groups = [FailureGroup("media_error", 1, "a|b", "<script>\n| x |")]
    text = summary_markdown(RunDir(tmp_path), record, groups)
    assert "| cost | 0.5000 CNY |" in text
    assert r"| 1 | media_error | a\|b: \<script\> \| x \| |" in text
