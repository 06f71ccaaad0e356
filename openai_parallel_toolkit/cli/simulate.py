"""`simulate`: run a server that looks like OpenAI's, until Ctrl-C."""

from __future__ import annotations

import argparse
import json

from ..core.errors import UsageError
from ..simulator import Simulator, serve
from ..simulator.command import configure, simulator_from
from . import console
from .bill import bill_words
from .exits import OK

__all__ = ["configure", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM, then print the bill."""
    try:
        simulator = simulator_from(arguments)
    except (OSError, OverflowError, ValueError) as exc:
        raise UsageError(str(exc)) from exc
    serve(simulator, lambda url: console.say(f"{url}\n{_config_words(simulator, url)}"))
    console.say(bill_words(simulator.ledger))
    return OK


def _config_words(simulator: Simulator, url: str) -> str:
    keys = [{"name": key.name, "key": key.secret} for key in simulator.keys]
    return f"config.json: {json.dumps({'api_base': url, 'api_keys': keys})}"
