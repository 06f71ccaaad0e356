"""Have a user's hooks reach another process: by value where it could not import their module."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ...core.describe import describe, kind_of, words_of
from ...core.errors import UsageError
from ...core.redaction import Redactor
from ..hooks import Hooks

_PACKAGE = __package__.partition(".")[0]
_WAY_OUT = (
    "make it in the hook that uses it, or leave it out in __getstate__ and make it anew in "
    "__setstate__"
)


def packed_hooks(hooks: Hooks, redactor: Redactor, *, always: bool = False) -> bytes:
    """Return hooks as they travel.

    Args:
        redactor: knows the keys, which may not be among it.
        always: whether their module goes by value even where it could be imported here.

    Raises:
        UsageError: they cannot travel; it names what holds them.
    """
    import cloudpickle  # type: ignore[import-untyped]

    module = sys.modules.get(type(hooks.toolkit).__module__)
    by_value = module is not None and module.__name__ != "__main__" and _is_own(module, always)
    if module is not None and by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(hooks)
    except Exception as exc:
        raise _cannot(hooks.toolkit, cloudpickle.dumps, exc) from exc
    finally:
        if module is not None and by_value:
            cloudpickle.unregister_pickle_by_value(module)
    if redactor.finds_in(data.decode("latin-1")):
        raise UsageError(
            f"{type(hooks.toolkit).__name__} or what its hooks use holds an API key, which may not "
            "leave this process; give keys to the toolkit alone (config_path, key_manager), which "
            "lends them to all calls of its hooks"
        )
    return data


def unpacked_hooks(data: bytes) -> Hooks:
    """Return hooks that came from the head.

    Raises:
        UsageError: something is missing here.
    """
    try:
        hooks: Hooks = pickle.loads(data)  # noqa: S301 - from the head, over its own connection
    except ModuleNotFoundError as exc:
        raise UsageError(
            f"the hooks need the module {exc.name!r}, which a worker cannot import; install it "
            "where the worker runs"
        ) from exc
    except Exception as exc:
        raise UsageError(f"the hooks cannot be loaded in a worker: {describe(exc)}") from exc
    return hooks


def _is_own(module: ModuleType, always: bool) -> bool:
    top = module.__name__.partition(".")[0]
    return top != _PACKAGE and (always or PathFinder.find_spec(top) is None)


def _cannot(toolkit: object, dumps: Callable[[Any], object], error: Exception) -> UsageError:
    name = type(toolkit).__name__
    for what, value in _parts(toolkit):
        try:
            dumps(value)
        except Exception as exc:  # noqa: BLE001 - whatever an object of a user's raises
            why = f"{type(value).__name__}: {kind_of(exc)}: {words_of(exc)}"
            return UsageError(f"{name} cannot reach another process: {what} ({why}); {_WAY_OUT}")
    return UsageError(f"{name} cannot reach another process: {describe(error)}; {_WAY_OUT}")


def _parts(toolkit: object) -> Iterator[tuple[str, Any]]:
    """Yield what a toolkit holds and what its own methods use, each with its name."""
    for name, value in getattr(toolkit, "__dict__", {}).items():
        if not name.startswith("_") or name not in ("_hooks", "_key_manager", "_transport"):
            yield f"its attribute {name!r}", value
    for kind in type(toolkit).__mro__:
        if kind.__module__.partition(".")[0] in (_PACKAGE, "builtins", "abc", "typing"):
            continue
        for name, value in vars(kind).items():
            function = inspect.unwrap(value) if callable(value) else value
            if not isinstance(function, FunctionType):
                yield f"the attribute {name!r} of its class", value
                continue
            for used in _names(function.__code__):
                if used in function.__globals__:
                    told = f"{used!r}, which {name} uses"
                    yield told, function.__globals__[used]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
