"""Answer the lines of batches as live requests are answered, and enter them into the bill."""

from __future__ import annotations

from ..completion import RequestView
from ..decision import Decision, paid_request, sell
from ..endpoints import PAID_ENDPOINTS
from ..environment import Environment
from ..faults import LINE_KINDS
from ..http_messages import HttpRequest
from ..refusals import Refused, invalid
from .batch import SimBatch
from .lines import BadLine, BatchLine, answer_line, line_number, plain_url


def prompt_tokens(environment: Environment, batch: SimBatch, line: BatchLine) -> int:
    """Return the tokens that a line enqueues; one that will be refused has none.

    BadLine is raised when the key does not have the model.
    """
    try:
        batch.account.admit_model(line.model, line.model if batch.is_azure else None)
    except Refused as refused:
        message = f"The provided model '{line.model}' is not supported by the Batch API."
        raise BadLine("model_not_found", message, line.number, "body.model") from refused
    try:
        endpoint = PAID_ENDPOINTS[plain_url(batch.endpoint)]
        paid = paid_request(_view(batch, line), environment, endpoint.default_model)
        return endpoint.complete(paid).prompt_tokens
    except Refused:
        return 0


def serve_line(environment: Environment, batch: SimBatch, line: BatchLine) -> tuple[bool, bytes]:
    """Serve and bill a line; return whether it went well, and its line in the results."""
    view = _view(batch, line)
    try:
        decision = _decide(environment, batch, view)
    except Refused as refused:
        decision = Decision(reply=refused.reply, model=line.model)
    request_id = f"req_{line_number(batch.id, line.custom_id)}"
    row = decision.row(view, request_id, batch=batch.id, custom_id=line.custom_id)
    environment.ledger.note(row)
    batch.prompt_tokens += row.prompt_tokens
    batch.completion_tokens += row.completion_tokens
    return row.status == 200, answer_line(
        batch.id,
        line.custom_id,
        status=row.status,
        request_id=request_id,
        body=decision.reply.body,
    )


def _decide(environment: Environment, batch: SimBatch, view: RequestView) -> Decision:
    """Return what a line gets, and bill it, or raise Refused."""
    batch.account.admit(is_azure=batch.is_azure)
    endpoint = PAID_ENDPOINTS[plain_url(batch.endpoint)]
    paid = paid_request(view, environment, endpoint.default_model)
    if paid.body.get("stream") is True:
        raise invalid("Streaming is not supported in the Batch API.", param="stream")
    completion = endpoint.complete(paid)
    return sell(endpoint, paid, completion, view, environment.script, kinds=LINE_KINDS)


def _view(batch: SimBatch, line: BatchLine) -> RequestView:
    return RequestView(
        # Rules may ask for the mark at the path's end.
        request=HttpRequest(path=f"{batch.endpoint}#line", body=line.body),
        account=batch.account,
        digest=line.digest,
        is_azure=batch.is_azure,
    )
