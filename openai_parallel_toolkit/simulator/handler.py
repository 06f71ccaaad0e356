"""Decide what a request gets: an answer that is sold, work that is free, or an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .completion import PaidEndpoint, paid_request
from .decision import Decision, sell
from .environment import Environment
from .faults import error_of, spoilt_reply
from .http_messages import HttpReply
from .refusals import Refused, named_error, no_api_version
from .request_view import RequestView
from .routes import Router


class RequestHandler:
    """Handles requests. Touched by the event loop's thread alone."""

    def __init__(self, environment: Environment, router: Router) -> None:
        self._environment = environment
        self._router = router

    def decide(self, view: RequestView) -> Decision:
        """Return what a request gets; what it buys or wants done is billed or done by then."""
        try:
            target, names = self._router.find(view.request.method, view.request.path)
            _admit(view, is_free=callable(target))
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
            paid = paid_request(
                view,
                seed=environment.seed,
                context_tokens=environment.context_tokens,
                deployment=deployment,
            )
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


def _admit(view: RequestView, *, is_free: bool) -> None:
    view.account.admit(is_azure=view.is_azure, is_free=is_free)
    if view.is_azure and not view.request.query.get("api-version"):
        raise Refused(no_api_version())
