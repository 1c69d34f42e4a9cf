"""Another program removes or cuts files of a run: it is not finished without all of its rows."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

import omni_batch
from omni_batch.cli.main import app
from omni_batch.config import Config
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.engine.shard import process_shard
from omni_batch.errors import ConfigError, Interrupted, StorageError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import change_run, prepare_run
from omni_batch.progress.current import current_record
from omni_batch.simulator import Simulator
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record, write_record
from tests.conftest import MakeConfig, prompts
from tests.support.laws import check_finished

ROWS, SHARD_SIZE = 12, 4
SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}


async def finished(config: Config) -> RunDir:
    return RunDir((await omni_batch.run_batch(config)).path)


async def resumed(directory: RunDir) -> RunRecord:
    change_run(directory, [])
    return await execute(directory)


def at_item(run: Run, number: int, do: Callable[[], None]) -> None:
    """Does something to the run's files as soon as so many items are done."""

    class Hand:
        def on_item_end(self, _: object) -> None:
            if run.ledger.counts.done == number:
                do()

        def __getattr__(self, _: str) -> Callable[..., None]:
            return lambda *_: None

    run.ledger.observers = (*run.ledger.observers, Hand())


async def disturbed(config: Config, do: Callable[[RunDir], None]) -> tuple[RunDir, RunRecord]:
    """A run whose files somebody reaches for while its second item ends."""
    directory = prepare_run(make_plan(config))
    begun = False

    async def run_shard(run: Run, number: int) -> None:
        nonlocal begun
        if not begun:
            begun = True
            at_item(run, 2, lambda: do(directory))
        await process_shard(run, number)

    return directory, await execute(directory, run_shard)


def journals(directory: RunDir) -> list[Path]:
    return list(directory.journals.glob("shard-*.jsonl"))


def remove_journals(directory: RunDir) -> None:
    for path in journals(directory):
        path.unlink()


def cut_journals_to(size_bytes: int) -> Callable[[RunDir], None]:
    def cut(directory: RunDir) -> None:
        for path in journals(directory):
            os.truncate(path, min(size_bytes, path.stat().st_size))

    return cut


