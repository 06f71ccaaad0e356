"""Help is there for every command, at once, and names every exit status."""

import time

import pytest

from openai_parallel_toolkit.cli.exits import EXIT_CODES

COMMANDS = [
    "demo",
    "run",
    "prompts",
    "status",
    "failures",
    "show",
    "keys",
    "prune",
    "repair",
    "simulate",
]


def test_help_names_the_commands_and_the_exit_statuses(desk):
    since_s = time.monotonic()
    result = desk.give("--help")
    assert time.monotonic() - since_s < 0.5
    assert result.code == 0
    assert all(command in result.out for command in COMMANDS)
    assert all(f"  {code} " in result.out for code in EXIT_CODES)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(desk, command):
    result = desk.give(command, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: openai-parallel-toolkit {command}")


def test_the_version_is_told(desk):
    assert desk.give("--version").out.count(".") == 2
