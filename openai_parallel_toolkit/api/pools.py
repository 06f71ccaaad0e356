"""Threads of a hook's own that work for the hook's file."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_Args = ParamSpec("_Args")
_Value = TypeVar("_Value")


class CarryingPool(ThreadPoolExecutor):
    """A ThreadPoolExecutor whose threads work for the file of the hook that hands them work.

    Calls made in a plain thread belong to no file, so their answers are not kept. `submit` and
    `map` run each task in a copy of the caller's context (its `contextvars`).
    """

    def submit(
        self, fn: Callable[_Args, _Value], /, *args: _Args.args, **kwargs: _Args.kwargs
    ) -> Future[_Value]:
        """Have a thread call `fn(*args, **kwargs)`; return its Future."""
        task = functools.partial(fn, *args, **kwargs)
        return super().submit(contextvars.copy_context().run, task)
