"""Take up what is edited in the file that the keys came from, while work goes on."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace

from ..core.clock import Clock
from ..core.errors import ConfigError, UsageError
from ..core.logs import logger_of
from .config import APIKey, Settings, load_settings
from .config.file import stamp_of
from .config.keys import identity_of
from .manager import APIKeyManager

logger = logger_of(__name__)

#: Seconds from look to look; an edited file is read once it has stood still for as long.
_EVERY_S = 2.0
#: What holds for the whole run.
_READ_ONCE = ("api_base", "proxy", "prices")
_OF_A_KEY = ("rpm", "tpm", "api_version", "max_concurrent_requests", "enqueued_tokens")


class ConfigWatch:
    """Adds keys to a manager, and removes them, as its file says; used by one thread."""

    def __init__(self, keys: APIKeyManager, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._read = keys.loaded
        self._source = self._read.source
        #: What the manager calls each key of the file.
        self._names = {identity_of(key): key.name for key in self._read.api_keys}
        #: Of the file as it was last read, and as it was last seen.
        self._stamp = self._seen = self._read.stamp
        self._next_s = clock.now_s()

    def look(self) -> bool:
        """Return whether keys were added or removed; looks now and then, at no cost in between."""
        if self._read.file is None or self._clock.now_s() < self._next_s:
            return False
        self._next_s = self._clock.now_s() + _EVERY_S
        before, self._seen = self._seen, stamp_of(self._read.file)
        if self._seen in (None, self._stamp) or self._seen != before:
            return False
        self._stamp = self._seen
        try:
            return self._take_up(load_settings(self._read.file))
        except ConfigError as exc:
            logger.warning(
                "%s; it was edited, and what it said before still holds",
                exc,
                extra={"action": "config_broken"},
            )
            return False

    def _take_up(self, now: Settings) -> bool:
        before, self._read = self._read, now
        gone = dict(self._names)
        added = [key for key in now.api_keys if gone.pop(identity_of(key), None) is None]
        # First, so that nobody who waits is left without any key.
        names = [self._add(key, now) for key in added]
        for identity, name in gone.items():
            del self._names[identity]
            with suppress(UsageError):  # the program has taken it away itself
                self._keys.remove_key(name)
        told = [f"key {name} is taken up" for name in names]
        told += [f"key {name} is lent no more" for name in gone.values()]
        once = _changes(before, now)
        told += [f"{', '.join(once)}: read once, so this holds from the next run on"] * bool(once)
        if told:
            words = "; ".join(told)
            extra = {"action": "config_edited"}
            logger.warning("%s was edited: %s", self._source, words, extra=extra)
        return bool(added or gone)

    def _add(self, key: APIKey, now: Settings) -> str:
        """Lend a key from now on, at the address that its file gives it, and return its name."""
        taken = {one.name for one in self._keys.settings.api_keys}
        numbers = itertools.count(2)
        name = key.name
        while name in taken:
            name = f"{key.name}-{next(numbers)}"
        group = name if key.group == key.name else key.group
        api_base = key.api_base
        if now.api_base != self._keys.settings.api_base:
            api_base = api_base or now.api_base
        self._names[identity_of(key)] = name
        renamed = replace(
            key, name=name, group=group, api_base=api_base, secret=key.secret.named(name)
        )
        self._keys.add_key(renamed)
        return name


def _changes(before: Settings, now: Settings) -> list[str]:
    """Return what differs that only another run takes up."""
    found = [name for name in _READ_ONCE if getattr(before, name) != getattr(now, name)]
    known = {identity_of(key): key for key in before.api_keys}
    for key in now.api_keys:
        old = known.get(identity_of(key), key)
        limits = [name for name in _OF_A_KEY if getattr(old, name) != getattr(key, name)]
        found += [f"{', '.join(limits)} of {key.name}"] * bool(limits)
    return found