async def test_journals_that_are_removed_under_a_run_cost_nothing(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = make_config(prompts(ROWS), shard_size=SHARD_SIZE)
    directory, record = await disturbed(config, remove_journals)
    assert record.counts.requests == ROWS
    check_finished(directory, {})


@pytest.mark.parametrize("size_bytes", [0, 100])
async def test_journals_that_are_cut_under_a_run_stop_it_and_it_can_be_resumed(
    make_config: MakeConfig, size_bytes: int
) -> None:
    """The cut may go through a line: what is appended then stands behind half of another."""
    config = make_config(prompts(ROWS), shard_size=SHARD_SIZE)
    directory, record = await disturbed(config, cut_journals_to(size_bytes))
    assert (record.state, record.exit_code) == ("stopped", 3)
    assert record.reason is not None
    assert "rows that were finished are gone from" in record.reason
    record = await resumed(directory)
    assert any("answers that were paid for are gone" in text for text in record.warnings)
    check_finished(directory, {})


async def test_a_journal_that_is_cut_once_it_was_counted_is_counted_anew_by_resume(
    make_config: MakeConfig,
) -> None:
    config = make_config(prompts(ROWS), shard_size=ROWS, quota={"max_in_flight": 1})

    async def stop_after_two(run: Run, number: int) -> None:
        at_item(run, 2, lambda: run.stop(Interrupted("somebody asked")))
        await process_shard(run, number)

    async def cut_first(run: Run, number: int) -> None:
        cut_journals_to(0)(directory)
        await process_shard(run, number)

    directory = prepare_run(make_plan(config))
    assert (await execute(directory, stop_after_two)).counts.done >= 2
    record = await execute(directory, cut_first)
    assert (record.state, record.exit_code) == ("stopped", 3)
    assert "resume counts what is there" in str(record.reason)
    assert (await resumed(directory)).counts.done == ROWS
    check_finished(directory, {})


async def test_a_run_that_ended_while_resume_waited_for_it_stays_ended(
    make_config: MakeConfig,
) -> None:
    """What is known of a run before its lock is had may be out of date."""
    directory = prepare_run(make_plan(make_config(prompts(3))))
    prepared = read_record(directory.record)
    await execute(directory)
    ended = directory.record.read_bytes()
    write_record(directory.record, prepared)

    class EndsMeanwhile(RunDir):
        @contextmanager
        def owned(self, *, leading: bool = False) -> Iterator[None]:
            directory.record.write_bytes(ended)
            with super().owned(leading=leading):
                yield

    with pytest.raises(ConfigError, match="there is nothing to resume"):
        change_run(EndsMeanwhile(directory.root), [])
    assert directory.record.read_bytes() == ended


async def test_a_run_begins_with_the_record_that_it_finds_under_its_lock(
    make_config: MakeConfig,
) -> None:
    directory = prepare_run(make_plan(make_config(prompts(3))))
    noted = replace(read_record(directory.record), warnings=("look: at me",))

    class ChangesMeanwhile(RunDir):
        @contextmanager
        def owned(self, *, leading: bool = False) -> Iterator[None]:
            write_record(directory.record, noted)
            with super().owned(leading=leading):
                yield

    record = await execute(ChangesMeanwhile(directory.root))
    assert (record.state, record.warnings) == ("finished", noted.warnings)


async def test_speech_that_is_removed_behind_a_run_is_asked_for_again(
    make_config: MakeConfig,
) -> None:
    directory = await finished(make_config(prompts(ROWS), shard_size=SHARD_SIZE, request=SPEECH))
    shutil.rmtree(directory.root / "audio")
    record = await resumed(directory)
    assert f"{ROWS} answers that were paid for are gone" in " ".join(record.warnings)
    assert record.counts.requests == 2 * ROWS  # the books keep both
    check_finished(directory, {})


async def test_speech_that_is_cut_is_asked_for_again_and_no_other(make_config: MakeConfig) -> None:
    directory = await finished(make_config(prompts(ROWS), shard_size=SHARD_SIZE, request=SPEECH))
    one = next((directory.root / "audio").iterdir())
    os.truncate(one, one.stat().st_size - 2)
    record = await resumed(directory)
    assert "1 answer that was paid for is gone" in " ".join(record.warnings)
    assert record.counts.requests == ROWS + 1
    check_finished(directory, {})


async def test_speech_that_goes_under_a_run_ends_in_no_finished_run(
    make_config: MakeConfig,
) -> None:
    def remove(directory: RunDir) -> None:
        for path in (directory.root / "audio").glob("*.wav"):
            path.unlink()

    config = make_config(prompts(ROWS), shard_size=SHARD_SIZE, request=SPEECH)
    directory, record = await disturbed(config, remove)
    assert (record.state, record.exit_code) == ("stopped", 3)
    assert f"of {ROWS} rows are there whole" in str(record.reason)
    await resumed(directory)
    check_finished(directory, {})


async def test_a_part_that_goes_under_a_run_is_not_counted_twice(make_config: MakeConfig) -> None:
    quota = {"max_in_flight": 1}  # two shards at once
    directory = await finished(make_config(prompts(8), shard_size=2, quota=quota))
    for number in range(3):
        directory.results(number).unlink()

    async def run_shard(run: Run, number: int) -> None:
        directory.results(3).unlink(missing_ok=True)
        await process_shard(run, number)

    change_run(directory, [])
    record = await execute(directory, run_shard)
    assert (record.state, record.exit_code) == ("stopped", 3)
    assert "part-00003.parquet is gone" in str(record.reason)
    assert (await resumed(directory)).counts.done == 8
    check_finished(directory, {})


@pytest.mark.parametrize("table", ["results", "attempts"])
async def test_a_part_that_is_gone_behind_a_finished_run_is_said_and_mended(
    make_config: MakeConfig, table: str, tmp_path: Path
) -> None:
    directory = await finished(make_config(prompts(ROWS), shard_size=SHARD_SIZE))
    (directory.root / table / "part-00001.parquet").unlink()
    there = ROWS - SHARD_SIZE if table == "results" else ROWS
    record = current_record(directory)
    assert record.state == "stopped"
    assert f"{there} of {ROWS} rows are there whole" in str(record.reason)
    with pytest.raises(StorageError, match=f"{there} of {ROWS} rows are there whole"):
        omni_batch.RunHandle(directory.root).export("jsonl", tmp_path / "rows.jsonl")
    asked_again = SHARD_SIZE if table == "results" else 0
    before = 0 if table == "results" else SHARD_SIZE  # what is gone from the books
    record = await resumed(directory)
    assert record.state == "finished"
    assert record.counts.requests == ROWS + asked_again - before


async def test_a_part_that_is_damaged_is_left_to_people(make_config: MakeConfig) -> None:
    """A copy of it may be whole, and what is asked for again is paid for again."""
    directory = await finished(make_config(prompts(ROWS), shard_size=SHARD_SIZE))
    part = directory.results(1)
    whole = part.read_bytes()
    os.truncate(part, 0)
    with pytest.raises(StorageError, match=f"{part} can't be read.*verify .* --repair"):
        await resumed(directory)
    part.write_bytes(whole)
    assert (await execute(directory)).counts.requests == ROWS


async def test_a_whole_finished_run_is_not_resumed(make_config: MakeConfig) -> None:
    directory = await finished(make_config(prompts(2)))
    with pytest.raises(ConfigError, match="there is nothing to resume"):
        change_run(directory, [])


@pytest.mark.parametrize("name", ["run.json", "results/part-00000.parquet", "items.parquet"])
async def test_a_pipe_in_place_of_a_file_is_one_line(make_config: MakeConfig, name: str) -> None:
    directory = await finished(make_config(prompts(2)))
    path = directory.root / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises((ConfigError, StorageError), match="is not a regular file"):
        omni_batch.RunHandle(directory.root).sql("select * from items, results")


@pytest.mark.parametrize("content", [b"", b'{"run_id": "b", "sta'])
async def test_a_run_with_half_a_record_is_listed_as_broken(
    make_config: MakeConfig, content: bytes
) -> None:
    directory = await finished(make_config(prompts(1)))
    directory.record.write_bytes(content)
    listed = CliRunner().invoke(app, ["list", str(directory.root.parent)])
    assert f"{directory.root} is broken" in listed.stdout


@pytest.mark.parametrize("damage", ["gone", "zeros", "a folder", "a link to nowhere", "a pipe"])
async def test_a_run_without_a_record_is_listed_as_broken_beside_the_others(
    make_config: MakeConfig, damage: str
) -> None:
    directory = await finished(make_config(prompts(1)))
    (directory.root.parent / "notes").mkdir()
    content = directory.record.read_bytes()
    directory.record.unlink()
    match damage:
        case "zeros":
            directory.record.write_bytes(bytes(len(content)))
        case "a folder":
            directory.record.mkdir()
        case "a link to nowhere":
            directory.record.symlink_to("elsewhere.json")
        case "a pipe":
            os.mkfifo(directory.record)
    listed = CliRunner().invoke(app, ["list", str(directory.root.parent)]).stdout
    assert listed.startswith(f"{directory.root} is broken: ")
    assert "run.json" in listed
    (entry,) = json.loads(
        CliRunner().invoke(app, ["list", str(directory.root.parent), "--json"]).stdout
    )
    assert (entry["run_id"], entry["state"]) == (directory.run_id, "broken")
