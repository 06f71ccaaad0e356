"""`prompts`: ask for every line of a file."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

from ..api.prompts import Defaults, PromptsOptions, PromptsRun
from ..api.prompts.parameters import PATHS, RESPONSES
from ..core.errors import UsageError
from ..files.tables import CSV, JSONL, TSV
from ..keys import APIKeyManager, close_unless_default
from ..keys.config import load_settings
from ..keys.config.fields import Field, Origin
from . import console
from .exits import OK, SOME_FAILED
from .settings import add_settings, given_settings
from .streams import STREAM, in_state_folder, print_file, spooled

#: What can be read and printed as it comes.
_PIPED = (JSONL, CSV, TSV)
_EPILOG = """\
A line of FILE is a prompt as plain text, or a JSON object:
  {"prompt": "..."}                           also with "system"
  {"instruction": "...", "input": "..."}      both together are the prompt
  {"messages": [...], ...}                    a request, as the API takes it
  {"model": "...", "input": "..."}            an embedding or a response, see --request-url
  {"custom_id": "...", "url": "/v1/chat/completions", "body": {...}}      as for the Batch API
Beside a prompt, the parameters of the API are sent; "extra_body": {...} holds those of your server.
What a line calls itself (custom_id, id, index, metadata) is not sent; it comes with the answer.

A table has a prompt a row: --prompt 'Translate {text}', or its column `prompt`.

Stop it with Ctrl-C and give the same command again: what was answered is not paid for again.
Lines that failed are listed beside OUT, for answers.jsonl in answers.errors.jsonl; the same command
asks them again.
"""


class _Cookbook(argparse.Action):
    """Stores a value, and that an option was called by its name in the OpenAI cookbook."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        del parser, option_string
        setattr(namespace, self.dest, values)
        namespace.is_cookbook = True


class _Refuse(argparse.Action):
    """Takes no key: a command line can be read by everybody on the machine."""

    def __call__(self, *_: object) -> None:
        raise UsageError(
            "give no key on the command line, where every user of this machine can read it; set "
            "OPENAI_API_KEY in the environment or in .env, or name a config.json with --config"
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    parser.argument_default = argparse.SUPPRESS
    parser.set_defaults(is_cookbook=False)
    parser.add_argument(
        "input_path",
        metavar="FILE",
        nargs="?",
        help="the prompts, one a line, or a table (.csv, .tsv, .parquet); - reads standard input",
    )
    parser.add_argument(
        "output_path",
        metavar="OUT",
        nargs="?",
        help="the answers, one a line, or a table of what FILE has and its answers; - prints it",
    )
    asked = parser.add_argument_group("what is asked, where a line does not say it")
    asked.add_argument("--model", help="the model")
    asked.add_argument(
        "--prompt",
        metavar="TEXT",
        default=None,
        help="of each row of a table, with columns in braces: 'Translate {text}'",
    )
    asked.add_argument("--system", metavar="TEXT", help="the system message")
    asked.add_argument(
        "--temperature", type=float, metavar="T", help="how freely the model chooses"
    )
    asked.add_argument("--max-tokens", type=int, metavar="N", help="of an answer")
    asked.add_argument(
        "--param",
        type=_parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other field of the request, its value as JSON or text; may be given again",
    )
    asked.add_argument(
        "--request-url",
        default=None,
        metavar="URL",
        help=f"where to ask, or its end alone: {', '.join(PATHS)} (a chat)",
    )
    parser.add_argument(
        "--format", choices=_PIPED, default=JSONL, help="of what - reads or prints (jsonl)"
    )
    add_settings(parser, PromptsOptions)
    _add_cookbook(parser.add_argument_group("names that the OpenAI cookbook's script has for them"))


def _add_cookbook(group: argparse._ArgumentGroup) -> None:
    def add(option: str, metavar: str, **words: Any) -> None:
        group.add_argument(option, action=_Cookbook, metavar=metavar, **words)

    add("--requests_filepath", "FILE", dest="input_path")
    add("--save_filepath", "OUT", dest="output_path")
    add("--request_url", "URL")
    add("--max_requests_per_minute", "N", dest="rate_limit", type=float)
    add("--max_tokens_per_minute", "N", dest="token_rate_limit", type=float)
    add(
        "--max_attempts",
        "N",
        dest="max_retries",
        type=_attempts,
        help="of a call, the first one included",
    )
    for option in ("--token_encoding_name", "--logging_level"):
        add(option, "...", help="taken and not needed here")
    group.add_argument(
        "--api_key", "--api-key", action=_Refuse, help="refused: keys come from the environment"
    )


def _attempts(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a count above 0, got {text!r}")
    return int(text) - 1


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def run(arguments: argparse.Namespace) -> int:
    """Ask for every line and show the summary, however it ends."""
    base, path = _place_of(arguments.request_url)
    given, defaults = _given(arguments, path)
    settings = load_settings(arguments.config)
    if base is not None:
        settings = replace(settings, api_base=base)
    keys = APIKeyManager(settings=settings)
    try:
        with spooled(given, arguments.format) as given:
            return _run(arguments, given, defaults, keys)
    finally:
        close_unless_default(keys)


def _run(
    arguments: argparse.Namespace, given: dict[str, Any], defaults: Defaults, keys: APIKeyManager
) -> int:
    is_printed = given["output_path"] == STREAM
    if is_printed:
        given = in_state_folder(given, arguments.format, repr(defaults))
    options = PromptsOptions(defaults=defaults, **given)
    with console.apart_from_json(is_printed):
        summary = console.show(PromptsRun(options, keys).run, as_json=arguments.json)
    if is_printed:
        print_file(summary.output_path)
    return SOME_FAILED if summary.failed else OK


def _given(arguments: argparse.Namespace, path: str | None) -> tuple[dict[str, Any], Defaults]:
    settings = given_settings(arguments, PromptsOptions)
    if arguments.is_cookbook and "input_path" in settings:
        results = f"{settings['input_path'].removesuffix('.jsonl')}_results.jsonl"
        settings = {"output_path": results, "output_format": "cookbook", **settings}
    if not {"input_path", "output_path"} <= settings.keys():
        raise UsageError("name the file of prompts and the file for the answers: FILE OUT")
    given = vars(arguments)
    most = "max_output_tokens" if path == RESPONSES else "max_tokens"
    names = {"temperature": "temperature", most: "max_tokens"}
    parameters = {name: given[option] for name, option in names.items() if option in given}
    defaults = Defaults(
        model=given.get("model"),
        system=given.get("system"),
        parameters={**parameters, **dict(arguments.param)},
        path=path,
        template=arguments.prompt,
    )
    return settings, defaults


def _place_of(url: str | None) -> tuple[str | None, str | None]:
    """Return the base URL, None where only a path is given, and the API path."""
    if url is None:
        return None, None
    path = next((path for path in PATHS if url.rstrip("/").endswith(path)), None)
    if path is None or "/deployments/" in url:
        raise UsageError(
            f"--request-url: expected a URL that ends with {', '.join(PATHS)}; for Azure leave it "
            "out and give the key its api_base, azure_deployment and api_version in the config"
        )
    base = url.rstrip("/").removesuffix(path)
    if not base:
        return None, path
    return Field(base, "--request-url", Origin(name="the command line", env={})).api_base(), path
