"""The data that packages hand each other: slotted, keyword-only. Money is Decimal, USD.

All of it is read only. What is made anew for each call is not frozen besides: to freeze an object
takes six times as long as to make it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from .redaction import Secret, safe_head, safe_words

#: For keys on Azure that name no version; a plain version, not a preview. Source:
#: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle (read 2026-11).
AZURE_API_VERSION = "2024-10-21"
#: The largest reply that is taken unless a setting says otherwise; unpacked.
MAX_REPLY_BYTES = 64_000_000
#: What surrounds the text of a reply, and bytes of a token at most, as a rule.
_REPLY_BASE_BYTES, _BYTES_A_TOKEN = 4_096, 8
#: Headers that are kept with an answer.
_KEPT_HEADERS = ("content-type", "x-request-id", "openai-processing-ms", "openai-version")
#: Characters that are kept of each, and of the body of a refusal.
_MOST_OF_HEADER, _MOST_OF_REFUSAL = 200, 65_536


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


class OutcomeKind(str, Enum):
    """How an attempt ended."""

    #: A usable answer came; billed.
    OK = "ok"
    #: An answer came that is cut, empty or said to have failed; billed.
    UNUSABLE = "unusable"
    #: The provider is limiting or overloaded; not billed.
    BUSY = "busy"
    #: The key is dead for good: invalid, no quota, deactivated; not billed.
    KEY_DEAD = "key_dead"
    #: This key's deployment does not have the model; not billed.
    NOT_HERE = "not_here"
    #: The provider will never accept this request.
    REJECTED = "rejected"
    #: It never reached the provider; not billed.
    UNSENT = "unsent"
    #: It was sent and no whole reply came; maybe billed.
    UNKNOWN = "unknown"

    @property
    def is_answer(self) -> bool:
        """Whether an answer came, whatever it is worth: it is kept with its cost."""
        return self is OutcomeKind.OK or self is OutcomeKind.UNUSABLE

    @property
    def may_be_billed(self) -> bool:
        """Whether it costs something, or may."""
        return self.is_answer or self is OutcomeKind.UNKNOWN


class Suspect(str, Enum):
    """What a refusal may be the fault of besides its request: a second one like it tells."""

    #: The model under this key.
    MODEL = "model"
    KEY = "key"
    #: The base URL: what answers there is not the API.
    ADDRESS = "address"
    #: Nobody, as a rule; the model under this key, if another key takes the request.
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Images, audio and documents of a prompt, which are billed by other rules than text."""

    #: Of the body, that are no text.
    size_bytes: int = 0
    #: About how many tokens they are.
    likely_tokens: int = 0
    #: The most that they are, documents left out.
    most_tokens: int = 0
    #: Part of `most_tokens` that is audio.
    most_audio_tokens: int = 0
    #: Documents, and what lies elsewhere: they may fill the model's whole context.
    documents: int = 0

    def __add__(self, other: Media) -> Media:
        names = [one.name for one in fields(self)]
        return Media(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Request:
    """What is asked of a provider, whichever key will carry it."""

    #: API path without the base, for example "/chat/completions".
    path: str
    model: str
    #: The canonical JSON body: keys sorted, no spaces, UTF-8; or a form. Sent as it is.
    body: bytes
    #: Hex SHA-256 over path, model and body, whether it is streamed and how long its reply may be
    #: left out: the call's identity beside file, k and try.
    hash: str
    #: Estimate of the prompt's length.
    prompt_tokens: int
    #: Most tokens that all replies can have, assumed where the body sets no limit.
    reply_tokens: int
    #: Most tokens of one reply, as the body says; None: it sets no limit.
    reply_limit_tokens: int | None = None
    #: The hash with the limit in it, as earlier journals have it; "": there is no limit.
    former_hash: str = ""
    #: How many replies the body asks for at once.
    choices: int = 1
    content_type: str = "application/json"
    #: Headers and parameters of the URL that the caller asks for, besides those of every request.
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    #: What the prompt holds besides text; None: nothing.
    media: Media | None = None
    #: What the body wants to be served at; "": it does not say.
    service_tier: str = ""
    #: Whether it asks for replies that are spoken.
    wants_audio: bool = False

    @property
    def most_reply_bytes(self) -> int | None:
        """About the most bytes that come back, where the body limits the replies' tokens."""
        if not self.reply_limit_tokens or self.wants_audio:
            return None
        return _REPLY_BASE_BYTES + _BYTES_A_TOKEN * self.reply_limit_tokens * self.choices


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class CallId:
    """Which durable call this is: (file, request hash, k-th equal call of its hooks, try)."""

    file_id: int
    hash: str
    #: 0 for the first equal call since the file's hooks began.
    k: int = 0
    #: 0, then counts validation retries.
    attempt_try: int = 0
    #: Hash and k of the same call in journals whose hashes know the limit of the reply.
    former: tuple[str, int] | None = field(default=None, compare=False)


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Usage:
    """Tokens as the provider counted them."""

    prompt_tokens: int = 0
    #: All output, reasoning included.
    completion_tokens: int = 0
    #: Part of prompt_tokens that was read from the provider's cache.
    cached_tokens: int = 0
    #: Part of prompt_tokens that was written into it.
    cache_write_tokens: int = 0
    #: Parts that are audio.
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0
    #: What the reply says that it was served at, such as "flex"; None: it does not say.
    service_tier: str | None = None

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """Add the tokens up; a sum has no tier."""
        names = (one.name for one in fields(self) if one.name != "service_tier")
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RawReply:
    """An HTTP reply as it came off the wire, whole."""

    status: int
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes

    def as_kept(self, clean: Callable[[str], str]) -> RawReply:
        """Return an answer with those of its headers that are kept, which `clean` makes safe."""
        headers = {name: self.headers[name] for name in _KEPT_HEADERS if name in self.headers}
        together = " ".join(headers.values())
        if safe_words(together, clean, _MOST_OF_HEADER) != together:  # as a rule there is nothing
            for name, value in headers.items():
                headers[name] = safe_words(value, clean, _MOST_OF_HEADER)
        return RawReply(status=self.status, headers=headers, body=self.body)

    def as_refusal(self, clean: Callable[[str], str]) -> RawReply:
        """Return what may be shown of a refusal."""
        kept = self.as_kept(clean)
        body = self.body[: 4 * _MOST_OF_REFUSAL].decode("utf-8", "replace")
        text = safe_head(body, clean, _MOST_OF_REFUSAL)
        return RawReply(
            status=kept.status, headers=kept.headers, body=text.encode("utf-8", "replace")
        )


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RateHints:
    """What a reply's headers say of the limits of the key's organisation; None: not said."""

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_s: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How those fared who asked for the same model, when a request was limited."""

    #: Requests that were answered so far, under any key.
    answers: int
    #: Requests that were limited so far, without those that are limited while others pass.
    limits: int
    #: The group whose limit the request exceeds; "": it does not, or that is not known.
    too_large_for: str = ""
    #: Seconds for which the key's group has answered nothing but limits, and told no time.
    limited_for_s: float = 0.0


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Outcome:
    """How one attempt ended, and what follows from it for the key."""

    kind: OutcomeKind
    #: HTTP status; None when no reply came.
    status: int | None = None
    #: The provider's error code or a short word of ours; safe to log.
    code: str = ""
    #: For people; redacted.
    message: str = ""
    #: Seconds the provider asked to wait; None: it did not say.
    retry_after_s: float | None = None
    #: Whether a 429 (limits, shared by the group) and not a 5xx (overload) made it BUSY.
    is_limit: bool = False
    #: Whether the server fails everyone at present.
    is_outage: bool = False
    #: Whether the limit is of all models of the group, and not of one.
    is_group_limit: bool = False
    #: Whether the request is larger than the whole limit; None: it does not say.
    is_too_large: bool | None = None
    #: The limit of tokens, as a refusal tells it; None: it does not.
    token_limit: int | None = None
    #: How others fare, as the keys add it to a limit; None: they do not say.
    standing: Standing | None = None
    #: Whom a refusal of the request may be the fault of as well; None: of nobody else.
    suspect: Suspect | None = None
    hints: RateHints | None = None
    #: Tokens billed; None when unknown.
    usage: Usage | None = None
    #: What they cost; None: not known, or not worked out.
    cost_usd: Decimal | None = None
    #: The provider's id of the request, for support; "" when not given.
    request_id: str = ""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Need:
    """What a request asks of a key before it may be sent."""

    model: str
    #: Prompt tokens plus the largest reply.
    tokens: int
    #: The most it can cost; None: the price is not known.
    max_cost_usd: Decimal | None = None
    #: Part of `tokens` that is assumed: the reply's, where the body sets no limit to it.
    assumed_tokens: int = 0
    #: Groups whose limit it exceeds, and their provider's words.
    too_large_for: Mapping[str, str] = field(default_factory=dict)
    #: Clock time, seconds, until which it waits because it alone is limited; 0: others are, too.
    not_before_s: float = 0.0
    #: What tells requests apart; "": not known.
    request_hash: str = ""
    #: Name of the key that refused it and is not asked again; "": none.
    avoid: str = ""

    @property
    def least_tokens(self) -> int:
        """Tokens that it has for certain."""
        return self.tokens - self.assumed_tokens


class Lease(NamedTuple):
    """The right to send one request under one key."""

    #: Counts up within one APIKeyManager.
    id: int
    #: Name of the key, never its value: safe to log.
    key_name: str
    secret: Secret
    #: Base URL without a trailing slash, for example "https://api.openai.com/v1".
    api_base: str
    #: What was set aside, given back or corrected at settle().
    need: Need
    #: Clock time, seconds, when it was given.
    since_s: float
    #: Deployment in Azure's paths; None: not Azure, or the model's name.
    azure_deployment: str | None = None
    #: Azure's api-version; None: not Azure.
    api_version: str | None = None


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Reply:
    """An answer."""

    text: str
    #: "stop", "length", "content_filter", "tool_calls", ...; "": not told.
    finish_reason: str
    #: Whether it ended well and holds something: a text, calls of tools, vectors, ...
    is_whole: bool = True
    #: What the provider says went wrong, without secrets; "": nothing.
    trouble: str = ""
    usage: Usage
    #: None: the price of the model is not known.
    cost_usd: Decimal | None = None
    model: str
    #: The JSON object that came; empty: it was none.
    raw: Mapping[str, Any] = field(repr=False)
    #: What came, byte for byte, and those of its headers that are kept.
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Whether it was read from the journal instead of bought.
    is_replay: bool = False
    #: Whether it was bought in an earlier run.
    is_earlier: bool = False


class FileState(str, Enum):
    """Where an input stands, as the journal knows it."""

    #: Its hooks were started and it is neither done nor failed.
    OPEN = "open"
    #: Outputs are staged and listed; the next start finishes the move.
    INTENT = "intent"
    DONE = "done"
    #: Its hooks raised in the last run that tried; a rerun tries again.
    FAILED = "failed"
    #: Failed too often, or killed the process: left alone until asked for.
    ASIDE = "aside"


class Record(NamedTuple):
    """What the journal says of an input to a scan; millions of them are made."""

    #: Below its folder.
    name: str
    state: FileState
    #: The outputs that were recorded for it.
    finals: tuple[str, ...] = ()
    id: int = 0
    #: What the input looked like when it was done; None: not known.
    signature: str | None = None
    #: How many of its outputs hold nothing but white space.
    blank_outputs: int = 0
    #: Whether there are none, and no line was added to a common file.
    wrote_nothing: bool = False
    #: The hooks that brought it into its state; None: not known.
    hooks_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureNote:
    """Why a file failed, for people and programs; holds no prompt and no answer."""

    #: Class name of the error.
    kind: str
    message: str
    #: The last frames of the traceback, redacted.
    trace: str = ""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class OutputFile:
    """One output that a hook staged. Paths are relative, with forward slashes."""

    #: Below the staging folder.
    staged: str
    #: Below the output folder.
    final: str
    size_bytes: int
    #: Hex SHA-256 of the content; "": not known.
    sha256: str
    #: Whether it holds nothing, or white space alone.
    is_blank: bool = False
    #: Whether it holds the name of the folder in which it waited until it was whole.
    names_staging: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """How a key stands now."""

    name: str
    group: str
    #: "alive", "cooling", "on trial" or "dropped".
    state: str
    #: Clock time, seconds, until which it cools; None: it does not.
    cooling_until_s: float | None = None
    #: Why it was dropped or cools; "" otherwise.
    reason: str = ""
    in_flight: int = 0
    requests: int = 0
    tokens: int = 0
    #: Known cost so far.
    cost_usd: Decimal = Decimal(0)


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys and no spaces; equal values give equal bytes.

    Raises:
        ValueError: a value is NaN or infinite, or a text holds a lone surrogate.
        TypeError: a value is not JSON.
    """
    return _CANONICAL.encode(value).encode("utf-8")
