"""What tokens cost. An unknown price is None, never 0."""

from .book import PriceBook
from .price import ModelPrice

__all__ = ["ModelPrice", "PriceBook"]
