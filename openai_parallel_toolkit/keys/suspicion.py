"""Tell a key that refuses everything from a text that is refused everywhere.

A refusal that names neither key nor model is charged to its request first, which is asked once more
under another key if there is one. Meanwhile the key is on trial: it gets one request at a time
until one succeeds. There are three cases:

1. One succeeds: the key is cleared.
2. A second, different request is refused alike: the model, or the key, is at fault. What was on
   its way before the trial began is not counted, and what another key refused as well counts half.
3. It was the base URL that was in doubt, and nothing there has ever spoken the API. One that
   knows no such path is to blame at once; a web page may be a passing one, and is at second sight.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..core.records import Lease, Outcome, OutcomeKind, Suspect

#: Different requests that must be refused alike.
_ENOUGH = 2
_WHOLE, _HALF = 1.0, 0.5
_BLAME = {
    Suspect.MODEL: OutcomeKind.NOT_HERE,
    Suspect.KEY: OutcomeKind.KEY_DEAD,
    Suspect.NOBODY: OutcomeKind.NOT_HERE,
}
_ADVICE = "check api_base (it usually ends in /v1)"
#: From here on it may be a gateway that speaks.
_SERVER_TROUBLE = 500


@dataclass(slots=True)
class _Suspicion:
    """Refusals of one kind with no success between."""

    #: Status and code of them.
    sign: tuple[int | None, str]
    #: The newest lease when it began: older ones were on their way already.
    newest_id: int
    #: How much each refused request says, by its hash.
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def is_enough(self) -> bool:
        return len(self.weights) >= _ENOUGH and sum(self.weights.values()) >= _ENOUGH


class Suspicions:
    """What the keys of one pool are suspected of; guarded by whoever guards the pool."""

    def __init__(self) -> None:
        #: By key and model; the model is "" when the key itself is in doubt.
        self.open: dict[tuple[str, str], _Suspicion] = {}
        #: Base URLs at which something has spoken the API.
        self._apis: set[str] = set()
        #: Those at which a request found a web page.
        self._silent: set[str] = set()

    def on_trial(self, key_name: str) -> set[str]:
        """Return the models that a key is on trial for; "": for all."""
        return {model for name, model in self.open if name == key_name}

    def clear(self, key_name: str, *models: str) -> None:
        """Drop what a key is suspected of, for these models or, without any, for all."""
        for place in [one for one in self.open if one[0] == key_name]:
            if not models or place[1] in models:
                del self.open[place]

    def pass_over(self, lease: Lease) -> bool:
        """Return whether an answer under a lease says nothing new."""
        return not self.open and lease.api_base in self._apis

    def judged(self, lease: Lease, outcome: Outcome, *, newest_id: int, has_other: bool) -> Outcome:
        """Return an outcome with the blame where it belongs.

        If its `suspect` is still set, the request is to be asked once under another key.

        Args:
            newest_id: of the leases that were given so far.
            has_other: whether another key may serve the request.
        """
        if outcome.kind.is_answer:
            self.clear(lease.key_name, lease.need.model, "")
        self._apis |= {lease.api_base} if _speaks_api(outcome) else set()
        if outcome.suspect is Suspect.ADDRESS:
            if lease.api_base not in self._apis:
                return self._no_api(lease, outcome, has_other=has_other)
            is_page = outcome.kind is OutcomeKind.UNKNOWN  # it may hide an answer
            outcome = replace(outcome, suspect=None if is_page else Suspect.MODEL)
        if outcome.suspect is None:
            return outcome
        is_second_look = bool(lease.need.avoid)
        if outcome.suspect is Suspect.NOBODY and not (has_other or is_second_look):
            return replace(outcome, suspect=None)
        if self._is_blamed(lease, outcome, newest_id):
            return replace(outcome, kind=_BLAME[outcome.suspect], suspect=None)
        return outcome if has_other and not is_second_look else replace(outcome, suspect=None)

    def _is_blamed(self, lease: Lease, outcome: Outcome, newest_id: int) -> bool:
        """Take note of a refusal; True: it is one too many."""
        need, sign = lease.need, (outcome.status, outcome.code)
        model = "" if outcome.suspect is Suspect.KEY else need.model
        first = self.open.get((need.avoid, model))
        is_alike = first is not None and first.sign == sign
        if first is not None and is_alike and need.request_hash in first.weights:
            first.weights[need.request_hash] = _HALF
        weight = _HALF if is_alike else _WHOLE
        place = (lease.key_name, model)
        found = self.open.get(place)
        if found is None or found.sign != sign:
            found = self.open[place] = _Suspicion(sign, newest_id)
        elif lease.id <= found.newest_id:
            return False
        found.weights[need.request_hash] = weight
        return found.is_enough

    def _no_api(self, lease: Lease, outcome: Outcome, *, has_other: bool) -> Outcome:
        outcome = replace(outcome, code=f"no API at {lease.api_base}, {_ADVICE}")
        is_first = lease.api_base not in self._silent
        self._silent.add(lease.api_base)
        if outcome.kind is OutcomeKind.REJECTED or not is_first:
            return replace(outcome, kind=OutcomeKind.KEY_DEAD, suspect=None)
        is_asked_again = has_other and not lease.need.avoid
        suspect = outcome.suspect if is_asked_again else None
        return replace(outcome, kind=OutcomeKind.UNSENT, suspect=suspect)


def _speaks_api(outcome: Outcome) -> bool:
    """Return whether an outcome shows that there is an API at its address."""
    if outcome.status is None or outcome.suspect is Suspect.ADDRESS:
        return False
    is_page = outcome.code == "web_page"
    return not is_page and (outcome.status < _SERVER_TROUBLE or outcome.usage is not None)
