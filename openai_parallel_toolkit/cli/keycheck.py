"""Ask each key's server for its list of models: free, and it tells whether the key is accepted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..calls.classify import classify
from ..calls.provider_codes import Blame, fault_of
from ..calls.refusals import of_no_text
from ..core.clock import SystemClock
from ..core.records import Lease, OutcomeKind, RawReply
from ..keys import APIKeyManager
from ..keys.config import Settings
from ..transport.base import HttpExchange, SendFault
from ..transport.http import HttpTransport

_AT_ONCE = 16
_TIMEOUT_S = 10.0
_MODELS = HttpExchange(method="GET", path="/models")
_STATES = {
    OutcomeKind.OK: "alive",
    OutcomeKind.BUSY: "alive",
    OutcomeKind.KEY_DEAD: "invalid",
    OutcomeKind.UNSENT: "unreachable",
    OutcomeKind.UNKNOWN: "unreachable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a server said of a key."""

    #: "alive", "invalid", "no quota", "unreachable" or "not knowable".
    state: str
    #: Why; "" when it is simply alive.
    detail: str


def check_keys(settings: Settings) -> list[Health]:
    """Return how each key stands, in their order."""
    keys = APIKeyManager(settings=settings)
    try:
        return asyncio.run(_check_all(keys))
    finally:
        keys.close()


async def _check_all(keys: APIKeyManager) -> list[Health]:
    transport = HttpTransport(
        proxy=keys.settings.proxy, max_reply_bytes=keys.settings.max_reply_bytes
    )
    room = asyncio.Semaphore(_AT_ONCE)

    async def check(lease: Lease) -> Health:
        ended: RawReply | SendFault
        async with room:
            try:
                ended = await transport.run(_MODELS, lease, timeout_s=_TIMEOUT_S)
            except SendFault as fault:
                ended = fault
        wall_s, clean = SystemClock().wall_s(), keys.redactor.clean
        outcome, _ = classify(ended, _MODELS.path, wall_s=wall_s, clean=clean)
        outcome = of_no_text(outcome)
        state = _STATES.get(outcome.kind, "not knowable")
        is_quota = outcome.status == 402 or fault_of(outcome.code) is Blame.QUOTA
        if outcome.kind is OutcomeKind.KEY_DEAD and is_quota:
            state = "no quota"
        return Health(state=state, detail=outcome.message)

    try:
        return await asyncio.gather(*map(check, keys.unmetered_leases("")))
    finally:
        await transport.close()
