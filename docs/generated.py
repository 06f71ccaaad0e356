"""What the reference says of commands, settings and exit statuses, as the code itself tells it."""

import argparse
import inspect
import re
from dataclasses import fields

from openai_parallel_toolkit import ParallelToolkit
from openai_parallel_toolkit.cli.dispatch import _COMMANDS, _PARTS, _parser
from openai_parallel_toolkit.cli.exits import EXIT_CODES
from openai_parallel_toolkit.cli.settings import add_setting
from openai_parallel_toolkit.core import errors
from openai_parallel_toolkit.runs.options import RunOptions


def table(head, rows):
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def command_parser(name):
    """Return the parser of one command, which may have two words."""
    (commands,) = [one for one in _parser([name])._actions if isinstance(one.choices, dict)]
    return commands.choices[name]


def _shown(parser, action):
    """Return an argument or option with its value, and what it means."""
    formatter = parser._get_formatter()
    names = formatter._format_action_invocation(action)
    meaning = formatter._expand_help(action) if action.help else ""
    return [f"`{names}`", meaning]


def commands():
    """Return a section for each command: its purpose, its usage, its arguments and options."""
    for name, purpose in {**_COMMANDS, **_PARTS}.items():
        parser = command_parser(name)
        usage = re.sub(r"\s+", " ", parser.format_usage().removeprefix("usage: ")).strip()
        yield f"## {name}\n\n{purpose[0].upper()}{purpose[1:]}.\n\n```text\n{usage}\n```\n"
        for group in parser._action_groups:
            shown = [a for a in group._group_actions if a.help is not argparse.SUPPRESS]
            rows = [_shown(parser, one) for one in shown if one.dest != "help"]
            if rows:
                yield table([(group.title or "options").capitalize(), "Meaning"], rows)
        if parser.epilog:
            yield f"```text\n{parser.epilog.strip()}\n```\n"


def _meanings():
    """Return what the docstring of the folder toolkit says of each of its arguments."""
    told = inspect.getdoc(ParallelToolkit.__init__).partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", told, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", meaning) for name, meaning in found}


def _options():
    """Return the option of the command line for each setting that has one."""
    parser = argparse.ArgumentParser(add_help=False)
    for one in fields(RunOptions):
        if one.metadata.get("help"):
            add_setting(parser, one)
    return {one.dest: f"`{one.option_strings[0]}`" for one in parser._actions}


def settings():
    """Return the table of the folder toolkit's settings."""
    meanings, options = _meanings(), _options()
    rows = []
    for one in inspect.signature(ParallelToolkit).parameters.values():
        default = "required" if one.default is one.empty else f"`{one.default!r}`"
        rows.append(
            [f"`{one.name}`", default, options.get(one.name, ""), meanings[one.name].rstrip(".")]
        )
    yield table(["setting", "default", "option", "meaning"], rows)


def exit_statuses():
    """Return the table of exit statuses, with the errors that lead to each."""
    kinds = [one for one in vars(errors).values() if inspect.isclass(one)]
    told = [
        one
        for one in kinds
        if one is not errors.ToolkitError and issubclass(one, errors.ToolkitError)
    ]
    rows = []
    for status, meaning in EXIT_CODES.items():
        names = [f"`{one.__name__}`" for one in told if str(one.exit_code) in status.split(", ")]
        rows.append([status, meaning, ", ".join(names)])
    yield table(["exit status", "meaning", "error"], rows)


def error_tree():
    """Return the tree of errors, as the module draws it."""
    yield f"```text\n{errors.__doc__.split(chr(10) * 2)[1]}\n```"


def fill(text):
    """Return a page with what stands in it for generated parts filled in."""
    makers = {one.__name__: one for one in (commands, settings, exit_statuses, error_tree)}
    mark = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
    return mark.sub(lambda found: "\n".join(makers[found[1]]()), text)
