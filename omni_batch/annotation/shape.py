"""The shape of an answer, read from its JSON Schema: what each member is, by one type.

JSON Schema may leave the type of a member open; a table can't. So a schema is read once, before
anything is sent, and refused where a column would have no type.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from omni_batch.errors import ConfigError

Kind = Literal[
    "label", "text", "integer", "number", "boolean", "date", "moment", "list", "object", "map"
]
_KIND_OF_TYPE: dict[str, Kind] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "array": "list",
    "object": "object",
}
_KIND_OF_FORMAT: dict[str, Kind] = {"date": "date", "date-time": "moment"}
_DATA_KEYWORDS = frozenset({"enum", "const", "default", "examples", "example"})
_DEEPEST = 32
"""Levels of a schema; deeper ones are no form that a model fills in."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One type of a member, its members' or its elements' included."""

    kind: Kind
    nullable: bool = False
    labels: tuple[str, ...] = ()
    """What a label may be, in the schema's order and spelling."""
    numbers: tuple[float, ...] = ()
    """What a number may be, where the schema lists them."""
    item: "Shape | None" = None
    """Of the elements of a list, or of the values of a map."""
    members: Mapping[str, "Shape"] | None = None
    required: frozenset[str] = frozenset()
    description: str = ""


def read_shape(schema: object) -> Shape:
    """The shape that a schema gives to an answer.

    Raises:
        ConfigError: a part has no type or several, is recursive, or lies outside of the schema.
    """
    _refuse_remote(schema, "")
    return _Reader(schema).read(schema, "", ())


@dataclass(frozen=True, slots=True)
class _Reader:
    root: object

    def read(self, schema: object, path: str, within: tuple[str, ...]) -> Shape:
        if path.count(".") > _DEEPEST:
            raise ConfigError(f"{_at(path)} is nested more than {_DEEPEST} levels deep")
        parts, within = self._parts(schema, path, within)
        merged = _merged(parts)
        if _alternatives(merged) and not _says_type(merged):
            return self._one_of(merged, path, within)
        kind, nullable = _kind(merged, path)
        shape = self._shaped(kind, merged, path, within)
        return _with(shape, nullable=nullable, description=str(merged.get("description", "")))

    def _parts(
        self, schema: object, path: str, within: tuple[str, ...]
    ) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
        """A schema with its references followed and its `allOf` side by side."""
        if not isinstance(schema, Mapping):
            raise ConfigError(f"{_at(path)} may be anything; give it a type")
        found = [schema]
        if isinstance(reference := schema.get("$ref"), str):
            if reference in within:
                raise ConfigError(
                    f"{_at(path)} is recursive ($ref {reference!r}); a column can't be"
                )
            within = (*within, reference)
            more, within = self._parts(self._resolved(reference, path), path, within)
            found += more
        for part in schema.get("allOf", ()):
            more, within = self._parts(part, path, within)
            found += more
        return found, within

    def _resolved(self, reference: str, path: str) -> object:
        place: Any = self.root
        for name in filter(None, reference.removeprefix("#").split("/")):
            name = name.replace("~1", "/").replace("~0", "~")
            if not isinstance(place, Mapping) or name not in place:
                raise ConfigError(f"{_at(path)} refers to {reference!r}, which the schema lacks")
            place = place[name]
        return place

    def _one_of(self, merged: Mapping[str, Any], path: str, within: tuple[str, ...]) -> Shape:
        alternatives = _alternatives(merged)
        options = [each for each in alternatives if not _is_null(each)]
        nullable = len(options) < len(alternatives)
        shapes = [self.read(each, path, within) for each in options]
        shape = _joined(shapes, path)
        description = str(merged.get("description", "")) or shape.description
        return _with(shape, nullable=nullable or shape.nullable, description=description)

    def _shaped(
        self, kind: Kind, merged: Mapping[str, Any], path: str, within: tuple[str, ...]
    ) -> Shape:
        match kind:
            case "label":
                return Shape("label", labels=tuple(_values(merged, str)))
            case "integer" | "number":
                return Shape(kind, numbers=tuple(_values(merged, (int, float))))
            case "list":
                return Shape("list", item=self._item(merged, path, within))
            case "object":
                return self._object(merged, path, within)
            case _:
                return Shape(kind)

    def _item(self, merged: Mapping[str, Any], path: str, within: tuple[str, ...]) -> Shape:
        items, first = merged.get("items"), merged.get("prefixItems", [])
        if isinstance(items, list):  # as drafts before 2020-12 wrote a tuple
            items, first = merged.get("additionalItems"), items
        schemas = [*first, *([items] if isinstance(items, Mapping) else [])]
        if not schemas:
            raise ConfigError(f'{_at(path)} is a list of anything; say what it holds by "items"')
        return _joined([self.read(each, f"{path}[]", within) for each in schemas], f"{path}[]")

    def _object(self, merged: Mapping[str, Any], path: str, within: tuple[str, ...]) -> Shape:
        members, others = merged.get("properties"), merged.get("additionalProperties")
        if members:
            shapes = {
                name: self.read(each, f"{path}.{name}".lstrip("."), within)
                for name, each in members.items()
            }
            return Shape("object", members=shapes, required=frozenset(merged.get("required", ())))
        if isinstance(others, Mapping) and others:
            return Shape("map", item=self.read(others, f"{path}.*".lstrip("."), within))
        raise ConfigError(f'{_at(path)} is an object of anything; name its members by "properties"')


