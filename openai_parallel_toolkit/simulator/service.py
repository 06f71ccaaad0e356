"""Decide what each request gets, and enter it into the bill; knows nothing of sockets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from .control import Control
from .drafts import Call, Draft, Generator
from .faults import SILENT, Fault, FaultScript, Post, error_of, spoilt_draft, spoilt_reply
from .http1 import HttpRequest, Reply, read_json
from .keys import Account, Keyring, key_value_of
from .latency import Latency
from .ledger import Ledger, Row
from .refusals import ERRORS, Refused, invalid, no_api_version, unknown_key
from .routes import Found, Lookup, openai_routes

_AZURE = "/openai/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a connection has to do with a request."""

    reply: Reply
    #: Seconds to wait before the first byte.
    delay_s: float = 0.0
    #: How the reply is delivered; None: as it should be.
    fault: Fault | None = None
    #: Its row in the ledger; None: it has none.
    row: Row | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    reply: Reply
    model: str = ""
    fault: Fault | None = None
    #: What is billed; None: nothing is.
    bought: Draft | None = None
    delay_s: float = 0.0


class Service:
    """The provider behind the wire. Touched by the event loop's thread alone."""

    def __init__(
        self,
        *,
        keyring: Keyring,
        script: FaultScript,
        ledger: Ledger,
        latency: Latency,
        seed: int,
        context_tokens: int,
        clock: Callable[[], float],
        on_post: Callable[[Row], None] | None,
    ) -> None:
        self._keyring = keyring
        self._script = script
        self._ledger = ledger
        self._latency = latency
        self._seed = seed
        self._context_tokens = context_tokens
        self._clock = clock
        self._on_post = on_post
        self._router = openai_routes()
        self._control = Control(ledger=ledger, script=script, reset=self.reset)
        self._start_s = clock()
        self._ordinal = 0

    def reset(self) -> None:
        """Begin again: no rows, ordinals from 1, limits and quotas full, rules as they are."""
        self._ordinal = 0
        self._start_s = self._clock()
        self._keyring.reset()
        self._script.reset()
        self._ledger.reset()

    def handle(self, request: HttpRequest) -> Plan:
        """Return what to do with a request; a POST to the provider is billed here."""
        if self._control.owns(request.path):
            return Plan(reply=self._control.handle(request))
        if request.method == "POST":
            return self._handle_post(request)
        return Plan(reply=self._look_up(request))

    def leave(self, row: Row | None, *, bytes_sent: int, client_closed: bool) -> None:
        """Note how the delivery of a plan ended."""
        if row is not None:
            self._ledger.leave(row, bytes_sent=bytes_sent, client_closed=client_closed)

    def _look_up(self, request: HttpRequest) -> Reply:
        try:
            found = self._router.find(request.method, request.path)
            account = self._keyring.find(key_value_of(request.headers))
            return cast(Lookup, found.target)(_admitted(account, request).key)
        except Refused as refused:
            return refused.reply

    def _handle_post(self, request: HttpRequest) -> Plan:
        self._ordinal += 1
        digest = hashlib.sha256(request.body)
        account = self._keyring.find(key_value_of(request.headers))
        verdict = self._judge(request, account, digest.digest())
        fault, bought = verdict.fault, verdict.bought
        row = Row(
            ordinal=self._ordinal,
            time_s=self._clock() - self._start_s,
            path=request.path,
            key=account.key.name if account else "",
            payload=digest.hexdigest(),
            model=verdict.model,
            fault=fault.kind if fault else "",
            status=0 if fault and fault.kind in SILENT else verdict.reply.status,
            billed=bought is not None,
            prompt_tokens=bought.prompt_tokens if bought else 0,
            completion_tokens=bought.completion_tokens if bought else 0,
            request_id=f"req_{self._seed & 0xFFFFFFFF:08x}{self._ordinal:024x}",
        )
        self._ledger.enter(row)
        if self._on_post is not None:
            self._on_post(row)
        headers = (("x-request-id", row.request_id), *verdict.reply.headers)
        if account is not None:
            headers += account.limits.headers(self._clock())
        reply = replace(verdict.reply, headers=headers)
        return Plan(reply=reply, delay_s=verdict.delay_s, fault=fault, row=row)

    def _judge(self, request: HttpRequest, account: Account | None, digest: bytes) -> _Verdict:
        model = ""
        try:
            found = self._router.find("POST", request.path)
            account = _admitted(account, request)
            call = self._read(request, found, digest)
            model = call.model
            account.admit_model(model, found.deployment)
            endpoint = cast(Generator, found.target)
            draft = endpoint.draft(call)
            account.take(model, draft.counted_tokens, self._clock(), is_azure=_is_azure(request))
        except Refused as refused:
            return _Verdict(reply=refused.reply, model=model)
        fault = self._script.pick(
            Post(ordinal=self._ordinal, key=account.key.name, body=request.body, digest=digest)
        )
        delay_s = self._latency.draw_s(self._seed, self._ordinal, digest)
        if fault is not None and fault.kind == "slow":
            delay_s += 1.0 if fault.seconds is None else fault.seconds
        is_billed = fault is None or fault.is_billed
        if is_billed:
            account.bill(draft.prompt_tokens + draft.completion_tokens)
        return _Verdict(
            reply=_reply(endpoint, call, draft, fault, account.key.secret),
            model=model,
            fault=fault,
            bought=draft if is_billed else None,
            delay_s=delay_s,
        )

    def _read(self, request: HttpRequest, found: Found, digest: bytes) -> Call:
        if found.deployment is not None and not request.query.get("api-version"):
            raise Refused(no_api_version())
        try:
            body = read_json(request.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise invalid("We could not parse the JSON body of your request.")
        model = body.get("model", found.deployment)
        if not isinstance(model, str) or not model:
            raise invalid("you must provide a model parameter", param="model")
        return Call(
            model=model,
            body=body,
            seed=self._seed,
            dice=hashlib.sha256(b"%d " % self._seed + digest).digest(),
            context_tokens=self._context_tokens,
        )


def _is_azure(request: HttpRequest) -> bool:
    return request.path.startswith(_AZURE)


def _admitted(account: Account | None, request: HttpRequest) -> Account:
    is_azure = _is_azure(request)
    if account is None:
        key_value = key_value_of(request.headers)
        raise Refused(unknown_key(key_value, is_azure=is_azure))
    account.admit(is_azure=is_azure)
    return account


def _reply(
    endpoint: Generator, call: Call, draft: Draft, fault: Fault | None, key_value: str
) -> Reply:
    if fault is None:
        return endpoint.render(call, draft)
    if fault.kind in ERRORS:
        return error_of(fault, call.model, key_value)
    return spoilt_reply(endpoint.render(call, spoilt_draft(draft, fault.kind)), fault)
