"""Decide on each request, and enter it into the bill; knows nothing of sockets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from .batches.batch_service import SimBatchService
from .batches.file_store import FileStore
from .completion import PaidEndpoint, RequestView
from .control import control_reply
from .decision import Decision, paid_request, sell
from .endpoints.batches import BatchEndpoints
from .endpoints.files import FileEndpoints
from .environment import Environment
from .faults import error_of, spoilt_reply
from .http_messages import HttpReply, HttpRequest, json_reply
from .keys import Keyring
from .ledger import Row
from .refusals import Refused, named_error, no_api_version
from .routes import openai_routes

#: As the toolkit says that it wants none.
_NO_STREAM = b'{"stream":false,'


class Service:
    """The provider behind the wire. Touched by the event loop's thread alone."""

    def __init__(
        self,
        environment: Environment,
        keyring: Keyring,
        on_post: Callable[[Row], None] | None,
    ) -> None:
        self._environment = environment
        self._keyring = keyring
        #: Called with each POST's row before anything is written.
        self._on_post = on_post
        self._ordinal = 0
        self.ledger = environment.ledger
        self.files = FileStore(environment)
        self.batches = SimBatchService(environment, self.files)
        self._router = openai_routes(
            FileEndpoints(environment, self.files), BatchEndpoints(self.batches, self.files)
        )

    def handle(self, request: HttpRequest) -> tuple[Decision, Row | None]:
        """Return what is decided on a request, and its row.

        A POST to the provider is billed here, and has a row.
        """
        if request.path == "/__reset" and request.method == "POST":
            self._reset()
            return Decision(reply=json_reply(200, {})), None
        if request.path.startswith("/__"):
            reply = control_reply(request, self._environment, self.files, self.batches)
            return Decision(reply=reply), None
        is_post = request.method == "POST"
        self._ordinal += is_post
        view = self._view(request, self._ordinal if is_post else 0)
        decision = self._decide(view)
        if not is_post:
            return decision, None
        row = decision.row(
            view, f"req_{self._environment.seed & 0xFFFFFFFF:08x}{view.ordinal:024x}"
        )
        self.ledger.enter(row)
        if self._on_post is not None:
            self._on_post(row)
        limits = view.account.limits.headers(self._environment.clock())
        reply = decision.reply
        reply.headers = (("x-request-id", row.request_id), *limits, *reply.headers)
        return decision, row

    def _reset(self) -> None:
        """Begin again: no rows, ordinals from 1, no files or batches, limits and quotas full;
        rules and what is wanted of batches stay.
        """
        self._ordinal = 0
        self._keyring.reset()
        self._environment.script.reset()
        self.ledger.reset()
        self.files.reset()
        self.batches.reset()

    def _view(self, request: HttpRequest, ordinal: int) -> RequestView:
        content = _asked(request.body) if request.form is None else request.form.content
        if not ordinal:
            content = f"{request.method} {request.path}".encode()
        return RequestView(
            request=request,
            ordinal=ordinal,
            account=self._keyring.find(request.key_value),
            digest=hashlib.sha256(content).digest(),
            is_azure=request.path.startswith("/openai/"),
        )

    def _decide(self, view: RequestView) -> Decision:
        """Return what a request gets; what it buys or wants done is billed or done by then."""
        try:
            target, names = self._router.find(view.request.method, view.request.path)
            view.account.admit(is_azure=view.is_azure, is_free=callable(target))
            if view.is_azure and not view.request.query.get("api-version"):
                raise Refused(no_api_version())  # noqa: TRY301 - as the other refusals
        except Refused as refused:
            return Decision(reply=refused.reply)
        if callable(target):
            return self._carry_out(target, view, names)
        return self._sell(target, view, names.get("deployment"))

    def _carry_out(
        self, work: Callable[..., HttpReply], view: RequestView, names: Mapping[str, str]
    ) -> Decision:
        fault = self._environment.script.pick(view)
        try:
            # As with answers: a fault in the delivery comes when the work is done, an error before.
            is_done = fault is None or fault.is_billed
            reply = work(view, **names) if is_done else named_error("500")
        except Refused as refused:
            reply = refused.reply
        if fault is not None:
            reply = error_of(fault, "", view.account.key.secret) or spoilt_reply(reply, fault)
        return Decision(reply=reply, fault=fault, delay_s=self._delay_s(view))

    def _sell(self, endpoint: PaidEndpoint, view: RequestView, deployment: str | None) -> Decision:
        environment, account, model = self._environment, view.account, ""
        try:
            paid = paid_request(view, environment, deployment or endpoint.default_model)
            model = paid.model
            account.admit_model(model, deployment)
            completion = endpoint.complete(paid)
            tokens = completion.counted_tokens
            account.take(model, tokens, environment.clock(), is_azure=view.is_azure)
        except Refused as refused:
            return Decision(reply=refused.reply, model=model)
        delay_s = self._delay_s(view)
        return sell(endpoint, paid, completion, view, environment.script, delay_s=delay_s)

    def _delay_s(self, view: RequestView) -> float:
        if not view.ordinal:
            return 0.0
        environment = self._environment
        return environment.latency.draw_s(environment.seed, view.ordinal, view.digest)


def _asked(content: bytes) -> bytes:
    """Return what a body asks for: that no stream is wanted is what leaving it out says too."""
    return b"{" + content[len(_NO_STREAM) :] if content.startswith(_NO_STREAM) else content
