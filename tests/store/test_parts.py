"""A finished shard is one part of each table; the journal it came from is gone."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.errors import RateLimited, Rejected, StorageError
from omni_batch.store import Entry, Journal, RunDir
from omni_batch.store.columns import (
    ATTEMPT_COLUMNS,
    IN_DOUBT,
    RESULT_COLUMNS,
    RunFacts,
    attempt_rows,
    in_doubt_row,
    result_row,
    schema,
)
from omni_batch.store.disk import Disk, draft_path
from omni_batch.store.parts import drop_leftovers, merged, write_parts
from omni_batch.store.read import read_tables
from omni_batch.store.record import RunRecord
from omni_batch.store.reopen import read_progress
from omni_batch.types import Answer, Attempt, Item, Response, Result, Sent, Usage

FACTS = RunFacts("run-1", "qwen3-omni-flash", "custom")
TIME = datetime(2026, 11, 21, 2, 0, 0, 123456, tzinfo=UTC)


def entry(row_number: int) -> Entry:
    """The third row failed; all others were answered at the second attempt."""
    refused = Attempt(1, TIME, 0.1, http_status=429, error=RateLimited("slow down", code="limit"))
    usage = Usage(10, 5, 15)
    answered = Attempt(2, TIME, 0.5, http_status=200, usage=usage)
    failed = row_number == 2
    response = Response(f"answer {row_number}", None, "stop", usage, None, "chat-1")
    result = Result(
        item=Item(f"item-{row_number}", row_number, source={"subject": "é"}),
        started_at=TIME,
        latency_s=1.5,
        attempts=(refused,) if failed else (refused, answered),
        answer=None if failed else Answer(response, None),
        error=Rejected("no") if failed else None,
    )
    return Entry(result_row(FACTS, result), attempt_rows(FACTS, result))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run-1")
    run.make_folders()
    return run


def journal(run: RunDir, shard_number: int, *row_numbers: int) -> None:
    with Journal(run.journal(shard_number)) as file:
        for number in row_numbers:
            file.append(entry(number))


def test_a_part_has_one_row_per_item_in_manifest_order(run: RunDir) -> None:
    journal(run, 0, 3, 0, 2, 1)
    write_parts(run, 0)
    results = pq.read_table(run.results(0)).to_pylist()
    assert [row["item_id"] for row in results] == ["item-0", "item-1", "item-2", "item-3"]
    assert [row["status"] for row in results] == ["succeeded", "succeeded", "failed", "succeeded"]
    assert (results[2]["error_kind"], results[2]["text"]) == ("rejected", None)
    assert (results[3]["text"], results[3]["source"]) == ("answer 3", '{"subject":"é"}')
    assert (results[3]["started_at"], results[3]["total_tokens"]) == (TIME, 15)


def test_attempts_are_one_row_per_exchange_in_manifest_order(run: RunDir) -> None:
    journal(run, 0, 2, 1)
    write_parts(run, 0)
    rows = pq.read_table(run.attempts(0)).to_pylist()
    assert [(row["item_id"], row["number"], row["http_status"]) for row in rows] == [
        ("item-1", 1, 429),
        ("item-1", 2, 200),
        ("item-2", 1, 429),
    ]
    assert (rows[0]["error_kind"], rows[0]["error_code"]) == ("rate_limited", "limit")


def test_the_journal_is_dropped_and_nothing_else_is_left(run: RunDir) -> None:
    journal(run, 0, 0)
    write_parts(run, 0)
    files = {
        path.relative_to(run.root).as_posix() for path in run.root.rglob("*") if path.is_file()
    }
    assert files == {"results/part-00000.parquet", "attempts/part-00000.parquet"}


def test_a_torn_line_makes_no_row(run: RunDir) -> None:
    journal(run, 0, 0, 1)
    content = run.journal(0).read_bytes()
    run.journal(0).write_bytes(content[:-20])
    write_parts(run, 0)
    assert pq.read_table(run.results(0)).num_rows == 1


def test_every_part_has_the_same_schema_even_when_it_is_empty(run: RunDir) -> None:
    journal(run, 0, 0, 1, 2)
    journal(run, 1, 3)
    write_parts(run, 0)
    write_parts(run, 1)
    write_parts(run, 2)
    for path, columns in [(run.results, RESULT_COLUMNS), (run.attempts, ATTEMPT_COLUMNS)]:
        for number in range(3):
            found, wanted = pq.read_schema(path(number)), schema(columns)
            assert found.equals(wanted)
            assert [field.metadata for field in found] == [field.metadata for field in wanted]


def test_pandas_reads_all_parts_of_a_run_as_one_table(run: RunDir) -> None:
    journal(run, 0, 1, 0)
    journal(run, 1, 3, 2)
    write_parts(run, 0)
    write_parts(run, 1)
    frame = pd.read_parquet(run.root / "results")
    assert list(frame["row_number"]) == [0, 1, 2, 3]
    assert str(frame["started_at"].dtype) == "datetime64[us, UTC]"


def test_a_part_under_way_is_never_seen_beside_the_whole_ones(run: RunDir) -> None:
    """`attempts` is written first: the folder of results must hold whole parts only."""
    journal(run, 0, 0)
    write_parts(run, 0)
    journal(run, 1, 1)
    run.results(1).mkdir()  # the last step, its renaming, fails
    with pytest.raises(StorageError, match=r"part-00001\.parquet can't be written"):
        write_parts(run, 1)
    run.results(1).rmdir()
    assert [path.name for path in (run.root / "results").iterdir()] == ["part-00000.parquet"]


def test_a_part_that_cannot_be_written_keeps_its_journal(run: RunDir) -> None:
    journal(run, 0, 0, 1)
    before = run.journal(0).read_bytes()
    run.results(0).mkdir()
    with pytest.raises(StorageError):
        write_parts(run, 0)
    assert run.journal(0).read_bytes() == before
    run.results(0).rmdir()
    write_parts(run, 0)
    assert pq.read_table(run.results(0)).num_rows == 2


def of_shards(number: int) -> RunRecord:
    return RunRecord(run_id="r", state="running", items=2 * number, shard_size=2, created_at=TIME)


def test_tables_come_from_parts_and_journals_alike(run: RunDir) -> None:
    journal(run, 0, 1, 0)
    write_parts(run, 0)
    journal(run, 2, 5, 4)
    tables = list(read_tables(run, of_shards(4)))
    assert [results["row_number"].to_pylist() for results, _ in tables] == [[0, 1], [4, 5]]
    assert [attempts.num_rows for _, attempts in tables] == [4, 4]
    assert all(results.schema == schema(RESULT_COLUMNS) for results, _ in tables)


def test_a_part_wins_over_a_journal_that_was_not_dropped_in_time(run: RunDir) -> None:
    """Killed between the writing of the part and the dropping of its journal."""
    journal(run, 0, 0, 1)
    write_parts(run, 0)
    journal(run, 0, 0, 1)
    assert [results.num_rows for results, _ in read_tables(run, of_shards(1))] == [2]


def test_what_a_dead_process_left_is_removed_and_what_it_finished_stays(run: RunDir) -> None:
    journal(run, 0, 0)
    write_parts(run, 0)
    journal(run, 0, 0)  # killed before it was dropped
    journal(run, 1, 1)
    run.unfinished_speech("item-2").touch()
    run.downloads.mkdir()
    drop_leftovers(run, range(2))
    assert list(run.journals.iterdir()) == [run.journal(1)]
    assert [results.num_rows for results, _ in read_tables(run, of_shards(2))] == [1, 1]


class Witnessed(Disk):
    """A disk that tells in which order it was asked."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def sync_path(self, path: Path) -> None:
        super().sync_path(path)
        self.asked.append(("sync", f"{path.parent.name}/{path.name}"))

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.asked.append(("remove", f"{path.parent.name}/{path.name}"))


