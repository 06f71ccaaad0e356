"""Find the user's subclass of ParallelToolkit, in a module or in a file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from types import ModuleType
from typing import TypeGuard

from ..api.toolkit import ParallelToolkit
from ..core.describe import is_a, kind_of, trace_behind, words_of
from ..core.errors import RunStopped, UsageError


def load_toolkit(target: str) -> type[ParallelToolkit]:
    """Return the class that `module:Class`, `path/to/file.py:Class` or either without Class names.

    The current folder can be imported from, and so can that of the file.

    Raises:
        UsageError: there is no such module or class, or the module cannot be imported.
    """
    source, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier():
        source, name = target, ""
    module = _import(source)
    found = [
        value
        for value in vars(module).values()
        if _is_toolkit(value) and value.__module__ == module.__name__
    ]
    names = ", ".join(kind.__name__ for kind in found)
    if name:
        offer, named = f"; it defines {names}" if names else "", getattr(module, name, None)
        if named is None:
            raise UsageError(f"{source} has no class {name}{offer}")
        if not _is_toolkit(named):
            raise UsageError(f"{name} in {source} is not a subclass of ParallelToolkit{offer}")
        return named
    if not found:
        raise UsageError(f"{source} defines no subclass of ParallelToolkit")
    if len(found) > 1:
        raise UsageError(f"{source} defines {names}; say which, as in {source}:{found[0].__name__}")
    return found[0]


def _is_toolkit(value: object) -> TypeGuard[type[ParallelToolkit]]:
    return isinstance(value, type) and issubclass(value, ParallelToolkit)


def _import(source: str) -> ModuleType:
    _can_import_from(os.getcwd())
    if os.path.isdir(source) and not os.path.isfile(os.path.join(source, "__init__.py")):
        raise UsageError(
            f"{source!r} is a folder; first comes the module with your subclass: TARGET IN OUT"
        )
    is_file = source.endswith(".py") or os.path.isfile(source)
    if is_file and not os.path.isfile(source):
        raise UsageError(f"there is no file {source!r}")
    try:
        return _import_file(os.path.abspath(source)) if is_file else importlib.import_module(source)
    except ModuleNotFoundError as exc:
        if is_file or exc.name is None or not f"{source}.".startswith(f"{exc.name}."):
            raise _broken(source, exc) from exc
        raise UsageError(
            f"there is no module {source!r} here; give the path of its file, such as hooks.py:Mine"
        ) from exc
    except RunStopped:  # which is a SystemExit
        raise
    except (Exception, SystemExit) as exc:
        raise _broken(source, exc) from exc


def _can_import_from(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _import_file(path: str) -> ModuleType:
    folder, file = os.path.split(path)
    _can_import_from(folder)
    stem = os.path.splitext(file)[0]
    # Under its own name, so that other processes find it too; but it may not hide another module.
    name = f"{stem}_hooks" if stem in sys.modules else stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path!r} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _broken(source: str, error: BaseException) -> UsageError:
    if is_a(error, UsageError):
        return error
    where = ""
    if is_a(error, SyntaxError) and error.filename:
        where = f" ({error.filename}, line {error.lineno})"
        words = error.msg
    else:
        words = words_of(error)
        frames = traceback.extract_tb(trace_behind(error))
        theirs = [frame for frame in frames if _is_theirs(frame.filename)]
        if theirs:
            where = f" ({theirs[-1].filename}, line {theirs[-1].lineno})"
    return UsageError(f"{source} cannot be imported: {kind_of(error)}: {words}{where}")


def _is_theirs(filename: str) -> bool:
    ours = (os.path.dirname(__file__), os.path.dirname(importlib.__file__))
    return not filename.startswith(("<", *ours)) and "site-packages" not in filename
