"""What a medium is and how long, wide and readable, by its bytes and never by its name."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from omni_batch.errors import MediaError
from omni_batch.requests.media.container import (
    SENT_CONTAINERS,
    kind_in_container,
    probe_container,
)
from omni_batch.requests.media.image import SENT_IMAGES, probe_image
from omni_batch.requests.media.open_medium import Depth, OpenMedium, open_medium
from omni_batch.requests.media.sniff import HEAD_BYTES, Look, look_of
from omni_batch.text import display_name
from omni_batch.types import Media, MediaKind

_SENT = {"image": SENT_IMAGES, **SENT_CONTAINERS}
_A = {"image": "an image", "audio": "a recording", "video": "a video"}
_INSTEAD = {
    ("image", "video"): "the service takes it for no video: put it in the column image, or send "
    "its frames",
    ("image", "audio"): "put it in the column image",
    ("video", "audio"): "put it in the column video, or send its sound alone",
    ("video", "image"): "put it in the column video",
    ("audio", "video"): "put it in the column audio",
    ("audio", "image"): "put it in the column audio",
}
"""What it is and where it stands, and what to do."""


def probe_file(
    path: Path,
    kind: MediaKind,
    reference: str,
    sha256: str | None = None,
    *,
    depth: Depth = "to_send",
) -> Media:
    """`probe` for a local file, which is also hashed, unless its hash is known.

    Raises:
        MediaError: it is missing, can't be read, or `probe` refuses it.
    """
    name = display_name(reference)
    try:
        with path.open("rb") as file:
            sha256 = sha256 or hashlib.file_digest(file, "sha256").hexdigest()
            found = probe(file, kind, reference, depth=depth)
    except FileNotFoundError:
        raise MediaError(f"{name} does not exist; check the manifest") from None
    except OSError as exc:
        raise MediaError(f"{name} can't be read: {exc.strerror or 'the disk fails'}") from exc
    return replace(found, path=path, sha256=sha256)


def probe(
    file: BinaryIO,
    kind: MediaKind,
    reference: str,
    *,
    whole: bool = True,
    depth: Depth = "to_send",
) -> Media:
    """Read a medium and make sure that it is what it should be.

    Args:
        file: open for reading and seeking, from the medium's first byte to its last.
        reference: what the manifest calls it; messages do the same.
        whole: False where reading raises OSError for some of it, as of a remote file of which only
            the ends were fetched. Then what can't be known is None or marked as guessed, and
            it need not be playable; where nothing can be known, `probed` is False.

    Returns:
        Without path, URL and hash, which the caller knows.

    Raises:
        MediaError: it is empty, broken or of another kind.
    """
    name = display_name(reference)
    with _ending_foreign_errors(name, kind):
        medium = open_medium(file, HEAD_BYTES, name, whole=whole, depth=depth)
        if medium.size_bytes == 0:
            raise MediaError("it is empty: make or download it again")
        if (look := look_of(medium.head)) is not None:
            _refuse_by_looks(look, kind, to_change=medium.to_change)
        found = _found(medium, kind)
        if found.kind != kind:
            raise _in_wrong_place(f"{_A[found.kind]} ({found.format})", found.kind, kind)
    probed = bool(found.format)
    return replace(found, reference=reference, size_bytes=medium.size_bytes, probed=probed)


def _found(medium: OpenMedium, kind: MediaKind) -> Media:
    if kind != "image":
        return probe_container(medium, kind)
    if look_of(medium.head) is not None:
        return probe_image(medium)
    if (found := kind_in_container(medium)) is not None:
        return found
    raise MediaError(
        f"it is no image of a known kind; {_what_is_sent(kind)}: convert it, or download it again"
    )


def _refuse_by_looks(look: Look, kind: MediaKind, *, to_change: bool) -> None:
    if look.kind is None:
        raise MediaError(f"it is {look.name}; {look.remedy}")
    if look.kind != kind and not look.remedy:
        raise _in_wrong_place(look.name, look.kind, kind)
    if look.remedy and not (to_change and look.decoded):
        raise MediaError(f"it is {look.name}; {_what_is_sent(kind)}: {look.remedy}")


def _what_is_sent(kind: MediaKind) -> str:
    return f"taken are {', '.join(_SENT[kind])}"


def _in_wrong_place(what: str, found: MediaKind, wanted: MediaKind) -> MediaError:
    return MediaError(f"it is {what}; {_INSTEAD[found, wanted]}")


@contextmanager
def _ending_foreign_errors(name: str, kind: MediaKind) -> Iterator[None]:
    try:
        yield
    except MediaError as exc:
        raise MediaError(f"{name} can't be sent as {kind}: {exc}") from None
    except (OSError, MemoryError):
        raise
    except Exception as exc:  # decoders raise whatever a broken file makes them stumble over
        raise MediaError(
            f"{name} can't be sent as {kind}: it is damaged: make or download it again"
        ) from exc
