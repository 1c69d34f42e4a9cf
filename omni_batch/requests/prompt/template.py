"""PromptTemplate: what the config's author wrote, held against a row."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from omni_batch.errors import ConfigError, ManifestError
from omni_batch.requests.prompt.language import TemplateError, compiled, filled_in, is_plain
from omni_batch.requests.prompt.process import TemplateProcess
from omni_batch.requests.prompt.spelling import by_spelling
from omni_batch.text import did_you_mean


class PromptTemplate:
    """A template that knows which columns it needs.

    One of names and conditions alone is filled in here; any other in a `TemplateProcess`.

    Args:
        constants: what it may name beside columns; a column of the same name comes first.

    Raises:
        ConfigError: the template has a syntax error, or takes more than its limits.
    """

    variables: frozenset[str]
    """Names that it takes from a row."""

    def __init__(self, text: str, constants: Mapping[str, Any] | None = None) -> None:
        try:
            filler = _Plain(text) if is_plain(text) else TemplateProcess(text)
        except TemplateError as exc:
            raise ConfigError(f"request.prompt{exc}") from None
        own = constants or {}
        self.variables = filler.variables.difference(own)
        self._constants = {name: own[name] for name in filler.variables.intersection(own)}
        self._fill_in: Callable[[Mapping[str, Any]], str] = filler.render

    def check_columns(self, columns: Iterable[str]) -> None:
        """Raise ConfigError when a variable is not a column of the manifest."""
        for name in self.missing(columns):
            hint = did_you_mean(name, sorted(by_spelling(columns)), "columns")
            raise ConfigError(f"request.prompt: {{{{ {name} }}}} is not a column; {hint}")

    def missing(self, columns: Iterable[str]) -> list[str]:
        """The variables that no column stands for."""
        missing = self.variables.difference(columns)
        return sorted(missing.difference(by_spelling(columns))) if missing else []

    def render(self, row: Mapping[str, Any]) -> str:
        """Fill in one row; null becomes the empty text.

        A column whose name is no variable is reached by its `spelling`.

        Raises:
            ManifestError: the template fails on this row, or its text is too long.
        """
        if missing := self.variables.difference(row):
            spellings = by_spelling(row)
            row = {**row, **{n: row[spellings[n]] for n in missing.intersection(spellings)}}
        return self._fill_in({**self._constants, **row} if self._constants else row)


class _Plain:
    """A template that is filled in where it stands."""

    def __init__(self, text: str) -> None:
        self._template, self.variables = compiled(text)

    def render(self, row: Mapping[str, Any]) -> str:
        try:
            return filled_in(self._template, row)
        except ValueError as exc:
            raise ManifestError(f"request.prompt can't be filled in: {exc}") from None
