"""The parts of a run as one dataset, and their copy: nothing is lost, whatever is asked for."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omni_batch.analytics.parts import Parts, copied
from omni_batch.errors import StorageError
from omni_batch.store.columns import ATTEMPT_COLUMNS
from omni_batch.store.read import named

FILES = 20
ROWS = 3


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Files of three rows, in order; those of the first half lack the column `endpoint`."""
    paths = [tmp_path / f"part-{number:05}.parquet" for number in range(FILES)]
    for number, path in enumerate(paths):
        row_numbers = list(range(number * ROWS, (number + 1) * ROWS))
        columns: dict[str, list[object]] = {"row_number": [*row_numbers]}
        if number >= FILES // 2:
            columns["endpoint"] = ["here"] * ROWS
        pq.write_table(pa.table(columns), path)
    return paths


def test_all_rows_come_in_order_and_as_often_as_they_are_asked_for(parts: list[Path]) -> None:
    found = Parts(parts)
    for _ in range(2):
        table = found.scanner(columns=["row_number"]).to_table()
        assert table.column_names == ["row_number"]
        assert table["row_number"].to_pylist() == list(range(FILES * ROWS))


def test_a_column_that_some_files_lack_is_null_there(parts: list[Path]) -> None:
    endpoints = Parts(parts).scanner().to_table()["endpoint"]
    assert endpoints.null_count == FILES * ROWS // 2
    assert set(endpoints.drop_null().to_pylist()) == {"here"}


def test_duckdb_asks_for_some_columns_of_some_rows(parts: list[Path]) -> None:
    with duckdb.connect(":memory:") as connection:
        connection.register("parts", Parts(parts))
        query = "select sum(row_number), count(*) from parts where endpoint = 'here'"
        wanted = range(FILES * ROWS // 2, FILES * ROWS)
        assert connection.execute(query).fetchall() == [(sum(wanted), len(wanted))]


def test_a_copy_holds_the_columns_that_were_named(parts: list[Path], tmp_path: Path) -> None:
    columns = named(ATTEMPT_COLUMNS, {"row_number", "endpoint"})
    copied(tmp_path / "copy.parquet", columns, parts)
    table = pq.read_table(tmp_path / "copy.parquet")
    assert table["row_number"].to_pylist() == list(range(FILES * ROWS))
    assert table["endpoint"].null_count == FILES * ROWS // 2


def test_a_number_out_of_bounds_is_not_copied(parts: list[Path], tmp_path: Path) -> None:
    pq.write_table(pa.table({"row_number": [-1]}), parts[-1])
    columns = named(ATTEMPT_COLUMNS, {"row_number"})
    with pytest.raises(StorageError, match="out of bounds"):
        copied(tmp_path / "copy.parquet", columns, parts)
