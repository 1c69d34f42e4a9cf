"""Boxes of ISO files (MP4, MOV, HEIC, AVIF): what no decoder at hand says of them. Pure.

ISO/IEC 14496-12 (boxes), 23008-12 (images in them). Whatever a file says, all loops are bounded.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_HEADER_BYTES = 16
_BOXES_AT_MOST = 10_000
_META_BYTES_AT_MOST = 4 * 2**20
_CODECS = (b"hvc1", b"av01", b"avc1", b"jpeg")
_WITH_VERSION = 4  # version and flags of a full box


class BadBoxes(ValueError):
    """What the boxes say makes no sense."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a file, by position."""

    name: bytes
    start: int
    """Of its content."""
    end: int


@dataclass(frozen=True, slots=True)
class Still:
    """The main image of a HEIC or AVIF file."""

    width_px: int
    height_px: int
    codec: bytes
    """Type of the item that is coded: hvc1, av01, …; of a grid, that of its tiles."""
    end: int
    """Where the last byte of all items is said to lie."""


def top_boxes(source: BinaryIO) -> list[Box]:
    """The boxes of a file, in order; the last one may be said to go on behind the file's end."""
    size_bytes = source.seek(0, io.SEEK_END)
    return list(_boxes(source, 0, size_bytes))


def _boxes(source: BinaryIO, start: int, end: int) -> Iterator[Box]:
    for _ in range(_BOXES_AT_MOST):
        if end - start < 8:
            return
        source.seek(start)
        header = source.read(_HEADER_BYTES)
        if len(header) < 8:
            return
        size, name, content = int.from_bytes(header[:4], "big"), header[4:8], start + 8
        if size == 1:
            size, content = int.from_bytes(header[8:16], "big"), start + 16
        box_end = end if size == 0 else start + size
        if box_end < content:
            raise BadBoxes(f"a box of {size} bytes")
        yield Box(name, content, box_end)
        start = box_end


def read_still(source: BinaryIO) -> Still:
    """Find the main image and its size, as it is shown.

    Raises:
        BadBoxes: there is none, or the boxes make no sense.
    """
    meta = next((box for box in top_boxes(source) if box.name == b"meta"), None)
    if meta is None:
        raise BadBoxes("no meta")
    if meta.end - meta.start > _META_BYTES_AT_MOST:
        raise BadBoxes(f"meta of {meta.end - meta.start} bytes")
    source.seek(meta.start + _WITH_VERSION)
    content = source.read(meta.end - meta.start - _WITH_VERSION)
    return _still(_Meta(io.BytesIO(content)))


class _Meta:
    """The boxes of a `meta`, by name, and numbers in them."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self.boxes = self.children(Box(b"meta", 0, content.seek(0, io.SEEK_END)))

    def children(self, box: Box) -> list[Box]:
        """The boxes in a box."""
        return list(_boxes(self._content, box.start, box.end))

    def one(self, name: bytes, boxes: list[Box] | None = None) -> Box:
        """The first box of a name."""
        for box in self.boxes if boxes is None else boxes:
            if box.name == name:
                return box
        raise BadBoxes(f"no {name!r}")

    def content(self, box: Box) -> bytes:
        """All of a box, or what there is of it."""
        self._content.seek(box.start)
        return self._content.read(box.end - box.start)

    def numbers(self, box: Box) -> "_Numbers":
        """A reader of a full box."""
        return _Numbers(self.content(box))


class _Numbers:
    """Reads the big-endian numbers of a full box, which begins with its version and flags."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0
        self.version = self.take(1)
        self.flags = self.take(3)

    def take(self, size: int) -> int:
        """The next number of so many bytes; 0 for none."""
        return int.from_bytes(self.bytes(size), "big")

    def bytes(self, size: int) -> bytes:
        """The next bytes."""
        found = self._data[self._place : self._place + size]
        if len(found) != size:
            raise BadBoxes("a box is cut off")
        self._place += size
        return found


def _still(meta: _Meta) -> Still:
    primary = meta.numbers(meta.one(b"pitm"))
    item = primary.take(2 if primary.version == 0 else 4)
    types = _item_types(meta)
    width, height = _size(meta, item)
    coded = [
        kind for kind in types.values() if kind in (b"hvc1", b"av01", b"avc1", b"jpeg", b"vvc1")
    ]
    main = types.get(item, b"")
    codec = main if main in coded else next(iter(coded), main)
    return Still(width, height, codec, _end_of_items(meta))


def _item_types(meta: _Meta) -> dict[int, bytes]:
    info = meta.one(b"iinf")
    numbers = meta.numbers(info)
    skipped = _WITH_VERSION + (2 if numbers.version == 0 else 4)
    types = {}
    for box in meta.children(Box(b"iinf", info.start + skipped, info.end)):
        entry = meta.numbers(box)
        if box.name == b"infe" and entry.version >= 2:
            number = entry.take(2 if entry.version == 2 else 4)
            entry.take(2)
            types[number] = entry.bytes(4)
    return types


def _size(meta: _Meta, item: int) -> tuple[int, int]:
    """Width and height as shown: `ispe`, turned by `irot`."""
    properties = meta.children(meta.one(b"iprp"))
    known = meta.children(meta.one(b"ipco", properties))
    size, turned = None, False
    for number in _associated(meta, [box for box in properties if box.name == b"ipma"], item):
        if not 0 < number <= len(known):
            continue
        box = known[number - 1]
        if box.name == b"ispe":
            numbers = meta.numbers(box)
            size = numbers.take(4), numbers.take(4)
        elif box.name == b"irot":
            turned ^= bool(meta.content(box)[:1] and meta.content(box)[0] & 1)  # quarter turns
    if size is None or not all(size):
        raise BadBoxes("no size")
    return (size[1], size[0]) if turned else size


def _associated(meta: _Meta, boxes: list[Box], item: int) -> Iterator[int]:
    """Numbers of an item's properties, from 1."""
    for box in boxes:
        numbers = meta.numbers(box)
        for _ in range(numbers.take(4)):
            owner = numbers.take(2 if numbers.version == 0 else 4)
            for _ in range(numbers.take(1)):
                wide = numbers.flags & 1
                number = numbers.take(2 if wide else 1) & (0x7FFF if wide else 0x7F)
                if owner == item:
                    yield number


def _end_of_items(meta: _Meta) -> int:
    """The end of the last extent of `iloc` that lies in the file itself."""
    numbers = meta.numbers(meta.one(b"iloc"))
    sizes, more_sizes = numbers.take(1), numbers.take(1)
    offset_size, length_size = sizes >> 4, sizes & 15
    base_size, index_size = more_sizes >> 4, more_sizes & 15 if numbers.version else 0
    wide, end = 2 if numbers.version < 2 else 4, 0
    for _ in range(numbers.take(wide)):
        numbers.take(wide)
        method = numbers.take(2) & 15 if numbers.version else 0
        numbers.take(2)
        base = numbers.take(base_size)
        extents = numbers.take(2)
        for _ in range(extents if offset_size + length_size else 0):
            numbers.take(index_size)
            extent_end = base + numbers.take(offset_size) + numbers.take(length_size)
            end = max(end, extent_end) if method == 0 else end
    return end
