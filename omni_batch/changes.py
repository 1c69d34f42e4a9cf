"""What `media.fit` knows and wants of a medium: traits that it has, and how it is to be changed.

Both are values: a change decides, with the content it is made from, what comes out. It travels to a
process of its own, and is part of the name under which its outcome is kept.
"""

import msgspec


class ImageTraits(msgspec.Struct, frozen=True):
    """What an image needs besides its pixels to be shown right."""

    width_px: int
    """As stored."""
    height_px: int
    orientation: int = 1
    """EXIF: 1 is upright, 2 to 8 are turned or mirrored."""
    transparent: bool = False
    """Some pixel lets through what lies behind it."""
    profile: str | None = None
    """Name of a colour profile that is not sRGB."""
    deep: bool = False
    """More than 8 bits for each sample, which few readers scale."""
    inks: bool = False
    """CMYK or Lab."""
    pages: int = 1
    lossless: bool = False
    """Its pixels were never coded as JPEG does."""

    @property
    def shown_px(self) -> tuple[int, int]:
        """Width and height of what is shown."""
        turned = self.orientation >= 5
        return (self.height_px, self.width_px) if turned else (self.width_px, self.height_px)


class SoundTraits(msgspec.Struct, frozen=True):
    """How a recording is coded."""

    rate_hz: int
    channels: int
    tracks: int = 1
    """Only the first of several is read."""
    stated_s: float | None = None
    """How long the file says that it is, where that can be believed."""


class FilmTraits(msgspec.Struct, frozen=True):
    """How the pictures of a video are stored, and when they begin."""

    width_px: int
    """As stored."""
    height_px: int
    turned: bool = False
    """By a quarter, so that width and height change places."""
    upright: bool = True
    plain_pixels: bool = True
    """Eight bits, 4:2:0 or 4:2:2: what every decoder shows."""
    pixel_ratio: float = 1.0
    """Width over height of a pixel as shown."""
    begins_s: float = 0.0
    """Time of the first picture by the file's clock."""
    stated_s: float | None = None
    """How long the file says that it is, sound included."""

    @property
    def shown_px(self) -> tuple[int, int]:
        """Width and height of what is shown."""
        width_px = round(self.width_px * self.pixel_ratio)
        return (self.height_px, width_px) if self.turned else (width_px, self.height_px)


Traits = ImageTraits | SoundTraits | FilmTraits


class ImageChange(msgspec.Struct, frozen=True, tag="image"):
    """An image anew: upright, on white, in sRGB, without tags."""

    width_px: int
    height_px: int
    form: str
    """png, or jpeg; png becomes jpeg where it has too many bytes."""
    max_bytes: int | None = None


class SoundChange(msgspec.Struct, frozen=True, tag="sound"):
    """A recording anew, in one piece or in windows."""

    form: str
    """wav or mp3."""
    rate_hz: int
    channels: int
    bit_rate: int | None = None
    """Bits a second of mp3."""
    window_s: float | None = None
    """Longest window; None: in one piece."""
    overlap_s: float = 0.0
    """How much of a window the next one repeats."""


class FilmChange(msgspec.Struct, frozen=True, tag="film"):
    """A video anew: H.264 and AAC in MP4, its clock from 0."""

    width_px: int
    height_px: int
    end_s: float | None = None
    """Where it is cut off; None: not."""
    max_bytes: int | None = None


class StillsChange(msgspec.Struct, frozen=True, tag="stills"):
    """A video as still images, spread evenly over its time."""

    width_px: int
    height_px: int
    count: int
    max_bytes: int | None = None
    """Of each."""


Change = ImageChange | SoundChange | FilmChange | StillsChange


class Window(msgspec.Struct, frozen=True):
    """A stretch of a recording that was asked about by itself."""

    begin_s: float
    """In the recording, by its clock."""
    end_s: float
    text: str | None
    size_bytes: int | None = None
    """As it was sent."""
