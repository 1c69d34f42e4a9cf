"""Images that break limits, or that a reader may show otherwise than they are meant."""

import base64
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from omni_batch.catalogue import catalogue
from omni_batch.catalogue.tokens import image_tokens
from omni_batch.fitting.sizes import within_tokens
from omni_batch.planning.check import check_manifest
from omni_batch.planning.plan import make_plan
from omni_batch.simulator import Simulator
from tests.conftest import MakeConfig
from tests.fitting.sent import MAKES_FIT, Sent, made_in, sent_by_fit
from tests.support.media_files import bomb, picture

pillow_heif.register_heif_opener()
ORIENTATION = 0x0112
RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 150, 40), (40, 60, 200), (220, 200, 40)
CORNERS = (RED, GREEN, BLUE, YELLOW)
"""Top left, top right, bottom left, bottom right of what is to be seen."""
STORED = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""By which orientation a picture is turned into what one of another orientation stores."""


def four(size_px: tuple[int, int] = (160, 96), colours: Any = CORNERS, mode: str = "RGB") -> Any:
    """A picture of four colours."""
    image = Image.new(mode, size_px)
    width, height = size_px[0] // 2, size_px[1] // 2
    for place, colour in enumerate(colours):
        left, top = place % 2 * width, place // 2 * height
        image.paste(colour, (left, top, left + width, top + height))
    return image


def saved(path: Path, image: Any, form: str, **options: Any) -> None:
    image.save(path, form, **options)


def turned(orientation: int) -> tuple[Any, Any]:
    """A picture as it is stored with an orientation, and its tag."""
    tags = Image.Exif()
    tags[ORIENTATION] = STORED[orientation]
    stored = four()
    stored.getexif()[ORIENTATION] = STORED[orientation]
    stored = ImageOps.exif_transpose(stored)
    own = Image.Exif()
    own[ORIENTATION] = orientation
    return stored, own


def opened(data: bytes) -> Any:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def corners(data: bytes) -> list[tuple[int, ...]]:
    """Colours in the middles of the four quarters, as they lie."""
    image = opened(data).convert("RGB")
    width, height = image.size
    places = [(x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)]
    return [image.getpixel((int(width * x), int(height * y))) for x, y in places]


def near(found: list[tuple[int, ...]], wanted: Any, most: int = 8) -> bool:
    return int(np.abs(np.array(found) - np.array(wanted)).max()) <= most


async def test_every_orientation_is_upright_and_has_no_tag(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    rows = []
    for orientation in range(1, 9):
        stored, tags = turned(orientation)
        for form in ("jpeg", "png", "webp"):
            name = f"{form}-{orientation}"
            options = {"quality": 95} if form != "png" else {}
            saved(tmp_path / name, stored, form.upper(), exif=tags.tobytes(), **options)
            rows.append({"item_id": name, "image": name})
    found = await sent_by_fit(make_config, simulator, rows)
    for name, sent in found.items():
        image = opened(sent.only)
        assert (image.size, image.getexif().get(ORIENTATION, 1)) == ((160, 96), 1), name
        assert near(corners(sent.only), CORNERS), name
        assert sent.rules == ([] if name.endswith("-1") else ["image-fitted"]), name


async def test_what_is_transparent_is_put_on_white(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    clear = four(colours=[(*RED, 255), (0, 0, 0, 0), (*BLUE, 128), (0, 0, 0, 0)], mode="RGBA")
    saved(tmp_path / "a.png", clear, "PNG")
    saved(tmp_path / "b.webp", clear, "WEBP", lossless=True, exact=True)
    saved(tmp_path / "c.avif", clear, "AVIF", quality=95)
    keyed = four(colours=[RED, (0, 0, 0), GREEN, BLUE])
    saved(tmp_path / "d.png", keyed, "PNG", transparency=(0, 0, 0))
    palette = keyed.quantize(8)
    black = palette.getpixel((120, 24))
    saved(tmp_path / "e.gif", palette, "GIF", transparency=black)
    saved(tmp_path / "f.png", four(colours=[(9, 255), (0, 0), (99, 255), (0, 0)], mode="LA"), "PNG")
    names = made_in(tmp_path)
    found = await sent_by_fit(
        make_config, simulator, [{"item_id": name, "image": name} for name in names]
    )
    half = (147, 157, 227)
    white = (255, 255, 255)
    for name in names[:3]:
        assert near(corners(found[name].only), [RED, white, half, white], 14), name
    for name in names[3:5]:
        assert near(corners(found[name].only), [RED, white, GREEN, BLUE], 14), name
    assert near(corners(found["f.png"].only), [(9,) * 3, white, (99,) * 3, white])
    assert not any("A" in opened(sent.only).mode for sent in found.values())


async def test_grey_of_many_bits_is_scaled(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    shares = np.array([[0.125, 0.5], [0.75, 1.0]]).repeat(40, 0).repeat(60, 1)
    sixteen = (shares * 65_535).astype(np.uint16)
    Image.fromarray(sixteen).save(tmp_path / "a.png")
    Image.fromarray(sixteen).save(tmp_path / "b.tif")
    Image.fromarray(shares.astype(np.float32)).save(tmp_path / "c.tif")
    Image.fromarray((shares * 255).astype(np.float32)).save(tmp_path / "d.tif")
    Image.fromarray((shares * 2**31 - 1).astype(np.int32)).save(tmp_path / "e.tif")
    names = ["a.png", "b.tif", "c.tif", "d.tif", "e.tif"]
    found = await sent_by_fit(
        make_config, simulator, [{"item_id": name, "image": name} for name in names]
    )
    for name in names:
        greys = [(round(255 * share),) * 3 for share in (0.125, 0.5, 0.75, 1.0)]
        assert near(corners(found[name].only), greys, 2), name
        assert "more than 8 bits" in found[name].row["warnings"][0]


def wide_profile() -> bytes:
    """A profile of the primaries of DCI-P3 with white D50 and a curve of 2.2 (ICC.1:2001)."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65_536)) for value in values)

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + fixed(*values)

    name = b"Wide colours\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": described + bytes(-len(described) % 4),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.5151, 0.2412, -0.0011),
        b"gXYZ": xyz(0.2920, 0.6922, 0.0419),
        b"bXYZ": xyz(0.1571, 0.0666, 0.7841),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, content = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, 132 + 12 * len(tags) + len(content), len(data))
        content += data
    head = bytearray(128)
    head[4:24] = b"none\x02\x10\0\0mntrRGB XYZ "
    head[36:40] = b"acsp"
    head[68:80] = fixed(0.9642, 1.0, 0.8249)
    whole = bytes(head) + table + content
    return struct.pack(">I", len(whole)) + whole[4:]


