"""How a BatchFolder works, and what values in its files say; `<...>` is told as not filled in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ...batch.options import Patience
from ...core.settings import ANY, COUNT, FLAG, check_settings, choice, setting
from ...keys.config import Settings
from ...keys.config.fields import Field
from ...runs.summary import AT_THE_END, RAISES_AT_END

Names = Literal["own", "accelerator"]
_PLACEHOLDER = re.compile(r"<[^<>]*>")
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(Patience):
    """Times of a BatchFolder, in seconds."""

    #: From one look at the input folder to the next, in continuous mode.
    look_s: float = 60.0
    #: From one look to the next while a new file may still be growing.
    settle_s: float = 5.0
    #: What a step that is under way gets when the run is stopped.
    grace_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """How a BatchFolder works.

    Raises:
        ConfigError: a value is impossible; names the field.
    """

    keys: Settings
    batch_size: int = setting(COUNT, 10, "files under way at a time (10)")
    continuous: bool = setting(
        FLAG, False, "go on looking for new files every minute, until stopped with Ctrl-C"
    )
    pattern: str = setting(ANY, "*.jsonl", 'names of inputs ("*.jsonl")', metavar="GLOB")
    #: "": whatever batches serve.
    endpoint: str = setting(ANY, "", "what all lines must ask for", metavar="URL")
    completion_window: str = setting(ANY, "24h", "what the service may take (24h)", metavar="TIME")
    max_attempts: int = setting(COUNT, 3, "batches that one file may take (3)")
    count_tokens: bool = setting(FLAG, False, "count the prompts' tokens")
    names: Names = setting(
        choice("own", "accelerator"), "own", "call results as the Azure batch accelerator does"
    )
    #: Where Azure reads inputs by itself, such as "https://<account>.blob.core.windows.net/in";
    #: "": they are sent.
    import_base: str = ""
    #: Where what is under way is kept; on a local disk.
    state_folder: str
    fail_on_error: Literal["end", False] = setting(RAISES_AT_END, AT_THE_END)
    progress: bool = setting(FLAG, True, "draw no bar")
    pace: Pace = setting(ANY, Pace)

    def __post_init__(self) -> None:
        check_settings(self)


def filled(field: Field) -> str:
    """Return a text.

    Raises:
        ConfigError: it is empty, no text, or still a placeholder.
    """
    text = field.text().strip()
    if is_placeholder(field):
        raise field.error("is a placeholder; fill it in")
    return text


def is_placeholder(field: Field) -> bool:
    """Tell whether a text was not filled in yet."""
    return isinstance(field.value, str) and _PLACEHOLDER.search(field.value) is not None


def flag(field: Field) -> bool:
    """Return true or false, also where it is written as a text.

    Raises:
        ConfigError: it is neither.
    """
    value = field.value
    if isinstance(value, str):
        value = _FLAGS.get(filled(field).lower())
    if not isinstance(value, bool):
        raise field.expected("true or false")
    return value


def whole_number(field: Field) -> int:
    """Return a whole number above zero, also where it is written as a text.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(field.value, str) and filled(field).isdecimal():
        return Field(int(filled(field)[:9]), field.place, field.origin).whole_number()
    return field.whole_number()
