"""Media in columns that nothing reads: what refuses the run, and what is only said. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omni_batch.config import Target
from omni_batch.requests.manifest.cells import is_blank
from omni_batch.requests.manifest.endings import KIND_OF_ENDING, Look, ending, look_of
from omni_batch.requests.manifest.names import Grade, NearMiss, shown
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

    def see(
        self,
        row: ManifestRow,
        unread: tuple[tuple[str, NearMiss], ...],
        given: Collection[str],
    ) -> None:
        """Take in a row.

        Args:
            unread: its columns that nothing reads.
            given: what the row has of its own: kinds of media, prompt, system, voice, messages.
        """
        has_media = not _MEDIA.isdisjoint(given)
        for name, near in unread:
            if has_media and near.grade < Grade.FILE and name in self._doubted:
                continue
            value = row.cells.get(name)
            if is_blank(value) or isinstance(value, int | float):
                continue
            look = look_of(value) or (None if has_media else self._found(value))
            if not _may_be_input(value, look, near):
                continue
            meant = near.target or _target(look)
            lacks = _SERVED_BY[near.target].isdisjoint(given) if near.target else not has_media
            if lacks and not (look in given or (near.grade == Grade.ANY and look == "url")):
                _note(self._refused, name, row.where, value, meant)
            elif look is not None:
                _note(self._doubted, name, row.where, value, meant)

    def _found(self, value: Any) -> Look:
        """A name without a telling ending, looked up on disk in the first rows."""
        if self._looked_up == _LOOKED_UP or not isinstance(value, str) or ending(value):
            return None
        self._looked_up += 1
        return "file" if len(value) <= _NAME_CHARS and self._is_file(value) else None

    def refusals(self) -> Iterator[str]:
        """Why rows would go out without what they have; one line for each column."""
        for name, found in self._refused.items():
            target, column = found.meant or "image", shown(name)
            others = "" if found.meant else " (or audio, video, frames)"
            rows = "" if found.rows == 1 else f"; {found.rows:,} rows"
            yield (
                f"{found.where}: nothing reads column {column} ({found.example}{rows}): rename it "
                f"to {target}{others}, or set manifest.columns: {{{target}: {column}}}; if it is "
                f"not to be sent, set manifest.free_columns: [{column}]"
            )

    def doubts(self) -> Iterator[str]:
        """Columns with references that are only carried along."""
        for name, found in self._doubted.items():
            if name not in self._refused:
                yield (
                    f"column {shown(name)} has addresses or files that nothing reads, such as "
                    f"{found.example}; to send them, set manifest.columns: "
                    f"{{{found.meant or 'image'}: {shown(name)}}}"
                )


def _may_be_input(value: Any, look: Look, near: NearMiss) -> bool:
    if near.grade == Grade.SURE or look is not None:
        return True
    if near.grade == Grade.FILE and isinstance(value, str):
        last = ending(value)
        return not last or last in KIND_OF_ENDING
    return False


def _target(look: Look) -> Target | None:
    return look if look in ("image", "audio", "video") else None


def _note(
    kept: dict[str, _Unread], name: str, where: str, value: Any, meant: Target | None
) -> None:
    if (found := kept.get(name)) is not None:
        found.rows += 1
    elif len(kept) < _COLUMNS_AT_MOST:
        kept[name] = _Unread(where, _example(value), meant)


def _example(value: Any) -> str:
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, Mapping):
        value = value.get("path") or value.get("url") or "bytes"
    if not isinstance(value, str):
        return "bytes"
    return one_line(display_name(value)[:_EXAMPLE_CHARS])