def test_a_leftover_journal_goes_when_its_parts_are_on_the_disk(run: RunDir) -> None:
    """Their process may have died between the name of the part and the wait for the disk."""
    journal(run, 0, 0)
    write_parts(run, 0)
    journal(run, 0, 0)
    disk = Witnessed(durable=True)
    disk.asked.clear()
    drop_leftovers(RunDir(run.root, disk), range(1))
    parts = [f"{name}/part-00000.parquet" for name in ("attempts", "results")]
    *before, last = disk.asked
    assert last == ("remove", f"journal/{run.journal(0).name}")
    folders = [f"run-1/{name}" for name in ("attempts", "results")]
    assert set(before) == {("sync", name) for name in (*parts, *folders)}


def test_rows_of_another_shard_make_no_part(run: RunDir) -> None:
    journal(run, 0, 0, 7, 9)
    with pytest.raises(StorageError, match="has rows of another shard, such as row 7"):
        write_parts(run, 0, rows=[0])
    assert not run.results(0).exists()
    assert run.journal(0).exists()


def test_a_shard_without_all_of_its_rows_makes_no_part(run: RunDir) -> None:
    journal(run, 0, 0)
    with pytest.raises(StorageError, match="2 of 3 rows that were finished are gone from"):
        write_parts(run, 0, rows=[0, 1, 2])
    assert not run.attempts(0).exists()
    assert run.journal(0).exists()


