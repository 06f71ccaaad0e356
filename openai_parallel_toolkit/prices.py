"""What tokens cost. Prices are USD per million tokens; an unknown price is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from .records import Request, Usage

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What a model charges, USD per million tokens."""

    input_usd: Decimal
    output_usd: Decimal
    #: For prompt tokens read from the provider's cache; None: as other input.
    cached_usd: Decimal | None = None


class PriceBook:
    """Prices by model name."""

    def __init__(self, prices: Mapping[str, ModelPrice]) -> None:
        self._prices = dict(prices)

    def cost_usd(self, model: str, usage: Usage | None) -> Decimal | None:
        """Return what `usage` cost; None: the price or the usage is not known."""
        price = self._prices.get(model)
        if price is None or usage is None:
            return None
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        cached_usd = price.input_usd if price.cached_usd is None else price.cached_usd
        fresh = usage.prompt_tokens - cached
        total = fresh * price.input_usd + cached * cached_usd
        return (total + usage.completion_tokens * price.output_usd) / _MILLION

    def max_cost_usd(self, request: Request) -> Decimal | None:
        """Return the most that one attempt at `request` can cost; None: the price is not known."""
        usage = Usage(prompt_tokens=request.prompt_tokens, completion_tokens=request.reply_tokens)
        return self.cost_usd(request.model, usage)
