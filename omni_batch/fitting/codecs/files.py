"""A file that was made, as a value."""

import hashlib
from pathlib import Path
from typing import Any

from omni_batch.fitting.made import MadeFile


def written(
    path: Path,
    data: bytes,
    form: str,
    mime_type: str,
    *,
    size_px: tuple[int, int] | None = None,
    **facts: Any,
) -> MadeFile:
    """Write a file; what is known of it."""
    path.write_bytes(data)
    return described(path, form, mime_type, size_px=size_px, **facts)


def described(
    path: Path,
    form: str,
    mime_type: str,
    *,
    size_px: tuple[int, int] | None = None,
    **facts: Any,
) -> MadeFile:
    """What is known of a file that was written."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    width_px, height_px = size_px or (None, None)
    size_bytes = path.stat().st_size
    return MadeFile(*(path.name, form, mime_type, size_bytes, sha256, width_px, height_px), **facts)
