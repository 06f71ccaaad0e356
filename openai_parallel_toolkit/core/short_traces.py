"""Errors that tell all in a line lose the frames of this package when they leave it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from .describe import cause_of
from .errors import ToolkitError

_P = ParamSpec("_P")
_R = TypeVar("_R")


def short_traces(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Have the ToolkitErrors of a function show their caller's frames alone.

    All of them are shown in Python's development mode (`python -X dev`).
    """

    @wraps(function)
    def shortly(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except ToolkitError as exc:
            if sys.flags.dev_mode:
                raise
            if (cause := cause_of(exc)) is not None:
                BaseException.with_traceback(cause, None)
            raise exc.with_traceback(None)  # noqa: B904 - it is the same error

    return shortly
