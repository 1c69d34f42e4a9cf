"""Prompts as Jinja2 templates over a row's columns. Pure.

The template comes from the config and is the user's own code: Jinja2's sandbox keeps it away from
Python's insides, but nothing keeps it from taking time. Cells of the manifest are data: they are
never run as templates, and `{{ a.b }}` looks up a key in them, never an attribute.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, meta
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace

from omni_batch.errors import ConfigError, ManifestError
from omni_batch.text import did_you_mean

MAX_CHARS = 16 * 2**20
"""Longest prompt: as long as a cell of the manifest may be."""
_NO_LETTERS = re.compile(r"\W+")
_OWN_TOOLS = (LoopContext, Cycler, Joiner, Namespace)


class _Environment(ImmutableSandboxedEnvironment):
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only Jinja2's own tools have attributes (`loop.index`)."""
        return isinstance(obj, _OWN_TOOLS) and super().is_safe_attribute(obj, attr, value)


_ENVIRONMENT = _Environment(
    undefined=StrictUndefined,
    autoescape=False,
    keep_trailing_newline=True,
    finalize=lambda value: "" if value is None else value,
)
_ENVIRONMENT.filters["tojson"] = partial(json.dumps, ensure_ascii=False)  # Jinja2's escapes HTML
del _ENVIRONMENT.filters["random"], _ENVIRONMENT.globals["lipsum"]  # another prompt each time


class PromptTemplate:
    """A template that knows which columns it needs.

    Raises:
        ConfigError: the template has a syntax error.
    """

    def __init__(self, text: str) -> None:
        try:
            tree = _ENVIRONMENT.parse(text)
            self.variables = frozenset(meta.find_undeclared_variables(tree))
            self._template = _ENVIRONMENT.from_string(text)
        except TemplateSyntaxError as exc:
            raise ConfigError(f"request.prompt, line {exc.lineno}: {exc.message}") from None
        except (RecursionError, MemoryError, OverflowError):
            raise ConfigError("request.prompt is nested too deeply; simplify it") from None

    def check_columns(self, columns: Iterable[str]) -> None:
        """Raise ConfigError when a variable is not a column of the manifest."""
        missing = self.variables.difference(columns)
        if not missing:
            return
        spellings = _by_spelling(columns)
        for name in sorted(missing.difference(spellings)):
            hint = did_you_mean(name, sorted(spellings), "columns")
            raise ConfigError(f"request.prompt: {{{{ {name} }}}} is not a column; {hint}")

    def render(self, row: Mapping[str, Any]) -> str:
        """Fill in one row; null becomes the empty text.

        A column whose name is no variable is reached by its `spelling`.

        Raises:
            ManifestError: the template fails on this row, or its text is longer than `MAX_CHARS`.
        """
        if missing := self.variables.difference(row):
            spellings = _by_spelling(row)
            row = {**row, **{n: row[spellings[n]] for n in missing.intersection(spellings)}}
        pieces: list[str] = []
        chars = 0
        try:
            for piece in self._template.generate(row):
                pieces.append(piece)
                chars += len(piece)
                if chars > MAX_CHARS:
                    raise ValueError(f"it is longer than {MAX_CHARS:,} characters; shorten it")
        except Exception as exc:  # the user's own code: it may divide by zero, or add 1 to a text
            raise ManifestError(f"request.prompt can't be filled in: {exc}") from None
        return "".join(pieces)


def spelling(column: str) -> str:
    """The variable that stands for a column: `Product_Name` for `Product Name`."""
    if column.isidentifier():
        return column
    name = _NO_LETTERS.sub("_", column).strip("_")
    return f"_{name}" if name[:1].isdigit() else name


def _by_spelling(columns: Iterable[str]) -> dict[str, str]:
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
