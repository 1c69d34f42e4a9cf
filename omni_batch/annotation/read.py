"""The annotation in an answer, or the one reason why it has none."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .convert import Violation, convert, project
from .find import Found, find
from .json_text import Unreadable, parse_whole
from .schema import AnnotationSchema

_WRAPPERS = frozenset(
    {"answer", "annotation", "response", "result", "output", "data", "json", "properties"}
    | {"arguments"}
)


def read_annotation(text: str, schema: AnnotationSchema, *, cut: bool = False) -> Any:
    """The value that an answer gives: plain JSON values of the schema's members.

    Args:
        text: what the model said, to the letter.
        cut: the answer ended at the token limit.

    Raises:
        Violation: it gives none, or not surely one; with the path of the first thing at fault.
    """
    found = find(text)
    if not found.values:
        found = replace(found, values=tuple(_bare_label(text, schema)))
    accepted, violation = _accepted(found, schema)
    if len(accepted) == 1:
        return accepted[0]
    if accepted:
        raise Violation("", "several answers that differ, and nothing says which one holds")
    raise violation or _nothing(found, cut)


def _accepted(found: Found, schema: AnnotationSchema) -> tuple[list[Any], Violation | None]:
    """Values that the schema accepts, each once; and why it does not accept the last of others."""
    accepted: list[Any] = []
    violation: Violation | None = None
    for tree in found.values:
        try:
            value = _value(tree, schema)
        except Violation as exc:
            violation = _better(violation, exc)
            continue
        if value not in accepted:
            accepted.append(value)
    return accepted, violation


def _better(earlier: Violation | None, later: Violation) -> Violation:
    """The one that names a member: it speaks of what was meant as the answer."""
    return earlier if earlier and earlier.path and not later.path else later


def _value(tree: Any, schema: AnnotationSchema) -> Any:
    """A tree as the column holds it: as it is, else by one reading of it, else unwrapped."""
    if _repeats_schema(tree, schema):
        raise Violation("", "repeats the schema and does not fill it in")
    try:
        return _judged(tree, schema, lenient=False)
    except Violation:
        pass
    try:
        return _judged(tree, schema, lenient=True)
    except Violation as exc:
        violation = exc
    for inner in _unwrapped(tree, schema):
        try:
            return _judged(inner, schema, lenient=False)
        except Violation:
            continue
    raise violation


def _judged(tree: Any, schema: AnnotationSchema, *, lenient: bool) -> Any:
    value = schema.judge(convert(tree, schema.shape, lenient=lenient))
    return project(value, schema.shape)


def _repeats_schema(tree: Any, schema: AnnotationSchema) -> bool:
    if not isinstance(tree, dict):
        return False
    described = isinstance(tree.get("properties"), dict) and "type" in tree
    own = schema.shape.members or {}
    return (described and "properties" not in own) or tree == schema.json_schema


def _unwrapped(tree: Any, schema: AnnotationSchema) -> Iterator[Any]:
    """What an answer is wrapped in where somebody asked for none of it: one layer."""
    own = schema.shape.members or {}
    match tree:
        case [inner]:
            yield inner
        case dict():
            yield from (each for key, each in tree.items() if key in _WRAPPERS and key not in own)
        case str():
            try:
                yield parse_whole(tree)
            except Unreadable:
                return


def _bare_label(text: str, schema: AnnotationSchema) -> Iterator[str]:
    """One label and nothing else, where the answer is to be one."""
    word = text.strip()
    if schema.shape.kind == "label" and word in schema.shape.labels:
        yield word


def _nothing(found: Found, cut: bool) -> Violation:
    if found.is_open:
        why = "was cut at the token limit" if cut else "is not closed"
        return Violation("", f"the JSON of the answer {why}")
    if found.damage:
        return Violation("", f"the JSON of the answer can't be read from {found.damage!r} on")
    return Violation("", "there is no JSON in the answer")
