"""A line of the journal is whole or it is not there, wherever the writer was cut off."""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.errors import StorageError
from omni_batch.store import Entry, Journal
from omni_batch.store.disk import Disk
from omni_batch.store.journal import Salvage, read_journal, salvage_journal
from tests.support.small_disk import no_file_beyond

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROW = st.dictionaries(ANY_TEXT, st.none() | ANY_TEXT | st.integers(0, 2**60) | st.lists(ANY_TEXT))
ENTRIES = st.lists(st.builds(Entry, ROW, st.lists(ROW, max_size=2)), max_size=4)
LAST = Entry({"text": "last"}, [])


def written(path: Path, entries: list[Entry]) -> Path:
    path.unlink(missing_ok=True)
    with Journal(path) as journal:
        for entry in entries:
            journal.append(entry)
    return path


def row(text: str = "line one\nline two\u2028\x00é") -> Entry:
    return Entry({"text": text}, [{"number": 1}, {"number": 2}])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal")


@given(entries=ENTRIES)
@settings(deadline=None)
def test_what_was_appended_is_read_in_order(folder: Path, entries: list[Entry]) -> None:
    assert list(read_journal(written(folder / "journal.jsonl", entries))) == entries


@given(entries=ENTRIES, data=st.data())
@settings(deadline=None)
def test_any_torn_tail_leaves_exactly_the_whole_lines_and_appending_goes_on(
    folder: Path, entries: list[Entry], data: st.DataObject
) -> None:
    path = written(folder / "torn.jsonl", entries)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = entries[: content[:cut].count(b"\n")]
    assert list(read_journal(path)) == whole
    with Journal(path) as journal:
        journal.append(LAST)
    assert list(read_journal(path)) == [*whole, LAST]


def test_opening_a_journal_changes_no_whole_line(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl", [row("a"), row("b")])
    before = path.read_bytes()
    path.write_bytes(before + b'{"result": {"text": "c')
    with Journal(path):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("torn", [b"", b"{", b'{"result": {"text": "c'])
def test_a_journal_of_half_a_line_is_empty(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(torn)
    with Journal(path) as journal:
        assert path.read_bytes() == b""
        journal.append(LAST)
    assert list(read_journal(path)) == [LAST]


def test_an_entry_is_in_the_file_as_soon_as_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for count in (1, 2, 3):
            journal.append(row())
            assert len(list(read_journal(path))) == count


def test_no_journal_has_no_entries(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "gone.jsonl")) == []


def test_no_journal_has_nothing_to_salvage(tmp_path: Path) -> None:
    assert salvage_journal(tmp_path / "gone.jsonl") == Salvage([], damaged=0, cut=0)


def test_what_is_whole_is_salvaged_and_the_rest_is_counted(tmp_path: Path) -> None:
    """A line that was cut and then written on still ends in a whole entry."""
    whole = Entry({"row_number": 1}, [{"row_number": 1, "number": 1}])
    unfinished = Entry(None, [{"row_number": 2, "number": 1}])
    path = written(tmp_path / "journal.jsonl", [whole])
    line = path.read_bytes()
    path.write_bytes(line + line[:20] + line + b"garbage\n" + line[:-1])
    with Journal(path) as journal:
        journal.append(unfinished)
        assert journal.entries() == [whole, whole, unfinished]
    assert salvage_journal(path) == Salvage([whole, whole, unfinished], damaged=1, cut=1)


@pytest.mark.parametrize(
    "entry",
    [
        Entry({"row_number": "1"}, []),
        Entry({}, []),
        Entry(None, [{"number": 1}]),
        Entry(None, [{"row_number": 1, "number": None}]),
        Entry({"row_number": 1}, [{"row_number": 1}]),
    ],
)
def test_an_entry_without_its_numbers_is_damaged(tmp_path: Path, entry: Entry) -> None:
    path = written(tmp_path / "journal.jsonl", [entry])
    assert salvage_journal(path) == Salvage([], damaged=1, cut=0)


@pytest.mark.parametrize(
    "read",
    [Journal, salvage_journal, lambda path: list(read_journal(path))],
    ids=["opened", "salvaged", "read"],
)
def test_what_is_no_file_is_not_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Reading a pipe or a device could wait for ever."""
    path = tmp_path / "journal.jsonl"
    path.symlink_to(os.devnull)
    with pytest.raises(StorageError, match=r"journal\.jsonl can't be .*: it is not a regular file"):
        read(path)


@pytest.mark.parametrize(
    "cleaner", [Path.unlink, lambda path: shutil.rmtree(path.parent)], ids=["file", "folder"]
)
def test_a_journal_that_lost_its_name_gets_it_back(
    tmp_path: Path, cleaner: Callable[[Path], None]
) -> None:
    path = tmp_path / "journal" / "journal.jsonl"
    path.parent.mkdir()
    with Journal(path) as journal:
        journal.append(row("before"))
        cleaner(path)
        journal.append(row("after"))
    assert list(read_journal(path)) == [row("before"), row("after")]
    assert list(path.parent.iterdir()) == [path]


def test_a_journal_that_is_done_stays_away(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append(row())
        journal.remove()
    assert not list(tmp_path.iterdir())


def test_a_journal_that_cannot_be_opened_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"journal\.jsonl can't be opened"):
        Journal(tmp_path / "gone" / "journal.jsonl")


@pytest.mark.parametrize(
    "line", [b"garbage\n", b"{}\n", b'{"result": 1, "attempts": []}\n', b"\0\n"]
)
def test_a_whole_line_that_is_no_entry_is_a_storage_error(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path / "journal.jsonl", [row()])
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(StorageError, match=r"journal\.jsonl can't be read"):
        list(read_journal(path))


async def test_items_that_end_together_share_one_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the wait is a thread's: the event loop goes on."""
    real, threads = os.fsync, list[int]()

    def fsync(file: int) -> None:
        threads.append(threading.get_ident())
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with Journal(tmp_path / "journal.jsonl", Disk(durable=True)) as journal:

        async def end(text: str) -> None:
            journal.append(row(text))
            await journal.sync()

        await asyncio.gather(*(end(str(number)) for number in range(100)))
    assert len(threads) <= 3  # the first line and its folder, then all others
    assert threading.get_ident() not in threads


async def test_the_first_wait_for_the_disk_settles_the_name_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, settled = os.fsync, list[Path]()

    def fsync(file: int) -> None:
        settled.append(Path(f"/proc/self/fd/{file}").readlink())
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "journal.jsonl"
    with Journal(path, Disk(durable=True)) as journal:
        for _ in range(2):
            journal.append(row())
            await journal.sync()
        await journal.sync()  # nothing is new
        assert settled == [path, tmp_path, path]
    with Journal(path) as journal:
        await journal.sync()
    assert len(settled) == 3


def test_a_full_disk_leaves_no_half_line_behind(tmp_path: Path) -> None:
    """Items in flight still end and append: their lines must not stick to half of another."""
    path = tmp_path / "journal.jsonl"
    small: list[Any] = [row("a"), row("b"), row("c")]
    with Journal(path) as journal:
        journal.append(small[0])
        with no_file_beyond(500):
            with pytest.raises(StorageError, match=r"journal\.jsonl can't be written"):
                journal.append(row("x" * 1000))
            journal.append(small[1])
        journal.append(small[2])
    assert list(read_journal(path)) == small


def test_a_journal_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim.txt", tmp_path / "shard-00000.jsonl"
    victim.write_text("no end of a line")
    path.symlink_to(victim)
    with pytest.raises(StorageError, match="can't be opened: it is a link"):
        Journal(path)
    assert victim.read_text() == "no end of a line"
