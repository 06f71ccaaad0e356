"""Prices by model, and the most that a request can cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ...core.records import Request, Usage
from ..tokens import DEFAULT_REPLY_TOKENS
from .listed import look_up, most_reply_tokens, spelled
from .price import ModelPrice

#: How a dated version of a model ends, such as gpt-4o-2024-08-06 or gpt-4-0613.
_DATE = re.compile(r"-(\d{4}-\d\d-\d\d|\d{4})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """What is known of a model."""

    price: ModelPrice | None
    #: The longest reply, where the request sets no limit.
    reply_tokens: int


class PriceBook:
    """Prices by model: those of the config, else OpenAI's and its kin's list prices.

    A model is looked up once; several threads may do so at a time.
    """

    def __init__(self, prices: Mapping[str, ModelPrice], api_base: str = "") -> None:
        """Take the configured prices; `api_base` tells whose list prices to look at first."""
        self._given = dict(prices)
        self._api_base = api_base
        self._models: dict[str, _Model] = {}

    def look_up(self, model: str) -> None:
        """Look a model up now; the first look-up loads the list, which takes about 0.1 s."""
        self._model(model)

    def cost_usd(self, model: str, usage: Usage | None) -> Decimal | None:
        """Return what `usage` cost; None: the price or the usage is not known."""
        price = self._model(model).price
        return None if price is None or usage is None else price.cost_usd(usage)

    def max_cost_usd(self, request: Request) -> Decimal | None:
        """Return the most that one attempt at `request` can cost; None: that is not known.

        A token is a byte at least, so the prompt has no more tokens than the body has bytes. The
        reply is as long as the body allows, else as the model's longest; where that is not known
        either, DEFAULT_REPLY_TOKENS is assumed. Not counted: images that are given by their
        address, and what tools cost that the provider runs. What a `generate` of the user's own
        sends is not known.
        """
        if request.path.startswith("generate:"):
            return None
        return self._cost_of(request, prompt_tokens=len(request.body))

    def likely_cost_usd(self, request: Request, reply_tokens: int | None = None) -> Decimal | None:
        """Return about what `request` costs; None: the price is not known.

        Args:
            reply_tokens: what such replies have on average; None: as long as can be.
        """
        tokens = request.prompt_tokens
        if reply_tokens is None:
            return self._cost_of(request, prompt_tokens=tokens)
        usage = Usage(prompt_tokens=tokens, completion_tokens=reply_tokens)
        return self.cost_usd(request.model, usage)

    def _cost_of(self, request: Request, *, prompt_tokens: int) -> Decimal | None:
        model = self._model(request.model)
        if model.price is None:
            return None
        limit = request.reply_limit_tokens
        reply_tokens = (model.reply_tokens if limit is None else limit) * request.choices
        return model.price.cost_usd(
            Usage(prompt_tokens=prompt_tokens, completion_tokens=reply_tokens)
        )

    def _model(self, name: str) -> _Model:
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = self._look_up(name)
        return model

    def _look_up(self, name: str) -> _Model:
        given, most = self._given, most_reply_tokens(name)
        price = given.get(name) or given.get(spelled(name))
        if price is None or most is None:
            listed = look_up(name, self._api_base)
            if listed is not None:
                price = price or listed.price
                most = most or listed.context_tokens
        price = price or given.get(_DATE.sub("", spelled(name)))
        return _Model(price=price, reply_tokens=most or DEFAULT_REPLY_TOKENS)