@pytest.mark.parametrize("lost", [False, True])
def test_the_part_of_an_open_journal_has_all_that_was_appended(run: RunDir, lost: bool) -> None:
    with Journal(run.journal(0)) as file:
        for number in (1, 0):
            file.append(entry(number))
        if lost:
            run.journal(0).unlink()
        write_parts(run, 0, rows=[0, 1], journal=file)
    assert pq.read_table(run.results(0))["row_number"].to_pylist() == [0, 1]
    assert not list(run.journals.iterdir())


def test_a_row_that_was_written_twice_counts_once(run: RunDir) -> None:
    journal(run, 0, 0, 1, 0)
    write_parts(run, 0)
    assert pq.read_table(run.results(0)).num_rows == 2
    assert pq.read_table(run.attempts(0)).num_rows == 4


def test_a_part_that_can_not_get_its_name_leaves_no_draft(run: RunDir) -> None:
    journal(run, 0, 0)
    (run.results(0) / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"part-00000\.parquet can't be written"):
        write_parts(run, 0)
    assert [path.name for path in run.journals.iterdir()] == [run.journal(0).name]


def test_a_broken_part_is_a_storage_error(run: RunDir) -> None:
    journal(run, 0, 0)
    write_parts(run, 0)
    run.results(0).write_bytes(b"PAR1 broken PAR1")
    with pytest.raises(StorageError, match=r"results/part-00000\.parquet can't be read"):
        list(read_tables(run, of_shards(1)))


Line = tuple[int, int, bool]
"""Row, number, and whether the attempt has ended."""


@given(st.data())
def test_an_attempt_is_in_doubt_until_its_end_is_written_and_stands_once(
    data: st.DataObject,
) -> None:
    begun = data.draw(st.sets(st.tuples(st.integers(0, 3), st.integers(1, 3))))
    ended = data.draw(st.sets(st.sampled_from(sorted(begun)))) if begun else set()
    lines: list[Line] = [*((*key, False) for key in begun), *((*key, True) for key in ended)]
    repeated = data.draw(st.lists(st.sampled_from(lines), max_size=5)) if lines else []
    _, attempts = merged(map(attempt_line, data.draw(st.permutations([*lines, *repeated]))))
    assert attempts.keys() == begun
    doubted = {key for key, row in attempts.items() if row.get("error_kind") == IN_DOUBT}
    assert doubted == begun - ended


def attempt_line(line: Line) -> Entry:
    row_number, number, has_ended = line
    item = Item(f"item-{row_number}", row_number)
    if not has_ended:
        return Entry(None, [in_doubt_row(FACTS, item, Sent(number, TIME, "custom", 9, None))])
    return Entry(None, attempt_rows(FACTS, Result(item, TIME, 1.0, (Attempt(number, TIME, 0.5),))))


def test_a_number_is_not_given_again_to_what_is_in_doubt(run: RunDir) -> None:
    with Journal(run.journal(0)) as file:
        for line in ((0, 1, False), (0, 1, True), (0, 2, False), (1, 1, False)):
            file.append(attempt_line(line))
    assert read_progress(run.journal(0)).attempts == {0: 2, 1: 1}


def test_a_draft_of_a_record_goes_and_a_page_that_is_being_written_stays(run: RunDir) -> None:
    record, page = draft_path(run.record), draft_path(run.root / "report.html")
    record.touch()
    page.touch()
    drop_leftovers(run, range(0))
    assert (record.exists(), page.exists()) == (False, True)
    os.utime(page, (0, 0))
    drop_leftovers(run, range(0))
    assert not page.exists()


def test_links_in_the_place_of_drafts_are_removed_and_not_followed(
    run: RunDir, tmp_path: Path
) -> None:
    victims = tmp_path / "victims"
    victims.mkdir()
    (victims / "kept.part").write_text("mine")
    run.downloads.symlink_to(victims)
    for name in ("run.json.part", ".report.html.part", "journal/results-part-00000.parquet.part"):
        (run.root / name).symlink_to(victims / "kept.part")
    drop_leftovers(run, range(0))
    assert [path.name for path in victims.iterdir()] == ["kept.part"]
    assert (victims / "kept.part").read_text() == "mine"
    assert list(run.journals.iterdir()) == []
    assert list(run.root.glob("*.part")) == []
