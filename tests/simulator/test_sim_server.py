"""Starting, stopping, and standing on its own feet."""

import ast
import logging
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import omni_batch.simulator
from omni_batch.simulator import Simulator, SimulatorOptions, reply
from tests.simulator.sim_client import HEADERS, PATIENCE_S, ask, body, post, text, until

PACKAGE = "omni_batch.simulator"
SOURCE = Path(omni_batch.simulator.__file__).parent
ALLOWED = {"uvicorn", "starlette", "numpy", "msgspec", "pybase64", "PIL", "av"} | set(
    sys.stdlib_module_names
)


def test_it_imports_nothing_of_the_client_side() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [node.module or ""]
            for name in names:
                ours = name.startswith("omni_batch.simulator")
                assert ours or name.split(".")[0] in ALLOWED, f"{path.name} imports {name}"


LAYERS = (
    "app control server",
    "jobs",
    "api",
    "dialects",
    "replies",
    "checks",
    "metrics fault_kinds option_values options reply",
)
"""From the top down; only the face of the package is above them."""


def test_imports_between_its_folders_run_downwards() -> None:
    height = {name: -level for level, names in enumerate(LAYERS) for name in names.split()}
    for path in SOURCE.rglob("*.py"):
        if path == SOURCE / "__init__.py":
            continue
        own = height[path.relative_to(SOURCE).parts[0].removesuffix(".py")]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                inner = str(node.module).removeprefix(PACKAGE).strip(".").split(".")[0]
                parts = [inner] if inner else [alias.name for alias in node.names]
                assert all(height[part] <= own for part in parts), f"{path}, line {node.lineno}"


def test_media_libraries_are_not_loaded_before_they_are_needed() -> None:
    code = "import sys, omni_batch.simulator; print({'numpy', 'av', 'PIL'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_it_stops_at_once_with_streams_still_open(caplog: pytest.LogCaptureFixture) -> None:
    with ThreadPoolExecutor(3) as pool:
        with Simulator(SimulatorOptions(first_chunk_s=2 * PATIENCE_S)) as sim:
            sim.script(reply.frames([b"data: 1\n\n"], end="stall"), reply.fault("stall_first"))
            url = f"{sim.base_url}/chat/completions"
            futures = [
                pool.submit(httpx.post, url, json=body(), headers=HEADERS, timeout=PATIENCE_S)
                for _ in range(3)
            ]
            until(lambda: sim.counters.in_flight == 3)
            stopped_s = time.perf_counter()
        assert time.perf_counter() - stopped_s < PATIENCE_S / 2
        assert all(isinstance(future.exception(), httpx.TransportError) for future in futures)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_an_offer_to_upgrade_is_passed_over_in_silence(
    sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    offer = {"connection": "upgrade, http2-settings", "upgrade": "h2c", "http2-settings": ""}
    assert post(sim, body(), headers={**HEADERS, **offer}).status_code == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_reply_does_not_wait_for_an_acknowledgement(sim: Simulator) -> None:
    """Which takes at least 40 ms every time; a busy machine does not."""
    assert any(post(sim, body()).elapsed.total_seconds() < 0.03 for _ in range(200))


def test_several_run_side_by_side() -> None:
    with Simulator() as one, Simulator() as other:
        one.script(reply.text("one"))
        assert one.base_url != other.base_url
        assert (text(ask(other)), text(ask(one))) == ('You wrote: "hello there"', "one")


def test_a_port_that_is_taken_is_an_os_error(sim: Simulator) -> None:
    port = int(sim.base_url.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match="in use"), Simulator(SimulatorOptions(port=port)):
        pass


def test_a_port_can_be_chosen_and_used_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for _ in range(2):
        with Simulator(SimulatorOptions(port=port)) as sim:
            assert f":{port}/" in sim.base_url
            assert text(ask(sim)) == 'You wrote: "hello there"'


def test_an_address_is_known_only_once_it_is_entered() -> None:
    with pytest.raises(RuntimeError, match="before it is entered"):
        Simulator().base_url  # noqa: B018


def test_serve_blocks_until_it_is_interrupted() -> None:
    code = (
        "from omni_batch.simulator import SimulatorOptions, serve\n"
        "serve(SimulatorOptions(), ready=lambda url: print(url, flush=True))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        response = httpx.post(f"{url}/chat/completions", json=body(), headers=HEADERS)
        assert response.status_code == 200
        process.send_signal(2)
        _, complaints = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, complaints) == (0, "")


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_there_is_not_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="port is"):
        SimulatorOptions(port=port)
