"""`omni-batch verify`: one pass over a run directory finds what is damaged, and can mend it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

import omni_batch
from omni_batch.analytics.verify import verify_run
from omni_batch.cli.main import app
from omni_batch.engine.pipeline import execute
from omni_batch.errors import ConfigError
from omni_batch.planning.prepare import change_run
from omni_batch.store import RunDir
from omni_batch.store.record import read_record, write_record
from tests.conftest import MakeConfig, prompts
from tests.support.laws import check_finished, rows_so_far

ROWS, SHARD_SIZE = 6, 3
SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}


@pytest.fixture
async def run(make_config: MakeConfig) -> RunDir:
    config = make_config(prompts(ROWS), shard_size=SHARD_SIZE, request=SPEECH)
    return RunDir((await omni_batch.run_batch(config)).path)


def one_wav(run: RunDir) -> Path:
    return min((run.root / "audio").iterdir())


def flip_a_sample(run: RunDir) -> None:
    sound = bytearray(one_wav(run).read_bytes())
    sound[100] ^= 1
    one_wav(run).write_bytes(sound)


HARMS: dict[str, tuple[Callable[[RunDir], object], int]] = {
    "its SHA-256 differs": (flip_a_sample, 1),
    "is gone": (lambda run: one_wav(run).unlink(), 1),
    "bytes, not": (lambda run: os.truncate(one_wav(run), 60), 1),
    "results/part-00001.parquet is gone": (lambda run: run.results(1).unlink(), SHARD_SIZE),
    "Parquet file size is 0 bytes": (lambda run: os.truncate(run.results(0), 0), SHARD_SIZE),
    "attempts/part-00000.parquet is gone": (lambda run: run.attempts(0).unlink(), 0),
    "the manifest has not there": (
        lambda run: run.results(1).write_bytes(run.results(0).read_bytes()),
        SHARD_SIZE,
    ),
}


async def test_a_whole_run_has_no_problem(run: RunDir) -> None:
    found = verify_run(run)
    assert (found.problems, found.rows, found.speech_files) == (0, ROWS, ROWS)


@pytest.mark.parametrize("said", HARMS)
async def test_what_is_damaged_is_listed_repaired_and_asked_for_again(
    run: RunDir, said: str
) -> None:
    harm, rows = HARMS[said]
    harm(run)
    assert any(said in problem for problem in verify_run(run).listed)
    assert verify_run(run, repair=True).to_be_asked == rows
    kept = rows_so_far(run)
    assert len(kept) == ROWS - rows
    change_run(run, [])
    await execute(run)
    if "attempts" not in said:
        check_finished(run, kept)
    assert verify_run(run).problems == 0


async def test_rows_are_looked_at_where_their_attempts_can_not_be_read(run: RunDir) -> None:
    os.truncate(run.attempts(0), 20)
    flip_a_sample(run)
    found = verify_run(run)
    assert (found.problems, found.rows) == (2, ROWS)
    assert verify_run(run, repair=True).to_be_asked == 1


async def test_sums_that_do_not_agree_are_said(run: RunDir) -> None:
    record = read_record(run.record)
    wrong = replace(record, counts=replace(record.counts, prompt_tokens=1))
    write_record(run.record, wrong)
    (problem,) = verify_run(run, repair=True).listed
    assert problem.startswith("run.json counts 1 prompt tokens, the tables ")
    assert read_record(run.record).counts == record.counts


async def test_a_run_that_is_worked_on_is_refused(run: RunDir) -> None:
    with run.owned(), pytest.raises(ConfigError, match="is in use"):
        verify_run(run)


async def test_the_command_exits_with_1_and_the_list(run: RunDir) -> None:
    shell = CliRunner()
    assert shell.invoke(app, ["verify", str(run.root)]).exit_code == 0
    one_wav(run).unlink()
    answer = shell.invoke(app, ["verify", str(run.root), "--json"])
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["problems"] == 1
    assert "is gone" in shell.invoke(app, ["verify", str(run.root)]).stdout
