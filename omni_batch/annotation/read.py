"""The annotation in an answer, or the one reason why it has none."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from omni_batch.annotation.convert import Violation, convert, project
from omni_batch.annotation.find import Found, Tree, find
from omni_batch.annotation.json_text import Unreadable, parse_whole
from omni_batch.annotation.schema import AnnotationSchema
from omni_batch.doubts import Doubt

_WRAPPERS = frozenset(
    {"answer", "annotation", "response", "result", "output", "data", "json", "properties"}
    | {"arguments"}
)
_REPAIRED = Doubt("annotation-syntax", "the answer was not quite JSON; it has one reading")
_SPELLED = Doubt("annotation-spelling", "a value was spelled otherwise than the schema asks for")
_UNWRAPPED = Doubt("annotation-wrapped", "the answer was taken out of a wrapping nobody asked for")
ANNOTATION_RULES = frozenset(each.rule for each in (_REPAIRED, _SPELLED, _UNWRAPPED))
"""Rules of the doubts that reading an answer may leave."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A typed answer.

    Attributes:
        value: plain JSON values of the schema's members, as the column holds them.
        doubts: what was not as the schema asks for, and had one reading.
    """

    value: Any
    doubts: tuple[Doubt, ...] = ()


def read_annotation(text: str, schema: AnnotationSchema, *, cut: bool = False) -> Annotation:
    """The annotation that an answer gives.

    Args:
        text: what the model said, to the letter.
        cut: the answer ended at the token limit.

    Raises:
        Violation: it gives none, or not surely one; with the path of the first thing at fault.
    """
    found = find(text)
    if not found.trees:
        found = replace(found, trees=tuple(_bare_label(text, schema)))
    accepted, violation = _accepted(found, schema)
    if len(accepted) == 1 and not found.is_open:
        return accepted[0]
    if accepted:
        raise Violation("", "several answers, and nothing says which one holds")
    raise violation or _nothing(found, cut)


def _accepted(found: Found, schema: AnnotationSchema) -> tuple[list[Annotation], Violation | None]:
    """What the schema accepts, each value once; and why it does not accept the others."""
    accepted: list[Annotation] = []
    violation: Violation | None = None
    for tree in found.trees:
        try:
            annotation = _annotation(tree, schema)
        except Violation as exc:
            violation = _better(violation, exc)
            continue
        if annotation.value not in (each.value for each in accepted):
            accepted.append(annotation)
    return accepted, violation


def _better(earlier: Violation | None, later: Violation) -> Violation:
    """The one that names a member: it speaks of what was meant as the answer."""
    return earlier if earlier and earlier.path and not later.path else later


def _annotation(tree: Tree, schema: AnnotationSchema) -> Annotation:
    """A tree as it is, else by the one reading of it, else unwrapped.

    Raises:
        Violation: the schema accepts none of these.
    """
    value = tree.value
    if _repeats_schema(value, schema):
        raise Violation("", "repeats the schema and does not fill it in")
    syntax = () if tree.strict else (_REPAIRED,)
    with suppress(Violation):
        return Annotation(_judged(value, schema, lenient=False), syntax)
    try:
        return Annotation(_judged(value, schema, lenient=True), (*syntax, _SPELLED))
    except Violation as exc:
        violation = exc
    for inner in _unwrapped(value, schema):
        with suppress(Violation):
            return Annotation(_judged(inner, schema, lenient=False), (*syntax, _UNWRAPPED))
    raise violation


def _judged(value: Any, schema: AnnotationSchema, *, lenient: bool) -> Any:
    plain = schema.judge(convert(value, schema.shape, lenient=lenient))
    return project(plain, schema.shape)


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
        case [only]:
            yield only
        case dict():
            inner = [each for key, each in tree.items() if key in _WRAPPERS and key not in own]
            yield from inner if len(inner) == 1 else ()
        case str():
            try:
                yield parse_whole(tree)
            except Unreadable:
                return


def _bare_label(text: str, schema: AnnotationSchema) -> Iterator[Tree]:
    """One label and nothing else, where the answer is to be one."""
    word = text.strip()
    if schema.shape.kind == "label" and word in schema.shape.labels:
        yield Tree(word, strict=False)


def _nothing(found: Found, cut: bool) -> Violation:
    if found.is_open:
        why = "was cut at the token limit" if cut else "is not closed"
        return Violation("", f"the JSON of the answer {why}")
    if found.damage:
        return Violation("", f"the JSON of the answer can't be read from {found.damage!r} on")
    return Violation("", "there is no JSON in the answer")
