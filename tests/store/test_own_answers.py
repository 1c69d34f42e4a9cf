"""The answers of a run are found by their questions, in its journals and in its parts."""

import asyncio
import tracemalloc
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from omni_batch.store import RunDir, RunRecord
from omni_batch.store.journal import Entry, Journal, ResultFinder
from omni_batch.store.own_answers import LastQuestions, OwnAnswers
from omni_batch.store.parts import write_parts


def question(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


def result(row_number: int, text: str = "yes", status: str = "succeeded") -> Entry:
    row = {
        "row_number": row_number,
        "item_id": f"row-{row_number}",
        "status": status,
        "text": text,
        "fingerprint": question(row_number),
    }
    return Entry(row, [])


def test_the_last_different_questions_are_remembered() -> None:
    last = LastQuestions(most=3)
    for number in (0, 1, 2):
        last.add(question(number), number)
    assert last.row_number(question(0)) == 0, "it counts as new from here on"
    last.add(question(3), 3)
    found = [last.row_number(question(number)) for number in range(4)]
    assert found == [0, None, 2, 3]


def test_earlier_questions_come_before_all_others() -> None:
    """Read backwards: of equal ones the first has paid, and the last decides what is forgotten."""
    last = LastQuestions(most=3)
    for number, row in ((2, 9), (1, 8), (2, 7), (0, 6), (5, 4), (1, 3)):
        last.add_earlier(question(number), row)
    assert len(last) == 3
    last.add(question(3), 10)
    found = [last.row_number(question(number)) for number in (0, 1, 2, 3, 5)]
    assert found == [None, 3, 7, 10, None]


def test_memory_does_not_grow_with_the_rows() -> None:
    last = LastQuestions(most=1000)
    tracemalloc.start()
    try:
        for number in range(1000):
            last.add(question(number), number)
        full_bytes, _ = tracemalloc.get_traced_memory()
        for number in range(1000, 20_000):
            last.add(question(number), number)
        now_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(last) == 1000
    assert full_bytes < 1000 * 300
    assert now_bytes < full_bytes * 2  # tables of a dictionary grow by doubling


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run-1")
    run.make_folders()
    return run


def record(items: int) -> RunRecord:
    return RunRecord(
        run_id="run-1",
        state="running",
        items=items,
        shard_size=2,
        created_at=datetime(2026, 11, 21, 2, 0, tzinfo=UTC),
    )


async def text_of(answers: OwnAnswers, number: int) -> str | None:
    found = await answers.row(question(number))
    return found[1]["text"] if found else None


async def test_answers_are_read_from_the_journal_and_from_the_part_behind_it(run: RunDir) -> None:
    answers = OwnAnswers(run, record(4))
    with Journal(run.journal(0)) as journal:
        journal.append(result(0))
        assert await text_of(answers, 0) is None, "nobody has said that it is there"
        answers.add(question(0), 0)
        assert await text_of(answers, 0) == "yes"
        journal.append(result(1, "no"))
        answers.add(question(1), 1)
        assert await text_of(answers, 1) == "no"
    write_parts(run, 0)
    assert not run.journal(0).exists()
    assert [await text_of(answers, number) for number in (0, 1)] == ["yes", "no"]


async def test_what_earlier_processes_have_answered_is_known(run: RunDir) -> None:
    for shard_number, rows in ((0, (0, 1)), (1, (2,))):
        with Journal(run.journal(shard_number)) as journal:
            for row in rows:
                journal.append(result(row, f"answer {row}", "failed" if row == 1 else "succeeded"))
    write_parts(run, 0)
    answers = OwnAnswers(run, record(4))
    found = [await text_of(answers, number) for number in range(4)]
    assert found == ["answer 0", None, "answer 2", None]
    newest = OwnAnswers(run, record(4), most=1)
    assert [await text_of(newest, number) for number in (0, 2)] == [None, "answer 2"]


async def test_of_equal_rows_the_first_one_is_known(run: RunDir) -> None:
    with Journal(run.journal(0)) as journal:
        for row in (0, 1):
            entry = result(row)
            assert entry.result
            journal.append(Entry({**entry.result, "fingerprint": question(0)}, []))
    found = await OwnAnswers(run, record(2)).row(question(0))
    assert found is not None
    assert found[1]["row_number"] == 0


async def test_an_answer_that_is_gone_or_another_is_none(run: RunDir) -> None:
    answers = OwnAnswers(run, record(4))
    for number in range(3):
        answers.add(question(number), number)
    with Journal(run.journal(0)) as journal:
        journal.append(result(0, status="failed"))
    run.journal(1).write_bytes(b"not an entry\n")
    assert [await text_of(answers, number) for number in range(3)] == [None] * 3


async def test_rows_may_be_looked_for_side_by_side(run: RunDir) -> None:
    answers = OwnAnswers(run, record(2))
    with Journal(run.journal(0)) as journal:
        for number in range(2):
            journal.append(result(number, str(number)))
            answers.add(question(number), number)
        numbers = [0, 1] * 20
        found = await asyncio.gather(*(text_of(answers, number) for number in numbers))
    assert found == [str(number) for number in numbers]


def test_half_a_line_is_no_result_until_it_is_whole(run: RunDir) -> None:
    path = run.journal(0)
    with Journal(path) as journal:
        journal.append(result(0, "naïve"))
        journal.append(result(0, "later"))
        journal.append(Entry(None, [{"row_number": 1, "number": 1}]))
        journal.append(result(1, "whole"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    finder = ResultFinder(path)
    first = finder.find(0)
    assert first is not None
    assert (first["text"], finder.find(1)) == ("naïve", None)
    path.write_bytes(whole)
    second = finder.find(1)
    assert second is not None
    assert second["text"] == "whole"
