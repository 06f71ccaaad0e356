"""What calls cost, and the most that a request can cost: prices by model.

An unknown price is None, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from ..core.records import Media, Request, Usage
from .model_price import BATCH_TIER, ModelPrice
from .price_list import ListedModel, listed_model
from .tokens import DEFAULT_REPLY_TOKENS

#: How a dated version of a model ends, such as gpt-4o-2024-08-06 or gpt-4-0613.
_DATE = re.compile(r"[-@](\d{4}-\d\d-\d\d|\d{8}|\d{4})$")
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
#: Of a model whose context is not known: none on offer is longer.
#: Source: https://docs.x.ai/docs/models, "2M context" (read 2026-11).
_LONGEST_CONTEXT_TOKENS = 2_000_000
_TEXT_ONLY = Media()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """What is known of a model."""

    #: None: not known.
    price: ModelPrice | None = None
    #: Tokens of a reply without a limit.
    reply_tokens: int = DEFAULT_REPLY_TOKENS
    #: Most tokens of a prompt.
    context_tokens: int = _LONGEST_CONTEXT_TOKENS


class PriceBook:
    """Prices by model: those of the config, else OpenAI's and its kin's list prices.

    A model is looked up once; several threads may do so at a time.
    """

    def __init__(
        self,
        prices: Mapping[str, ModelPrice],
        api_base: str = "",
        *,
        deployments: Collection[str | None] = (),
    ) -> None:
        """Take the configured prices.

        Args:
            api_base: whose list prices are looked at first.
            deployments: what may serve a call whatever model it names.
        """
        self._given = dict(prices)
        self._api_base = api_base
        self._of_deployment = {
            name: _given_price(self._given, name) for name in deployments if name
        }
        self._of_deployments = [one for one in self._of_deployment.values() if one is not None]
        self._models: dict[str, KnownModel] = {}
        #: Longest replies that went beyond the limit of their request, by model.
        self._overruns: dict[str, int] = {}

    def load(self, model: str) -> None:
        """Look a model up ahead of its first call: the first time that takes about 0.1 s."""
        self._model(model)

    def cost_usd(
        self, model: str, usage: Usage | None, deployment: str | None = None
    ) -> Decimal | None:
        """Return what `usage` cost; None: the price or the usage is not known.

        A deployment that served it counts at its own price, if the config has one.
        """
        if deployment and deployment not in self._of_deployment:  # its key was added later
            self._of_deployment[deployment] = _given_price(self._given, deployment)
        price = self._of_deployment.get(deployment) if deployment else None
        price = price or self._model(model).price
        return None if price is None or usage is None else price.cost_usd(usage)

    def note_reply(self, request: Request, usage: Usage | None) -> None:
        """Learn from a reply that is longer than its request allows: so may others be."""
        limit = request.reply_limit_tokens
        if usage is not None and limit is not None:
            tokens = -(-usage.completion_tokens // request.choices)
            if tokens > max(limit, self._overruns.get(request.model, 0)):
                self._overruns[request.model] = tokens

    def max_cost_usd(self, request: Request, *, is_batch: bool = False) -> Decimal | None:
        """Return the most that one attempt at `request` can cost; None: that is not known.

        A token is a byte of text at least, so the prompt has no more of them than the body has
        bytes; see `media` for what is no text. Documents may fill the whole context. The reply is
        as long as the body allows, else as the model's longest; where that is not known either,
        DEFAULT_REPLY_TOKENS is assumed. Not counted: what tools cost that the provider runs.
        """
        media, model = request.media or _TEXT_ONLY, self._model(request.model)
        tokens = len(request.body) - media.size_bytes + media.most_tokens
        prompt_tokens = max(tokens, model.context_tokens) if media.documents else tokens
        reply_tokens = self._reply_tokens(request, model)
        usage = Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=reply_tokens,
            audio_prompt_tokens=media.most_audio_tokens,
            audio_completion_tokens=reply_tokens if request.wants_audio else 0,
        )
        tiers = {BATCH_TIER} if is_batch else {"", request.service_tier}
        usages = [replace(usage, service_tier=tier) if tier else usage for tier in tiers]
        return _dearest([model.price, *self._of_deployments], usages)

    def likely_cost_usd(self, request: Request, reply_tokens: int | None = None) -> Decimal | None:
        """Return about what `request` costs; `reply_tokens` None: as many as can be."""
        media, model = request.media or _TEXT_ONLY, self._model(request.model)
        most = self._reply_tokens(request, model)
        reply_tokens = most if reply_tokens is None else min(most, reply_tokens)
        usage = Usage(
            prompt_tokens=request.prompt_tokens,
            completion_tokens=reply_tokens,
            audio_prompt_tokens=min(media.most_audio_tokens, media.likely_tokens),
            audio_completion_tokens=reply_tokens if request.wants_audio else 0,
            service_tier=request.service_tier,
        )
        return self.cost_usd(request.model, usage)

    def _model(self, name: str) -> KnownModel:
        if name not in self._models:
            self._models[name] = self._look_up(name)
        return self._models[name]

    def _look_up(self, name: str) -> KnownModel:
        price, most = _given_price(self._given, name), _most_reply_tokens(name)
        is_enough = price is not None and most is not None
        listed = ListedModel() if is_enough else listed_model(name, self._api_base)
        context = listed.context_tokens
        return KnownModel(
            price=price or listed.price,
            reply_tokens=most or context or DEFAULT_REPLY_TOKENS,
            context_tokens=context or _LONGEST_CONTEXT_TOKENS,
        )

    def _reply_tokens(self, request: Request, model: KnownModel) -> int:
        """Return the most tokens of the replies together."""
        limit = request.reply_limit_tokens
        if limit:
            limit = max(limit, self._overruns.get(request.model, 0))
        return (model.reply_tokens if limit is None else limit) * request.choices


def _dearest(prices: Collection[ModelPrice | None], usages: Collection[Usage]) -> Decimal | None:
    """Return the most that one of the usages costs at one of the prices; None: one is not known."""
    costs = [None if price is None else price.cost_usd(u) for price in prices for u in usages]
    known = [cost for cost in costs if cost is not None]
    return max(known) if len(known) == len(costs) else None


def _given_price(given: Mapping[str, ModelPrice], name: str) -> ModelPrice | None:
    """Return the configured price of a model: under its name, or that name without its date.

    A fine-tuned model may be given without its owner: "ft:gpt-4o-mini".
    """
    spelled = _spelled(name)
    plain = ":".join(spelled.split(":")[:2]) if spelled.startswith("ft:") else spelled
    names = (name, spelled, plain, _DATE.sub("", plain))
    return next((given[one] for one in names if one in given), None)


def _spelled(model: str) -> str:
    """Return a model's name as OpenAI spells it: Azure's deployments may hold no full stop."""
    return model.replace("gpt-35-", "gpt-3.5-")


def _most_reply_tokens(model: str) -> int | None:
    """Return the length of a model's longest reply; None: not known here."""
    name = _spelled(model).removeprefix("ft:")
    fitting = [start for start in _MOST_REPLY_TOKENS if name.startswith(start)]
    return _MOST_REPLY_TOKENS[max(fitting, key=len)] if fitting else None
