"""Prompts as Jinja2 templates over a row's columns, in a sandbox without attributes."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from omni_batch.errors import ConfigError, ManifestError


class _Environment(ImmutableSandboxedEnvironment):
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return False  # a row holds data: {{ a.b }} may look up a key, never an attribute


_ENVIRONMENT = _Environment(
    undefined=StrictUndefined,
    autoescape=False,
    keep_trailing_newline=True,
    finalize=lambda value: "" if value is None else value,
)


class PromptTemplate:
    """A template that knows which columns it needs.

    Raises:
        ConfigError: the template has a syntax error.
    """

    def __init__(self, text: str) -> None:
        try:
            self.variables = frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(text)))
            self._template: Template = _ENVIRONMENT.from_string(text)
        except TemplateSyntaxError as exc:
            raise ConfigError(f"request.prompt, line {exc.lineno}: {exc.message}") from None

    def check_columns(self, columns: Iterable[str]) -> None:
        """Raise ConfigError when a variable is no column of the manifest."""
        known = sorted(columns)
        for name in sorted(self.variables.difference(known)):
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"columns: {', '.join(known)}"
            raise ConfigError(f"request.prompt uses {{{{ {name} }}}}, which is no column; {hint}")

    def render(self, row: Mapping[str, Any]) -> str:
        """Fill in one row; null becomes the empty text.

        Raises:
            ManifestError: the template fails on this row.
        """
        try:
            return self._template.render(row)
        except Exception as exc:  # the user's own code: it may divide by zero, or add 1 to a text
            raise ManifestError(f"request.prompt can't be filled in: {exc}") from None
