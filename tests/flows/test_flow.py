"""The flow on a real Prefect server: names, tags, states, artifacts."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from omni_batch.analytics.results import FailureGroup
from omni_batch.doubts import DoubtGroup
from omni_batch.errors import UntrustedRun
from omni_batch.simulator import JobScript, Simulator, SimulatorOptions, reply
from omni_batch.store import RunDir
from omni_batch.store.record import read_record
from tests.conftest import KEY, KEY_ENV, ROOT, prompts, write_csv
from tests.support.written_runs import Written, write_run

pytestmark = pytest.mark.prefect


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


def test_a_run_by_file_has_a_task_for_each_shard_that_is_taken_in(
    prefect_server: str, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.script_jobs(JobScript(lines={4: "absent"}))
    write_csv(tmp_path / "rows.csv", prompts(6))
    config = tmp_path / "config.yaml"
    config.write_text(
        f"manifest: {{path: {tmp_path}/rows.csv}}\noutput: {tmp_path}/runs\n"
        "shard_size: 3\nmodel: qwen3.5-omni-plus\nendpoint: {name: dashscope-batch, "
        f"base_url: '{simulator.base_url}', api_key_env: {KEY_ENV}}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "flows.batch", str(config)],
        env={**os.environ, "PREFECT_API_URL": prefect_server, KEY_ENV: KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run_dir = RunDir(Path(done.stdout.splitlines()[-1]))
    assert read_record(run_dir.record).counts.succeeded == 6
    names = asyncio.run(_task_names(run_dir.run_id))
    # The second shard is taken in once more, with the row that went into another job.
    assert names == ["shard-00000", "shard-00001", "shard-00001"]


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


# --- a server that dies, and buttons ---


class Relay:
    """The way to a server, which can be closed."""

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open = [self._listening]
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/api"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection((str(self._there.hostname), self._there.port))
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(2**16):
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Simulator]:
    """A service that takes 0.1 s for an answer, and a config of 80 rows in 8 shards."""
    write_csv(tmp_path / "rows.csv", prompts(80))
    with Simulator(SimulatorOptions(first_chunk_s=0.1)) as simulator:
        url = simulator.base_url
        (tmp_path / "config.yaml").write_text(
            f"manifest: {{path: {tmp_path}/rows.csv}}\noutput: {tmp_path}/runs\nshard_size: 10\n"
            f"endpoint: {{name: custom, base_url: '{url}', api_key_env: {KEY_ENV}}}\n"
            "quota: {max_in_flight: 1, requests_per_minute: 1e9, tokens_per_minute: 1e12}\n"
        )
        yield simulator


def begin(tmp_path: Path, url: str, run_id: str, slow: Simulator) -> subprocess.Popen[str]:
    """The command line at work, with a shard behind it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "omni_batch", "run", "config.yaml", "--run-id", run_id],
        cwd=tmp_path,
        env={**os.environ, "PREFECT_API_URL": url, KEY_ENV: KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(slow.requests) < 15:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def test_a_server_that_dies_costs_its_page_and_nothing_else(
    prefect_server: str, tmp_path: Path, slow: Simulator
) -> None:
    relay = Relay(prefect_server)
    process = begin(tmp_path, relay.url, "orphan", slow)
    relay.close()
    output, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "finished: 80 succeeded" in output
    assert len(slow.requests) == 80
    assert said.count("the run goes on without its page") == 1
    assert "Traceback" not in said
    assert "ERROR" not in said


@pytest.mark.parametrize("state", ["CANCELLING", "CANCELLED"])
def test_a_run_that_is_cancelled_on_its_page_stops_in_order(
    prefect_server: str, tmp_path: Path, slow: Simulator, state: str
) -> None:
    run_id = f"unwanted-{state.lower()}"
    process = begin(tmp_path, prefect_server, run_id, slow)
    asyncio.run(_press(run_id, state))
    output, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "its flow run was cancelled in Prefect" in output
    counts = read_record(tmp_path / "runs" / run_id / "run.json").counts
    assert counts.succeeded == len(slow.requests) < 80
    assert asyncio.run(_press(run_id)) == "CANCELLED"


async def _press(name: str, state: str | None = None) -> str:
    """Set the state of a flow run, as the buttons of its page do; return what it was."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
    from prefect.client.schemas.objects import State, StateType

    async with get_client() as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
        (flow_run,) = await client.read_flow_runs(flow_run_filter=named)
        if state is not None:
            new: State[None] = State(type=StateType(state))
            await client.set_flow_run_state(flow_run.id, new, force=state == "CANCELLED")
    assert flow_run.state is not None
    return flow_run.state.type.value


_TRIED_AGAIN = """
import asyncio, sys
from prefect import get_client
from prefect.flow_engine import run_flow_async
from prefect.states import Scheduled
from flows.batch import batch

async def main(parameters):
    async with get_client() as client:
        flow_run = await client.create_flow_run(batch, parameters=parameters)
        for _ in range(2):
            await run_flow_async(batch, flow_run, parameters, return_type="state")
            again = Scheduled(name="AwaitingRetry")
            await client.set_flow_run_state(flow_run.id, again, force=True)
            flow_run = await client.read_flow_run(flow_run.id)

asyncio.run(main({"config": sys.argv[1]}))
"""


def test_a_flow_run_that_is_retried_goes_on_with_its_own_directory(
    prefect_server: str, tmp_path: Path, simulator: Simulator
) -> None:
    simulator.script(reply.status(400, message="no"), *[reply.normal()] * 3)
    write_csv(tmp_path / "rows.csv", prompts(3))
    config = tmp_path / "config.yaml"
    config.write_text(
        f"manifest: {{path: {tmp_path}/rows.csv}}\noutput: {tmp_path}/runs\n"
        f"endpoint: {{name: custom, base_url: '{simulator.base_url}', api_key_env: {KEY_ENV}}}\n"
        "quota: {max_in_flight: 1}\n"
    )
    in_a_process(_TRIED_AGAIN, config, prefect_server)
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert read_record(run_dir / "run.json").counts.succeeded == 3
    assert len(simulator.requests) == 4  # the failed one again, and no other


def in_a_process(code: str, path: Path, prefect_server: str) -> None:
    """Run code of a flow's own process to its end."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PREFECT_API_URL": prefect_server, KEY_ENV: KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


_BEGUN_TWICE = """
import asyncio, sys
from pathlib import Path
from prefect import get_client
from prefect.flow_engine import run_flow_async
from prefect.states import Scheduled
from flows.batch import batch

async def main(runs, parameters):
    async with get_client() as client:
        flow_run = await client.create_flow_run(batch, parameters=parameters)
        work = run_flow_async(batch, flow_run, parameters, return_type="state")
        first = asyncio.create_task(work)
        while not list(runs.glob("*/results/*.parquet")):
            await asyncio.sleep(0.1)
        resuming = Scheduled(name="Resuming")
        await client.set_flow_run_state(flow_run.id, resuming, force=True)
        flow_run = await client.read_flow_run(flow_run.id)
        assert not first.done()
        await run_flow_async(batch, flow_run, parameters, return_type="state")
        await first

asyncio.run(main(Path(sys.argv[1], "runs"), {"config": sys.argv[1] + "/config.yaml"}))
"""


def test_a_flow_run_that_begins_beside_itself_waits_and_sends_nothing_twice(
    prefect_server: str, tmp_path: Path, slow: Simulator
) -> None:
    in_a_process(_BEGUN_TWICE, tmp_path, prefect_server)
    (run_dir,) = (tmp_path / "runs").glob("[!.]*")
    assert read_record(run_dir / "run.json").counts.succeeded == len(slow.requests) == 80


def test_summaries_of_a_config_are_versions_of_one_artifact() -> None:
    from flows.artifacts import summary_key

    names = ["captions", "Captions", "captions_", "labels.v2", "labels-v2", "..."]
    keys = [summary_key(name) for name in names]
    assert keys[0] == "omni-batch-captions"
    assert len(set(keys)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) for key in keys)