def _refuse_remote(schema: object, path: str) -> None:
    """Nothing is fetched, wherever in the schema the reference is."""
    if isinstance(schema, list):
        for number, part in enumerate(schema):
            _refuse_remote(part, f"{path}/{number}")
    if isinstance(schema, Mapping):
        for name, part in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(part, str) and part[:1] != "#":
                place = path or "the root"
                raise ConfigError(
                    f"the schema refers to {part!r} at {place}; nothing is fetched, so copy that "
                    'part below "$defs"'
                )
            if name not in _DATA_KEYWORDS:
                _refuse_remote(part, f"{path}/{name}")


def _merged(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Several schemas that hold together as one; the first one's words are kept."""
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if name == "properties" and isinstance(value, Mapping):
                merged[name] = {**value, **merged.get(name, {})}
            elif name == "required":
                merged[name] = [*merged.get(name, []), *value]
            else:
                merged.setdefault(name, value)
    return merged


def _alternatives(merged: Mapping[str, Any]) -> list[object]:
    return list(merged.get("anyOf") or merged.get("oneOf") or ())


def _says_type(merged: Mapping[str, Any]) -> bool:
    return any(name in merged for name in ("type", "enum", "const", "properties"))


def _kind(merged: Mapping[str, Any], path: str) -> tuple[Kind, bool]:
    stated = merged.get("type", [])
    types = [stated] if isinstance(stated, str) else list(stated)
    values = _values(merged, object)
    if types and types != ["null"]:
        kinds = {_KIND_OF_TYPE[each] for each in types if each != "null"}
    elif values:
        kinds = {_kind_of_value(each) for each in values}
    else:
        kinds = set(_kinds_by_keywords(merged))
    kind = _one(kinds, path)
    nullable = "null" in types if types else "null" in map(_name_of, _listed(merged))
    if kind == "text":
        kind = "label" if values else _KIND_OF_FORMAT.get(str(merged.get("format")), "text")
    return kind, nullable


def _kinds_by_keywords(merged: Mapping[str, Any]) -> Iterator[Kind]:
    if "properties" in merged:
        yield "object"
    if "items" in merged or "prefixItems" in merged:
        yield "list"


def _one(kinds: set[Kind], path: str) -> Kind:
    if kinds == {"integer", "number"}:
        return "number"
    if not kinds:
        raise ConfigError(f'{_at(path)} has no type; add "type", such as "string" or "number"')
    if len(kinds) > 1:
        names = " or ".join(sorted(kinds))
        raise ConfigError(f"{_at(path)} may be {names}; a column has one type, so choose one")
    (kind,) = kinds
    return kind


def _listed(merged: Mapping[str, Any]) -> list[Any]:
    return [merged["const"]] if "const" in merged else list(merged.get("enum", ()))


def _values(merged: Mapping[str, Any], kind: Any) -> list[Any]:
    """The values that are listed, without null; a boolean is not a number."""
    listed = [each for each in _listed(merged) if each is not None]
    if kind is object or kind is str:
        return [each for each in listed if isinstance(each, kind)]
    return [each for each in listed if isinstance(each, kind) and not isinstance(each, bool)]


def _kind_of_value(value: object) -> Kind:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "text"
        case list():
            return "list"
        case _:
            return "object"


def _name_of(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _is_null(schema: object) -> bool:
    if not isinstance(schema, Mapping):
        return False
    return schema.get("type") == "null" or _listed(schema) == [None]


def _joined(shapes: list[Shape], path: str) -> Shape:
    """Several shapes that are one: the same one, labels of one list, whole and other numbers."""
    kinds = {shape.kind for shape in shapes}
    if len({_type_key(shape) for shape in shapes}) == 1:
        return _with(shapes[0], nullable=any(shape.nullable for shape in shapes))
    nullable = any(shape.nullable for shape in shapes)
    kind = _one(kinds, path)
    if kind == "label":
        return Shape("label", nullable, labels=tuple(dict.fromkeys(_all_labels(shapes))))
    if kind in ("object", "list", "map"):
        raise ConfigError(f"{_at(path)} may be several kinds of {kind}; choose one")
    return Shape(kind, nullable)


def _all_labels(shapes: list[Shape]) -> Iterator[str]:
    for shape in shapes:
        yield from shape.labels


def _type_key(shape: Shape) -> object:
    """What makes two shapes the same type; labels and words aside from it are not."""
    members = shape.members or {}
    inner = tuple((name, _type_key(each)) for name, each in members.items())
    return shape.kind, shape.labels, inner, shape.item and _type_key(shape.item)


def _with(shape: Shape, *, nullable: bool, description: str = "") -> Shape:
    return replace(shape, nullable=nullable, description=description or shape.description)


def _at(path: str) -> str:
    return f"the schema's member {path!r}" if path else "the schema"
