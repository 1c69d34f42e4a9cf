"""The language of templates: Jinja2 in its sandbox, over plain values. Pure.

The template comes from the config and is its author's own code: the sandbox keeps it away from
Python's insides, but nothing in it bounds its time and memory. Only a *plain* template has nothing
to spend them on: names, keys and comparisons, in no loop. Cells of the manifest are data: they are
never run as templates, and `{{ a.b }}` looks up a key in them, never an attribute.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace

from omni_batch.text import one_line

MAX_CHARS = 16 * 2**20
"""Longest prompt: as long as a cell of the manifest may be."""
_REASON_CHARS = 200
_OWN_TOOLS = (LoopContext, Cycler, Joiner, Namespace)
_PLAIN_NODES = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const),
    *(nodes.Getattr, nodes.Getitem, nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand),
    *(nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.Filter),
)
_PLAIN_NAMES = ("default", "trim", "length", "defined", "undefined", "none", "string", "number")
"""Filters and tests that copy a value at most, and never make it longer."""
_PLAIN_SIGNS = ("eq", "ne", "lt", "lteq", "gt", "gteq")
_PLAIN_NODES_AT_MOST = 500
"""Each node takes some milliseconds at most: to compare or copy the longest cell."""


class TemplateError(ValueError):
    """The template can't be read; its text says why."""


class _Environment(ImmutableSandboxedEnvironment):
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only Jinja2's own tools have attributes (`loop.index`)."""
        return isinstance(obj, _OWN_TOOLS) and super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key of a cell comes first, also where Python has a method of its name (`items`)."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def _split(text: str | None, separator: str | None = None) -> list[str]:
    """A list that a cell of CSV holds as text; as Python's `str.split`."""
    return [] if text is None else text.split(separator)


def _from_json(text: str) -> Any:
    """What a cell holds as JSON text.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError) as exc:
        raise ValueError(f"fromjson: {text!r:.60} is not JSON text ({exc})") from None


_ENVIRONMENT = _Environment(
    undefined=StrictUndefined,
    autoescape=False,
    keep_trailing_newline=True,
    finalize=lambda value: "" if value is None else value,
)
_ENVIRONMENT.filters["tojson"] = partial(json.dumps, ensure_ascii=False)  # Jinja2's escapes HTML
_ENVIRONMENT.filters |= {"fromjson": _from_json, "split": _split}
del _ENVIRONMENT.filters["random"], _ENVIRONMENT.globals["lipsum"]  # another prompt each time


def is_plain(text: str) -> bool:
    """Whether filling in a template takes time and memory only in proportion to the row.

    Raises:
        TemplateError: a syntax error.
    """
    with _errors_as_one_line():
        found = list(_ENVIRONMENT.parse(text).find_all(nodes.Node))
    return len(found) <= _PLAIN_NODES_AT_MOST and all(map(_is_plain, found))


def _is_plain(node: nodes.Node) -> bool:
    match node:
        case nodes.Filter(name=name) | nodes.Test(name=name):
            return name in _PLAIN_NAMES
        case nodes.Operand(op=sign):
            return sign in _PLAIN_SIGNS
    return isinstance(node, _PLAIN_NODES)


def compiled(text: str) -> tuple[Template, frozenset[str]]:
    """The template and the names that it takes from a row.

    Values that stand in the template are computed here, so this is as costly as filling it in.

    Raises:
        TemplateError: a syntax error, or an unknown filter or test.
    """
    with _errors_as_one_line():
        names = meta.find_undeclared_variables(_ENVIRONMENT.parse(text))
        return _ENVIRONMENT.from_string(text), frozenset(names)


@contextmanager
def _errors_as_one_line() -> Iterator[None]:
    try:
        yield
    except TemplateSyntaxError as exc:
        raise TemplateError(f", line {exc.lineno}: {exc.message}") from None
    except (RecursionError, SyntaxError):  # Python has no loops in more than 20 loops
        raise TemplateError(" is nested too deeply; simplify it") from None
    except (ValueError, OverflowError):  # nor whole numbers of more than 4,300 digits
        raise TemplateError(" contains a number of too many digits; shorten it") from None


def filled_in(template: Template, row: Mapping[str, Any]) -> str:
    """The prompt of a row; null becomes the empty text.

    Raises:
        ValueError: the template fails on this row, or its text is longer than `MAX_CHARS`.
    """
    pieces: list[str] = []
    chars = 0
    try:
        for piece in template.generate(row):
            pieces.append(piece)
            chars += len(piece)
            if chars > MAX_CHARS:
                raise ValueError(f"it is longer than {MAX_CHARS:,} characters; shorten it")
    except MemoryError:
        raise
    except Exception as exc:  # the author's own code: it may divide by zero, or add 1 to a text
        reason = one_line(str(exc)) or type(exc).__name__
        raise ValueError(reason[:_REASON_CHARS]) from None
    return "".join(pieces)
