"""`view` and `report`: a page about an output folder, live or as one file."""

from __future__ import annotations

import argparse
import os
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.errors import JournalError, RunStopped, UsageError
from ..core.filesystem import atomic_file, storage_errors
from ..core.text import counted
from ..core.threads import start_thread
from ..files.run_folders import lay_out
from ..files.run_lock import state_folder_of
from ..journal import JournalReader
from ..runs.options import RunOptions
from ..view.page import new_nonce, page
from ..view.place import state_folder
from ..view.source import Source, StatePlace
from . import console
from .exits import OK
from .place import add_place

_VIEW_EPILOG = """\
It reads what a run writes, also while that is on and after it was killed, and changes nothing.
At another address than this machine's own, a random token in the address keeps others out, but what
goes over the network is not encrypted: prefer `ssh -L 8765:127.0.0.1:8765 HOST`.
/metrics has the figures for Prometheus.
"""
_REPORT_EPILOG = """\
Prompts and answers are left out unless --calls asks for them; error messages may quote them.
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_place(parser)
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="OTHER",
        help="another output folder to show beside it; may be given again",
    )


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _VIEW_EPILOG
    _configure(parser)
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve at (127.0.0.1)")
    parser.add_argument(
        "--port", type=int, metavar="N", help="0: any that is free (8765, or any that is free)"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address and open no browser"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from ..view.server import ViewServer

    server = ViewServer(_source(arguments), host=arguments.host, port=arguments.port)
    try:
        server.start()
        console.say(f"{server.url} shows {arguments.output_path}; Ctrl-C ends it")
        if not arguments.no_browser:
            _open(server.url)
        threading.Event().wait()
    except RunStopped:
        return OK
    finally:
        server.close()
    return OK


def _open(url: str) -> None:
    try:
        is_open = webbrowser.open(url)
    except webbrowser.Error:
        is_open = False
    if not is_open:
        raise UsageError(
            "no browser can be opened here; give --no-browser and open the address that it prints, "
            "from another machine over `ssh -L 8765:127.0.0.1:8765 HOST`"
        )


@contextmanager
def beside(options: RunOptions) -> Iterator[None]:
    """Serve the page of a run for the block, and say where."""
    from ..view.server import ViewServer

    layout = lay_out(options.input_path, options.output_path, state_path=options.state_path)
    folder = state_folder_of(layout.output_root, options.state_path)
    server = ViewServer(Source(StatePlace(options.output_path, folder)))
    server.start()
    try:
        console.note(f"{server.url} shows the run")
        start_thread(webbrowser.open, server.url, name="browser")
        yield
    finally:
        server.close()


def configure_report(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _REPORT_EPILOG
    _configure(parser)
    parser.add_argument("report", metavar="REPORT", help="the file to write, such as report.html")
    parser.add_argument(
        "--calls",
        type=int,
        default=0,
        metavar="N",
        help="put the prompts and answers of the newest N calls into it (0)",
    )


def run_report(arguments: argparse.Namespace) -> int:
    """Write the page into a file."""
    source = _source(arguments)
    try:
        told = {"title": arguments.output_path, "report": source.report(arguments.calls)}
    finally:
        source.close()
    text = page(told, nonce=new_nonce(), is_report=True)
    with storage_errors(arguments.report):
        whole = atomic_file(os.path.abspath(arguments.report), mode=0o600)
        with whole as part, open(part, "w", encoding="utf-8") as file:
            file.write(text)
    console.say(f"{arguments.report}: {counted(len(text.encode()), 'byte')}")
    return OK


def _source(arguments: argparse.Namespace) -> Source:
    """Return what the page shows, once all its journals could be opened."""
    places = [_place(arguments.output_path, arguments.state_path)]
    places += [_place(path, None) for path in arguments.compare]
    return Source(places[0], places[1:])


def _place(output_path: str, state_path: str | None) -> StatePlace:
    folder = state_folder(output_path, state_path)
    try:
        JournalReader(folder).close()
    except JournalError as exc:
        if exc.__cause__ is not None:  # it is damaged
            raise
        raise UsageError(exc.message) from exc
    return StatePlace(output_path, folder)
