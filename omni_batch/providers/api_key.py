"""The secrets of a run, in a type that never shows them, and their way out of foreign texts."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from omni_batch.text import MASK

_HEAD_CHARS = 12
"""So much of a key is cut out too: messages are cut short, and then a beginning is left."""
_WORD_CHARS = 6
"""Below, a key is cut out only where it stands alone: `EMPTY` and `test` are no secrets."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that no repr, log or traceback with its locals shows."""

    value: str

    def __repr__(self) -> str:
        return f"ApiKey({MASK})"

    @property
    def authorization(self) -> str:
        """The header's value."""
        return f"Bearer {self.value}"


class KeyRedactor:
    """Cuts the keys in use out of what a service says: it may echo them in any place.

    Found as they are, percent-encoded, as quoted-printable, JSON- and HTML-escaped (each character
    by itself, in any mixture), in base64 and in hex; in any case of letters.

    Args:
        keys: of all endpoints of the run; None stands for an endpoint without one.
    """

    def __init__(self, keys: Iterable[ApiKey | None] = ()) -> None:
        values = sorted({key.value for key in keys if key and key.value})
        patterns = [pattern for value in values for pattern in _patterns(value)]
        whole = "|".join(patterns) or r"(?!)"
        self._text = re.compile(whole, re.IGNORECASE)
        self._raw = re.compile(whole.encode(), re.IGNORECASE)
        long = [value for value in values if len(value) >= _HEAD_CHARS]
        self._marks = [form[:_HEAD_CHARS] for value in long for form in _forms(value)]

    def text(self, text: str) -> str:
        """Words of a service's, decoded."""
        return self._text.sub(MASK, text)

    def raw(self, said: bytes) -> bytes:
        """The same before it is decoded."""
        return self._raw.sub(MASK.encode(), said)

    def headers(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Names and values of a reply's head."""
        return {name: self.text(value) for name, value in headers}

    def answer(self, text: str) -> str:
        """An answer, which is long and as good as never holds a key; a short one is left in it."""
        return self.text(text) if any(mark in text for mark in self._marks) else text


def _patterns(value: str) -> Iterator[str]:
    for form in _forms(value):
        pattern = _pattern(form)
        alone = len(value) < _WORD_CHARS
        yield rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])" if alone else pattern


def _forms(value: str) -> Iterator[str]:
    """A key, and what stands for it where it is a part of something encoded."""
    yield value
    if len(value) < _WORD_CHARS:
        return
    yield value.encode().hex()
    for before in range(3):  # bytes in the same group of three, such as the end of `Bearer `
        coded = b64encode(bytes(before) + value.encode()).decode()
        end = (None, -3, -2)[(before + len(value)) % 3]  # its last sign depends on what follows
        yield coded[(0, 2, 3)[before] : end]


def _pattern(form: str) -> str:
    signs = [_sign(sign) for sign in form]
    # Behind the head each is optional: all of the key that is there goes, where it is cut short.
    return "".join(signs[:_HEAD_CHARS]) + "".join(f"{sign}?" for sign in signs[_HEAD_CHARS:])


def _sign(sign: str) -> str:
    """A character, however it is written."""
    code = ord(sign)
    both = {"+": r"[+\-]", "/": r"\\*[/_]"}.get(sign)  # of base64 too, and of its form for URLs
    plain = both or rf"\\*{re.escape(sign)}" if sign in "\"'\\/+" else re.escape(sign)
    in_code = rf"\\+(?:u00|x|U0{{6}}){code:02x}|\\+u\{{0*{code:x}\}}"
    escaped = rf"{in_code}|[%=](?:25)*{code:02x}|&#0*{code};|&#x0*{code:x};"
    return f"(?:{escaped}|{plain})"
