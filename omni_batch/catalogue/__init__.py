"""Models, voices, limits and prices: a dated data file that a user can overlay."""

from omni_batch.catalogue.loader import Catalogue, catalogue, load_catalogue
from omni_batch.catalogue.model import (
    MAINLAND,
    SINGAPORE,
    Dispute,
    Model,
    Price,
    Reading,
    TokenRules,
    is_realtime,
    name_kind,
)

__all__ = [
    "MAINLAND",
    "SINGAPORE",
    "Catalogue",
    "Dispute",
    "Model",
    "Price",
    "Reading",
    "TokenRules",
    "catalogue",
    "is_realtime",
    "load_catalogue",
    "name_kind",
]
