"""Models, voices, limits and prices: a dated data file that a user can overlay."""

from omni_batch.catalogue.loader import Catalogue, catalogue, load_catalogue
from omni_batch.catalogue.model import (
    Model,
    ModelLimits,
    ModelQuota,
    Price,
    Rates,
    Thinking,
    TokenRules,
    VoiceSet,
    is_realtime,
)

__all__ = [
    "Catalogue",
    "Model",
    "ModelLimits",
    "ModelQuota",
    "Price",
    "Rates",
    "Thinking",
    "TokenRules",
    "VoiceSet",
    "catalogue",
    "is_realtime",
    "load_catalogue",
]
