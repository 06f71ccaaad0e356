"""Find how many requests at a time a server takes that refuses the rest as overloaded. Pure.

Refusals close together begin a trial: the limit goes below what the server kept of the wave that
was out. If nearly all of the next round is answered, that is what the server takes; it is raised
after some rounds, each time by twice as much as before. If as many are refused as in the wave, the
number in flight is not the reason, and the limit is what it was before. So it is at once if the
server kept nothing.
"""

from __future__ import annotations

import math
from collections import deque

from ..core.records import Outcome, OutcomeKind

#: Statuses of servers that have too much to do: they are not broken, and it is no limit of the key.
#: Sources: https://www.rfc-editor.org/rfc/rfc9110#name-503-service-unavailable,
#: https://docs.anthropic.com/en/api/errors (529), https://console.groq.com/docs/errors (498)
#: (read 2026-11).
_OVERLOADED = frozenset({498, 503, 529})
#: So many refusals among so many requests begin a trial, or among twice as many as are in flight.
_FEWEST_REFUSALS, _CLOSE = 3, 20
#: How many more are tried in the first round after a trial, and the largest share in any round.
_FIRST_STEP, _LARGEST_STEP = 1 / 16, 0.25
_SHORTEST_ROUND = 10
#: Share of what a server kept that it gets on trial, so that none is refused for its number.
_ON_TRIAL = 0.9
#: A trial lasts until so many would have been refused if their number were not the reason, and
#: finds that it was when no more are than this share of those.
_EXPECTED, _REST_OF_THEM = 6, 0.25
#: What is refused more rarely makes no trial longer.
_RARE = 0.05
#: An outcome holds longer each time that the limit is still as high as this share of the last one.
_SAME = 0.8
#: Rounds for which the outcome of a trial holds, at first and at most, ...
_FIRST_HOLD, _LONGEST_HOLD = 4, 64
#: ... or, where refusals are borne, until more than this share of a round is, and twice as many
#: as usual.
_BORNE = 0.3
#: A server that neither answers nor refuses what it has is tried again this often.
_PROBE_S = 10.0


def is_overload(outcome: Outcome) -> bool:
    """Return whether a server refused because it has too much to do."""
    is_busy = outcome.kind is OutcomeKind.BUSY and not outcome.is_limit
    return is_busy and outcome.status in _OVERLOADED


class _Round:
    """How some requests fared."""

    __slots__ = ("ended", "refused")

    def __init__(self, ended: int = 0, refused: int = 0) -> None:
        self.ended, self.refused = ended, refused

    @property
    def share(self) -> float:
        """How many of them were refused; 0 to 1."""
        return self.refused / max(1, self.ended)

    def add(self, *, refused: bool) -> None:
        self.ended += 1
        self.refused += refused


class ConcurrencyLimit:
    """So many requests at a time; there is no limit until one is refused."""

    def __init__(self) -> None:
        self.most = math.inf
        #: The newest lease at each of the last refusals.
        self._refusals: deque[int] = deque(maxlen=_FEWEST_REFUSALS)
        #: Clock time, seconds, when one more than the limit may be tried.
        self._next_s = -math.inf
        self._round = _Round()
        #: The wave of a trial, with the newest lease in it and the limit before; None: no trial.
        self._wave: _Round | None = None
        self._last_in_wave, self._before = 0, math.inf
        #: What the server kept of the last wave.
        self._kept = math.inf
        #: Rounds for which the last outcome holds, and how many they will be next time.
        self._hold, self._next_hold = 0, _FIRST_HOLD
        #: How many more the next round may have.
        self._step = _FIRST_STEP
        #: The share of refusals that is borne as they do not hang on the limit; None: none is.
        self._usual: float | None = None

    def blocked_until_s(self, in_flight: int, now_s: float) -> float | None:
        """Return when the next request may pass, clock time, seconds; None: now."""
        return self._next_s if in_flight >= self.most and self._next_s > now_s else None

    def lent(self, in_flight: int, now_s: float) -> None:
        """Take note of a request, with which so many are in flight."""
        if in_flight > self.most:
            self._next_s = now_s + _PROBE_S

    def ended(
        self, lease_id: int, newest_id: int, outcome: Outcome, in_flight: int, now_s: float
    ) -> None:
        """Take in how a request ended; `in_flight` are left, and `newest_id` was the last lease."""
        refused = is_overload(outcome)
        if not refused and (self.most == math.inf or not outcome.kind.is_answer):
            return
        if refused and self._wave is None and self._usual is None:
            self._begin_trial(newest_id, in_flight)
        wave = self._wave
        if wave is not None and lease_id <= self._last_in_wave:
            wave.add(refused=refused)
            if refused:
                self._shrink(wave, in_flight, now_s)
            return
        self._round.add(refused=refused)
        if self.most == math.inf:
            return
        if wave is not None:
            if self._round.ended >= max(self.most, _EXPECTED / max(_RARE, wave.share)):
                self._end_trial(wave)
            return
        if self._usual is not None or not self._hold:
            self.most += self._step / self.most
        if self._round.ended >= max(_SHORTEST_ROUND, self.most):
            self._end_round()

    def _begin_trial(self, newest_id: int, in_flight: int) -> None:
        """Take note of a refusal; when it is one of several close together, begin a trial."""
        self._refusals.append(newest_id)
        since = newest_id - self._refusals[0]
        if len(self._refusals) == _FEWEST_REFUSALS and since <= max(_CLOSE, 2 * in_flight):
            before = _FEWEST_REFUSALS - 1
            self._wave, self._round = _Round(max(since, before), before), _Round()
            self._last_in_wave = newest_id
            self._before = self._kept = self.most

    def _shrink(self, wave: _Round, in_flight: int, now_s: float) -> None:
        if in_flight:
            self._kept = min(self._kept, in_flight)
            self.most = max(1.0, self._kept * _ON_TRIAL)
            self._next_s = now_s + _PROBE_S
        elif wave.refused == wave.ended:
            self._wave, self.most = None, self._before

    def _end_trial(self, wave: _Round) -> None:
        past, self._round = self._round, _Round()
        self._wave, self._step = None, _FIRST_STEP
        is_overloaded = past.share <= _REST_OF_THEM * wave.share
        if is_overloaded:
            is_same = self._kept >= _SAME * self._before
            self._next_hold = min(2 * self._next_hold, _LONGEST_HOLD) if is_same else _FIRST_HOLD
        self.most = self._kept if is_overloaded else self._before
        self._usual = None if is_overloaded else past.share
        self._hold = self._next_hold

    def _end_round(self) -> None:
        past, self._round = self._round, _Round()
        if self._usual is not None and past.share > max(_BORNE, 2 * self._usual):
            self._usual, self._hold = None, 0
            return
        if self._usual is not None or not self._hold:
            self._step = min(2 * self._step, max(1.0, _LARGEST_STEP * self.most))
        self._hold = max(0, self._hold - 1)
        if not self._hold:
            self._usual = None
