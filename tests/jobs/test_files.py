"""Files of jobs on disk: what goes out, what came back, sorted by shards."""

import tracemalloc
from pathlib import Path

import pytest

from omni_batch.errors import StorageError
from omni_batch.jobs.book import JobBook
from omni_batch.jobs.files import InputFile, JobFiles, RowNote
from omni_batch.jobs.lines import id_of
from omni_batch.store.disk import Disk


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    found = JobFiles(tmp_path / "jobs", Disk(), shard_size=10)
    found.begin(())
    return found


def answer(row: int, text: str = "x") -> bytes:
    body = b'{"status_code":200,"body":{"text":"%b"}}' % text.encode()
    return b'{"custom_id":"%b","response":%b}\n' % (id_of(row).encode(), body)


def sent(files: JobFiles, rows: list[int], job: int = 1) -> None:
    file = InputFile(files, job)
    for row in rows:
        file.write(b"{}\n")
        file.note(RowNote(row, sent=True, fingerprint=f"print-{row}"))
    file.close()


def came(files: JobFiles, output: bytes, errors: bytes = b"", job: int = 1) -> None:
    files.output(job, "output").write_bytes(output)
    if errors:
        files.output(job, "error").write_bytes(errors)


def test_each_shard_gets_its_rows_and_their_lines(files: JobFiles) -> None:
    sent(files, [3, 12, 19])
    came(files, answer(19, "b") + answer(3, "a"))
    assert files.sort(1, {3, 12, 19}) == ""
    first, second = files.arrived(1, 0), files.arrived(1, 1)
    assert {row: bool(each.line) for row, each in (first | second).items()} == {
        3: True,
        12: False,
        19: True,
    }
    assert second[19].note.fingerprint == "print-19"


def test_an_answer_outweighs_a_refusal_in_the_other_file(files: JobFiles) -> None:
    sent(files, [3])
    refusal = b'{"custom_id":"row-3","response":null,"error":{"message":"no"}}\n'
    came(files, answer(3), refusal)
    files.sort(1, {3})
    assert (line := files.arrived(1, 0)[3].line) is not None
    assert line.kind == "answer"


def test_sorting_again_after_a_crash_gives_the_same(files: JobFiles) -> None:
    sent(files, [3, 12])
    came(files, answer(3) + answer(12))
    files.sort(1, {3, 12})
    once = files.arrived(1, 0), files.arrived(1, 1)
    files.sort(1, {3, 12})
    assert (files.arrived(1, 0), files.arrived(1, 1)) == once


def test_memory_does_not_grow_with_what_came_back(files: JobFiles) -> None:
    rows = range(3_000)
    sent(files, list(rows))
    with files.output(1, "output").open("wb") as file:
        for row in rows:
            file.write(answer(row, "x" * 20_000))  # 60 MB
    tracemalloc.start()
    files.sort(1, set(rows))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20 * 2**20
    assert len(files.arrived(1, 299)) == 10


def test_a_line_that_could_not_be_finished_is_taken_back(files: JobFiles) -> None:
    file = InputFile(files, 1)
    file.write(b"whole\n")
    at = file.tell()
    file.write(b"ha")
    file.cut(at)
    file.write(b"next\n")
    file.close()
    assert files.input(1).read_bytes() == b"whole\nnext\n"


def test_what_was_never_written_into_the_book_is_removed(files: JobFiles) -> None:
    sent(files, [1], job=1)
    sent(files, [2], job=2)
    files.begin([1])
    assert files.folder(1).exists()
    assert not files.folder(2).exists()


# --- the book ---


def test_a_book_is_read_again_and_half_a_line_is_cut_off(files: JobFiles) -> None:
    with JobBook(files.book, files.disk) as book:
        book.note(1, "written", lines=2, endpoint="e", model="m", mark="mark")
        book.note(1, "uploaded", file_id="f")
    with files.book.open("ab") as file:
        file.write(b'{"job":1,"what":"crea')
    with JobBook(files.book, files.disk) as book:
        assert book.jobs[1].next_step == "create"
        assert book.next_number == 2
        book.note(1, "creating")
    with JobBook(files.book, files.disk) as book:
        assert [job.next_step for job in book.unsettled()] == ["search"]


def test_a_book_that_another_program_has_changed_is_refused(files: JobFiles) -> None:
    files.book.write_bytes(b"not a book\n")
    with pytest.raises(StorageError, match=r"book.jsonl can't be read"):
        JobBook(files.book, files.disk)
