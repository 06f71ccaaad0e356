"""Decide on each request, and enter it into the bill; knows nothing of sockets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from .batches.batch_service import SimBatchService
from .batches.file_store import FileStore
from .batches.line_processor import LineProcessor
from .control import Control
from .decision import Decision
from .endpoints.batches import BatchEndpoints
from .endpoints.files import FileEndpoints
from .environment import Environment
from .handler import RequestHandler
from .http_messages import HttpReply, HttpRequest
from .keys import Keyring
from .ledger import Row
from .request_view import RequestView
from .routes import openai_routes


class Service:
    """The provider behind the wire. Touched by the event loop's thread alone.

    Args:
        on_post: called with each POST's row before anything is written.
    """

    def __init__(
        self,
        environment: Environment,
        keyring: Keyring,
        on_post: Callable[[Row], None] | None,
    ) -> None:
        self._environment = environment
        self._keyring = keyring
        self._on_post = on_post
        self._ordinal = 0
        self.ledger = environment.ledger
        self.files = FileStore(environment)
        self.batches = SimBatchService(environment, self.files, LineProcessor(environment))
        routes = openai_routes(
            FileEndpoints(environment, self.files), BatchEndpoints(self.batches, self.files)
        )
        self._handler = RequestHandler(environment, routes)
        self._control = Control(environment, self.files, self.batches, self.reset)

    def reset(self) -> None:
        """Begin again: no rows, ordinals from 1, no files or batches, limits and quotas full;
        rules and what is wanted of batches stay.
        """
        self._ordinal = 0
        self._keyring.reset()
        self._environment.script.reset()
        self.ledger.reset()
        self.files.reset()
        self.batches.reset()

    def handle(self, request: HttpRequest) -> tuple[Decision, HttpReply, Row | None]:
        """Return what is decided on a request, its reply with all headers, and its row.

        A POST to the provider is billed here, and has a row.
        """
        if request.path.startswith("/__"):
            decision = Decision(reply=self._control.handle(request))
            return decision, decision.reply, None
        is_post = request.method == "POST"
        self._ordinal += is_post
        view = self._view(request, self._ordinal if is_post else 0)
        decision = self._handler.decide(view)
        if not is_post:
            return decision, decision.reply, None
        row = decision.row(
            view, f"req_{self._environment.seed & 0xFFFFFFFF:08x}{view.ordinal:024x}"
        )
        self.ledger.enter(row)
        if self._on_post is not None:
            self._on_post(row)
        limits = view.account.limits.headers(self._environment.clock())
        return decision, decision.reply.with_headers(("x-request-id", row.request_id), *limits), row

    def _view(self, request: HttpRequest, ordinal: int) -> RequestView:
        content = request.body if request.form is None else request.form.content
        if not ordinal:
            content = f"{request.method} {request.path}".encode()
        return RequestView(
            request=request,
            ordinal=ordinal,
            account=self._keyring.find(request.key_value),
            digest=hashlib.sha256(content).digest(),
            is_azure=request.path.startswith("/openai/"),
        )
