"""A tree as it was read becomes plain JSON values of the shape that the schema gives.

Two hands. The exact one takes what is there: a number for a number, a label to the letter. The
lenient one takes another spelling of the same value too, and only where exactly one is meant.
Neither rounds, cuts, fills in or guesses.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from omni_batch.annotation.json_text import Bare, Clash
from omni_batch.annotation.shape import Shape

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
"""As JSON5 and JavaScript write it too: +3, .9, 5."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
_INT64 = range(-(2**63), 2**63)
_LONGEST_NUMBER = 400
_SHOWN = 60


class Violation(ValueError):
    """One thing in an answer that the schema does not allow.

    Attributes:
        path: members and positions from the root: objects.1.box.w.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path


def convert(tree: Any, shape: Shape, *, lenient: bool) -> Any:
    """Plain JSON values, members that the schema does not name included.

    Raises:
        Violation: a value is not of its type.
    """
    return _Hand(lenient).take(tree, shape, "")


def project(value: Any, shape: Shape) -> Any:
    """What the column holds of a valid answer: its members alone, null where one is missing.

    Moments are in UTC; an object of numbers by name becomes a list of key and value.
    """
    if value is None:
        return None
    match shape.kind:
        case "object":
            members = shape.members or {}
            return {name: project(value.get(name), each) for name, each in members.items()}
        case "list" if shape.item:
            return [project(each, shape.item) for each in value]
        case "map" if shape.item:
            return [{"key": key, "value": project(each, shape.item)} for key, each in value.items()]
        case "moment":
            return _moment(value).isoformat().replace("+00:00", "Z")
        case _:
            return value


class _Hand:
    """Takes one tree."""

    def __init__(self, lenient: bool) -> None:
        self.lenient = lenient
        self._by_kind: dict[str, Callable[[Any, Shape, str], Any]] = {
            "label": self._label,
            "text": self._text,
            "integer": self._integer,
            "number": self._number,
            "boolean": self._boolean,
            "date": self._date,
            "moment": self._at,
            "list": self._list,
            "object": self._object,
            "map": self._map,
        }

    def take(self, tree: Any, shape: Shape, path: str) -> Any:
        if tree is None:
            if shape.nullable:
                return None
            raise Violation(path, "is null, which the schema does not allow")
        if isinstance(tree, Clash):
            raise Violation(_below(path, tree.key), "appears twice with different values")
        return self._by_kind[shape.kind](tree, shape, path)

    def _label(self, tree: Any, shape: Shape, path: str) -> str:
        if not _is_text(tree):
            raise Violation(path, f"{_shown(tree)} is not one of {_listed(shape.labels)}")
        if tree in shape.labels:
            return str(tree)
        alike = [each for each in shape.labels if _spelling(each) == _spelling(tree)]
        if self.lenient and len(alike) == 1:
            return alike[0]
        raise Violation(path, f"{_shown(tree)} is not one of {_listed(shape.labels)}")

    def _text(self, tree: Any, _: Shape, path: str) -> str:
        if _is_text(tree):
            return _storable(tree)
        raise Violation(path, f"{_shown(tree)} is not a text")

    def _integer(self, tree: Any, _: Shape, path: str) -> int:
        number = self._exact(tree, path, "a whole number")
        if number != number.to_integral_value():
            raise Violation(path, f"{_shown(tree)} is not a whole number")
        if int(number) not in _INT64:
            raise Violation(path, f"{_shown(tree)} is beyond 64 bits")
        return int(number)

    def _number(self, tree: Any, shape: Shape, path: str) -> float | int:
        number = float(self._exact(tree, path, "a number"))
        if number in (float("inf"), float("-inf")):
            raise Violation(path, f"{_shown(tree)} is beyond 64 bits")
        return number

    def _exact(self, tree: Any, path: str, what: str) -> Decimal:
        text = str(tree).replace("\u2212", "-") if isinstance(tree, Bare) else tree
        is_number = isinstance(tree, Bare) or (self.lenient and _is_text(tree))
        form = _NUMBER if isinstance(tree, Bare) else _JSON_NUMBER
        if not is_number or len(text) > _LONGEST_NUMBER or not form.fullmatch(text):
            raise Violation(path, f"{_shown(tree)} is not {what}")
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise Violation(path, f"{_shown(tree)} is not {what}") from None
        if number and number.adjusted() > _LONGEST_NUMBER:
            raise Violation(path, f"{_shown(tree)} is beyond 64 bits")
        return number

    def _boolean(self, tree: Any, _: Shape, path: str) -> bool:
        if isinstance(tree, bool):
            return tree
        if self.lenient and isinstance(tree, str) and (word := tree.strip().lower()) in _TRUTHS:
            return _TRUTHS[word]
        raise Violation(path, f"{_shown(tree)} is not true or false")

    def _date(self, tree: Any, _: Shape, path: str) -> str:
        if _is_text(tree) and _DAY.fullmatch(tree):
            try:
                return date.fromisoformat(tree).isoformat()
            except ValueError:
                pass
        raise Violation(path, f"{_shown(tree)} is not a day such as 2026-03-01")

    def _at(self, tree: Any, _: Shape, path: str) -> str:
        if _is_text(tree) and _MOMENT.fullmatch(tree):
            try:
                _moment(tree)
                return str(tree)
            except (ValueError, OverflowError):
                pass
        reason = "is not a moment with its zone, such as 2026-03-01T09:30:00Z"
        raise Violation(path, f"{_shown(tree)} {reason}")

    def _list(self, tree: Any, shape: Shape, path: str) -> list[Any]:
        if not isinstance(tree, list) or shape.item is None:
            raise Violation(path, f"{_shown(tree)} is not a list")
        return [
            self.take(each, shape.item, f"{path}.{n}".lstrip(".")) for n, each in enumerate(tree)
        ]

    def _map(self, tree: Any, shape: Shape, path: str) -> dict[str, Any]:
        if not isinstance(tree, dict) or shape.item is None:
            raise Violation(path, f"{_shown(tree)} is not an object")
        return {
            _storable(key): self.take(each, shape.item, _below(path, key))
            for key, each in tree.items()
        }

    def _object(self, tree: Any, shape: Shape, path: str) -> dict[str, Any]:
        members = shape.members or {}
        if not isinstance(tree, dict):
            raise Violation(path, f"{_shown(tree)} is not an object")
        tree = self._named(tree, shape, path)
        if not members.keys() & tree.keys():
            raise Violation(path, _none_of(tree, shape))
        return {
            _storable(key): (
                self.take(each, members[key], _below(path, key))
                if key in members
                else _plain(each, _below(path, key))
            )
            for key, each in tree.items()
            if not self._left_out(key, each, shape)
        }

    def _left_out(self, key: str, tree: Any, shape: Shape) -> bool:
        """Null for a member that may be missing says that it is."""
        member = (shape.members or {}).get(key)
        may_miss = member is not None and not member.nullable and key not in shape.required
        return self.lenient and tree is None and may_miss

    def _named(self, tree: dict[str, Any], shape: Shape, path: str) -> dict[str, Any]:
        """With the schema's spelling of keys, where exactly one key is meant by exactly one."""
        members = shape.members or {}
        if not self.lenient or all(key in members for key in tree):
            return tree
        missing = {name.casefold(): name for name in members if name not in tree}
        named: dict[str, Any] = {}
        for key, each in tree.items():
            name = key if key in members else missing.get(key.strip().casefold(), key)
            if name in named and name in members:
                raise Violation(_below(path, name), "appears twice")
            named[name] = each
        return named


