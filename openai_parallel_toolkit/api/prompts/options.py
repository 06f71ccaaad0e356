"""Every setting of the work on one file of prompts, checked where it comes in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.records import canonical_json
from ...core.settings import COUNT, FLAG, RATE, SettingKind, choice, setting
from ...runs.options import CommonOptions
from ...runs.summary import AT_THE_END, RAISES_AT_END
from .lines import Defaults
from .results import FORMATS

NAME = SettingKind("a name", lambda value: isinstance(value, str) and bool(value.strip()))
#: Connections that a process can have without touching its usual limit of open files.
_MOST_WORKERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptsOptions(CommonOptions):
    """How a file of prompts is to be worked on."""

    #: What holds for lines that do not say it themselves.
    defaults: Defaults = field(default_factory=Defaults)
    output_format: str = setting(
        choice(*FORMATS),
        "flat",
        "of OUT's lines: one flat object (default), or as the cookbook or the Batch API",
    )
    answer_column: str = setting(
        NAME, "answer", "of a table: what the column with the answers is called", metavar="NAME"
    )
    #: Over all keys, re-sends included; None: as the keys allow.
    rate_limit: float | None = setting(
        RATE, None, "requests sent in a minute", option="--max-requests-per-minute"
    )
    #: Over all keys, prompt and longest answer; None: as the keys allow.
    token_rate_limit: float | None = setting(
        RATE, None, "tokens sent in a minute", option="--max-tokens-per-minute"
    )
    #: None: `rate_limit`, and at most 500.
    max_workers: int | None = setting(COUNT, None, "requests under way at a time")
    #: "end": lines that failed are raised as FilesFailed once all others are answered; False: they
    #: are told in the summary alone.
    fail_on_error: Literal["end", False] = setting(RAISES_AT_END, AT_THE_END)
    force: bool = setting(FLAG, False, "also when OUT is done, or made with other settings")

    @property
    def workers(self) -> int:
        """How many requests may be under way at a time."""
        return self.max_workers or min(_MOST_WORKERS, int(self.rate_limit or _MOST_WORKERS) or 1)

    @property
    def version(self) -> str:
        """Hex digest of what changes the requests themselves."""
        given = self.defaults
        said: list[Any] = [given.model, given.system, dict(given.parameters), given.path]
        if given.template is not None:
            said.append(given.template)
        return hashlib.sha256(canonical_json(said)).hexdigest()
