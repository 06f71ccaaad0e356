"""Rules that say which request goes wrong, and how.

A fault is an error reply (`refusals.ERRORS`), a spoilt answer (`SPOILT`), or a whole answer that is
delivered badly (`DELIVERIES`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, replace
from email.utils import formatdate
from time import time
from typing import Any

from .completion import Completion, RequestView
from .http_messages import HttpReply
from .latency import fractions
from .refusals import ERRORS, named_error, page_reply

#: Answers that are whole HTTP but of no or little use.
SPOILT = frozenset(
    {
        "html_200",
        "no_choices",
        "empty_content",
        "broken_json",
        "finish_length",
        "finish_content_filter",
    }
)
#: Answers that do not arrive as they should.
DELIVERIES = frozenset(
    {
        "cut_body",
        "cut_chunked",
        "reset_before",
        "reset_during",
        "close_before",
        "drip",
        "never",
        "close_idle",
        "slow",
    }
)
#: Deliveries of which the client sees no byte, so that there is no status.
SILENT = frozenset({"reset_before", "close_before", "never"})
#: Kinds that a line of a batch can meet: those that leave JSON for its place in a file.
LINE_KINDS = frozenset(name for name, form in ERRORS.items() if not form.is_page) | SPOILT - {
    "html_200",
    "broken_json",
}
_METHODS = ("DELETE", "GET", "POST")
#: All kinds of fault.
KINDS = frozenset(ERRORS) | SPOILT | DELIVERIES


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule: which requests meet which fault. All conditions given must hold.

    Raises:
        ValueError: the kind is not one of KINDS, or a number is out of its range.
        TypeError: a field is of another type.
    """

    kind: str
    _: KW_ONLY
    #: Method of the requests that meet it.
    method: str = "POST"
    #: What their path ends with, "/batches" or "/content"; the path of a line of a batch ends with
    #: "#line". None: any.
    path: str | None = None
    #: Ordinals of the POSTs that meet it, counted from 1; None: any.
    at: Collection[int] | None = None
    #: Name of the key; None: any.
    key: str | None = None
    #: Text that the raw body holds (ASCII, as JSON may escape the rest), or the name of an uploaded
    #: file; None: any.
    marker: str | None = None
    #: Share of requests, 0 to 1, drawn from seed, body and how often the body came; None: all.
    chance: float | None = None
    #: Most times that it is played; None: no limit.
    times: int | None = None
    #: Whether `times` counts each body for itself.
    per_payload: bool = False
    #: HTTP status instead of the kind's own (errors and html_200).
    status: int | None = None
    #: Error message instead of the kind's own.
    message: str | None = None
    #: Retry-After: a number of seconds, any text, or "date+5" for a date in 5 seconds.
    retry_after: float | str | None = None
    #: Whether the answer is billed; None: as at a real provider.
    billed: bool | None = None
    #: "slow": seconds more; "drip": seconds between bytes; "close_idle": seconds until it closes.
    seconds: float | None = None
    #: Share of the body that is sent before it is cut, 0 to 1.
    keep: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind!r}; known: {', '.join(sorted(KINDS))}")
        if self.at is not None and not isinstance(self.at, Collection):
            raise TypeError("at is a collection of ordinals")
        if self.method not in _METHODS:
            raise ValueError(f"method is one of {', '.join(_METHODS)}, not {self.method!r}")
        for name in ("marker", "path"):
            if not isinstance(getattr(self, name), str | None):
                raise TypeError(f"{name} is a text")
        for name in ("chance", "keep"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {share!r}")
        if self.seconds is not None and self.seconds < 0:
            raise ValueError("seconds are not below 0")

    @property
    def is_billed(self) -> bool:
        """Whether a request that meets it is billed.

        Unless the rule says: all is, whose answer was made, although it did not arrive; an error
        is not, save a gateway's time-out.
        """
        if self.billed is not None:
            return self.billed
        return self.kind not in ERRORS or ERRORS[self.kind].is_billed


def faults_from(listed: object) -> list[Fault]:
    """Return the rules of a list of objects with the fields of Fault, or raise ValueError."""
    try:
        if not isinstance(listed, list):
            raise TypeError("this is no list")  # noqa: TRY301 - told as the other mistakes are
        return [Fault(**fields) for fields in listed]
    except TypeError as exc:
        raise ValueError(f"rules are a list of objects with the fields of Fault: {exc}") from exc


def fault_fields(fault: Fault) -> dict[str, Any]:
    """Return the fields of a rule that differ from their defaults, for JSON."""
    plain = asdict(Fault(fault.kind))
    fields = {name: value for name, value in asdict(fault).items() if value != plain[name]}
    if fault.at is not None:
        fields["at"] = sorted(fault.at)
    return {"kind": fault.kind, **fields}


def error_of(fault: Fault, model: str, key_value: str) -> HttpReply | None:
    """Return the error reply that a fault plays; None: it is none of ERRORS."""
    if fault.kind not in ERRORS:
        return None
    headers = () if fault.retry_after is None else (("retry-after", _header(fault.retry_after)),)
    return named_error(
        fault.kind,
        model=model,
        key_value=key_value,
        status=fault.status,
        message=fault.message,
        headers=headers,
    )


def spoilt_completion(completion: Completion, kind: str) -> Completion:
    """Return a completion as a fault of SPOILT leaves it; other kinds leave it as it is."""
    if kind == "no_choices":
        return replace(completion, parts=())
    if kind == "empty_content":
        return replace(completion, parts=("",) * len(completion.parts))
    if kind in ("finish_length", "finish_content_filter"):
        halves = tuple(part[: len(part) // 2] for part in completion.parts)
        return replace(completion, parts=halves, finish_reason=kind.removeprefix("finish_"))
    return completion


def spoilt_reply(reply: HttpReply, fault: Fault) -> HttpReply:
    """Return a reply as a fault of SPOILT leaves it; other kinds leave it as it is."""
    if fault.kind == "html_200":
        return page_reply(fault.status or 200, fault.message or "Just a moment...")
    if fault.kind == "broken_json":
        return replace(reply, pieces=(reply.body[: kept_bytes(reply, fault)],))
    return reply


def kept_bytes(reply: HttpReply, fault: Fault) -> int:
    """Return how much of the body is sent: the share the rule says, but never all of it."""
    length_bytes = len(reply.body)
    return min(int(length_bytes * fault.keep), length_bytes - 1)


class FaultScript:
    """The rules in force, and what they have done. `_lock` guards all of it."""

    def __init__(self, rules: Sequence[Fault] = (), seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._seed = seed
        self._rules = tuple(rules)
        self._seen: Counter[bytes] = Counter()
        self._played: Counter[tuple[int, bytes]] = Counter()

    def replace(self, rules: Sequence[Fault]) -> None:
        """Put other rules in force; what was counted is forgotten."""
        with self._lock:
            self._rules = tuple(rules)
            self._forget()

    def append(self, rules: Sequence[Fault]) -> None:
        """Add rules after those in force."""
        with self._lock:
            self._rules += tuple(rules)

    def rules(self) -> tuple[Fault, ...]:
        """Return the rules in force."""
        with self._lock:
            return self._rules

    def reset(self) -> None:
        """Forget how often each rule was played and each body seen."""
        with self._lock:
            self._forget()

    def pick(self, view: RequestView, kinds: Collection[str] = KINDS) -> Fault | None:
        """Return the first rule of `kinds` that a request meets, and count it."""
        with self._lock:
            self._seen[view.digest] += 1
            for index, rule in enumerate(self._rules):
                place = index, view.digest if rule.per_payload else b""
                is_left = rule.times is None or self._played[place] < rule.times
                is_met = rule.kind in kinds and _meets(rule, view)
                if is_left and is_met and self._is_drawn(index, rule, view.digest):
                    self._played[place] += 1
                    return rule
        return None

    def _is_drawn(self, index: int, rule: Fault, digest: bytes) -> bool:
        if rule.chance is None:
            return True
        # The ordinal stays out of it: under threads it would differ from run to run.
        use = b"fault %d" % index
        return fractions(use, self._seed, self._seen[digest], digest)[0] < rule.chance

    def _forget(self) -> None:
        self._seen.clear()
        self._played.clear()


def _meets(rule: Fault, view: RequestView) -> bool:
    request = view.request
    return (
        rule.method == request.method
        and (rule.path is None or request.path.endswith(rule.path))
        and (rule.at is None or view.ordinal in rule.at)
        and (rule.key is None or rule.key == view.key_name)
        and (rule.marker is None or rule.marker.encode() in view.marked)
    )


def _header(retry_after: float | str) -> str:
    text = str(retry_after)
    if text.startswith("date+"):
        return formatdate(time() + float(text.removeprefix("date+")), usegmt=True)
    return text
