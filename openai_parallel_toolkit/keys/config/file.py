"""Read the files that hold a configuration: config.json and .env."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ...core.errors import ConfigError
from ...core.file_kinds import is_file, raise_unless_mistaken
from ...core.logs import logger_of
from .fields import Field, Origin

logger = logger_of(__name__)


#: What tells one state of a file from another.
Stamp = tuple[int, int, int]


def stamp_of(path: str) -> Stamp | None:
    """Return how a file looks now; None: it is not there, or cannot be looked at."""
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


class _Mistake(ValueError):
    """What is wrong with the JSON, told without its content."""


def read_json(
    path: str,
    origin: Origin,
    *,
    absent: str = 'write {"api_keys": ["env:OPENAI_API_KEY"]} into it, or set that alone',
) -> Field:
    """Return the whole content of a JSON file; numbers with a fraction are Decimal.

    Args:
        absent: what to do when it is not there.

    Raises:
        ConfigError: it is not there, cannot be read or is not JSON (says line and column).
        StorageError: the disk refuses.
    """
    whole = Field(None, "", origin)
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except FileNotFoundError as exc:
        raise whole.error(f"there is no such file; {absent}") from exc
    except OSError as exc:
        raise_unless_mistaken(exc, path)
        raise whole.error(f"cannot be read ({exc.strerror}); mend the path or the rights") from exc
    whole.value, mistake = _parse(raw, origin)
    # Raised out here: the parser's own errors carry the text, and so the keys, in their context.
    if mistake:
        raise whole.error(mistake)
    return whole


def _parse(raw: bytes, origin: Origin) -> tuple[Any, str]:
    encoding = json.detect_encoding(raw)
    try:
        text = raw.decode(encoding)
        value = json.loads(
            text,
            parse_float=Decimal,
            parse_constant=_no_constant,
            object_pairs_hook=_object_without_doubles,
        )
    except UnicodeDecodeError as exc:
        return None, f"is not UTF-8 text (byte {exc.start}); save it as UTF-8"
    except json.JSONDecodeError as exc:
        return None, _describe(exc)
    except _Mistake as exc:
        return None, exc.args[0]
    except (ValueError, ArithmeticError):
        return None, "holds a number that is too long"
    except RecursionError:
        return None, "is nested too deeply"
    if encoding != "utf-8":
        origin.repairs.append("was not saved as plain UTF-8 (it has a byte order mark)")
    return value, ""


def _describe(exc: json.JSONDecodeError) -> str:
    line = (exc.doc.splitlines() or [""])[min(exc.lineno, len(exc.doc.splitlines()) or 1) - 1]
    has_comment = line.lstrip().startswith(("//", "#", "/*")) or " //" in line or " #" in line
    hint = "JSON has no comments; take them out" if has_comment else "mend it there or just before"
    return f"is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}; {hint}"


def _no_constant(name: str) -> None:
    raise _Mistake(f"holds {name}, which is not JSON; write a number")


def _object_without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Mistake("gives a field twice in one object; take one of them out")
    return found


def warn_if_others_can_read(path: str, name: str) -> None:
    """Warn once when a file with keys can be read by other users of the machine."""
    if os.name == "posix" and os.stat(path).st_mode & 0o077:
        logger.warning(
            "%s holds keys and other users can read it; run: chmod 600 %s",
            name,
            name,
            extra={"action": "config_readable_by_others"},
        )


class Variables(dict[str, str]):
    """The environment, completed from `.env` files; what comes first wins."""

    def __init__(self, env: Mapping[str, str], folders: Iterable[str]) -> None:
        """Read the `.env` files in `folders`.

        Raises:
            ConfigError: one is there and cannot be read.
        """
        super().__init__(env)
        self._files: dict[str, str] = {}
        for folder in folders:
            path = os.path.normpath(os.path.join(folder, ".env"))
            for name, value in (_read_dotenv(path) if is_file(path) else {}).items():
                if name not in self:
                    self[name], self._files[name] = value, path

    def home(self, name: str) -> str:
        """Return where a variable is set, for messages."""
        return self._files.get(name, "the environment")

    def warn_of_readers(self, names: Iterable[str]) -> None:
        """Warn of each `.env` with a key that other users can read; `names` are those of keys."""
        for path in sorted({self._files[name] for name in names if name in self._files}):
            warn_if_others_can_read(path, path)


def _read_dotenv(path: str) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        with open(path, encoding="utf-8-sig") as file:
            values = dotenv_values(stream=file, interpolate=False)
    except OSError as exc:
        raise_unless_mistaken(exc, path)
        raise ConfigError(f"{path}: cannot be read ({exc.strerror}); mend its rights") from exc
    except UnicodeDecodeError:
        values = None
    if values is None:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8")
    return {name: value for name, value in values.items() if value is not None}
