"""Options of the command line, as the settings' own fields tell them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any

from ..core.settings import FLAG

_CONFIG = "a config.json; without it the environment, then ./config.json"


def add_settings(
    parser: argparse.ArgumentParser,
    kind: type,
    *,
    leave_out: Sequence[str] = (),
    config: str = _CONFIG,
) -> None:
    """Add --json, --config, and an option for each setting; one not given will be absent."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "--json",
        action="store_true",
        default=False,
        help="print the summary as JSON; all else goes to standard error",
    )
    shown = [one for one in fields(kind) if one.metadata.get("help") and one.name not in leave_out]
    for title in ("which files", "how", "patience"):
        group = parser.add_argument_group(title)
        if title == "how":
            group.add_argument("--config", default=None, metavar="FILE", help=config)
        for one in shown:
            if one.metadata["group"] == title:
                add_setting(group, one)


def add_setting(group: argparse._ActionsContainer, one: Field[Any]) -> None:
    """Add the option for one setting."""
    words = dict(one.metadata["argparse"])
    name = one.name.removesuffix("_s").replace("_", "-")
    if one.metadata["kind"] is FLAG:
        words["action"] = "store_false" if one.default else "store_true"
        name = f"no-{name}" if one.default else name
    option = words.pop("option", f"--{name}")
    usual = "" if "nargs" in words else _usual(one.default)
    help = f"{one.metadata['help']}{usual}"
    group.add_argument(option, dest=one.name, help=help, **words)


def _usual(default: object) -> str:
    """Return what a setting is when it is not given, where that is a plain value."""
    is_plain = isinstance(default, int | float | str) and not isinstance(default, bool)
    shown = f"{default:g}" if isinstance(default, float) else default
    return f" ({shown})" if is_plain else ""


def given_settings(arguments: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Return the settings that the command line gives."""
    given = vars(arguments)
    return {one.name: given[one.name] for one in fields(kind) if one.name in given}
