"""What came out of a change: files in one folder, and what was found out while they were made."""

import msgspec


class MadeFile(msgspec.Struct, frozen=True):
    """One file."""

    name: str
    """In the folder."""
    format: str
    """Short name, as of `Media`."""
    mime_type: str
    size_bytes: int
    sha256: str
    width_px: int | None = None
    height_px: int | None = None
    begin_s: float = 0.0
    """Where it begins in what it was made from, by the clock of that."""
    duration_s: float | None = None
    has_sound: bool = False
    frames_per_s: float | None = None


class Made(msgspec.Struct, frozen=True):
    """All files of one change, in order."""

    files: tuple[MadeFile, ...]
    doubts: tuple[tuple[str, str], ...] = ()
    """Rule and message of what only showed while it was made; `{name}` stands for the medium."""
