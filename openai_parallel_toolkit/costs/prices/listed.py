"""Look models up in the list that the genai-prices package carries: offline, once per model."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from .price import ModelPrice

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
class Listed:
    """What the list knows of a model."""

    #: None: it has no price per token.
    price: ModelPrice | None
    #: Tokens that a prompt and its reply may have together; None: not known.
    context_tokens: int | None


def spelled(model: str) -> str:
    """Return a model's name as OpenAI spells it: Azure's deployments may hold no full stop."""
    return model.replace("gpt-35-", "gpt-3.5-")


def look_up(model: str, api_base: str) -> Listed | None:
    """Return what is listed for a model; None: nothing, or the list is not installed.

    It is looked for among the models of the provider at `api_base`, then among OpenAI's. The
    list comes with the package and is never fetched.
    """
    try:
        snapshot: Any = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    except ModuleNotFoundError:  # it needs Python 3.11
        return None
    for provider, url in ((None, api_base), ("openai", None)):
        try:
            _, found = snapshot.find_provider_model(model, None, provider, url)
        except LookupError:
            continue
        price = _price(vars(found.get_prices(datetime.now(timezone.utc))))
        return Listed(price=price, context_tokens=found.context_window)
    return None


def most_reply_tokens(model: str) -> int | None:
    """Return the length of a model's longest reply; None: not known here."""
    fitting = [start for start in _MOST_REPLY_TOKENS if spelled(model).startswith(start)]
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
