"""Have module-level calls of the openai package be durable in a run, whenever it is imported."""

from __future__ import annotations

import importlib.util
import logging
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ..core.errors import UsageError

logger = logging.getLogger(__name__)


def make_durable() -> None:
    """Make them so now if it is imported, else as soon as it is: importing it takes a second."""
    if "openai" in sys.modules:
        _install()
    elif not any(isinstance(finder, _OnImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OnImport())


class _OnImport(MetaPathFinder):
    """Looks for the openai package as Python does, and has `_install` follow its first import.

    So whoever imports `openai_module`, or what that imports, imports openai first.
    """

    def find_spec(self, fullname: str, *place: object) -> ModuleSpec | None:
        del place
        if fullname != "openai":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def execute_and_install(module: ModuleType) -> None:
                execute(module)
                _install()

            loader.exec_module = execute_and_install
        return spec


def _install() -> None:
    from .openai_module import install

    try:
        install()
    except UsageError as error:
        logger.warning("%s", error, extra={"action": "own_http_client"})
