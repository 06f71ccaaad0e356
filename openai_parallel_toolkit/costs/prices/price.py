"""What one model charges."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ...core.records import Usage

_MILLION = Decimal(1_000_000)
#: What a call costs in a batch, of its price.
#: Source: https://help.openai.com/en/articles/9197833-batch-api-faq, "50% cost discount" (2026-11).
BATCH_SHARE = Decimal("0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What a model charges, USD per million tokens."""

    input_usd: Decimal
    output_usd: Decimal
    #: For prompt tokens read from the provider's cache; None: as other input.
    cached_usd: Decimal | None = None
    #: Prompts of more tokens are charged, whole, by `long`; None: there is no such step.
    long_above_tokens: int | None = None
    long: ModelPrice | None = None

    def cost_usd(self, usage: Usage) -> Decimal:
        """Return what `usage` costs."""
        if self.long is not None and usage.prompt_tokens > (self.long_above_tokens or 0):
            return self.long.cost_usd(usage)
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        cached_usd = self.input_usd if self.cached_usd is None else self.cached_usd
        fresh = usage.prompt_tokens - cached
        total = fresh * self.input_usd + cached * cached_usd
        return (total + usage.completion_tokens * self.output_usd) / _MILLION
