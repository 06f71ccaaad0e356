"""Loggers whose filters and handlers, which are the user's, can fail nothing but their record."""

from __future__ import annotations

import logging
import sys

from .describe import describe


class GuardedLogger(logging.Logger):
    """Tells on stderr what a filter or handler raised, as the handlers of `logging` do."""

    def handle(self, record: logging.LogRecord) -> None:
        """Hand a record to the filters and handlers."""
        try:
            super().handle(record)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - a log line is no reason to fail
            if logging.raiseExceptions and sys.stderr is not None:
                words = f"a log line was lost: a filter or handler raised {describe(exc)}"
                print(ascii(words)[1:-1], file=sys.stderr)  # noqa: T201 - logging cannot


def logger_of(name: str) -> logging.Logger:
    """Return the logger of a module."""
    logger = logging.getLogger(name)
    if type(logger) is logging.Logger:  # an application may have a class of its own for all
        logger.__class__ = GuardedLogger
    return logger
