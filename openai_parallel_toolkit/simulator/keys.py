"""The keys that the simulator knows, and what each may still do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from .limits import Limits
from .refusals import Refused, limited, named_error, no_deployment, unknown_key


@dataclass(frozen=True, slots=True)
class SimKey:
    """A key of the simulated provider. None means without limit unless said otherwise.

    Raises:
        ValueError: `quota` is a word other than "none", or a limit is not above 0.
    """

    #: What the ledger calls it.
    name: str
    _: KW_ONLY
    #: What a client sends; None: "sim-" and the name.
    value: str | None = None
    #: Keys of one group share their limits, as the keys of an organisation do; None: its own.
    group: str | None = None
    #: Requests per minute.
    rpm: int | None = None
    #: Tokens per minute.
    tpm: int | None = None
    #: Requests that may start at once; None: one minute's worth.
    burst: int | None = None
    #: Billed requests until the quota is spent; "none": it is spent from the start.
    quota: int | str | None = None
    #: Billed tokens until the quota is spent.
    quota_tokens: int | None = None
    #: Prompt tokens that its batches of one model may have enqueued.
    enqueued_tokens: int | None = None
    #: False: every request gets 401 invalid_api_key.
    valid: bool = True
    #: True: every request gets 401 account_deactivated.
    deactivated: bool = False
    #: True: every request gets 402.
    unpaid: bool = False
    #: Models it may use; None: all.
    models: Sequence[str] | None = None
    #: Azure deployments that exist for it; None: all.
    deployments: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.quota, str) and self.quota != "none":
            raise ValueError(f'quota of {self.name!r} is a number, "none" or None')
        for limit in (self.rpm, self.tpm, self.burst):
            if limit is not None and limit <= 0:
                raise ValueError(f"a limit of {self.name!r} is not above 0")

    @property
    def secret(self) -> str:
        """The value that a client sends."""
        return f"sim-{self.name}" if self.value is None else self.value


class Account:
    """What one key has used. Touched by the event loop's thread alone."""

    def __init__(self, key: SimKey, limits: Limits) -> None:
        self.key = key
        self.limits = limits
        self._billed_requests = 0
        self._billed_tokens = 0

    def admit(self, *, is_azure: bool, is_free: bool = False) -> None:
        """Let a request pass that this key may send at all, or raise Refused.

        Free ones may be sent by a key that is unpaid or out of quota.
        """
        key = self.key
        if not key.valid:
            raise Refused(unknown_key(key.secret, is_azure=is_azure))
        if key.deactivated:
            raise Refused(named_error("account_deactivated"))
        if is_free:
            return
        if key.unpaid:
            raise Refused(named_error("402"))
        if self._is_spent():
            raise Refused(named_error("insufficient_quota"))

    def admit_model(self, model: str, deployment: str | None) -> None:
        """Let a request pass whose model or Azure deployment this key has, or raise Refused."""
        key = self.key
        if deployment is not None:
            if key.deployments is not None and deployment not in key.deployments:
                raise Refused(no_deployment())
        elif key.models is not None and model not in key.models:
            raise Refused(named_error("404_model", model=model))

    def take(self, model: str, tokens: int, now_s: float, *, is_azure: bool) -> None:
        """Take one request of `tokens` from the limits, or raise Refused."""
        shortage = self.limits.take(tokens, now_s)
        if shortage is not None:
            group = self.key.group or self.key.name
            raise Refused(limited(shortage, model, f"org-{group}", is_azure=is_azure))

    def bill(self, tokens: int) -> None:
        """Count a billed request against the quota."""
        self._billed_requests += 1
        self._billed_tokens += tokens

    def _is_spent(self) -> bool:
        quota, quota_tokens = self.key.quota, self.key.quota_tokens
        if quota is not None and (quota == "none" or self._billed_requests >= int(quota)):
            return True
        return quota_tokens is not None and self._billed_tokens >= quota_tokens


class Keyring:
    """Finds the account of a request. Touched by the event loop's thread alone.

    Raises:
        ValueError: two keys share a name or a value, or keys of a group disagree on its limits.
    """

    def __init__(self, keys: Sequence[SimKey], clock: Callable[[], float]) -> None:
        for values in ({key.name for key in keys}, {key.secret for key in keys}):
            if len(values) < len(keys):
                raise ValueError("two keys share a name or a value")
        self._keys = tuple(keys)
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Fill all limits and quotas again."""
        limits: dict[tuple[str, str], tuple[Limits, object]] = {}
        self._accounts: dict[str, Account] = {}
        for key in self._keys:
            # Without a group a key is alone, even when a group bears its name.
            place = ("key", key.name) if key.group is None else ("group", key.group)
            wanted = (key.rpm, key.tpm, key.burst)
            if place not in limits:
                shared = Limits(rpm=key.rpm, tpm=key.tpm, burst=key.burst, now_s=self._clock())
                limits[place] = (shared, wanted)
            if limits[place][1] != wanted:
                raise ValueError(f"keys of group {key.group!r} disagree on its limits")
            self._accounts[key.secret] = Account(key, limits[place][0])

    def find(self, key_value: str) -> Account:
        """Return the account of a key; a key that does not exist is not valid and has no name."""
        if account := self._accounts.get(key_value):
            return account
        key = SimKey("", value=key_value, valid=False)
        return Account(key, Limits(rpm=None, tpm=None, burst=None, now_s=0.0))


def key_value_of(headers: Mapping[str, str]) -> str:
    """Return the key that a request carries: OpenAI's header, else Azure's, else ""."""
    bearer = headers.get("authorization", "")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    return headers.get("api-key", "")
