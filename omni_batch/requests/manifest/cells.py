"""One cell → what it is for the item: text, references, turns, or a value that is kept. Pure."""

import ast
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pybase64

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest.names import UNSEEN
from omni_batch.requests.manifest.rows import MAX_CELL_CHARS
from omni_batch.text import is_data_uri, is_url

WRITTEN_OUT = "data:;base64,"
"""What bytes of a cell begin with once they are a reference."""
_LIST_SEPARATOR = "|"
_WHOLE_UP_TO = 2**53  # a float of 64 bits counts one by one until here
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_PYTHON_LIST = re.compile(rf"\[\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*,?\s*\]")
_LOOKS_LIKE_LIST = re.compile(r"""\[\s*["'].*\]""", re.DOTALL)


def is_blank(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN, blanks, an empty list."""
    if isinstance(value, str):
        return not value or value.isspace() or (value[0] in UNSEEN and not value.strip(UNSEEN))
    if isinstance(value, float):
        return value != value
    return value is None or value in ([], (), b"")


def text(value: Any) -> str | None:
    """A text; None where it is blank.

    Raises:
        ManifestError: it is of another type.
    """
    if is_blank(value):
        return None
    if not isinstance(value, str):
        raise ManifestError(f"is {shown_value(value)}; expected a text")
    return value


def item_id(value: Any) -> str | None:
    """A text or a whole number, which may be written as 7.0; None where it is blank."""
    if is_blank(value):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_UP_TO:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ManifestError(f"is {shown_value(value)}; expected a text or a whole number")
    return str(value)


def reference(value: Any) -> str | None:
    """The one reference of `audio` or `video`."""
    found, _ = _listed(value, splits=False)
    if len(found) > 1:
        raise ManifestError(
            f"contains {len(found)} references; it takes one: give the others in messages"
        )
    return found[0] if found else None


def references(value: Any, *, splits: bool) -> tuple[tuple[str, ...], bool]:
    """The references of `image` or `frames`, and whether empty entries were left out.

    Args:
        splits: the cell is text where a list can't be written otherwise, as in CSV.
    """
    return _listed(value, splits=splits)


def messages(value: Any) -> str | None:
    """Turns as JSON text."""
    if isinstance(value, list):
        return msgspec.json.encode(value).decode() if value else None
    return text(value)


def kept(value: Any) -> tuple[Any, str | None]:
    """A free cell as the results carry it, and what was changed of it, if anything was."""
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>", "binary"
    if isinstance(value, str) and value.startswith(WRITTEN_OUT):
        size_bytes = (len(value) - len(WRITTEN_OUT)) * 3 // 4 - value[-2:].count("=")
        return f"<{size_bytes:,} bytes>", "binary"
    if isinstance(value, float) and not math.isfinite(value):
        return None, "infinite" if math.isinf(value) else None
    if isinstance(value, Mapping):
        members = {str(name): kept(member) for name, member in value.items()}
        return {name: member for name, (member, _) in members.items()}, _change(members.values())
    if isinstance(value, list):
        entries = [kept(member) for member in value]
        return [member for member, _ in entries], _change(entries)
    return value, None


def shown_value(value: Any) -> str:
    """A cell for a message: short, and no binary."""
    plain, _ = kept(value)
    return plain if isinstance(value, bytes) else f"{plain!r:.60}"


def _change(parts: Any) -> str | None:
    return next((change for _, change in parts if change), None)


def _listed(value: Any, *, splits: bool) -> tuple[tuple[str, ...], bool]:
    if is_blank(value):
        return (), False
    if isinstance(value, str):
        entries: list[Any] = _entries(value, splits=splits)
    else:
        entries = value if isinstance(value, list) else [value]
    found = [_reference(entry) for entry in entries if not is_blank(entry)]
    return tuple(found), len(found) < len(entries)


def _entries(value: str, *, splits: bool) -> list[Any]:
    stripped = value.strip()
    is_bracketed = stripped.startswith("[") and stripped.endswith("]")
    if is_bracketed and (entries := _written_list(stripped)) is not None:
        return entries
    if splits and _LIST_SEPARATOR in value:
        return [part.strip() for part in value.split(_LIST_SEPARATOR)]
    return [value]


def _written_list(value: str) -> list[Any] | None:
    """A list in JSON, or as Python prints one; None for the name of a file in brackets."""
    try:
        entries = json.loads(value)
    except (ValueError, RecursionError):
        entries = ast.literal_eval(value) if _PYTHON_LIST.fullmatch(value) else None
    if isinstance(entries, list) and all(isinstance(e, str | dict | None) for e in entries):
        return entries
    if _LOOKS_LIKE_LIST.fullmatch(value):
        raise ManifestError(
            f"is {value!r:.60}, which is not a list of references; write a.jpg|b.jpg or "
            '["a.jpg", "b.jpg"]'
        )
    return None


def _reference(value: Any) -> str:
    if isinstance(value, str):
        return _outer(value)
    if isinstance(value, bytes):
        return written_out(value)
    if isinstance(value, Mapping):
        return _reference_of_struct(value)
    raise ManifestError(f"is {shown_value(value)}; expected references")


def _outer(value: str) -> str:
    """Without line breaks around it. A name may end in a blank; an address does not."""
    stripped = value.strip()
    return (
        stripped if is_url(stripped[:8].lower()) or is_data_uri(stripped) else value.strip("\r\n")
    )


def _reference_of_struct(struct: Mapping[str, Any]) -> str:
    """Of Hugging Face's `Image`, `Audio` and `Video`: bytes, or else a path; also {"url": …}."""
    for name in ("bytes", "path", "url"):
        if isinstance(held := struct.get(name), bytes | str) and not is_blank(held):
            return _reference(held)
    if "array" in struct:
        raise ManifestError(
            "is a decoded recording (array, sampling_rate); give its file instead, in datasets "
            'by cast_column("audio", Audio(decode=False))'
        )
    raise ManifestError(f"is {shown_value(struct)}; expected bytes or a path in it")


def written_out(data: bytes) -> str:
    """Bytes as a reference.

    Raises:
        ManifestError: there are too many.
    """
    if len(data) * 4 // 3 > MAX_CELL_CHARS:
        raise ManifestError(
            f"has {len(data):,} bytes; {MAX_CELL_CHARS * 3 // 4:,} at most: give a file or a URL"
        )
    return WRITTEN_OUT + pybase64.b64encode(data).decode()
