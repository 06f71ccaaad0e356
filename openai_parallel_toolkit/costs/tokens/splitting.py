"""Split a text into pieces of whole sentences and at most so many tokens.

Tokens of a joined text are not the sum of its parts', except at a *cut*: a letter or digit before
white space or a common mark. No word of any tiktoken pattern crosses that, nor looks across it. So
sums at cuts give the exact count of any stretch, and each sentence is counted about once.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

from ...core.errors import UsageError
from .counting import Counter, counter_for

#: Marks of Western and Chinese texts. No apostrophe: o200k_base keeps "it's" together.
_MARKS = r".,;:!?()\[\]{}<>\"/\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"
#: The last cut of a stretch.
_LAST_CUT = re.compile(rf".*[^\W_](?=[\s{_MARKS}])", re.DOTALL)
#: A word up to the cut behind it.
_FIRST_WORD = re.compile(rf"[^\W_]+(?=[\s{_MARKS}])")
#: Marks that end most sentences.
_PLAIN_ENDS = frozenset(".!?\n\u3002")
#: How far back from a sentence's end a cut is looked for, in characters.
_REACH = 64
#: Characters of stretches whose tokens are kept in mind.
_SHORT = 8
#: Characters for each wanted token within which the first cut tells how far a piece reaches.
_NEAR = 8


def split_string_by_tokens(
    string: str,
    thunk_len: int,
    split_signal: str,
    *,
    model: str = "gpt-3.5-turbo",
    strip: bool = True,
) -> list[str]:
    """Split a text into pieces of at most `thunk_len` tokens that end at `split_signal`.

    A sentence is what ends with the signal; the last one may lack it. Sentences are packed into
    pieces in order, as many as fit, and never cut: one of more than `thunk_len` tokens is a
    piece of its own. Overlapping signals are found from left to right.

    Args:
        string: the text; nothing comes of an empty one.
        thunk_len: tokens that a piece may have, as `num_tokens_from_string` counts it.
        split_signal: what ends a sentence, such as "." or a line feed; stays with it.
        model: whose tokens are meant.
        strip: drop the white space around each sentence, before its signal too; with False,
            the joined pieces are the text.

    Raises:
        UsageError: `thunk_len` is below 1 or `split_signal` is empty.
        ToolkitError: the vocabulary is not there and cannot be downloaded; says what to do.
    """
    if thunk_len < 1:
        raise UsageError(f"thunk_len is {thunk_len}; a piece needs room for 1 token or more")
    if not split_signal:
        raise UsageError("split_signal is empty; give what ends a sentence, such as '.'")
    sentences = list(_sentences(string, split_signal, strip))
    text = "".join(sentences)
    ends = [0, *accumulate(map(len, sentences))]
    ruler = Ruler(text, ends, counter_for(model), spacing=thunk_len // 4)
    pieces = _pack(ends, ruler, thunk_len)
    return [text[ends[start] : ends[stop]] for start, stop in pieces]


def _sentences(text: str, signal: str, strip: bool) -> Iterator[str]:
    *bodies, last = text.split(signal)
    if not strip:
        yield from (body + signal for body in bodies)
    else:
        yield from (body.strip() + signal for body in bodies)
        last = last.strip()
    if last:
        yield last


class Ruler:
    """The exact tokens of any stretch of a text, from sums at cuts near sentences' ends."""

    def __init__(self, text: str, ends: Sequence[int], count: Counter, spacing: int) -> None:
        """Take no cut closer to the last one than `spacing` characters."""
        self.text, self.count = text, count
        #: Where the cuts are, and how many tokens the text has up to each.
        self.cuts, self.sums = [0], [0]
        self._short: dict[str, int] = {}
        cut = tokens = 0
        for start, end in pairwise(ends):
            if end < cut + spacing:
                continue
            found = _last_cut(text, start, end)
            if found:
                tokens += count(text[cut:found])
                cut = found
                self.sums.append(tokens)
                self.cuts.append(cut)

    def short(self, start: int, end: int) -> int:
        """Return the tokens of a short stretch, such as the mark behind a cut; most come often."""
        stretch = self.text[start:end]
        known = self._short.get(stretch)
        if known is None:
            known = self.count(stretch)
            if len(stretch) <= _SHORT:
                self._short[stretch] = known
        return known


