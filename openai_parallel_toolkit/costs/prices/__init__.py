"""What tokens cost. An unknown price is None, never 0."""

from .book import PriceBook
from .price import BATCH_SHARE, ModelPrice

__all__ = ["BATCH_SHARE", "ModelPrice", "PriceBook"]
