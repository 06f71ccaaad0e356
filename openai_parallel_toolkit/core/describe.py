"""Tell of exceptions and objects that are not ours, whatever their own methods do.

A user's exception may raise in `__str__`, lie in `__class__`, hide its traceback behind a property
or run in a circle of causes. So what Python itself keeps of it is read past its class, and the few
of its methods that must be called are called here alone.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeGuard, TypeVar

ValueT = TypeVar("ValueT")

_NAME = type.__dict__["__name__"].__get__
_CAUSE = BaseException.__dict__["__cause__"].__get__
_TRACE = BaseException.__dict__["__traceback__"].__get__


def quietly(action: Callable[[], ValueT], otherwise: ValueT) -> ValueT:
    """Return what code of a user's gives, or `otherwise` when it raises anything at all."""
    try:
        return action()
    except BaseException:  # noqa: BLE001 - a SystemExit of a __str__ is no order to exit
        return otherwise


def is_a(error: object, kind: type[ValueT] | tuple[type[ValueT], ...]) -> TypeGuard[ValueT]:
    """Do what `isinstance` does without asking the object, which may lie or raise."""
    return issubclass(type(error), kind)


def kind_of(error: BaseException) -> str:
    """Return the name of an exception's class."""
    return str(_NAME(type(error)))


def words_of(error: BaseException) -> str:
    """Return what an exception says of itself, or which exception its `__str__` raised."""
    try:
        return str.__str__(str(error))  # a plain text, whatever subclass came
    except BaseException as raised:  # noqa: BLE001 - it is told instead
        return f"(its __str__ raised {kind_of(raised)})"


def describe(error: BaseException) -> str:
    """Return an exception's kind and words in one text."""
    words = words_of(error)
    return f"{kind_of(error)}: {words}" if words else kind_of(error)


def trace_behind(error: BaseException) -> TracebackType | None:
    """Return where an exception was raised; None: it was not yet."""
    trace: TracebackType | None = _TRACE(error)
    return trace


def trace_of(error: BaseException) -> list[str]:
    """Return an exception's traceback as `traceback.format_exception` does; the last is newest."""
    trace = trace_behind(error)
    plain = [*traceback.format_tb(trace), f"{describe(error)}\n"]
    return quietly(lambda: traceback.format_exception(type(error), error, trace), plain)


def cause_of(error: BaseException) -> BaseException | None:
    """Return what an exception was raised from; None: it was raised from nothing."""
    cause: BaseException | None = _CAUSE(error)
    return cause


def attribute_of(thing: object, name: str) -> Any:
    """Return an attribute; None: there is none, or it cannot be read."""
    return quietly(lambda: getattr(thing, name, None), None)
