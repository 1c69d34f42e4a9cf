"""Prompts as Jinja2 templates over a row's columns, in a sandbox without attributes."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import Template, TemplateSyntaxError, meta

from omni_batch.errors import ConfigError, ManifestError
from omni_batch.requests.sandbox import BOUND, Bound, Guarded, check_chars, environment

_ENVIRONMENT = environment()


class PromptTemplate:
    """A template that knows which columns it needs.

    Raises:
        ConfigError: the template has a syntax error.
    """

    def __init__(self, text: str) -> None:
        try:
            tree = _ENVIRONMENT.parse(text)
            self.variables = frozenset(meta.find_undeclared_variables(tree))
            self._template: Template = _ENVIRONMENT.from_string(Guarded().visit(tree))
        except TemplateSyntaxError as exc:
            raise ConfigError(f"request.prompt, line {exc.lineno}: {exc.message}") from None
        except (RecursionError, MemoryError, OverflowError):
            raise ConfigError("request.prompt is nested too deeply; write it simpler") from None

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
            pieces: list[str] = []
            chars = 0
            for piece in self._template.generate({**row, BOUND: Bound()}):
                chars += len(piece)
                check_chars(chars)
                pieces.append(piece)
            return "".join(pieces)
        except Exception as exc:  # the user's own code: it may divide by zero, or add 1 to a text
            raise ManifestError(f"request.prompt can't be filled in: {exc}") from None
