"""Models, voices, limits and prices: a dated data file that a user can overlay."""

from omni_batch.catalogue.loader import Catalogue, catalogue, load_catalogue
from omni_batch.catalogue.model import Model, Price, TokenRules, is_realtime

__all__ = [
    "Catalogue",
    "Model",
    "Price",
    "TokenRules",
    "catalogue",
    "is_realtime",
    "load_catalogue",
]
