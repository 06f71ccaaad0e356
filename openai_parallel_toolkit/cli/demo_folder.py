"""Set the demo's folder up; what the user changed in it stays."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from ..core.errors import StorageError, UsageError

_README = "README.txt"
_README_TEXT = """\
A demo of openai-parallel-toolkit: it may be deleted at any time.

input/          texts to work on; add some of your own
my_toolkit.py   what happens to each of them; change it
config.json     the keys, and where to ask; written anew by each demo
output/         the results, and the journal of what was asked and paid for
"""
_SOURCE = os.path.join(os.path.dirname(__file__), "demo_toolkit.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where everything of a demo lies."""

    folder: str

    @property
    def config(self) -> str:
        return os.path.join(self.folder, "config.json")

    @property
    def hooks(self) -> str:
        return os.path.join(self.folder, "my_toolkit.py")

    @property
    def input(self) -> str:
        return os.path.join(self.folder, "input")

    @property
    def output(self) -> str:
        return os.path.join(self.folder, "output")


def set_up(folder: str, *, file_count: int, config: Mapping[str, object]) -> Stage:
    """Write what a demo needs and is not there yet; only the config is written anew.

    Raises:
        UsageError: the folder holds something else.
        StorageError: it cannot be written.
    """
    stage = Stage(folder=folder)
    try:
        os.makedirs(folder, exist_ok=True)
        if os.listdir(folder) and not os.path.exists(os.path.join(folder, _README)):
            raise UsageError(
                f"{folder!r} is not empty and no demo made it; choose another --folder"
            )
        _write_new(os.path.join(folder, _README), _README_TEXT)
        with open(_SOURCE, encoding="utf-8") as source:
            _write_new(stage.hooks, source.read())
        os.makedirs(stage.input, exist_ok=True)
        for name, text in islice(_texts().items(), file_count):
            _write_new(os.path.join(stage.input, f"{name}.txt"), text)
        _write_private(stage.config, json.dumps(config, indent=2))
    except OSError as exc:
        raise StorageError(
            f"{exc.filename}: {exc.strerror}; choose a --folder that can be written to",
            errno=exc.errno,
            path=exc.filename,
        ) from exc
    return stage


def _texts() -> Mapping[str, str]:
    """Return real texts that come with every Python, by name; no two are equal."""
    from pydoc_data.topics import topics

    names = {text: name for name, text in sorted(topics.items())}
    return {name: text for text, name in names.items()}


def _write_new(path: str, text: str) -> None:
    if os.path.lexists(path):
        return
    fresh = f"{path}.new"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(fresh, path)  # a demo that is killed here leaves no half text


def _write_private(path: str, text: str) -> None:
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)
