"""Boxes of ISO files: sizes of stills as shown, and no file that can keep a reader busy."""

import io
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.requests.media.boxes import BadBoxes, read_still, top_boxes
from tests.support.media_files import box, full_box, still

WHOLE = still(tile_px=(512, 512), quarter_turns=1)


@pytest.mark.parametrize(
    ("quarter_turns", "size_px"),
    [
        (None, (4032, 3024)),
        (0, (4032, 3024)),
        (1, (3024, 4032)),
        (2, (4032, 3024)),
        (3, (3024, 4032)),
    ],
)
@pytest.mark.parametrize("tile_px", [None, (512, 512)])
def test_a_still_has_the_size_that_it_is_shown_with(
    quarter_turns: int | None, size_px: tuple[int, int], tile_px: tuple[int, int] | None
) -> None:
    found = read_still(io.BytesIO(still(quarter_turns=quarter_turns, tile_px=tile_px)))
    assert (found.width_px, found.height_px) == size_px
    assert found.codec == b"hvc1"


def test_the_last_byte_of_a_whole_still_is_that_of_its_file() -> None:
    assert read_still(io.BytesIO(WHOLE)).end == len(WHOLE)


def test_boxes_may_be_long_or_go_on_to_the_end() -> None:
    long = b"\0\0\0\1mdat" + (16 + 5).to_bytes(8, "big") + b"12345"
    found = top_boxes(io.BytesIO(box(b"ftyp", b"isom") + long + b"\0\0\0\0free" + bytes(9)))
    assert [(found_box.name, found_box.end - found_box.start) for found_box in found] == [
        *((b"ftyp", 4), (b"mdat", 5)),
        (b"free", 9),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        box(b"ftyp", b"heic"),
        box(b"ftyp", b"heic") + full_box(b"meta"),
        WHOLE.replace(b"pitm", b"free"),
        WHOLE.replace(b"ispe", b"free"),
        WHOLE.replace(b"ipco", b"free"),
        WHOLE[: WHOLE.index(b"mdat") - 40],
        b"\0\0\0\4ftyp",
        b"\0\0\0\1ftyp" + bytes(8),
    ],
)
def test_boxes_that_make_no_sense_are_refused(content: bytes) -> None:
    with pytest.raises(BadBoxes):
        read_still(io.BytesIO(content))


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_spoilt_still_is_a_still_or_refused(data: st.DataObject) -> None:
    content = bytearray(WHOLE[:600])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadBoxes):
        found = read_still(io.BytesIO(content[: data.draw(st.integers(0, len(content)))]))
        assert found.width_px > 0
        assert found.height_px > 0


@pytest.mark.parametrize(
    "many",
    [
        full_box(b"iloc", b"\0\0\xff\xff", b"\0\1\0\0\xff\xff" * 100_000),
        full_box(b"ipma", b"\xff\xff\xff\xff" + bytes(500_000)),
        full_box(b"iinf", b"\xff\xff" + full_box(b"infe") * 50_000),
        b"\0\0\0\x08free" * 100_000,
    ],
)
def test_counts_that_lie_keep_nobody_busy(many: bytes) -> None:
    begun_s = time.process_time()
    for name in (b"iloc", b"iinf", b"iprp", b"none"):
        spoilt = WHOLE.replace(name, b"free").replace(b"hdlr", many + b"hdlr", 1)
        with suppress(BadBoxes):
            read_still(io.BytesIO(spoilt))
    meta = full_box(b"meta", many, full_box(b"pitm", b"\0\1"), box(b"iprp", box(b"ipco"), many))
    with suppress(BadBoxes):
        read_still(io.BytesIO(meta))
    assert time.process_time() - begun_s < 5
