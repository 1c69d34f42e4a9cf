"""Media in columns that nothing reads: what refuses the run, and what is only said. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omni_batch.config import Target
from omni_batch.requests.manifest.cells import is_blank, shown_value
from omni_batch.requests.manifest.endings import KIND_OF_ENDING, Look, ending, is_plain, look_of
from omni_batch.requests.manifest.names import Grade, NearMiss, near_miss, shown
from omni_batch.requests.manifest.rows import ManifestRow
from omni_batch.text import display_name, one_line

_COLUMNS_AT_MOST = 100  # in a message, and remembered: rows of JSON may have any number
_EXAMPLE_CHARS = 60
_LOOKED_UP = 200  # cells
_NAME_CHARS = 255  # of a file, on any common file system
_SERVED_BY: Mapping[Target, frozenset[str]] = {
    "image": frozenset({"image", "frames"}),
    "audio": frozenset({"audio"}),
    "video": frozenset({"video", "frames"}),
    "frames": frozenset({"frames", "video", "image"}),
    "prompt": frozenset({"prompt", "messages"}),
    "messages": frozenset({"prompt", "messages", "image", "audio", "video", "frames"}),
    "system": frozenset({"system"}),
    "voice": frozenset({"voice"}),
}
"""What a row must have of its own, for a column of that sense to be an extra."""
Suspects = list[tuple[str, NearMiss, Look]]
"""Names of columns, what they come near to, and what their cells look like."""
_MEDIA: frozenset[Target] = frozenset({"image", "audio", "video", "frames"})


@dataclass(slots=True)
class _Unread:
    where: str
    example: str
    meant: Target | None
    rows: int = 1


class UnreadColumns:
    """Looks through the free cells of every row, as far as nothing reads them.

    Args:
        is_file: whether there is a file of that name beside the manifest; asked a few times.
    """

    def __init__(self, is_file: Callable[[str], bool]) -> None:
        self._is_file = is_file
        self._looked_up = 0
        self._refused: dict[str, _Unread] = {}
        self._doubted: dict[str, _Unread] = {}

    @property
    def refuses(self) -> bool:
        """Whether a row would go out without what it has."""
        return bool(self._refused)

    def suspects(self, row: ManifestRow, unread: tuple[tuple[str, NearMiss], ...]) -> Suspects:
        """Cells of a row that may have been meant to be sent.

        Args:
            unread: its columns that nothing reads.
        """
        found = []
        for name, near in unread:
            value = row.cells[name]
            if near.grade < Grade.FILE and self._looked_up == _LOOKED_UP and is_plain(value):
                continue
            if is_blank(value) or isinstance(value, int | float):
                continue
            look = look_of(value) or self._found(value)
            if _may_be_input(value, look, near):
                found.append((name, near, look))
        return found

    def judge(self, row: ManifestRow, suspects: Suspects, given: Collection[str]) -> None:
        """Take in a row's suspicious cells.

        Args:
            given: what the row has of its own: kinds of media, prompt, system, voice, messages.
        """
        has_media = not _MEDIA.isdisjoint(given)
        for name, near, look in suspects:
            lacks = _SERVED_BY[near.target].isdisjoint(given) if near.target else not has_media
            lacks = lacks or (near.is_numbered and near.grade == Grade.SURE)
            is_sure = near.grade == Grade.SURE or (
                look not in given and (near.grade > Grade.ANY or look != "url")
            )
            meant = near.target or _target(look)
            if lacks and is_sure:
                _note(self._refused, name, row, meant)
            elif look is not None:
                _note(self._doubted, name, row, meant)

    def _found(self, value: Any) -> Look:
        """A name without a telling ending, looked up on disk in the first rows."""
        if self._looked_up == _LOOKED_UP or not isinstance(value, str) or ending(value):
            return None
        self._looked_up += 1
        return "file" if len(value) <= _NAME_CHARS and self._is_file(value) else None

    def refusals(self) -> Iterator[str]:
        """Why rows would go out without what they have; one line for each column."""
        for name, found in self._refused.items():
            rows = "" if found.rows == 1 else f"; {found.rows:,} rows"
            column = shown(name)
            yield (
                f"{found.where}: nothing reads column {column} ({found.example}{rows}): "
                f"{_remedy(column, name, found.meant)}; if it is not to be sent, set "
                f"manifest.free_columns: [{column}]"
            )

    def doubts(self) -> Iterator[str]:
        """Columns with references that are only carried along."""
        for name, found in self._doubted.items():
            if name not in self._refused:
                yield (
                    f"column {shown(name)} has addresses or files that nothing reads, such as "
                    f"{found.example}; to send them, set manifest.columns: "
                    f"{{{found.meant or 'image'}: {shown(name)}}}; to hear no more of it, "
                    f"manifest.free_columns: [{shown(name)}]"
                )


def _remedy(column: str, name: str, meant: Target | None) -> str:
    if near_miss(name).is_numbered and meant in ("image", "frames"):
        return f"write all of a row as one list into the column {meant} (a.jpg|b.jpg)"
    others = "" if meant else " (or audio, video, frames)"
    target = meant or "image"
    return f"rename it to {target}{others}, or set manifest.columns: {{{target}: {column}}}"


def _may_be_input(value: Any, look: Look, near: NearMiss) -> bool:
    if near.grade == Grade.SURE or look is not None:
        return True
    if near.grade == Grade.FILE and isinstance(value, str):
        last = ending(value)
        return not last or last in KIND_OF_ENDING
    return False


def _target(look: Look) -> Target | None:
    return look if look in ("image", "audio", "video") else None


def _note(kept: dict[str, _Unread], name: str, row: ManifestRow, meant: Target | None) -> None:
    if (found := kept.get(name)) is not None:
        found.rows += 1
    elif len(kept) < _COLUMNS_AT_MOST:
        kept[name] = _Unread(row.where, _example(row.cells[name]), meant)


def _example(value: Any) -> str:
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, Mapping):
        value = value.get("path") or value.get("url") or value
    text = display_name(value) if isinstance(value, str) else shown_value(value)
    return one_line(text[:_EXAMPLE_CHARS])