def _last_cut(text: str, start: int, end: int) -> int:
    """Return the last cut near the end of a sentence; 0: there is none."""
    # As most sentences end, at a fraction of the pattern's cost.
    if end - start > 1 and text[end - 1] in _PLAIN_ENDS and text[end - 2].isalnum():
        return end - 1
    # One character more: a sentence's end may be a cut.
    found = _LAST_CUT.match(text, max(start, end - _REACH), end + 1)
    return found.end() if found else 0


class Measure:
    """The tokens of `text[start:end]`, as if it stood alone, for one start and any end."""

    def __init__(self, ruler: Ruler, start: int) -> None:
        self._ruler, self._start = ruler, start
        self._first = bisect_left(ruler.cuts, start)
        #: Tokens before the first cut, less those of the whole text there; None: not counted yet.
        self._offset: int | None = None

    def tokens_to(self, end: int) -> int:
        """Return how many tokens there are up to `end`."""
        ruler = self._ruler
        last = bisect_right(ruler.cuts, end) - 1
        if last < self._first:
            return ruler.count(ruler.text[self._start : end])
        return self._to_sums() + ruler.sums[last] + ruler.short(ruler.cuts[last], end)

    def reach(self, limit_tokens: int) -> int | None:
        """Return about how far so many tokens reach; None: no cut is near enough to tell."""
        cuts = self._ruler.cuts
        near = self._start + _NEAR * limit_tokens
        if self._first >= len(cuts) or cuts[self._first] > near:
            return None
        last = bisect_right(self._ruler.sums, limit_tokens - self._to_sums()) - 1
        return cuts[max(last, self._first)]

    def _to_sums(self) -> int:
        if self._offset is None:
            ruler, start, first = self._ruler, self._start, self._first
            before = ruler.cuts[first - 1] if first else start
            word = _FIRST_WORD.match(ruler.text, start, ruler.cuts[first] + 1)
            if word and start - before <= _REACH:
                # Only this word depends on what stands before it.
                alone = ruler.short(start, word.end())
                within = ruler.short(before, word.end()) + (ruler.sums[first - 1] if first else 0)
                self._offset = alone - within
            else:
                # It may be long, so it is counted when it is needed.
                head = ruler.count(ruler.text[start : ruler.cuts[first]])
                self._offset = head - ruler.sums[first]
        return self._offset


def _pack(ends: Sequence[int], ruler: Ruler, limit_tokens: int) -> Iterator[tuple[int, int]]:
    """Yield each piece's first sentence and the one behind its last: as many as fit, or one."""
    start, size, count = 0, 0, len(ends) - 1
    while start < count:
        begin = ends[start]
        measure = Measure(ruler, begin)
        reach = measure.reach(limit_tokens)
        stop = furthest(
            lambda i: measure.tokens_to(ends[i]) <= limit_tokens,  # noqa: B023
            low=start + 1,
            high=count,
            # Where nothing else is known: as many characters as the last piece.
            guess=bisect_right(ends, begin + size) - 1
            if reach is None
            else bisect_left(ends, reach),
        )
        yield start, stop
        start, size = stop, ends[stop] - begin


def furthest(fits: Callable[[int], bool], *, low: int, high: int, guess: int) -> int:
    """Return where fitting ends: a number that fits, or `low`, while the next one does not.

    Doubling steps from the guess enclose the place, halving finds it: a good guess is soon
    confirmed, a bad one costs little. `low` is taken without asking, and nothing far away is asked.
    """
    step, probe = 1, min(guess, high)
    if probe <= low or fits(probe):
        low = max(low, probe)
        while (probe := min(low + step, high)) > low and fits(probe):
            low, step = probe, step * 2
        high = max(low, probe - 1)
    else:
        high = probe - 1
        while (probe := high - step) > low and not fits(probe):
            high, step = probe - 1, step * 2
        low = max(low, probe)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
