"""What a request gets, and its row for the ledger; selling an answer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .completion import Completion, PaidEndpoint, PaidRequest
from .faults import KINDS, SILENT, Fault, FaultScript, error_of, spoilt_completion, spoilt_reply
from .http_messages import HttpReply
from .ledger import Row
from .request_view import RequestView


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
