"""Tables of any columns in the terminal."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pyarrow as pa
from rich.table import Table

ROWS_SHOWN = 100
_CELL_CHARS = 300


def answer_table(columns: pa.Schema, rows: Iterable[dict[str, Any]]) -> Table:
    """Rows of a query, one line each or more where cells are long."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for field in columns:
        number = any(
            test(field.type)
            for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
        )
        table.add_column(field.name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_shown, row.values()))
    return table


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    text = f"{value:,.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _CELL_CHARS else f"{text[:_CELL_CHARS]}…"
