"""Every setting of a run in one frozen record, checked where it comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import partial
from typing import Any, Literal, TypeVar

from ..batch import BatchOptions, Finish
from ..calls.attempts import Policy
from ..core.errors import ConfigError, UsageError
from ..core.settings import (
    ANY,
    COUNT,
    FLAG,
    GLOBS,
    PATH,
    SECONDS,
    USD,
    WHOLE,
    SettingKind,
    check_settings,
    choice,
    read_setting,
    setting,
)
from .thread_count import AUTO, MOST_AUTO, usual_threads

#: What can be changed while a run is on.
CHANGES = ("num_threads", "max_cost")
Mode = Literal["live", "batch"]
Engine = Literal["threads", "processes"]
OutputNames = Literal["stem", "whole"]
OnChangedInput = Literal["skip", "redo"]
#: "end": failures stop no run, and are raised at its end; False: nor that; True: the first one
#: stops it; a share below 1, or a count: more than that do.
FailOnError = Literal["end"] | bool | float | int
_PartT = TypeVar("_PartT")

_which = partial(setting, group="which files")
_patience = partial(setting, group="patience")


def _failures(text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise UsageError(
            f"argument --fail-on-error: {text!r} is neither a count nor a share such as 0.1; give "
            "it as --fail-on-error=N, or put a bare --fail-on-error last"
        ) from None


def _is_encoding(value: object) -> bool:
    try:
        "".encode(str(value))
    except LookupError:
        return False
    return isinstance(value, str)


_ALLOWANCE = SettingKind(
    '"end", False, True, a share below 1 or a count',
    lambda value: value == "end" or (isinstance(value, int | float) and value >= 0),
    {"nargs": "?", "const": True, "type": _failures, "metavar": "N"},
)


def _threads(text: str) -> int | str:
    return text if text == AUTO else int(text)


_THREADS = SettingKind(
    'a positive whole number or "auto"',
    lambda value: value == AUTO or COUNT.fits(value),
    {"type": _threads, "metavar": "N"},
)
_ENCODING = SettingKind("a text encoding that Python knows", _is_encoding)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """The settings of whatever asks for many things. Times are seconds."""

    input_path: str = setting(PATH)
    output_path: str = setting(PATH)
    max_cost: Decimal | None = setting(
        USD, None, "what all runs of OUT may cost together; what could pass it is not sent"
    )
    state_path: str | None = setting(
        PATH,
        None,
        "a local folder for the journal (all answers), instead of one in OUT",
        metavar="DIR",
    )
    keep_requests: bool = setting(
        FLAG, True, "keep requests as a hash alone: nobody can see later what was asked"
    )
    log_file: str | None = setting(
        PATH, None, "where to append what is logged: start, failures, totals", metavar="FILE"
    )
    progress: bool = setting(FLAG, True, "draw no bar")
    grace_s: float = _patience(SECONDS, 30.0, "seconds that requests in flight get after Ctrl-C")
    deadline_s: float = _patience(SECONDS, 1800.0, "seconds for one call with all its retries")
    request_timeout_s: float = _patience(SECONDS, 600.0, "seconds for one attempt")
    limit_patience_s: float = _patience(
        SECONDS, 900.0, "seconds for a key that answers nothing but limits, with no time to wait"
    )
    max_retries: int = _patience(WHOLE, 5, "re-sends of a call after a server error")
    max_unknown: int = _patience(
        WHOLE, 1, "re-sends of a call whose answer was lost and may be billed"
    )

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the setting."""
        check_settings(self)

    @property
    def policy(self) -> Policy:
        """How patient each call is."""
        return self.part(Policy)

    def part(self, kind: type[_PartT]) -> _PartT:
        """Return the settings that are also the fields of another record."""
        names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
        return kind(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(CommonOptions):
    """How a folder is to be worked on; see `ParallelToolkit` for each setting."""

    file_count: int | None = _which(COUNT, None, "work on N files, then stop")
    pattern: Sequence[str] | None = _which(
        GLOBS, None, "only inputs that match; may be given again"
    )
    exclude: Sequence[str] = _which(
        GLOBS, tuple, "leave these inputs and folders out; may be given again"
    )
    recursive: bool = _which(FLAG, True, "leave out the folders inside IN")
    retry_failed: bool = _which(
        FLAG, False, "also files that were put aside; what was of no use is asked again"
    )
    force: bool = _which(
        FLAG, False, "also files that are done; answers are reused, but for those of no use"
    )
    on_changed_input: OnChangedInput = setting(
        choice("skip", "redo"),
        "skip",
        "tell of files whose input was changed since they were done, or work on them",
        group="which files",
    )
    max_file_attempts: int = _which(COUNT, 3, "put a file aside after N runs in which it failed")
    num_threads: int | Literal["auto"] = setting(
        _THREADS,
        usual_threads,
        f"files under way at a time; auto: more while keys have room, up to {MOST_AUTO}",
        option="--threads",
    )
    engine: Engine = setting(
        choice("threads", "processes"),
        "threads",
        "where hooks run: on threads, or in processes that use all cores",
    )
    workers: int | None = setting(
        COUNT, None, "processes with --engine processes; --threads counts for each of them"
    )
    mode: Mode = setting(
        choice("live", "batch"),
        "live",
        "send now, or collect into batches at half price, within a day",
    )
    finish: Finish = setting(
        choice("batch", "live"),
        "batch",
        "in batch mode: how to send what a batch came back without",
    )
    max_batch_rounds: int = setting(
        COUNT, 10, "how often a file may wait for answers, in batch mode"
    )
    batch: BatchOptions = setting(ANY, BatchOptions)
    check_prompts: bool = setting(
        FLAG, True, "do not try the hooks on a few finished files, to see whether prompts changed"
    )
    dry_run: bool = setting(FLAG, False, "tell what would be done and asked; nothing is sent")
    binary: bool = setting(FLAG, False, "open inputs as binary files")
    encoding: str = setting(_ENCODING, "utf-8", "of text inputs")
    output_names: OutputNames = setting(
        choice("stem", "whole"), "stem", "a.txt gives a.json (stem), or a.txt.json (whole)"
    )
    fail_on_error: FailOnError = setting(
        _ALLOWANCE,
        "end",
        "stop at the first failed file, or after more than N (a count or a share below 1); without "
        "it all are worked on",
    )
    name: str = setting(ANY, "ParallelToolkit Progress")
    hook_timeout_s: float | None = _patience(
        SECONDS, None, "seconds of a hook's own work before it is left"
    )

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the setting."""
        CommonOptions.__post_init__(self)
        if self.engine == "threads" and self.workers is not None:
            raise ConfigError('workers: there are none with engine="threads"; see num_threads')
        if self.engine != "threads" and self.mode == "batch":
            raise ConfigError(
                f'engine: mode="batch" waits for batches, so engine={self.engine!r} would not make '
                "it faster; leave engine out"
            )

    def failures_allowed(self, total: int) -> float:
        """Return how many files may fail before the run is stopped."""
        limit = self.fail_on_error
        if limit is False or limit == "end":
            return float("inf")
        if limit is True:
            return 0
        return limit * total if limit < 1 else limit


def read_change(name: str, given: object) -> Any:
    """Return the value of a setting that is to be changed while a run is on.

    Raises:
        ConfigError: there is no such setting, or it may not be that.
    """
    found = [one for one in fields(RunOptions) if one.name == name and name in CHANGES]
    if not found or given is None:
        raise ConfigError(f"{name!r} cannot be changed while a run is on")
    return read_setting(found[0], given)
