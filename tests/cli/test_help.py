"""Help is there for every command, at once, and names every exit status."""

import os
import re

import pytest

from openai_parallel_toolkit.cli.exits import EXIT_CODES

COMMANDS = [
    "demo",
    "run",
    "batch",
    "prompts",
    "estimate",
    "status",
    "failures",
    "show",
    "keys",
    "prune",
    "repair",
    "simulate",
]


def test_help_names_the_commands_and_the_exit_statuses(workspace):
    before = os.times()
    result = workspace.give("--help")
    after = os.times()
    # Of the processor, some 0.05 s; the heavy packages alone would take ten times as much.
    assert after.children_user - before.children_user < 0.3
    assert result.code == 0
    assert all(command in result.out for command in COMMANDS)
    assert all(f"  {code} " in result.out for code in EXIT_CODES)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(workspace, command):
    result = workspace.give(command, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: openai-parallel-toolkit {command}")


@pytest.mark.parametrize(
    ("word", "options"),
    [
        ("status", {"--help", "--config", "--state-path", "--json"}),
        ("failures", {"--help", "--config", "--json", "--exit-code"}),
        ("cancel", {"--help", "--config", "--state-path", "--no-progress", "--json"}),
    ],
)
def test_the_words_of_batch_have_help_of_their_own_with_the_options_that_apply(
    workspace, word, options
):
    result = workspace.give("batch", word, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: openai-parallel-toolkit batch {word}")
    assert set(re.findall(r"--[a-z-]+", result.out)) - {"--mode"} == options


def test_the_version_is_told(workspace):
    assert workspace.give("--version").out.count(".") == 2
