"""Reading what a paid request asks, selling it the answer, and its row for the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from .completion import Completion, PaidEndpoint, PaidRequest, RequestView
from .environment import Environment
from .faults import KINDS, SILENT, Fault, FaultScript, error_of, spoilt_completion, spoilt_reply
from .http_messages import HttpReply
from .ledger import Row
from .parameters import unknown_parameters
from .refusals import invalid

#: What the ledger has of a completion besides its tokens.
_PRICED = (
    "cached_tokens",
    "cache_write_tokens",
    "audio_prompt_tokens",
    "audio_completion_tokens",
    "service_tier",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a request gets."""

    reply: HttpReply
    model: str = ""
    #: Also says how the reply is delivered.
    fault: Fault | None = None
    #: What is billed; None: nothing is.
    bought: Completion | None = None
    #: Seconds to wait before the first byte.
    delay_s: float = 0.0

    def row(
        self, view: RequestView, request_id: str, *, batch: str = "", custom_id: str = ""
    ) -> Row:
        """Return its row for the ledger."""
        fault, bought = self.fault, self.bought
        return Row(
            ordinal=view.ordinal,
            path=view.request.path,
            key=view.key_name,
            payload=view.digest.hex(),
            model=self.model,
            fault=fault.kind if fault else "",
            status=0 if fault and fault.kind in SILENT else self.reply.status,
            billed=bought is not None,
            prompt_tokens=bought.prompt_tokens if bought else 0,
            completion_tokens=bought.completion_tokens if bought else 0,
            request_id=request_id,
            batch=batch,
            custom_id=custom_id,
            **{name: getattr(bought, name) for name in _PRICED if bought},
        )


def paid_request(
    view: RequestView, environment: Environment, default_model: str | None = None
) -> PaidRequest:
    """Return what a request asks, or raise Refused; `default_model` is that of a body without."""
    fields = view.fields()
    model = fields.get("model", default_model)
    if not isinstance(model, str) or not model:
        raise invalid("you must provide a model parameter", param="model")
    path = view.request.path.partition("#")[0]
    refused = unknown_parameters(path, fields, environment.extra_parameters)
    if refused is not None:
        raise refused
    return PaidRequest(
        model=model,
        body=fields,
        seed=environment.seed,
        dice=hashlib.sha256(b"%d " % environment.seed + view.digest).digest(),
        context_tokens=environment.context_tokens,
        usage_form=environment.usage_forms.get(model, "openai"),
    )


def sell(
    endpoint: PaidEndpoint,
    paid: PaidRequest,
    completion: Completion,
    view: RequestView,
    script: FaultScript,
    *,
    kinds: Collection[str] = KINDS,
    delay_s: float = 0.0,
) -> Decision:
    """Return what a request gets that its key may send, and bill it; `kinds` can be played."""
    fault = script.pick(view, kinds)
    is_billed = fault is None or fault.is_billed
    if is_billed:
        view.account.bill(completion.prompt_tokens + completion.completion_tokens)
    if fault is None:
        reply = endpoint.render(paid, completion)
    elif (error := error_of(fault, paid.model, view.account.key.secret)) is not None:
        reply = error
    else:
        spoilt = spoilt_completion(completion, fault.kind)
        reply = spoilt_reply(endpoint.render(paid, spoilt), fault)
    return Decision(
        reply=reply,
        model=paid.model,
        fault=fault,
        bought=completion if is_billed else None,
        delay_s=delay_s,
    )
