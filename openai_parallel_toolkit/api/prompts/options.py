"""Every setting of the work on one file of prompts, checked where it comes in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal

from ...calls.attempts import Policy
from ...core.errors import ConfigError
from ...core.records import canonical_json
from .formats import FORMATS
from .lines import Defaults

#: Connections that a process can have without touching its usual limit of open files.
_MOST_WORKERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptsOptions:
    """How a file of prompts is to be worked on. Times are seconds."""

    input_path: str
    output_path: str
    #: What holds for lines that do not say it themselves.
    defaults: Defaults = field(default_factory=Defaults)
    #: "flat", "cookbook" or "batch".
    output_format: str = "flat"
    #: Requests under way at a time; None: `rate_limit`, and at most 500.
    max_workers: int | None = None
    #: Requests a minute over all keys, re-sends included; None: as the keys allow.
    rate_limit: float | None = None
    #: Tokens a minute over all keys, prompt and longest answer; None: as the keys allow.
    token_rate_limit: float | None = None
    #: USD over all runs of this output; None: as much as it takes.
    max_cost: Decimal | None = None
    #: Write the output anew although it is done, or was made with other settings.
    force: bool = False
    progress: bool = True
    #: For requests in flight after Ctrl-C.
    grace_s: float = 30.0
    #: How patient each call is.
    policy: Policy = field(default_factory=Policy)
    #: Local folder for the journal; None: beside the output.
    state_path: str | None = None
    #: Where to append what the toolkit logs; None: nowhere.
    log_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the setting."""
        if self.output_format not in FORMATS:
            raise _wrong("output_format", f"one of {', '.join(FORMATS)}", self.output_format)
        for name in ("max_workers", "rate_limit", "token_rate_limit"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise _wrong(name, "a number above 0", value)
        if not self.grace_s >= 0:
            raise _wrong("grace_s", "a number of seconds, 0 or more", self.grace_s)
        cap = self.max_cost
        if cap is not None and not (cap.is_finite() and cap >= 0):
            raise _wrong("max_cost", "an amount of USD, 0 or more", cap)
        for name in ("max_retries", "max_unknown", "deadline_s", "request_timeout_s"):
            if not getattr(self.policy, name) >= 0:
                raise _wrong(name, "a number, 0 or more", getattr(self.policy, name))

    @property
    def workers(self) -> int:
        """How many requests may be under way at a time."""
        return self.max_workers or min(_MOST_WORKERS, int(self.rate_limit or _MOST_WORKERS) or 1)

    @property
    def version(self) -> str:
        """Hex digest of what changes the requests themselves."""
        given = self.defaults
        said = [given.model, given.system, dict(given.parameters), given.path]
        return hashlib.sha256(canonical_json(said)).hexdigest()


def _wrong(name: str, wanted: str, given: object) -> ConfigError:
    return ConfigError(f"{name}: expected {wanted}, got {given!r}")
