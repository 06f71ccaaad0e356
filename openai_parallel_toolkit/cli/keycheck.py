"""Ask each key's server for its list of models: free, and it tells whether the key is accepted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..calls.classify import classify
from ..core.clock import SystemClock
from ..core.records import Lease, Need, Outcome, OutcomeKind, RawReply
from ..core.redaction import Redactor
from ..keys.config import APIKey, Settings
from ..transport import SendFault
from ..transport.openai_client import Clients
from ..transport.openai_faults import fault_of

_AT_ONCE = 16
_TIMEOUT_S = 10.0
_STATES = {
    OutcomeKind.OK: "alive",
    OutcomeKind.BUSY: "alive",
    OutcomeKind.KEY_DEAD: "invalid",
    OutcomeKind.UNSENT: "unreachable",
    OutcomeKind.UNKNOWN: "unreachable",
}
_NO_QUOTA_CODES = frozenset(
    {
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
        "insufficient_quota",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a server said of a key."""

    #: "alive", "invalid", "no quota", "unreachable" or "not knowable".
    state: str
    #: Why; "" when it is simply alive.
    detail: str


def check_keys(settings: Settings) -> list[Health]:
    """Return how each key stands, in their order."""
    secrets = [key.secret for key in settings.api_keys]
    redactor = Redactor([*secrets, *([settings.proxy] if settings.proxy else [])])
    clients = Clients(settings.proxy)
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(
                pool.map(lambda key: _check(key, settings, clients, redactor), settings.api_keys)
            )
    finally:
        clients.close()


def _check(key: APIKey, settings: Settings, clients: Clients, redactor: Redactor) -> Health:
    outcome, _ = classify(
        _ask(_lease_of(key, settings), clients),
        "/models",
        wall_s=SystemClock().wall_s(),
        clean=redactor.clean,
    )
    return Health(state=_state(outcome), detail=outcome.message)


def _state(outcome: Outcome) -> str:
    if outcome.kind is OutcomeKind.KEY_DEAD and outcome.code in _NO_QUOTA_CODES:
        return "no quota"
    return _STATES.get(outcome.kind, "not knowable")


def _ask(lease: Lease, clients: Clients) -> RawReply | SendFault:
    client = clients.client_for(lease).with_options(timeout=_TIMEOUT_S)
    try:
        reply = client.models.with_raw_response.list()
    except Exception as exc:
        ended = fault_of(exc)
        if ended is None:
            raise
        return ended
    return RawReply(status=reply.status_code, headers={}, body=reply.content)


def _lease_of(key: APIKey, settings: Settings) -> Lease:
    return Lease(
        id=0,
        key_name=key.name,
        secret=key.secret,
        api_base=key.api_base or settings.api_base,
        azure_deployment=key.azure_deployment,
        api_version=key.api_version,
        need=Need(model="", tokens=0),
        since_s=0.0,
    )
