"""Typed answers as cells of a card: plain texts, so that a page needs to know no types. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from omni_batch.analytics.agreement import label_of, value_at
from omni_batch.analytics.report.facts import TypedAnswers
from omni_batch.analytics.report.typed_queries import VALUE_CHARS, fields_in_sql
from omni_batch.annotation.shape import read_shape

_MOST_ELEMENTS = 20
Cell = str | list[str] | None


class Cells:
    """The fields of a schema, and their values in one answer.

    Args:
        json_schema: of the run; None where its answers have no type.
        figures: of the same fields: values that are counted there are written alike here.
    """

    def __init__(self, json_schema: Any, figures: TypedAnswers | None) -> None:
        fields = [] if json_schema is None else fields_in_sql(read_shape(json_schema))
        counted = {each.field for each in figures.fields if each.values} if figures else set()
        self._fields = [(field.path, field.name in counted) for field in fields]
        self._names = [field.name for field in fields]

    def of(self, annotation: Any, most_bytes: int) -> list[Cell] | None:
        """One cell for each field; None where there is no typed answer.

        Args:
            most_bytes: of a text that is not one of few.
        """
        if annotation is None or not self._fields:
            return None
        return list(self._cells(annotation, most_bytes))

    def named(self, annotation: Any, most_bytes: int) -> dict[str, Cell]:
        """The same by the names of the fields."""
        return dict(zip(self._names, self.of(annotation, most_bytes) or (), strict=False))

    def _cells(self, annotation: Any, most_bytes: int) -> Iterator[Cell]:
        for path, is_counted in self._fields:
            most = None if is_counted else most_bytes
            value = value_at(annotation, path)
            if isinstance(value, list):
                texts = [_text(each, most) for each in value[:_MOST_ELEMENTS]]
                more = len(value) - len(texts)
                yield [*texts, f"… and {more} more"] if more else texts
            else:
                yield None if value is None else _text(value, most)


def _text(value: Any, most_bytes: int | None) -> str:
    """A value in words; without a limit as the sums name it."""
    if isinstance(value, dict):
        value = msgspec.json.encode(value).decode()
    text = label_of(value)
    return text[:VALUE_CHARS] if most_bytes is None else shortened(text, most_bytes)


def shortened(text: str, most_bytes: int) -> str:
    """A text of so many bytes of UTF-8 at most, with a mark where it was cut."""
    if len(text) * 4 <= most_bytes:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= most_bytes:
        return text
    return data[:most_bytes].decode("utf-8", "ignore").rstrip() + "…"
