"""What one model charges for what a reply says it used. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ..core.records import Usage

_MILLION = Decimal(1_000_000)
#: How a call in a batch is served: at a share of its price, where no price of its own is known.
#: Source: https://help.openai.com/en/articles/9197833-batch-api-faq, "50% cost discount" (2026-11).
BATCH_TIER = "batch"
BATCH_SHARE = Decimal("0.5")
#: What providers call the tier that has the plain price; "" is a request that names none.
#: Source: the references of OpenAI, Anthropic and Groq, "service_tier" (read 2026-11).
STANDARD_TIERS = frozenset({"", "auto", "default", "standard", "on_demand"})
#: Where a reply does not say whether it was served at the tier that was asked for: without price.
UNSAID_TIER = "not said"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What a model charges, USD per million tokens."""

    input_usd: Decimal
    output_usd: Decimal
    #: For prompt tokens read from the provider's cache; None: as other input.
    cached_usd: Decimal | None = None
    #: For prompt tokens written into it; None: as other input.
    cache_write_usd: Decimal | None = None
    #: For audio; None: not known.
    audio_input_usd: Decimal | None = None
    audio_output_usd: Decimal | None = None
    #: Prompts of more tokens are charged, whole, by `long`; None: there is no such step.
    long_above_tokens: int | None = None
    long: ModelPrice | None = None
    #: By service tier, such as "flex", "priority" or "batch".
    tiers: Mapping[str, ModelPrice] = field(default_factory=dict)

    def cost_usd(self, usage: Usage) -> Decimal | None:
        """Return what `usage` cost; None: what its tier or a part of it costs is not known."""
        tier = usage.service_tier or ""
        if tier not in STANDARD_TIERS:
            return self._cost_at(tier, replace(usage, service_tier=None))
        if self.long is not None and usage.prompt_tokens > (self.long_above_tokens or 0):
            return self.long.cost_usd(usage)
        total = Decimal(0)
        for tokens, usd in self._parts(usage):
            if tokens:
                if usd is None:
                    return None
                total += tokens * usd
        return total / _MILLION

    def _parts(self, usage: Usage) -> tuple[tuple[int, Decimal | None], ...]:
        """Return the tokens that are charged alike, and what a million of them cost."""
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        audio, spoken = usage.audio_prompt_tokens, usage.audio_completion_tokens
        if not (audio or spoken or usage.cached_tokens or usage.cache_write_tokens):
            return (prompt, self.input_usd), (completion, self.output_usd)
        audio, spoken = min(audio, prompt), min(spoken, completion)
        cached = min(usage.cached_tokens, prompt - audio)
        written = min(usage.cache_write_tokens, prompt - audio - cached)
        cached_usd, write_usd = self.cached_usd, self.cache_write_usd
        return (
            (prompt - audio - cached - written, self.input_usd),
            (cached, self.input_usd if cached_usd is None else cached_usd),
            (written, self.input_usd if write_usd is None else write_usd),
            (audio, self.audio_input_usd),
            (completion - spoken, self.output_usd),
            (spoken, self.audio_output_usd),
        )

    def _cost_at(self, tier: str, usage: Usage) -> Decimal | None:
        if tier in self.tiers:
            return self.tiers[tier].cost_usd(usage)
        plain_usd = self.cost_usd(usage) if tier == BATCH_TIER else None
        return None if plain_usd is None else BATCH_SHARE * plain_usd
