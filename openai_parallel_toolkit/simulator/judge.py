"""Decide what a request gets: an answer that is sold, an errand that is done, or an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from .drafts import Call, CallReader, Draft, Generator
from .errands import Desk, Errand
from .faults import Fault, FaultScript, Post, error_of, spoilt_draft, spoilt_reply
from .http1 import HttpRequest, Reply
from .keys import Account, key_value_of
from .latency import Latency
from .multipart import Form, is_form, read_form
from .refusals import Refused, named_error, no_api_version, unknown_key
from .routes import Found, Router

_AZURE = "/openai/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A request as rules and rows see it."""

    request: HttpRequest
    #: Which POST it is, from 1; 0: it is none.
    ordinal: int
    #: The account of its key; None: there is none.
    account: Account | None
    #: None: the body is no form.
    form: Form | None
    #: SHA-256 of the body, of the file in a form, or of the path when there is no body.
    digest: bytes

    @property
    def is_azure(self) -> bool:
        """Whether it came over one of Azure's paths."""
        return self.request.path.startswith(_AZURE)

    def post(self, account: Account) -> Post:
        """Return what rules look at."""
        form = self.form
        return Post(
            method=self.request.method,
            path=self.request.path,
            ordinal=self.ordinal,
            key=account.key.name,
            body=self.request.body if form is None else (form.file_name or "").encode(),
            digest=self.digest,
        )


def sight_of(request: HttpRequest, ordinal: int, account: Account | None) -> Sight:
    """Return how a request is seen; a form that cannot be read is seen as none."""
    content_type = request.headers.get("content-type", "")
    form = None
    if is_form(content_type):
        try:
            form = read_form(content_type, request.body)
        except ValueError:
            form = None
    content = request.body if form is None else form.content
    if not ordinal:
        content = f"{request.method} {request.path}".encode()
    return Sight(
        request=request,
        ordinal=ordinal,
        account=account,
        form=form,
        digest=hashlib.sha256(content).digest(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a request gets."""

    reply: Reply
    model: str = ""
    fault: Fault | None = None
    #: What is billed; None: nothing is.
    bought: Draft | None = None
    #: Seconds to wait before the first byte.
    delay_s: float = 0.0


class Judge:
    """Judges requests. Touched by the event loop's thread alone."""

    def __init__(
        self,
        *,
        router: Router,
        script: FaultScript,
        reader: CallReader,
        latency: Latency,
        clock: Callable[[], float],
    ) -> None:
        self._router = router
        self._script = script
        self._reader = reader
        self._latency = latency
        self._clock = clock

    def judge(self, sight: Sight) -> Verdict:
        """Return what a request gets; what it buys or wants done is billed or done by then."""
        try:
            found = self._router.find(sight.request.method, sight.request.path)
            account = _admitted(sight, is_free=callable(found.target))
        except Refused as refused:
            return Verdict(reply=refused.reply)
        if callable(found.target):
            return self._run(found.target, found, sight, account)
        return self._sell(found.target, found, sight, account)

    def _run(self, desk: Desk, found: Found, sight: Sight, account: Account) -> Verdict:
        errand = Errand(
            account=account,
            request=sight.request,
            names=found.names,
            is_azure=sight.is_azure,
            form=sight.form,
        )
        fault = self._script.pick(sight.post(account))
        try:
            # As with calls: a fault in the delivery comes when the work is done, an error before.
            is_done = fault is None or fault.is_billed
            reply = desk(errand) if is_done else named_error("500")
        except Refused as refused:
            reply = refused.reply
        if fault is not None:
            reply = error_of(fault, "", account.key.secret) or spoilt_reply(reply, fault)
        return Verdict(reply=reply, fault=fault, delay_s=self._delay_s(fault, sight))

    def _sell(self, endpoint: Generator, found: Found, sight: Sight, account: Account) -> Verdict:
        model = ""
        try:
            deployment = found.names.get("deployment")
            call = self._reader.read(sight.request.body, sight.digest, deployment=deployment)
            model = call.model
            account.admit_model(model, deployment)
            draft = endpoint.draft(call)
            account.take(model, draft.counted_tokens, self._clock(), is_azure=sight.is_azure)
        except Refused as refused:
            return Verdict(reply=refused.reply, model=model)
        fault = self._script.pick(sight.post(account))
        is_billed = fault is None or fault.is_billed
        if is_billed:
            account.bill(draft.prompt_tokens + draft.completion_tokens)
        return Verdict(
            reply=_reply(endpoint, call, draft, fault, account.key.secret),
            model=model,
            fault=fault,
            bought=draft if is_billed else None,
            delay_s=self._delay_s(fault, sight),
        )

    def _delay_s(self, fault: Fault | None, sight: Sight) -> float:
        delay_s = 0.0
        if sight.ordinal:
            delay_s = self._latency.draw_s(self._reader.seed, sight.ordinal, sight.digest)
        if fault is not None and fault.kind == "slow":
            delay_s += 1.0 if fault.seconds is None else fault.seconds
        return delay_s


def _admitted(sight: Sight, *, is_free: bool) -> Account:
    if sight.account is None:
        key_value = key_value_of(sight.request.headers)
        raise Refused(unknown_key(key_value, is_azure=sight.is_azure))
    sight.account.admit(is_azure=sight.is_azure, is_free=is_free)
    if sight.is_azure and not sight.request.query.get("api-version"):
        raise Refused(no_api_version())
    return sight.account


def _reply(
    endpoint: Generator, call: Call, draft: Draft, fault: Fault | None, key_value: str
) -> Reply:
    if fault is None:
        return endpoint.render(call, draft)
    error = error_of(fault, call.model, key_value)
    return error or spoilt_reply(endpoint.render(call, spoilt_draft(draft, fault.kind)), fault)