# --- no server, or none that can be used ---


def test_a_flow_over_a_directory_of_others_reads_no_key_without_consent(tmp_path: Path) -> None:
    from flows.batch import batch

    theirs = write_run(tmp_path / "theirs", [Written("a")], items=1)
    text = theirs.record.read_text()
    theirs.record.write_text(text.replace('"."', '"/"'))
    with pytest.raises(UntrustedRun, match="files below /"):
        asyncio.run(batch.fn(run_dir=str(theirs.root)))


def test_a_run_that_prefect_refuses_leaves_its_name_free(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", prompts(2))
    (tmp_path / "config.yaml").write_text("manifest: {path: rows.csv}\nendpoint: {name: simulator}")
    command = [sys.executable, "-m", "omni_batch", "run", "config.yaml", "--run-id", "r"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Prefect's API at http://127.0.0.1:9/api can't be reached (" in done.stderr
    assert not list((tmp_path / "data" / "runs").iterdir())


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PREFECT_LOGGING_LEVEL", "verbose", "PREFECT_LOGGING_LEVEL = verbose: Input should be"),
        ("PREFECT_API_REQUEST_TIMEOUT", "soon", "PREFECT_API_REQUEST_TIMEOUT = soon: Input should"),
        ("PREFECT_HOME", "broken", "broken/profiles.toml can't be read"),
    ],
)
def test_settings_of_prefect_that_are_wrong_are_named(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "profiles.toml").write_text("active = [[[")
    done = subprocess.run(
        [sys.executable, "-c", "import flows"],
        cwd=tmp_path,
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in done.stderr.splitlines()[-1]


def test_first_starts_at_once_wait_for_the_one_that_makes_the_database(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    from flows.entry import alone_at_first_start

    begun: list[str] = []

    def start(name: str) -> None:
        own = temporary_settings({PREFECT_HOME: tmp_path}, restore_defaults={PREFECT_API_URL})
        with own, alone_at_first_start():
            begun.append(name)
            if name == "first":
                second.start()
                second.join(0.3)
                assert begun == ["first"]
                (tmp_path / "prefect.db").touch()
            if name == "third":  # from now on they need not wait for each other
                start("fourth")

    second = threading.Thread(target=start, args=["second"])
    start("first")
    second.join()
    start("third")
    assert begun == ["first", "second", "third", "fourth"]


@pytest.mark.parametrize("cwd", [ROOT, ROOT / "docs"])
def test_a_deployment_names_the_flow_by_its_path(cwd: Path) -> None:
    entrypoint = f"{os.path.relpath(ROOT / 'flows' / 'batch.py', cwd)}:batch"
    code = f"""if True:
        from prefect.flows import load_flow_from_entrypoint
        flow = load_flow_from_entrypoint({entrypoint!r})
        print(flow.name, flow.fn.__globals__["FlowRunWatch"].__name__)
        """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.stdout == "omni-batch FlowRunWatch\n", done.stderr


def test_the_command_line_takes_the_flows_of_its_checkout(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("raise ImportError('somebody else')")
    code = "from omni_batch.package_files import import_flows as f; print(f('entry').__file__)"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout == f"{ROOT / 'flows' / 'entry.py'}\n", done.stderr


async def _task_names(run_id: str) -> list[str]:
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    async with get_client() as client:
        of_run = FlowRunFilter(name=FlowRunFilterName(any_=[run_id]))
        return sorted(task.name for task in await client.read_task_runs(flow_run_filter=of_run))


async def _check_server(run_id: str) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import (
        ArtifactFilter,
        ArtifactFilterFlowRunId,
        FlowRunFilter,
        FlowRunFilterName,
    )

    async with get_client() as client:
        name = FlowRunFilterName(any_=[run_id])
        (flow_run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=name))
        task_runs = await client.read_task_runs(flow_run_filter=FlowRunFilter(name=name))
        of_run = ArtifactFilterFlowRunId(any_=[flow_run.id])
        artifacts = await client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=of_run))
    assert flow_run.state is not None
    assert (flow_run.state.type.value, flow_run.state.name) == ("COMPLETED", "PartiallyFailed")
    assert flow_run.state.message == "5 succeeded, 1 failed of 6"
    assert flow_run.tags == ["omni-batch"]
    assert flow_run.parameters["config"] is None
    assert sorted(task.name for task in task_runs) == ["shard-00000", "shard-00001"]
    by_type = {artifact.type: artifact for artifact in artifacts}
    assert sorted(str(artifact.type) for artifact in artifacts) == ["markdown", "progress"]
    assert by_type["progress"].data == 100  # also where all is done before the first answer
    markdown = str(by_type["markdown"].data)
    assert by_type["markdown"].key == "omni-batch-nightly"
    assert by_type["markdown"].description == f"5 succeeded, 1 failed of 6\n\n{run_id}"
    assert run_id in markdown
    assert f"/runs/{run_id}/results\n" in markdown
    assert "file:" not in markdown
    assert "gone.jpg" in markdown


def test_the_summary_says_what_failed_and_text_can_not_break_its_table(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from flows.artifacts import summary_markdown
    from omni_batch.store import Counts, RunRecord

    record = RunRecord(
        run_id="r",
        state="finished",
        items=2,
        shard_size=500,
        created_at=datetime.now(UTC),
        counts=Counts(succeeded=1, failed=1, cost={"CNY": 0.5}),
        config={"model": "m", "endpoint": {"name": "e"}},
        warnings=("model-not-listed: m is unknown",),
    )
    groups = [FailureGroup("media_error", 1, "a|b", "<script>\n| x |")]
    doubts = [DoubtGroup("usage-missing", "no usage | came", 3, "c")]
    text = summary_markdown(RunDir(tmp_path), record, groups, doubts)
    assert "| run | model-not-listed | m is unknown |" in text
    assert r"| 3 | usage-missing | c: no usage \| came |" in text
    assert "| cost | 0.5000 CNY |" in text
    assert r"| 1 | media_error | a\|b: \<script\> \| x \| |" in text
