"""What was decided for the user while a manifest was read: one doubt for each thing. Pure."""

from dataclasses import dataclass

from omni_batch.doubts import Doubt


@dataclass(slots=True)
class _Note:
    first: str
    rows: int = 1


class Notes:
    """Counts the rows of each thing; as large as there are things to say."""

    def __init__(self) -> None:
        self._of_file: dict[Doubt, None] = {}
        self._of_rows: dict[Doubt, _Note] = {}

    def add(self, rule: str, message: str) -> None:
        """Take in what concerns the file; the same thing is said once."""
        self._of_file[Doubt(rule, message)] = None

    def add_row(self, rule: str, message: str, where: str) -> None:
        """Take in what concerns a row. `message` names the column, and no value of this row."""
        doubt = Doubt(rule, message)
        if (note := self._of_rows.get(doubt)) is None:
            self._of_rows[doubt] = _Note(where)
        else:
            note.rows += 1

    def doubts(self) -> tuple[Doubt, ...]:
        """All of them, rows counted."""
        of_rows = (
            Doubt(doubt.rule, f"{doubt.message} ({_counted(note)})")
            for doubt, note in self._of_rows.items()
        )
        return (*self._of_file, *of_rows)


def _counted(note: _Note) -> str:
    return note.first if note.rows == 1 else f"{note.rows:,} rows, first {note.first}"