def _plain(tree: Any, path: str) -> Any:
    """A member that the schema does not name: for its own judgement of it alone."""
    match tree:
        case Clash():
            raise Violation(_below(path, tree.key), "appears twice with different values")
        case Bare():
            if not _NUMBER.fullmatch(tree) or len(tree) > _LONGEST_NUMBER:
                raise Violation(path, f"{_shown(tree)} is not a value of JSON")
            return float(tree)
        case list():
            return [_plain(each, path) for each in tree]
        case dict():
            return {key: _plain(each, _below(path, key)) for key, each in tree.items()}
        case str():
            return _storable(tree)
        case _:
            return tree


def _is_text(tree: Any) -> bool:
    return isinstance(tree, str) and not isinstance(tree, Bare)


def _storable(text: str) -> str:
    """Half of a surrogate pair is not a character; Unicode's own sign stands for it."""
    return text if text.isascii() else _HALF_PAIR.sub("\ufffd", text)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.upper().replace(" ", "T")).astimezone(UTC)


def _spelling(label: str) -> str:
    text = unicodedata.normalize("NFC", label.strip()).casefold()
    return re.sub(r"[\s_-]+", "_", text)


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _none_of(tree: Mapping[str, Any], shape: Shape) -> str:
    names = [name for name in shape.members or () if not shape.required or name in shape.required]
    wanted = ", ".join(map(repr, names))
    found = ", ".join(repr(key) for key in list(tree)[:5]) or "no member at all"
    return f"has {found[:_SHOWN]}; expected {wanted}"


def _shown(tree: Any) -> str:
    if isinstance(tree, dict | list):
        return "an object" if isinstance(tree, dict) else "a list"
    text = str(tree) if isinstance(tree, Bare | bool) else repr(tree)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _listed(labels: tuple[str, ...]) -> str:
    text = ", ".join(map(repr, labels))
    return text if len(text) <= 4 * _SHOWN else f"{text[: 4 * _SHOWN]}… ({len(labels)} in all)"
