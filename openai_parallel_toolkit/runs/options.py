"""Every setting of a run in one frozen record, checked where it comes in."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from ..batch import BatchOptions, Finish
from ..calls.attempts import Policy
from ..core.errors import ConfigError

Mode = Literal["live", "batch"]
OutputNames = Literal["stem", "whole"]
#: False: failures never stop a run; True: the first one does; a share below 1; or a count.
FailOnError = bool | float | int


def default_threads() -> int:
    """Return ten times the number of CPUs: the threads mostly wait."""
    return 10 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a folder is to be worked on. Times are seconds; see `ParallelToolkit` for each."""

    input_path: str
    output_path: str
    file_count: int | None = None
    num_threads: int = field(default_factory=default_threads)
    name: str = "ParallelToolkit Progress"
    pattern: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    recursive: bool = True
    binary: bool = False
    encoding: str = "utf-8"
    output_names: OutputNames = "stem"
    mode: Mode = "live"
    batch: BatchOptions = field(default_factory=BatchOptions)
    max_batch_rounds: int = 10
    finish: Finish = "batch"
    max_cost: Decimal | None = None
    fail_on_error: FailOnError = False
    max_file_attempts: int = 3
    retry_failed: bool = False
    force: bool = False
    dry_run: bool = False
    progress: bool = True
    grace_s: float = 30.0
    hook_timeout_s: float | None = None
    deadline_s: float = 1800.0
    request_timeout_s: float = 600.0
    max_retries: int = 5
    max_unknown: int = 1
    state_path: str | None = None
    log_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the setting."""
        for name in ("file_count", "num_threads", "max_file_attempts", "max_batch_rounds"):
            _require(name, getattr(self, name), "a positive whole number", _is_count)
        for name in ("max_retries", "max_unknown"):
            _require(name, getattr(self, name), "a whole number, 0 or more", _is_whole)
        for name in ("grace_s", "hook_timeout_s", "deadline_s", "request_timeout_s"):
            _require(name, getattr(self, name), "a number of seconds, 0 or more", _is_seconds)
        _require("mode", self.mode, '"live" or "batch"', ("live", "batch").__contains__)
        _require("finish", self.finish, '"batch" or "live"', ("batch", "live").__contains__)
        _require(
            "output_names", self.output_names, '"stem" or "whole"', ("stem", "whole").__contains__
        )
        _require(
            "fail_on_error",
            self.fail_on_error,
            "False, True, a share below 1 or a count",
            lambda v: isinstance(v, (bool, int, float)) and v >= 0,
        )
        _require("max_cost", self.max_cost, "an amount of USD, 0 or more", _is_amount)
        _require("encoding", self.encoding, "a text encoding that Python knows", _is_encoding)

    @property
    def policy(self) -> Policy:
        """How patient each call is."""
        return Policy(
            max_retries=self.max_retries,
            max_unknown=self.max_unknown,
            deadline_s=self.deadline_s,
            request_timeout_s=self.request_timeout_s,
        )

    def failures_allowed(self, total: int) -> float:
        """Return how many files may fail before the run is stopped."""
        limit = self.fail_on_error
        if limit is False:
            return float("inf")
        if limit is True:
            return 0
        return limit * total if limit < 1 else limit


def _require(name: str, value: object, wanted: str, is_right: Callable[[Any], bool]) -> None:
    if value is None and name in {"file_count", "hook_timeout_s", "max_cost"}:
        return
    if not is_right(value):
        raise ConfigError(f"{name}: expected {wanted}, got {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_count(value: object) -> bool:
    return _is_whole(value) and value != 0


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_amount(value: object) -> bool:
    return isinstance(value, Decimal) and value.is_finite() and value >= 0


def _is_encoding(value: object) -> bool:
    try:
        "".encode(str(value))
    except LookupError:
        return False
    return isinstance(value, str)
