"""JSON as models write it: strict first, then with the slips of syntax that have one reading.

What is read is a tree of dict, list, str, True, False, None and `Bare`: a number keeps its digits,
so that whoever knows the type decides what it is.

Taken though it is not JSON: other blanks, comments, trailing commas, single and curly quotes, keys
without quotes, full-width signs between values, Python's True, False and None, line ends in
strings, and backslashes that are none of JSON's escapes. Everything else fails: a string that ends
where another word follows may have been two, and a value that is not closed may have gone on.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

_DEEPEST = 100
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_BLANK = re.compile(
    r"(?:[\s\ufeff\u200b\u200c\u200d\u2060]|//[^\n]*|#[^\n]*|/\*.{0,2000}?\*/)*", re.DOTALL
)
_BARE = re.compile(r"[^\s,:{}\[\]\"'“”‘’，：｛｝［］]+")
_KEY = re.compile(r"[^\W\d][\w$-]*")
_STRINGS = {
    '"': re.compile(r'((?:[^"\\]|\\.)*)"', re.DOTALL),
    "'": re.compile(r"((?:[^'\\]|\\.)*)'", re.DOTALL),
    "“": re.compile(r"((?:[^“”\\]|\\.)*)”", re.DOTALL),
    "‘": re.compile(r"((?:[^‘’\\]|\\.)*)’", re.DOTALL),
}
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4})|(.))', re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_COLON, _COMMA = ":：", ",，"


class Bare(str):
    """A value without quotes, to the letter: mostly a number."""

    __slots__ = ()


class Clash(dict[str, Any]):
    """An object with one key twice and different values."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


class Unreadable(ValueError):
    """What is there is not JSON, nor one slip away from it.

    Attributes:
        position: where the reading ended.
        is_open: the text ended within the value.
        began: at least one member or element had been read, so that it was meant as JSON.
    """

    def __init__(self, position: int, *, is_open: bool = False, began: bool = False) -> None:
        super().__init__(position)
        self.position, self.is_open, self.began = position, is_open, began


@dataclass(frozen=True, slots=True)
class Parsed:
    """A value and the position behind it."""

    value: Any
    end: int
    strict: bool
    """Whether it was JSON to the letter."""


def parse_whole(text: str) -> Any:
    """A text that is JSON and nothing else.

    Raises:
        Unreadable: it is not.
    """
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise Unreadable(0) from None


def parse_at(text: str, position: int) -> Parsed:
    """The object or list that begins at a bracket.

    Raises:
        Unreadable: there is none with one reading.
    """
    try:
        value, end = _DECODER.raw_decode(text, position)
        return Parsed(value, end, strict=True)
    except (ValueError, RecursionError):
        parser = _Parser(text)
        value, end = parser.value(position, 0)
        if parser.kept_backslashes and parser.met_other_quotes:  # those may be Python's escapes
            raise Unreadable(end, began=True) from None
        return Parsed(value, end, strict=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        for key, value in pairs:
            if members[key] != value or type(members[key]) is not type(value):
                return Clash(key)
    return members


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=Bare, parse_float=Bare, parse_constant=Bare
)


@dataclass(slots=True)
class _Parser:
    """Recursive descent, a bounded number of levels deep."""

    text: str
    began: bool = False
    kept_backslashes: bool = False
    """In a string whose backslashes are no escapes of JSON's."""
    met_other_quotes: bool = False

    def value(self, position: int, depth: int) -> tuple[Any, int]:
        if depth > _DEEPEST:
            raise self._failed(position)
        sign = self.text[position : position + 1]
        if sign in ("{", "｛"):
            return self._members(position + 1, depth + 1)
        if sign in ("[", "［"):
            return self._elements(position + 1, depth + 1)
        if sign in _STRINGS:
            return self._string(position)
        return self._bare(position)

    def _members(self, position: int, depth: int) -> tuple[dict[str, Any], int]:
        pairs: list[tuple[str, Any]] = []
        position = self._skip(position)
        while self.text[position] not in "}｝":
            key, position = self._key(position)
            position = self._skip(self._sign(self._skip(position), _COLON))
            self.began = True
            value, position = self.value(position, depth)
            pairs.append((key, value))
            position = self._next(position, "}｝")
        return _object(pairs), position + 1

    def _elements(self, position: int, depth: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        position = self._skip(position)
        while self.text[position] not in "]］":
            value, position = self.value(position, depth)
            self.began = self.began or not isinstance(value, Bare)
            values.append(value)
            position = self._next(position, "]］")
        return values, position + 1

    def _next(self, position: int, closing: str) -> int:
        """At the next member or at the closing bracket."""
        position = self._skip(position)
        if self.text[position] in closing:
            return position
        return self._skip(self._sign(position, _COMMA))

    def _sign(self, position: int, signs: str) -> int:
        if self.text[position] not in signs:
            raise self._failed(position)
        return position + 1

    def _key(self, position: int) -> tuple[str, int]:
        if self.text[position] in _STRINGS:
            return self._string(position)
        if not (match := _KEY.match(self.text, position)):
            raise self._failed(position)
        return match[0], match.end()

    def _string(self, position: int) -> tuple[str, int]:
        self.began = self.began or self.text[position] in '"“'
        match = _STRINGS[self.text[position]].match(self.text, position + 1)
        if not match:
            raise Unreadable(len(self.text), is_open=True, began=self.began)
        text = _unescaped(match[1], self.text[position])
        if text is None:
            raise self._failed(match.end())
        self.met_other_quotes = self.met_other_quotes or self.text[position] != '"'
        self.kept_backslashes = self.kept_backslashes or (text == match[1] and "\\" in text)
        return text, match.end()

    def _bare(self, position: int) -> tuple[Any, int]:
        if not (match := _BARE.match(self.text, position)):
            raise self._failed(position)
        word = match[0]
        return _WORDS[word] if word in _WORDS else Bare(word), match.end()

    def _skip(self, position: int) -> int:
        """Behind blanks and comments; there must be something."""
        match = _BLANK.match(self.text, position)
        position = match.end() if match else position
        if position >= len(self.text):
            raise Unreadable(position, is_open=True, began=self.began)
        return position

    def _failed(self, position: int) -> Unreadable:
        is_open = position >= len(self.text)
        return Unreadable(position, is_open=is_open, began=self.began)


def _unescaped(text: str, quote: str) -> str | None:
    """Once one escape is none of JSON's, none is meant: a path, or LaTeX.

    None where there are two readings: an escaped quote is among them, so that nobody knows where
    the string ends; or the quotes are not JSON's, and the escape may be Python's.
    """
    if "\\" not in text:
        return text
    escapes = list(_ESCAPE.finditer(text))
    if any(match[3] and match[3] != quote for match in escapes):
        is_plain = quote == '"' and not any(match[0] == '\\"' for match in escapes)
        return text if is_plain else None
    return _PAIR.sub(_paired, _ESCAPE.sub(_plain, text))


def _plain(match: re.Match[str]) -> str:
    if match[2]:
        return chr(int(match[2], 16))
    return match[3] or _ESCAPED.get(match[1], match[1])


def _paired(match: re.Match[str]) -> str:
    return match[0].encode("utf-16", "surrogatepass").decode("utf-16")
