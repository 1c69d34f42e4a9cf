"""Names of columns as a template spells them. Pure."""

import re
from collections import Counter
from collections.abc import Iterable

_NO_LETTERS = re.compile(r"\W+")


def spelling(column: str) -> str:
    """The variable that stands for a column: `Product_Name` for `Product Name`."""
    if column.isidentifier():
        return column
    name = _NO_LETTERS.sub("_", column).strip("_")
    return f"_{name}" if name[:1].isdigit() else name


def by_spelling(columns: Iterable[str]) -> dict[str, str]:
    """Variables with their columns; one that may stand for several stands for none."""
    columns = list(columns)
    counts = Counter(map(spelling, columns))
    known = set(columns)
    return {
        variable: column
        for column in columns
        if (variable := spelling(column)) == column
        or (variable and counts[variable] == 1 and variable not in known)
    }
