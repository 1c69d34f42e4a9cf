"""What an image becomes. Pure."""

from dataclasses import replace

from omni_batch.changes import ImageChange, ImageTraits
from omni_batch.doubts import Doubt
from omni_batch.fitting.decisions.wanted import Wanted, above, anew, changed, number, px, wanted
from omni_batch.fitting.limits import FitLimits
from omni_batch.fitting.sizes import Px, at_least, seen_image_px2, within_area, within_tokens
from omni_batch.text import display_name
from omni_batch.types import Media

_MOST_PIXELS = 7680 * 4320
"""Guide to visual understanding, 2026: images of up to 8K, above 4K only JPEG and PNG."""
_4K_PIXELS = 3840 * 2160
_ABOVE_4K = ("jpeg", "png")


def fit_image(medium: Media, traits: ImageTraits, limits: FitLimits) -> Wanted | None:
    """What an image has to become; None where it can go as it is."""
    reasons = [*_looks(traits), *_form_of_image(medium, traits, limits)]
    shown_px = traits.shown_px
    size_px = at_least(shown_px, limits.image_min_px)
    if reasons:  # anew in any case: no larger than the model sees it
        size_px = within_area(size_px, min(seen_image_px2(limits.rules), _MOST_PIXELS))
    if limits.max_image_tokens is not None:
        size_px = within_tokens(size_px, limits.max_image_tokens, limits.rules)
        size_px = at_least(size_px, limits.image_min_px)
    if shown_px[0] * shown_px[1] > _MOST_PIXELS:
        size_px = within_area(size_px, min(seen_image_px2(limits.rules), _MOST_PIXELS))
    if size_px != shown_px:
        reasons.append(f"{px(shown_px)} scaled to {px(size_px)}")
    if not reasons:
        return None
    return _image_anew(medium, traits, size_px, reasons, limits)


def _image_anew(
    medium: Media, traits: ImageTraits, size_px: Px, reasons: list[str], limits: FitLimits
) -> Wanted:
    form = "png" if traits.lossless else "jpeg"
    change = ImageChange(*size_px, form, limits.image_max_bytes)
    doubts = [changed(medium, "image-fitted", reasons, form)]
    if traits.pages > 1:
        name = display_name(medium.reference)
        message = f"{name} has {traits.pages} pages or pictures: only the first one is sent"
        doubts.append(Doubt("pages-left-out", message))
    becomes = replace(
        anew(medium, form, f"image/{form}"), width_px=size_px[0], height_px=size_px[1]
    )
    return wanted(medium, change, (becomes,), tuple(doubts))


def _looks(traits: ImageTraits) -> list[str]:
    """What a reader may show otherwise than it is meant."""
    found = {
        f"turned upright, EXIF orientation {traits.orientation}": traits.orientation != 1,
        "transparent, put on white": traits.transparent,
        f"colours of the profile {traits.profile} turned into sRGB": traits.profile is not None,
        "more than 8 bits scaled to 8": traits.deep,
        "CMYK or Lab turned into RGB": traits.inks,
        f"{traits.pages} pages or pictures": traits.pages > 1,
    }
    return [what for what, is_so in found.items() if is_so]


def _form_of_image(medium: Media, traits: ImageTraits, limits: FitLimits) -> list[str]:
    found, pixels = [], traits.width_px * traits.height_px
    taken = limits.image_formats
    above_4k = pixels > _4K_PIXELS and medium.format not in _ABOVE_4K and taken is not None
    if (taken is not None and medium.format not in taken) or above_4k:
        found.append(f"{medium.format} turned into another format")
    if above(medium.size_bytes, limits.image_max_bytes):
        found.append(f"{number(medium.size_bytes or 0)} bytes made fewer")
    return found
