"""Tar shards as WebDataset reads them: files of one key are one sample.

A key is the row number and the item's id made safe: no dots, as the first dot ends a key, and no
folders. `<key>.json` is the row, `.txt` the answer, `.wav` the speech; the item's own media are
`.jpg` (or what they are) and `.1.jpg` for further images, `.frame000.jpg`, `.input.mp3`.
"""

import io
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from omni_batch.analytics.export.rows import (
    ExportRow,
    Medium,
    RunReader,
    ShardCounter,
    ShardLimits,
    encode_row,
)
from omni_batch.store.run_dir import file_name

_ENDINGS = {"jpeg": "jpg"}


def write_webdataset(reader: RunReader, folder: Path, limits: ShardLimits) -> None:
    """Write `shard-000000.tar` and so on; with splits, `train-000000.tar`.

    Raises:
        OSError: disk full or not writable.
    """
    for split in reader.splits:
        shards = ShardCounter(limits)
        with ExitStack() as files:
            for row in reader.rows(split):
                if shards.is_due():
                    files.close()
                    path = folder / f"{split or 'shard'}-{shards.begin():06d}.tar"
                    archive = files.enter_context(tarfile.open(path, "w"))
                shards.add(sum(_add(archive, name, medium) for name, medium in _members(row)))


def sample_key(row_number: int, item_id: str) -> str:
    """The name that files of one item share; the number makes it unique."""
    return f"{row_number:08d}-{file_name(item_id).replace('.', '-')}"


def _members(row: ExportRow) -> Iterator[tuple[str, Medium]]:
    key = sample_key(row.values["row_number"], row.values["item_id"])
    yield f"{key}.json", Medium("", data=encode_row(row.values))
    if row.values["text"] is not None:
        yield f"{key}.txt", Medium("", data=row.values["text"].encode())
    if row.speech and row.speech.embeddable:
        yield f"{key}.wav", row.speech
    for number, image in enumerate(row.image):
        if image.embeddable:
            yield f"{key}.{f'{number}.' if number else ''}{image_ending(image)}", image
    for number, frame in enumerate(row.frames):
        if frame.embeddable:
            yield f"{key}.frame{number:03d}.{image_ending(frame)}", frame
    if row.input_audio and row.input_audio.embeddable:
        yield f"{key}.input.{ending(row.input_audio)}", row.input_audio


def _add(archive: tarfile.TarFile, name: str, medium: Medium) -> int:
    member = tarfile.TarInfo(name)  # no owner, no time: the same run makes the same shards
    member.size = medium.size_bytes
    if medium.path is None:
        archive.addfile(member, io.BytesIO(medium.data or b""))
    else:
        with medium.path.open("rb") as file:
            archive.addfile(member, file)
    archive.getmembers().clear()  # it keeps all it wrote
    return member.size


def image_ending(medium: Medium) -> str:
    """Of the file of an image, by its content: jpg, png, …"""
    source = medium.path or io.BytesIO(medium.data or b"")
    try:
        with Image.open(source) as image:  # reads the header only
            found = (image.format or "").lower()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError):
        return ending(medium)
    return _ENDINGS.get(found, found)


def ending(medium: Medium) -> str:
    """Of any file, by its name."""
    suffix = Path(medium.reference).suffix[1:].lower()
    return suffix if suffix.isascii() and suffix.isalnum() and len(suffix) <= 5 else "bin"
