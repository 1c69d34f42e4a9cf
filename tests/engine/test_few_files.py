"""A process that may have few files open sends less at once, and loses nothing that is paid for."""

import asyncio
import json
import logging
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omni_batch.simulator import Simulator
from omni_batch.store import SpeechFile
from omni_batch.store.disk import when_files_are_free
from tests.conftest import KEY, KEY_ENV, read_table
from tests.support.limited import omni_batch_within, write_spoken_rows

ROWS, IN_FLIGHT, FEW = 40, 30, 64
RUN = "run", "config.yaml", "--no-prefect", "--run-id", "a"
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@pytest.fixture
def project(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows that are answered with speech, more of them at once than a small limit has room for."""
    monkeypatch.setenv(KEY_ENV, KEY)
    return write_spoken_rows(tmp_path, simulator, ROWS, IN_FLIGHT)


def run(project: Path, soft: int, hard: int) -> subprocess.CompletedProcess[str]:
    return omni_batch_within(project, resource.RLIMIT_NOFILE, soft, hard, *RUN)


@pytest.mark.parametrize(("hard", "lowered"), [(HARD, False), (FEW, True)])
def test_each_row_is_asked_for_once(
    project: Path, simulator: Simulator, hard: int, lowered: bool
) -> None:
    done = run(project, FEW, hard)
    assert done.returncode == 0, done.stderr
    assert len(simulator.requests) == len(read_table(project / "runs" / "a")) == ROWS
    assert len(list((project / "runs" / "a" / "audio").rglob("*.wav"))) == ROWS
    warnings = json.loads((project / "runs" / "a" / "run.json").read_text())["warnings"]
    assert any(f"may have {FEW} files open" in text for text in warnings) is lowered


def test_where_no_request_fits_nothing_is_sent_and_the_limit_is_named(
    project: Path, simulator: Simulator
) -> None:
    done = run(project, 40, 40)
    assert done.returncode == 2
    assert "may have 40 files open" in done.stderr
    assert "ulimit -n" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not simulator.requests
    assert not (project / "runs" / "a").exists()


class OnceItWaits(logging.Handler):
    """Does something when it is said that files are waited for."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        self._then()


@pytest.fixture
def no_file_until_it_waits() -> "OnceItWaits":
    """From `take` on no file can be opened, until somebody waits for that."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OnceItWaits(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, before))


def take_all_files() -> None:
    next_one = os.dup(0)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, HARD))


async def test_speech_waits_for_a_file(tmp_path: Path, no_file_until_it_waits: OnceItWaits) -> None:
    logger = logging.getLogger("omni_batch")
    logger.addHandler(no_file_until_it_waits)
    sound = np.arange(2000, dtype=np.int16)
    speech = SpeechFile(tmp_path / "a.wav.part")
    await speech.write(sound.tobytes(), 24_000)
    try:
        take_all_files()
        await speech.commit(tmp_path / "a.wav", 24_000)
    finally:
        logger.removeHandler(no_file_until_it_waits)
    assert np.array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16")[0], sound)
    (said,) = no_file_until_it_waits.said
    assert "too many open files" in said


async def test_what_fails_for_another_reason_is_not_tried_again(tmp_path: Path) -> None:
    tries = []

    async def read() -> bytes:
        tries.append(1)
        return await asyncio.to_thread((tmp_path / "none").read_bytes)

    with pytest.raises(FileNotFoundError):
        await when_files_are_free(read)
    assert len(tries) == 1
