"""What a wheel holds, and that it works where there is no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import omni_batch
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = WheelBuilder(str(ROOT))
    folder = tmp_path_factory.mktemp("dist")
    return Path(next(builder.build(directory=str(folder), versions=["standard"])))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install --no-deps --target` makes of a wheel without scripts."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A process that sees the installed copy first, in a folder with a package `flows` in it."""
    (cwd / "flows").mkdir(exist_ok=True)
    (cwd / "flows" / "__init__.py").write_text("raise ImportError('these flows are not ours')")
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_a_wheel_puts_one_package_into_site_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {Path(name).parts[0] for name in archive.namelist()}
    assert tops == {"omni_batch", f"omni_batch-{omni_batch.__version__}.dist-info"}


def test_a_wheel_has_the_flows_the_configs_and_the_sample(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    for folder in ("flows", "configs", "data/sample"):
        files = (path for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts)
        names = {f"omni_batch/{path.relative_to(ROOT)}" for path in files if path.is_file()}
        assert names
        assert names <= held
    assert not [name for name in held if "__pycache__" in name or name.endswith(".pyc")]


def test_an_installed_copy_knows_its_files_and_its_own_flows(
    installed: Path, tmp_path: Path
) -> None:
    shown = python(installed, "-m", "omni_batch", "run", "-h", cwd=tmp_path)
    assert str(installed / "omni_batch" / "configs" / "reference.yaml") in shown.stdout
    code = "from omni_batch.package_files import import_flows as f; print(f('entry').__file__)"
    found = python(installed, "-c", code, cwd=tmp_path)
    assert found.stdout.strip() == str(installed / "omni_batch" / "flows" / "entry.py"), (
        found.stderr
    )


def test_the_demo_runs_from_an_installed_copy(installed: Path, tmp_path: Path) -> None:
    done = python(installed, "-m", "omni_batch", "demo", "--no-prefect", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 succeeded, 2 failed of 12 items" in done.stdout


def test_a_deployment_of_an_installed_copy_names_the_module(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "from prefect.flows import load_flow_from_entrypoint as load;"
        "print(load('omni_batch.flows.batch:batch').name)"
    )
    found = python(installed, "-c", code, cwd=tmp_path)
    assert found.stdout == "omni-batch\n", found.stderr


def test_a_schedule_of_an_installed_copy_finds_its_flow_by_its_place(
    installed: Path, tmp_path: Path
) -> None:
    place = python(
        installed,
        "-c",
        "from omni_batch.package_files import import_flows as f; print(f('schedule').ENTRYPOINT)",
        cwd=tmp_path,
    ).stdout.strip()
    assert place == f"{installed / 'omni_batch' / 'flows' / 'nightly.py'}:nightly"
    code = "from prefect.flows import load_flow_from_entrypoint as load; print(load({!r}).name)"
    found = python(installed, "-c", code.format(place), cwd=tmp_path)
    assert found.stdout == "omni-batch-nightly\n", found.stderr
