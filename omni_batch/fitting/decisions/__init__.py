"""Medium → what it becomes. Pure: by what is known of it, nothing of it is touched."""

from omni_batch.changes import FilmTraits, ImageTraits, SoundTraits
from omni_batch.fitting.decisions.film import fit_film, spacing
from omni_batch.fitting.decisions.image import fit_image
from omni_batch.fitting.decisions.sound import fit_sound
from omni_batch.fitting.decisions.wanted import Wanted
from omni_batch.fitting.limits import FitLimits
from omni_batch.types import Media

__all__ = ["Wanted", "decide", "spacing"]


def decide(medium: Media, limits: FitLimits) -> Wanted | None:
    """What a medium that was looked at has to become; None where it can go as it is."""
    match medium.traits:
        case ImageTraits() as traits:
            return fit_image(medium, traits, limits)
        case SoundTraits() as traits:
            return fit_sound(medium, traits, limits)
        case FilmTraits() as traits:
            return fit_film(medium, traits, limits)
    return None
