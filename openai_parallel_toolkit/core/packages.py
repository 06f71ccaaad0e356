"""Packages that not everybody needs: they are imported when something asks for them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import UsageError

_INSTALL = {"datasets": "datasets"}
_OF_EXTRA = "'openai_parallel_toolkit[data]'"


def needed(name: str, what: str) -> Any:
    """Return a package; `what` is what needs it.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as exc:
        package = name.partition(".")[0]
        install = _INSTALL.get(package, _OF_EXTRA)
        missing = "" if exc.name in (None, package) else f" ({exc.name} is missing)"
        raise UsageError(
            f"{what} needs the package {package}{missing}: pip install {install}"
        ) from exc
