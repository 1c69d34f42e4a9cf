"""What a prompt's template may do: look at data, and no more than a prompt needs. Pure.

A configuration may come from somebody else. Jinja2's own sandbox keeps it from reaching Python's
insides; here it is kept from taking the machine's time and memory.
"""

from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import do_center, do_indent, do_round
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import htmlsafe_json_dumps
from jinja2.visitor import NodeTransformer

MAX_CHARS = 16 * 2**20
"""Of a prompt and of each text on the way to it: as long as a cell of the manifest may be."""
MAX_STEPS = 100_000
"""Rounds of loops and calls of macros, for one row."""
BOUND = "_bound"
_MAX_BITS = 4096  # of a whole number
_MAX_WIDTH = 1000
_LEFT_OUT = ("batch", "format", "pprint", "random", "slice", "urlize", "wordwrap", "xmlattr")
"""Filters that grow without bound, or give another prompt each time."""


class Bound:
    """Counts the steps of one row's template, and looks at every value that it keeps."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def __call__(self, *kept: Any) -> None:
        """One step; `kept` is what it keeps for later ones."""
        self._left -= 1
        if self._left < 0:
            raise SecurityError(f"it takes more than {MAX_STEPS:,} steps; loop over less")
        for value in kept:
            if isinstance(value, str | list | tuple | dict):
                check_chars(len(value))


def check_chars(chars: int) -> None:
    """Refuse a text that would be too long."""
    if chars > MAX_CHARS:
        raise SecurityError(f"a text in it passes {MAX_CHARS:,} characters; shorten it")


class Environment(ImmutableSandboxedEnvironment):
    """No attributes, no growth without bound."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """A row holds data: {{ a.b }} may look up a key, never an attribute."""
        return False

    def wrap_str_format(self, value: Any) -> None:
        """Nothing takes the place of `str.format`, which can pad to any width."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse products that are too large before they are made."""
        if operator == "%" and isinstance(left, str):
            raise SecurityError("% formats no text here; use {{ }} or ~")
        sizes = sorted(map(_size, (left, right)))
        if operator == "*" and any(isinstance(side, str | list | tuple) for side in (left, right)):
            check_chars(max(0, sizes[0]) * max(0, sizes[1]))
        elif operator in ("*", "**") and _bits(operator, left, right) > _MAX_BITS:
            raise SecurityError(f"a number in it passes {_MAX_BITS} bits")
        return super().call_binop(context, operator, left, right)


def environment() -> Environment:
    """The one that all prompts are made in."""
    made = Environment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        finalize=lambda value: "" if value is None else value,
    )
    for name in _LEFT_OUT:
        del made.filters[name]
    for name in ("lipsum", "namespace"):  # grows by itself; keeps values that nobody looks at
        del made.globals[name]
    made.filters |= {
        "center": _center, "indent": _indent, "replace": _replace, "join": _join, "round": _round,
        "tojson": _tojson,
    }  # fmt: skip
    return made


class Guarded(NodeTransformer):
    """Puts a look at the bound into each loop and macro, and behind each assignment."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """Each round is a step."""
        self.generic_visit(node)
        node.body.insert(0, _look(node))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        """Each call is a step, which keeps the arguments."""
        self.generic_visit(node)
        node.body.insert(0, _look(node, *(argument.name for argument in node.args)))
        return node

    def visit_Assign(self, node: nodes.Assign) -> list[nodes.Node]:
        """A name that could be doubled with each line."""
        names = [name.name for name in node.find_all(nodes.Name) if name.ctx == "store"]
        return [node, _look(node, *names)]

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> list[nodes.Node]:
        """The same, written as a block."""
        self.generic_visit(node)
        names = [node.target.name] if isinstance(node.target, nodes.Name) else []
        return [node, _look(node, *names)]


def _look(node: nodes.Node, *names: str) -> nodes.Node:
    arguments: list[nodes.Expr] = [nodes.Name(name, "load") for name in names]
    call = nodes.Call(nodes.Name(BOUND, "load"), arguments, [], None, None)
    return nodes.ExprStmt(call).set_lineno(node.lineno)


def _size(value: Any) -> int:
    return value if isinstance(value, int) else len(value) if hasattr(value, "__len__") else 1


def _bits(operator: str, left: Any, right: Any) -> int:
    if not (isinstance(left, int) and isinstance(right, int)):
        return 0
    if operator == "*":
        return left.bit_length() + right.bit_length()
    return left.bit_length() * max(0, right)


def _width(width: Any) -> None:
    if isinstance(width, int) and width > _MAX_WIDTH:
        raise SecurityError(f"a width of {width} is too large; {_MAX_WIDTH} at most")


def _center(value: str, width: int = 80) -> str:
    _width(width)
    return do_center(value, width)


def _indent(value: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    _width(width)
    step = len(width) if isinstance(width, str) else width
    check_chars(len(value) + (value.count("\n") + 1) * step)
    return do_indent(value, width, first, blank)


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:
    text = str(value)
    check_chars(len(text) + text.count(str(old)) * len(str(new)))
    return text.replace(str(old), str(new), -1 if count is None else count)


def _join(value: Any, d: Any = "") -> str:
    pieces = [str(piece) for piece in value]
    check_chars(sum(map(len, pieces)) + len(pieces) * len(str(d)))
    return str(d).join(pieces)


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    if abs(precision) > 20:
        raise SecurityError(f"round to {precision} digits; 20 at most")
    return do_round(value, precision, method)


def _tojson(value: Any) -> str:
    return str(htmlsafe_json_dumps(value, sort_keys=True))
