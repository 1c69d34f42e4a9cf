"""What may be wrong although nothing failed: guessed, dropped, changed or decided for the user.

A doubt is found by a rule. The table has it as one text, `rule: message`; whoever shows many rows
groups them by rule and keeps one of them as an example.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EMPTY_ANSWER = "answer-empty"
"""Rule that doubts an answer without content."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One thing to look at, of a row or of a whole run."""

    rule: str
    """Stable id, such as `container-not-documented`."""
    message: str
    """What, the value, what may come of it or what to do."""

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"

    @classmethod
    def read(cls, text: str) -> "Doubt":
        """The doubt of a text that was made of one."""
        rule, _, message = text.partition(": ")
        return cls(rule, message)


@dataclass(slots=True)
class DoubtGroup:
    """All rows that one rule doubts."""

    rule: str
    message: str
    """Of the first row."""
    rows: int = 0
    """0 where it concerns the run, not a row."""
    item_id: str | None = None
    """Of the first row."""


def of_run_and_rows(
    of_run: Iterable[DoubtGroup], of_rows: Sequence[DoubtGroup]
) -> tuple[DoubtGroup, ...]:
    """Those of the run that no group of rows says as well, then those of rows.

    Args:
        of_rows: their messages may be cut short.
    """

    def said(doubt: DoubtGroup) -> bool:
        same = (group for group in of_rows if group.rule == doubt.rule)
        return any(doubt.message.startswith(group.message) for group in same)

    return *(doubt for doubt in of_run if not said(doubt)), *of_rows


class DoubtGroups:
    """Groups in the order of their first doubts; as many as there are rules."""

    def __init__(self, of_run: Iterable[Doubt] = ()) -> None:
        self._groups: dict[tuple[str, bool], DoubtGroup] = {}
        self.add_run(of_run)

    def add_run(self, doubts: Iterable[Doubt]) -> None:
        """Take in what concerns the whole run; each text is kept."""
        for doubt in doubts:
            group = DoubtGroup(doubt.rule, doubt.message)
            self._groups.setdefault((str(doubt), False), group)

    def add_row(self, item_id: str, doubts: Iterable[Doubt]) -> None:
        """Take in those of one row; a rule that doubts it twice counts it once.

        What was already said of the whole run is not said again.
        """
        first: dict[str, str] = {}
        for doubt in doubts:
            if (str(doubt), False) not in self._groups:
                first.setdefault(doubt.rule, doubt.message)
        for rule, message in first.items():
            new = DoubtGroup(rule, message, item_id=item_id)
            self._groups.setdefault((rule, True), new).rows += 1

    def all(self) -> list[DoubtGroup]:
        """Those of the run, then those of rows."""
        return sorted(self._groups.values(), key=lambda group: group.rows > 0)
