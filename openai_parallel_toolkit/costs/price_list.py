"""Prices by model as the genai-prices package lists them; nothing is fetched."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from .model_price import BATCH_TIER, ModelPrice

#: How the list names what this toolkit uses.
_NAMES = {
    "input_usd": "input_mtok",
    "output_usd": "output_mtok",
    "cached_usd": "cache_read_mtok",
    "cache_write_usd": "cache_write_mtok",
    "audio_input_usd": "input_audio_mtok",
    "audio_output_usd": "output_audio_mtok",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """What the list says of a model; None: nothing."""

    price: ModelPrice | None = None
    #: Tokens that its prompt and reply may have together.
    context_tokens: int | None = None


def listed_model(name: str, api_base: str) -> ListedModel:
    """Look a model up among those of the provider at `api_base`, then among OpenAI's.

    The first look-up loads the list, which takes about 0.1 s.
    """
    try:
        snapshot: Any = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    except ModuleNotFoundError:  # it needs Python 3.11
        return ListedModel()
    for provider, url in ((None, api_base), ("openai", None)):
        try:
            _, found = snapshot.find_provider_model(name, None, provider, url)
        except LookupError:
            continue
        # The list has some fine-tuned models under the price of what they were made from.
        is_other = _is_fine_tuned(name) and not _is_fine_tuned(found.id)
        return ListedModel(
            price=None if is_other else _price_of(found), context_tokens=found.context_window
        )
    return ListedModel()


def _is_fine_tuned(name: str) -> bool:
    """Whether a name is of a fine-tuned model, as OpenAI or as Azure spells it."""
    return name.startswith("ft:") or ".ft-" in name


def _price_of(found: Any) -> ModelPrice | None:
    now = datetime.now(timezone.utc)
    price = _price(vars(found.get_prices(now)))
    if price is None:
        return None
    tiers = {}
    for variant in getattr(found, "price_variants", None) or ():
        tier = _tier(variant.when)
        if tier is not None and (variant.constraint is None or variant.constraint.active(now)):
            tiers[tier] = _price(vars(found.get_prices(now, variant.when)))
    return replace(price, tiers={name: one for name, one in tiers.items() if one is not None})


def _tier(when: Mapping[str, str]) -> str | None:
    """Return the service tier that a price of the list is for; None: it is for something else."""
    if when == {"processing": "batch"}:
        return BATCH_TIER
    return when.get("service_tier") if len(when) == 1 else None


def _price(listed: Mapping[str, Any]) -> ModelPrice | None:
    values = {field: listed.get(name) for field, name in _NAMES.items()}
    if values["input_usd"] is None:
        return None
    steps = {step.start for value in values.values() for step in getattr(value, "tiers", ())}
    base = _flat_price(values, lambda value: value.base)
    if not steps:
        return base
    # With several steps the dearest counts from the first one on: too much rather than too little.
    dearest = _flat_price(values, lambda value: value.tiers[-1].price)
    return replace(base, long_above_tokens=min(steps), long=dearest)


def _flat_price(values: Mapping[str, Any], of_steps: Callable[[Any], Decimal]) -> ModelPrice:
    flat: dict[str, Any] = {
        n: of_steps(one) if hasattr(one, "tiers") else one for n, one in values.items()
    }
    flat["output_usd"] = flat["output_usd"] or Decimal(0)
    return ModelPrice(**flat)
