"""Expect of a request as many tokens as others of its model came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.records import Request, Usage

#: Answers before which nothing is known of a model, and the weight of each later one.
_FEWEST, _WEIGHT = 5, 0.05
#: Mean deviations above the mean that are expected: few replies are longer.
_MARGIN = 2.0


@dataclass(slots=True)
class _Share:
    """A mean that follows what it is of, and how far that lies from it in the mean."""

    count: int = 0
    mean: float = 0.0
    deviation: float = 0.0

    def learn(self, share: float) -> None:
        self.count += 1
        weight = max(_WEIGHT, 1 / self.count)
        self.deviation += weight * (abs(share - self.mean) - self.deviation)
        self.mean += weight * (share - self.mean)

    def of(self, tokens: int) -> int:
        """Return what such a number comes to."""
        if self.count < _FEWEST:
            return tokens
        return round(tokens * (self.mean + _MARGIN * self.deviation))


@dataclass(slots=True)
class TokenUse:
    """What replies of each model were counted with, beside what was expected. Pure."""

    _prompts: dict[str, _Share] = field(default_factory=dict)
    #: Only of requests that set no limit to their reply: providers count the limit where one is.
    _replies: dict[str, _Share] = field(default_factory=dict)

    def expected(self, request: Request) -> tuple[int, int]:
        """Return how many tokens a request may come to, and how many of these are assumed."""
        model, prompt, reply = request.model, request.prompt_tokens, request.reply_tokens
        if (prompts := self._prompts.get(model)) is not None:
            prompt = prompts.of(prompt)
        assumed = max(0, prompt - request.prompt_tokens)
        if request.reply_limit_tokens is None:
            if (replies := self._replies.get(model)) is not None:
                reply = replies.of(reply)
            assumed += reply
        return prompt + reply, assumed

    def learn(self, request: Request, usage: Usage) -> None:
        """Take in what the reply to a request was counted with."""
        if request.prompt_tokens and usage.prompt_tokens:
            prompts = self._prompts.setdefault(request.model, _Share())
            prompts.learn(usage.prompt_tokens / request.prompt_tokens)
        if request.reply_limit_tokens is None and request.reply_tokens:
            replies = self._replies.setdefault(request.model, _Share())
            replies.learn(usage.completion_tokens / request.reply_tokens)
