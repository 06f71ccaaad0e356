"""Answer the lines of batches as live calls are answered, and enter them into the bill."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..drafts import Call, CallReader, Generator
from ..faults import LINE_KINDS, FaultScript, Post, error_of, spoilt_draft
from ..http1 import Reply
from ..ledger import Ledger, Row
from ..refusals import Refused, invalid
from .batch import Batch
from .lines import BadLine, Line, answer_line, line_number, plain_url

#: What a line's path in the ledger ends with; rules may ask for it.
LINE_MARK = "#line"


class LineClerk:
    """Judges lines. Touched by the event loop's thread alone.

    Args:
        paid: the endpoints that batches may use, by their path without "/v1".
        time_s: seconds since the start, for rows.
    """

    def __init__(
        self,
        *,
        paid: Mapping[str, Generator],
        reader: CallReader,
        script: FaultScript,
        ledger: Ledger,
        time_s: Callable[[], float],
    ) -> None:
        self._paid = paid
        self._reader = reader
        self._script = script
        self._ledger = ledger
        self._time_s = time_s

    def serves(self, endpoint: str) -> bool:
        """Return whether batches may use an endpoint."""
        return plain_url(endpoint) in self._paid

    def prompt_tokens(self, batch: Batch, line: Line) -> int:
        """Return the tokens that a line enqueues; one that will be refused has none.

        Raises:
            BadLine: the key does not have the model.
        """
        try:
            batch.account.admit_model(line.model, line.model if batch.is_azure else None)
        except Refused as refused:
            message = f"The provided model '{line.model}' is not supported by the Batch API."
            raise BadLine("model_not_found", message, line.number, "body.model") from refused
        try:
            return self._endpoint(batch).draft(self._call(line)).prompt_tokens
        except Refused:
            return 0

    def answer(self, batch: Batch, line: Line) -> tuple[bool, bytes]:
        """Serve and bill a line; return whether it went well, and its line in the results."""
        row = Row(
            ordinal=0,
            time_s=self._time_s(),
            path=f"{batch.endpoint}{LINE_MARK}",
            key=batch.key,
            payload=line.digest.hex(),
            model=line.model,
            fault="",
            status=0,
            billed=False,
            prompt_tokens=0,
            completion_tokens=0,
            request_id=f"req_{line_number(batch.id, line.custom_id)}",
            batch=batch.id,
            custom_id=line.custom_id,
        )
        try:
            reply = self._reply(batch, line, row)
        except Refused as refused:
            reply = refused.reply
        row.status = reply.status
        self._ledger.note(row)
        batch.prompt_tokens += row.prompt_tokens
        batch.completion_tokens += row.completion_tokens
        return reply.status == 200, answer_line(
            batch.id,
            line.custom_id,
            status=reply.status,
            request_id=row.request_id,
            body=reply.body,
        )

    def _reply(self, batch: Batch, line: Line, row: Row) -> Reply:
        """Return what the line's call gets, and enter into its row what that costs.

        Raises:
            Refused: the call cannot be served.
        """
        batch.account.admit(is_azure=batch.is_azure)
        endpoint, call = self._endpoint(batch), self._call(line)
        if call.body.get("stream") is True:
            raise invalid("Streaming is not supported in the Batch API.", param="stream")
        draft = endpoint.draft(call)
        post = Post(
            ordinal=0,
            path=row.path,
            key=row.key,
            body=line.body,
            digest=line.digest,
            kinds=LINE_KINDS,
        )
        fault = self._script.pick(post)
        if fault is None or fault.is_billed:
            batch.account.bill(draft.prompt_tokens + draft.completion_tokens)
            row.billed = True
            row.prompt_tokens = draft.prompt_tokens
            row.completion_tokens = draft.completion_tokens
        if fault is None:
            return endpoint.render(call, draft)
        row.fault = fault.kind
        error = error_of(fault, call.model, batch.account.key.secret)
        return error or endpoint.render(call, spoilt_draft(draft, fault.kind))

    def _endpoint(self, batch: Batch) -> Generator:
        return self._paid[plain_url(batch.endpoint)]

    def _call(self, line: Line) -> Call:
        return self._reader.read(line.body, line.digest)
