"""What tokens cost: prices by model, and the most that a request can cost.

An unknown price is None, never 0. The list of prices comes with the genai-prices package and is
never fetched.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from ..core.records import Request, Usage
from .tokens import DEFAULT_REPLY_TOKENS

_MILLION = Decimal(1_000_000)
#: What a call costs in a batch, of its price.
#: Source: https://help.openai.com/en/articles/9197833-batch-api-faq, "50% cost discount" (2026-11).
BATCH_SHARE = Decimal("0.5")
#: How a dated version of a model ends, such as gpt-4o-2024-08-06 or gpt-4-0613.
_DATE = re.compile(r"-(\d{4}-\d\d-\d\d|\d{4})$")
#: Longest replies, by how the model's name begins; the longest beginning that fits counts.
#: Source: "max output tokens" of each model on https://platform.openai.com/docs/models (2026-11).
_MOST_REPLY_TOKENS = {
    "gpt-3.5-turbo": 4_096,
    "gpt-4-turbo": 4_096,
    "gpt-4o": 16_384,
    "gpt-4.1": 32_768,
    "gpt-5": 128_000,
    "o1": 100_000,
    "o3": 100_000,
    "o4-mini": 100_000,
}
#: How the list names what this toolkit uses.
_INPUT, _CACHED, _OUTPUT = "input_mtok", "cache_read_mtok", "output_mtok"


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
        if self.long is not None and usage.prompt_tokens > (self.long_above_tokens or 0):
            return self.long.cost_usd(usage)
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        cached_usd = self.input_usd if self.cached_usd is None else self.cached_usd
        fresh = usage.prompt_tokens - cached
        total = fresh * self.input_usd + cached * cached_usd
        return (total + usage.completion_tokens * self.output_usd) / _MILLION


class PriceBook:
    """Prices by model: those of the config, else OpenAI's and its kin's list prices.

    A model is looked up once; several threads may do so at a time.
    """

    def __init__(self, prices: Mapping[str, ModelPrice], api_base: str = "") -> None:
        """Take the configured prices; `api_base` tells whose list prices to look at first."""
        self._given = dict(prices)
        self._api_base = api_base
        self._models: dict[str, tuple[ModelPrice | None, int]] = {}

    def look_up(self, model: str) -> tuple[ModelPrice | None, int]:
        """Return a model's price and the tokens of a reply without a limit.

        The first look-up loads the list, which takes about 0.1 s.
        """
        if model not in self._models:
            self._models[model] = self._look_up(model)
        return self._models[model]

    def cost_usd(self, model: str, usage: Usage | None) -> Decimal | None:
        """Return what `usage` cost; None: the price or the usage is not known."""
        price, _ = self.look_up(model)
        return None if price is None or usage is None else price.cost_usd(usage)

    def max_cost_usd(self, request: Request) -> Decimal | None:
        """Return the most that one attempt at `request` can cost; None: that is not known.

        A token is a byte at least, so the prompt has no more tokens than the body has bytes. The
        reply is as long as the body allows, else as the model's longest; where that is not known
        either, DEFAULT_REPLY_TOKENS is assumed. Not counted: images that are given by their
        address, and what tools cost that the provider runs.
        """
        return self._cost_of(request, prompt_tokens=len(request.body))

    def likely_cost_usd(self, request: Request, reply_tokens: int | None = None) -> Decimal | None:
        """Return about what `request` costs; `reply_tokens` None: as many as can be."""
        tokens = request.prompt_tokens
        if reply_tokens is None:
            return self._cost_of(request, prompt_tokens=tokens)
        usage = Usage(prompt_tokens=tokens, completion_tokens=reply_tokens)
        return self.cost_usd(request.model, usage)

    def _cost_of(self, request: Request, *, prompt_tokens: int) -> Decimal | None:
        price, reply_tokens = self.look_up(request.model)
        if request.reply_limit_tokens is not None:
            reply_tokens = request.reply_limit_tokens
        usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=reply_tokens * request.choices)
        return None if price is None else price.cost_usd(usage)

    def _look_up(self, name: str) -> tuple[ModelPrice | None, int]:
        given, most = self._given, _most_reply_tokens(name)
        price = given.get(name) or given.get(_spelled(name))
        if price is None or most is None:
            listed, context_tokens = _listed(name, self._api_base)
            price, most = price or listed, most or context_tokens
        price = price or given.get(_DATE.sub("", _spelled(name)))
        return price, most or DEFAULT_REPLY_TOKENS


def _spelled(model: str) -> str:
    """Return a model's name as OpenAI spells it: Azure's deployments may hold no full stop."""
    return model.replace("gpt-35-", "gpt-3.5-")


def _listed(model: str, api_base: str) -> tuple[ModelPrice | None, int | None]:
    """Return a model's price and how many tokens its prompt and reply may have together.

    It is looked for among the models of the provider at `api_base`, then among OpenAI's.
    """
    try:
        snapshot: Any = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    except ModuleNotFoundError:  # it needs Python 3.11
        return None, None
    for provider, url in ((None, api_base), ("openai", None)):
        try:
            _, found = snapshot.find_provider_model(model, None, provider, url)
        except LookupError:
            continue
        price = _price(vars(found.get_prices(datetime.now(timezone.utc))))
        return price, found.context_window
    return None, None


def _most_reply_tokens(model: str) -> int | None:
    """Return the length of a model's longest reply; None: not known here."""
    fitting = [start for start in _MOST_REPLY_TOKENS if _spelled(model).startswith(start)]
    return _MOST_REPLY_TOKENS[max(fitting, key=len)] if fitting else None


def _price(listed: dict[str, Any]) -> ModelPrice | None:
    if listed.get(_INPUT) is None:
        return None
    values = [listed.get(name) for name in (_INPUT, _OUTPUT, _CACHED)]
    steps = {step.start for value in values for step in getattr(value, "tiers", ())}
    base = _flat_price(values, lambda value: value.base)
    if not steps:
        return base
    # With several steps the dearest counts from the first one on: too much rather than too little.
    dearest = _flat_price(values, lambda value: value.tiers[-1].price)
    return replace(base, long_above_tokens=min(steps), long=dearest)


def _flat_price(values: Iterable[Any], of_tiers: Callable[[Any], Decimal]) -> ModelPrice:
    fresh, output, cached = (of_tiers(one) if hasattr(one, "tiers") else one for one in values)
    return ModelPrice(input_usd=fresh, output_usd=output or Decimal(0), cached_usd=cached)
