"""The clients: how each is installed into a folder of its own, and how it is run."""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Command = list[str]
Reports = dict[str, dict[str, Any]]


def _python(*packages: str, folder: Path) -> Command:
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    _install([python, "-m", "pip", "install", "--quiet", *packages], folder)
    return [python, str(HERE / "client_openai.py")]


def _node(*packages: str, folder: Path) -> Command:
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true}')
    _install(["npm", "install", "--no-audit", "--no-fund", *packages], folder)
    # Modules are looked up from where the script is.
    script = shutil.copy(HERE / "client_openai.mjs", folder)
    own = folder / "node_modules" / ".bin" / "node"
    return [str(own) if own.exists() else "node", str(script)]


def _curl(folder: Path) -> Command:
    folder.mkdir()
    return [sys.executable, str(HERE / "client_curl.py")]


CLIENTS: Mapping[str, Callable[..., Command]] = {
    # 1.52 hands httpx an argument that 0.28 no longer takes.
    "python1": partial(_python, "openai==1.52.0", "httpx<0.28"),
    "python2": partial(_python, "openai>=2,<3"),
    "python3": partial(_python, "openai>=3,<4"),
    "node4": partial(_node, "openai@4"),
    # The newest asks for Node 22 or later, which npm can install beside it.
    "node": partial(_node, "openai@latest", "node@22"),
    "curl": _curl,
}
"""Name to the function that installs the client and gives the command that runs it."""


def install(name: str, folder: Path) -> Command:
    """Install a client; the command still lacks the file with the cases.

    Raises:
        RuntimeError: it can't be installed; the message says why.
    """
    return CLIENTS[name](folder=folder / name)


def _install(command: Command, folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(str(error)) from error
    if done.returncode:
        raise RuntimeError(done.stderr.strip())


def run(command: Command, cases: Path, folder: Path) -> tuple[str, Reports]:
    """A title with the client's version, and its reports by the case's name.

    Raises:
        RuntimeError: the client broke off; the message holds what it wrote.
    """
    done = subprocess.run(
        [*command, str(cases)], cwd=folder, env=_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    first, *rest = map(json.loads, done.stdout.splitlines())
    return first["version"], {report["case"]: report for report in rest}


def _environment() -> dict[str, str]:
    """Ours, without what would send the clients elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {**kept, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
