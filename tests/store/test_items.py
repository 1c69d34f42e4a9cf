"""The manifest as it was read comes back shard by shard, in order and whole."""

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.errors import ManifestError, StorageError
from omni_batch.store import items as items_module
from omni_batch.store.items import (
    SHARD_ROWS,
    ItemsWriter,
    UniqueIds,
    choose_shard_size,
    read_items,
)
from omni_batch.types import Item

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MAYBE = st.none() | TEXT
LIST = st.lists(TEXT, max_size=3).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
SOURCE = st.dictionaries(TEXT, JSON, max_size=3)


@st.composite
def item_lists(draw: st.DrawFn) -> list[Item]:
    ids = draw(st.lists(TEXT.filter(bool), unique=True, min_size=1, max_size=9))
    return [
        Item(
            item_id=item_id,
            row_number=number,
            prompt=draw(MAYBE),
            image=draw(LIST),
            audio=draw(MAYBE),
            frames=draw(LIST),
            messages=draw(MAYBE),
            source=draw(SOURCE),
        )
        for number, item_id in enumerate(ids)
    ]


def write(path: Path, items: list[Item], group_rows: int) -> int:
    with ItemsWriter(path, group_rows) as writer:
        for item in items:
            writer.add(item)
        return writer.close()


def read_all(path: Path, items: int, shard_size: int) -> list[Item]:
    shards = range(-(-items // shard_size))
    return [item for shard in shards for item in read_items(path, shard, shard_size)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("items") / "items.parquet"


@given(items=item_lists(), shard_size=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_all_shards_together_are_the_manifest_in_order(
    path: Path, items: list[Item], shard_size: int
) -> None:
    assert write(path, items, shard_size) == len(items)
    assert read_all(path, len(items), shard_size) == items


def test_a_shard_may_be_several_groups_of_rows(path: Path) -> None:
    items = [Item(f"item-{number}", number) for number in range(1234)]
    write(path, items, group_rows=100)
    assert read_all(path, len(items), 300) == items
    assert [len(read_items(path, shard, 300)) for shard in range(5)] == [300, 300, 300, 300, 34]


def rows_of_groups(path: Path) -> list[int]:
    footer = pq.read_metadata(path)
    return [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]


def test_items_with_media_written_out_are_fewer_in_a_group(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items_module, "_MOST_BYTES", 1_500)
    reference = "data:;base64," + "A" * 400
    items = [Item(str(number), number, image=(reference,)) for number in range(7)]
    with ItemsWriter(path) as writer:
        for item in items:
            writer.add(item)
        writer.close()
    shard_size = choose_shard_size(7, "auto", writer.shard_rows)
    assert (writer.shard_rows, shard_size) == (3, 3)
    assert rows_of_groups(path) == [3, 3, 1]
    assert [item.item_id for item in read_all(path, 7, shard_size)] == list("0123456")


def test_a_group_holds_some_shards_of_short_rows(path: Path) -> None:
    """So that the footer of a million rows is small."""
    short = [Item(f"item-{number}", number) for number in range(6000)]
    long = [Item(f"long-{number}", 6000 + number, prompt="x" * 9000) for number in range(1200)]
    with ItemsWriter(path) as writer:
        for item in (*short, *long):
            writer.add(item)
        writer.close()
    assert rows_of_groups(path) == [5000, 1500, 500, 200]
    assert writer.shard_rows == SHARD_ROWS
    assert read_all(path, 7200, SHARD_ROWS) == [*short, *long]


@given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=30), shard_size=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_groups_of_any_size_are_the_manifest_in_order(
    path: Path, sizes: list[int], shard_size: int
) -> None:
    items = [Item(str(number), number, prompt="x" * size) for number, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items_module, "_MOST_BYTES", 1_000)
        write(path, items, 7)
    assert max(rows_of_groups(path)) <= 7
    assert read_all(path, len(items), shard_size) == items


@given(items=st.integers(1, 10**8))
def test_a_run_has_at_most_2000_shards_of_whole_groups(items: int) -> None:
    shard_size = choose_shard_size(items, "auto")
    assert -(-items // shard_size) <= 2000
    assert shard_size % SHARD_ROWS == 0
    assert shard_size == SHARD_ROWS or items > 2000 * SHARD_ROWS


@given(items=st.integers(1, 10**8), wanted=st.integers(1, 100_000))
def test_a_shard_size_that_was_asked_for_stands(items: int, wanted: int) -> None:
    assert choose_shard_size(items, wanted) == wanted


def test_ids_that_stand_there_twice_are_refused_with_both_rows(path: Path) -> None:
    ids = [f"item-{number}" for number in range(5000)]
    ids[4321] = ids[17]
    with pytest.raises(ManifestError, match="item_id 'item-17' appears in rows 18 and 4322"):
        write(path, [Item(item_id, number) for number, item_id in enumerate(ids)], SHARD_ROWS)


def test_ids_differ_by_every_character(path: Path) -> None:
    ids = ["a", "A", " a", "a ", "á", "a\u0301", "à"]
    assert write(path, [Item(item_id, n) for n, item_id in enumerate(ids)], 2) == len(ids)


def test_unique_ids_are_not_looked_at_a_second_time() -> None:
    ids = UniqueIds()
    for number in random.Random(7).sample(range(10**6), 1000):
        ids.add(str(number))

    def second_look() -> object:
        pytest.fail("there was no suspicion")
        yield

    ids.refuse_duplicates(second_look())  # type: ignore[arg-type]
    assert len(ids) == 1000


def test_the_file_is_a_table_for_everybody(path: Path) -> None:
    write(path, [Item("a", 0, image=("1.jpg", "2.jpg"), source={"n": 1})], 10)
    (row,) = pq.read_table(path).to_pylist()
    assert (row["item_id"], row["image"], row["source"]) == ("a", ["1.jpg", "2.jpg"], '{"n":1}')


@pytest.mark.parametrize("content", [None, b"", b"PAR1 no PAR1"])
def test_a_file_that_cannot_be_read_is_a_storage_error(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "items.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=r"items\.parquet can't be read"):
        read_items(path, 0, 10)
