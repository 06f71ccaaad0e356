"""`prompts`: ask for every line of a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from ..api.prompts import Defaults, PromptsOptions, PromptsRun
from ..api.prompts.formats import FORMATS
from ..api.prompts.lines import PATHS, RESPONSES
from ..calls.attempts import Policy
from ..core.errors import RunStopped, ToolkitError, UsageError
from ..keys import APIKeyManager, close_unless_default
from ..keys.config import load_settings
from ..keys.config.fields import Field, Origin
from . import console
from .exits import OK, SOME_FAILED

_EPILOG = """\
A line of FILE is a prompt as plain text, or a JSON object:
  {"prompt": "..."}                           also with "system"
  {"instruction": "...", "input": "..."}      both together are the prompt
  {"messages": [...], ...}                    a request, as the API takes it
  {"model": "...", "input": "..."}            an embedding or a response, see --request-url
  {"custom_id": "...", "url": "/v1/chat/completions", "body": {...}}      as for the Batch API
What a line calls itself (custom_id, id, index, metadata) is not sent; it comes with the answer.

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
    parser.set_defaults(is_cookbook=False)
    parser.add_argument("input_path", metavar="FILE", nargs="?", help="the prompts, one a line")
    parser.add_argument("output_path", metavar="OUT", nargs="?", help="the answers, one a line")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the summary as JSON; all else goes to standard error",
    )
    _add_requests(parser.add_argument_group("what is asked, where a line does not say it"))
    _add_pace(parser.add_argument_group("how"))
    _add_cookbook(parser.add_argument_group("names that the OpenAI cookbook's script has for them"))


def _add_requests(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", help="the model")
    group.add_argument("--system", metavar="TEXT", help="the system message")
    group.add_argument(
        "--temperature", type=float, metavar="T", help="how freely the model chooses"
    )
    group.add_argument("--max-tokens", type=int, metavar="N", help="of an answer")
    group.add_argument(
        "--param",
        type=_parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other field of the request, its value as JSON or text; may be given again",
    )
    group.add_argument(
        "--request-url",
        metavar="URL",
        help=f"where to ask, or its end alone: {', '.join(PATHS)} (a chat)",
    )


def _add_pace(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--config",
        metavar="FILE",
        help="a config.json; without it the environment, then ./config.json",
    )
    group.add_argument(
        "--output-format",
        choices=FORMATS,
        help="of OUT's lines: one flat object (default), or as the cookbook or the Batch API",
    )
    for what in ("requests", "tokens"):
        group.add_argument(
            f"--max-{what}-per-minute", type=float, metavar="N", help=f"{what} sent in a minute"
        )
    group.add_argument("--max-workers", type=int, metavar="N", help="requests under way at a time")
    group.add_argument(
        "--max-cost", type=_usd, metavar="USD", help="what all runs of OUT may cost together"
    )
    group.add_argument(
        "--force", action="store_true", help="also when OUT is done, or made with other settings"
    )
    group.add_argument(
        "--state-path", metavar="DIR", help="a local folder for the journal, instead of OUT.state"
    )
    group.add_argument("--log-file", metavar="FILE", help="where to append what is logged")
    group.add_argument("--no-progress", dest="progress", action="store_false", help="draw no bar")
    patience = PromptsOptions.__dataclass_fields__["grace_s"].default, Policy()
    for option, default, help in (
        ("--grace", patience[0], "seconds that requests in flight get after Ctrl-C"),
        ("--deadline", patience[1].deadline_s, "seconds for one call with all its retries"),
        ("--request-timeout", patience[1].request_timeout_s, "seconds for one attempt"),
    ):
        group.add_argument(option, type=float, default=default, metavar="S", help=help)
    group.add_argument(
        "--max-retries", type=int, default=5, metavar="N", help="re-sends after a server error"
    )
    group.add_argument(
        "--max-unknown",
        type=int,
        default=1,
        metavar="N",
        help="re-sends of a call whose answer was lost and may be billed",
    )


def _add_cookbook(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--requests_filepath", action=_Cookbook, metavar="FILE")
    group.add_argument("--save_filepath", action=_Cookbook, metavar="OUT")
    group.add_argument("--request_url", action=_Cookbook, metavar="URL")
    for option in ("--max_requests_per_minute", "--max_tokens_per_minute"):
        group.add_argument(option, action=_Cookbook, type=float, metavar="N")
    group.add_argument(
        "--max_attempts",
        action=_Cookbook,
        type=_attempts,
        dest="max_retries",
        metavar="N",
        help="of a call, the first one included",
    )
    for option in ("--token_encoding_name", "--logging_level"):
        group.add_argument(
            option, action=_Cookbook, metavar="...", help="taken and not needed here"
        )
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


def _usd(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"expected an amount of USD, got {text!r}") from None


def run(arguments: argparse.Namespace) -> int:
    """Ask for every line and show the summary, however it ends."""
    base, path = _place_of(arguments.request_url)
    options = _options(arguments, path)
    settings = load_settings(arguments.config)
    if base is not None:
        settings = replace(settings, api_base=base)
    keys = APIKeyManager(settings=settings)
    try:
        summary = PromptsRun(options, keys).run()
    except (RunStopped, ToolkitError) as exc:
        told = getattr(exc, "summary", None)
        if told is not None:
            console.say_json(told.as_dict()) if arguments.json else console.say_stopped(exc, told)
        raise
    finally:
        close_unless_default(keys)
    console.say_json(summary.as_dict()) if arguments.json else console.say(str(summary))
    return SOME_FAILED if summary.failed else OK


def _options(arguments: argparse.Namespace, path: str | None) -> PromptsOptions:
    source = arguments.input_path or arguments.requests_filepath
    target = arguments.output_path or arguments.save_filepath
    if source is not None and target is None and arguments.is_cookbook:
        target = f"{source.removesuffix('.jsonl')}_results.jsonl"
    if source is None or target is None:
        raise UsageError("name the file of prompts and the file for the answers: FILE OUT")
    most = "max_output_tokens" if path == RESPONSES else "max_tokens"
    given = [("temperature", arguments.temperature), (most, arguments.max_tokens)]
    return PromptsOptions(
        input_path=source,
        output_path=target,
        defaults=Defaults(
            model=arguments.model,
            system=arguments.system,
            parameters={**_without_none(given), **dict(arguments.param)},
            path=path,
        ),
        output_format=arguments.output_format or ("cookbook" if arguments.is_cookbook else "flat"),
        max_workers=arguments.max_workers,
        rate_limit=arguments.max_requests_per_minute,
        token_rate_limit=arguments.max_tokens_per_minute,
        max_cost=arguments.max_cost,
        force=arguments.force,
        progress=arguments.progress,
        grace_s=arguments.grace,
        policy=Policy(
            max_retries=arguments.max_retries,
            max_unknown=arguments.max_unknown,
            deadline_s=arguments.deadline,
            request_timeout_s=arguments.request_timeout,
        ),
        state_path=arguments.state_path,
        log_file=arguments.log_file,
    )


def _without_none(given: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in given if value is not None}


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
