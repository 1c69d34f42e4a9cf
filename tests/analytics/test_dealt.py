"""Rows in pieces: all are there, each item in one of them, and percentiles are those of SQL."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.analytics import dealt as dealt_module
from omni_batch.analytics.dealt import Values, dealt, how_many_pieces
from omni_batch.errors import StorageError

COLUMNS = pa.schema([("item_id", pa.string()), ("text", pa.string()), ("row", pa.int64())])
IDS = st.none() | st.sampled_from("abcdefgh")


def table(ids: list[str | None], first: int = 0) -> pa.Table:
    rows = range(first, first + len(ids))
    return pa.table([ids, [f"text {row}" for row in rows], [*rows]], schema=COLUMNS)


@given(tables=st.lists(st.lists(IDS, max_size=9), max_size=5), pieces=st.integers(1, 5))
def test_each_row_is_in_one_piece_with_all_others_of_its_item(
    tmp_path_factory: pytest.TempPathFactory, tables: list[list[str | None]], pieces: int
) -> None:
    ids = [item_id for some in tables for item_id in some]
    firsts = [sum(map(len, tables[:number])) for number in range(len(tables))]
    path = tmp_path_factory.mktemp("dealt") / "rows"
    found = dealt(map(table, tables, firsts), COLUMNS, pieces, path)
    seen: dict[str | None, int] = {}
    rows = []
    for number in range(pieces):
        piece = found.piece(number)
        assert piece.schema == COLUMNS
        assert piece["row"].to_pylist() == sorted(piece["row"].to_pylist()), "as they were dealt"
        assert all(seen.setdefault(item, number) == number for item in piece["item_id"].to_pylist())
        rows += piece.to_pylist()
    assert sorted(rows, key=lambda row: row["row"]) == table(ids).to_pylist()


def test_rows_of_two_tables_meet_whatever_their_order(tmp_path: Path) -> None:
    ids: list[str | None] = [f"row-{number}" for number in range(200)]
    one = dealt([table(ids)], COLUMNS, 7, tmp_path / "one")
    other = dealt([table(ids[100:][::-1]), table(ids[:100])], COLUMNS, 7, tmp_path / "other")
    for number in range(7):
        here, there = (set(found.piece(number)["item_id"].to_pylist()) for found in (one, other))
        assert here == there != set()


def test_batches_of_any_size_make_the_same_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[str | None] = [f"row-{number}" for number in range(300)]
    tables = [table(ids[first : first + 10], first) for first in range(0, 300, 10)]
    at_once = dealt(tables, COLUMNS, 3, tmp_path / "at-once")
    monkeypatch.setattr(dealt_module, "_AT_ONCE_BYTES", 1)
    one_by_one = dealt(tables, COLUMNS, 3, tmp_path / "one-by-one")
    for number in range(3):
        assert at_once.piece(number) == one_by_one.piece(number)


def test_pieces_are_small_and_not_too_many() -> None:
    assert how_many_pieces(1000, 100_000) == 1
    assert 1_000_000 / how_many_pieces(1_000_000, 0) <= 10_000
    assert 100 * 2**20 / how_many_pieces(10, 100 * 2**20) <= 2 * 2**20
    assert how_many_pieces(10**9, 10**12) == 128


def test_pieces_that_are_gone_are_a_storage_error(tmp_path: Path) -> None:
    found = dealt([table(["a"])], COLUMNS, 1, tmp_path / "rows")
    found.path.write_bytes(b"ARROW1 no more")
    with pytest.raises(StorageError, match="rows can't be read"):
        found.piece(0)


@settings(max_examples=40)
@given(st.lists(st.none() | st.floats(0, 1e6), max_size=50))
def test_percentiles_are_those_of_sql(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float | None]
) -> None:
    values = Values(tmp_path_factory.mktemp("values") / "values")
    for some in (numbers[::2], numbers[1::2]):
        values.add(pa.table({"seconds": pa.array(some, pa.float64())}))
    with duckdb.connect(":memory:") as connection:
        connection.register("numbers", pa.table({"value": pa.array(numbers, pa.float64())}))
        query = "select median(value), quantile_cont(value, 0.95), max(value) from numbers"
        (expected,) = connection.sql(query).fetchall()
    known = [value is None or pytest.approx(value) for value in expected]
    assert [value is None or value for value in values.percentiles(0.5, 0.95, 1)] == known