async def test_colours_are_turned_into_srgb_by_their_profile(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    wide = four(colours=[(230, 70, 60), (80, 200, 80), (60, 80, 220), (128, 128, 128)])
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    saved(tmp_path / "wide.png", wide, "PNG", icc_profile=wide_profile())
    saved(tmp_path / "wide.jpg", wide, "JPEG", icc_profile=wide_profile(), quality=95)
    saved(tmp_path / "srgb.png", wide, "PNG", icc_profile=srgb)
    saved(tmp_path / "broken.png", wide, "PNG", icc_profile=b"no profile at all")
    names = ["wide.png", "wide.jpg", "srgb.png", "broken.png"]
    found = await sent_by_fit(
        make_config, simulator, [{"item_id": name, "image": name} for name in names]
    )
    for name in names[:2]:
        red, green, _, grey = corners(found[name].only)
        assert red[0] > 240, name
        assert green[1] > 200, name
        assert green[0] < 50, name
        assert near([grey], [(128, 128, 128)], 3), name
        assert "icc_profile" not in opened(found[name].only).info
        assert "Wide colours" in found[name].row["warnings"][0]
    assert found["srgb.png"].only == (tmp_path / "srgb.png").read_bytes()
    assert near(corners(found["broken.png"].only), corners((tmp_path / "srgb.png").read_bytes()))
    assert "colours-unsure" in found["broken.png"].rules


async def test_other_formats_become_jpeg_or_png(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    saved(tmp_path / "a.heic", four(), "HEIF", quality=95)
    saved(tmp_path / "b.avif", four(), "AVIF", quality=95)
    saved(tmp_path / "c.tif", four(), "TIFF")
    saved(tmp_path / "d.jp2", four(), "JPEG2000")
    saved(tmp_path / "e.ico", four((48, 48)), "ICO", sizes=[(48, 48)])
    saved(tmp_path / "f.jpg", four().convert("CMYK"), "JPEG", quality=95)
    saved(tmp_path / "g.gif", four(), "GIF")
    stored, tags = turned(6)
    saved(tmp_path / "h.tif", stored, "TIFF", tiffinfo={ORIENTATION: 6})
    saved(tmp_path / "i.avif", stored, "AVIF", exif=tags.tobytes(), quality=95)
    names = made_in(tmp_path)
    found = await sent_by_fit(
        make_config, simulator, [{"item_id": name, "image": name} for name in names]
    )
    for name in names:
        assert opened(found[name].only).format in ("JPEG", "PNG"), name
        assert near(corners(found[name].only), CORNERS, 40 if name == "f.jpg" else 12), name
        assert found[name].row["sent_formats"][0] == opened(found[name].only).format.lower()


async def test_the_first_page_is_sent_and_it_is_said(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    other = Image.new("RGB", (160, 96), "black")
    saved(tmp_path / "a.tif", four(), "TIFF", save_all=True, append_images=[other])
    saved(tmp_path / "b.gif", four(), "GIF", save_all=True, append_images=[other])
    rows = [{"item_id": name, "image": name} for name in ("a.tif", "b.gif")]
    for sent in (await sent_by_fit(make_config, simulator, rows)).values():
        assert near(corners(sent.only), CORNERS, 12)
        assert sent.rules == ["image-fitted", "pages-left-out"]
        assert "2 pages" in sent.row["warnings"][1]


async def test_what_fits_goes_out_byte_for_byte_without_a_warning(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    for form in ("jpeg", "png", "webp", "bmp"):
        (tmp_path / f"{form}.x").write_bytes(picture(form.upper()))
    opaque = four().convert("RGBA")
    saved(tmp_path / "opaque.x", opaque, "PNG")
    names = ["jpeg.x", "png.x", "webp.x", "bmp.x", "opaque.x"]
    found = await sent_by_fit(
        make_config, simulator, [{"item_id": name, "image": name} for name in names]
    )
    for name in names:
        assert found[name].only == (tmp_path / name).read_bytes(), name
        assert found[name].rules == [], name
        assert found[name].row["sent_bytes"] == [len(found[name].only)]


async def test_images_are_made_smaller_to_save_tokens(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    saved(tmp_path / "a.jpg", four((1200, 800)), "JPEG")
    saved(tmp_path / "b.png", four((300, 40)), "PNG")
    rows = [{"item_id": "a", "image": "a.jpg"}, {"item_id": "b", "image": "b.png"}]
    found = await sent_by_fit(make_config, simulator, rows, media={"max_image_tokens": 100})
    large, small = opened(found["a"].only), found["b"]
    assert 50 <= found["a"].row["prompt_image_tokens"] <= 100
    assert large.width / large.height == pytest.approx(1.5, rel=0.02)
    assert found["a"].row["sent_sizes_px"] == [f"{large.width} x {large.height}"]
    assert small.only == (tmp_path / "b.png").read_bytes()


SIDES = st.integers(11, 6000)


@given(SIDES, SIDES, st.integers(8, 1300))
def test_no_image_is_smaller_than_its_tokens_ask_for(width: int, height: int, most: int) -> None:
    rules = catalogue().tokens
    new_width, new_height = within_tokens((width, height), most, rules)
    tokens = image_tokens(new_height, new_width, rules)
    assert tokens <= most or (new_width, new_height) == (width, height)
    assert new_width <= width
    assert new_height <= height
    if (new_width, new_height) != (width, height) and min(new_width, new_height) > 64:
        larger = new_width + 1, max(1, round(height * (new_width + 1) / width))
        assert image_tokens(larger[1], larger[0], rules) > most


async def test_an_image_of_too_many_bytes_becomes_a_jpeg(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / "noise.bmp").write_bytes(picture("BMP", 2000, 1500))
    (tmp_path / "thin.png").write_bytes(picture("PNG", 60, 5))
    rows = [{"item_id": "a", "image": "noise.bmp"}, {"item_id": "b", "image": "thin.png"}]
    found = await sent_by_fit(make_config, simulator, rows)
    assert len(found["a"].only) <= 7_864_272  # 10 MB as base64
    assert found["a"].row["sent_bytes"] == [len(found["a"].only)]
    assert opened(found["b"].only).size == (132, 11)  # the least that the model takes


async def test_a_large_picture_of_few_bytes_is_scaled_and_a_bomb_refused(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    large = four((6000, 6000), colours=range(4), mode="P")
    large.putpalette(b"".join(map(bytes, CORNERS)))
    saved(tmp_path / "large.png", large, "PNG")
    (tmp_path / "bomb.png").write_bytes(bomb())
    rows = [{"item_id": "a", "image": "large.png"}, {"item_id": "b", "image": "bomb.png"}]
    found = await sent_by_fit(make_config, simulator, rows)
    assert near(corners(found["a"].only), CORNERS)
    assert opened(found["a"].only).width < 1300
    assert found["b"].row["error_kind"] == "media_error"
    assert "100,000,000 pixels at most" in found["b"].row["error_message"]


async def test_a_damaged_image_fails_its_row_and_check_says_it_before(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    stored, tags = turned(6)
    noise = opened(picture("PNG", *stored.size))
    saved(tmp_path / "turned.jpg", noise, "JPEG", exif=tags.tobytes(), quality=95)
    for name, whole in (("a.jpg", (tmp_path / "turned.jpg").read_bytes()), ("b.png", picture())):
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    rows = [{"item_id": "a", "image": "a.jpg"}, {"item_id": "b", "image": "b.png"}]
    found = await sent_by_fit(make_config, simulator, rows)
    for sent in found.values():
        assert sent.row["status"] == "failed"
        assert "cut off or damaged" in sent.row["error_message"]
        assert sent.files == []
    report = await check_manifest(make_plan(make_config(rows, media=MAKES_FIT)))
    assert [refused.item_id for refused in report.refused] == ["a", "b"]


async def test_frames_are_made_to_fit_one_by_one_and_to_their_number(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    stored, tags = turned(3)
    saved(tmp_path / "turned.jpg", stored, "JPEG", exif=tags.tobytes(), quality=95)
    saved(tmp_path / "flat.jpg", four(), "JPEG", quality=95)
    frames = "|".join(["turned.jpg"] + ["flat.jpg"] * 99)
    sent: Sent = (
        await sent_by_fit(
            *(make_config, simulator, [{"item_id": "a", "frames": frames}]),
            model="qwen-omni-turbo",
            media={"max_image_tokens": 10},
        )
    )["a"]
    assert len(sent.files) == 80  # of this model
    assert all(near(corners(file), CORNERS) for file in sent.files)
    assert sent.files[-1] == (tmp_path / "flat.jpg").read_bytes()
    assert {"image-fitted", "frames-left-out"} <= set(sent.rules)


async def test_an_image_in_a_data_uri_is_made_to_fit_as_well(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    stored, tags = turned(8)
    file = io.BytesIO()
    stored.save(file, "JPEG", exif=tags.tobytes(), quality=95)
    uri = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    found = await sent_by_fit(make_config, simulator, [{"item_id": "a", "image": uri}])
    assert near(corners(found["a"].only), CORNERS)
    assert found["a"].rules == ["image-fitted"]
