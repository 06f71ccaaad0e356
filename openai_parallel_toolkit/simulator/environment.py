"""What all parts of one simulator share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from .batches.controls import BatchControls, BatchLimits
from .faults import FaultScript
from .latency import Latency
from .ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What all parts of one simulator share."""

    #: Of answers, ids, latency and faults.
    seed: int
    #: Tokens that a prompt and its longest answer may have together.
    context_tokens: int
    latency: Latency
    script: FaultScript
    ledger: Ledger
    batch_controls: BatchControls
    batch_limits: BatchLimits
    #: Seconds that never go back.
    clock: Callable[[], float]
    #: Seconds since 1970.
    now_s: Callable[[], float]
    #: Runs an action after so many seconds, in the event loop's thread.
    later: Callable[[float, Callable[[], None]], object]
    #: How models are billed, of USAGE_FORMS; those that are not here: as OpenAI's.
    usage_forms: Mapping[str, str] = field(default_factory=dict)
    #: Parameters that are taken besides OpenAI's; "*": any.
    extra_parameters: Collection[str] = ()
