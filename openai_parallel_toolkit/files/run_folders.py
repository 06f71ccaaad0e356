"""Decide what the places mean that a user gave: folders, files and URLs of object stores."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

from ..core.errors import ConfigError
from . import match
from .inputs import Inputs, LocalInputs
from .match import Layout
from .output_tree import OutputTree
from .remote import RemoteInputs, RemoteTree
from .stores import Store, is_remote, open_store
from .stores.urls import RemotePlace, local_path, remote_place

_APP = "openai-parallel-toolkit"
_HASH_CHARS = 12
_ACCOUNT = re.compile(r"(?i)(?:^|;)\s*AccountName=([^;]+)")


def lay_out(
    input_path: str,
    output_path: str,
    *,
    output_names: str = "stem",
    state_path: str | None = None,
) -> Layout:
    """Decide what two paths or URLs mean; see `match.lay_out`.

    Args:
        state_path: where outputs that go to a URL are staged; None: in the user's state folder.

    Raises:
        ScanError: there is no such input, or it is neither a file nor a folder.
        ConfigError: the output folder is the input folder, or a file; or a URL cannot be used.
    """
    if not is_remote(input_path) and not is_remote(output_path):
        source, target = local_path(input_path), local_path(output_path)
        return match.lay_out(source, target, output_names=output_names)
    root, only = _find_input(input_path)
    output, stem = (output_path, None) if only is None else _split_output(output_path)
    if not is_remote(output):
        output = os.path.abspath(local_path(output))
        if os.path.isfile(output):
            raise ConfigError(f"output_path {output!r} is a file; the input is a folder.")
        url, output_root = None, output
    else:
        url = remote_place(output).url
        output_root = stand_in(output, state_path)
    if only is None and url == root:
        raise ConfigError(f"Outputs would lie among the inputs in {root!r}; choose another.")
    return Layout(
        input_root=root,
        output_root=output_root,
        output_url=url,
        only=only,
        output_stem=stem,
        output_names=output_names,
    )


def stand_in(url: str, state_path: str | None = None) -> str:
    """Return the local folder that stands for an output URL: state and staging are in it.

    Raises:
        ConfigError: the user's home cannot be found.
    """
    if state_path is not None:
        return os.path.join(os.path.abspath(state_path), "outputs")
    place = remote_place(url)
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    if not os.path.isabs(home):
        raise ConfigError(f"There is no home folder for the state of {place.url}; set state_path.")
    words = re.sub(r"[^A-Za-z0-9]+", "-", place.root)[-40:].strip("-")
    which = hashlib.sha256(_full_name(place, os.environ).encode()).hexdigest()[:_HASH_CHARS]
    return os.path.join(home, _APP, f"{words}-{which}")


def local_root(output_path: str, state_path: str | None = None) -> str:
    """Return the local folder for a path or URL: itself, or what stands for it."""
    if is_remote(output_path):
        return stand_in(output_path, state_path)
    return local_path(output_path)


def parent_of(place: str) -> str:
    """Return the folder, or URL, that a path or URL lies in."""
    if is_remote(place):
        return place.rstrip("/").rpartition("/")[0]
    return os.path.dirname(os.path.abspath(local_path(place)))


@contextmanager
def open_inputs(layout: Layout, state_folder: str) -> Iterator[Inputs]:
    """Open where inputs come from; listed now, when it is remote.

    Raises:
        ConfigError: a URL cannot be used.
    """
    if not is_remote(layout.input_root):
        yield LocalInputs(layout.input_root, never=(layout.output_root, state_folder))
        return
    with ExitStack() as stack:
        store: Store = stack.enter_context(closing(open_store(layout.input_root)))
        own = _below(layout.output_url, layout.input_root)
        yield stack.enter_context(closing(RemoteInputs(store, state_folder, own=own)))


@contextmanager
def open_outputs(layout: Layout, state_folder: str, staging_root: str) -> Iterator[OutputTree]:
    """Open where outputs go; listed now, when it is remote.

    Raises:
        ConfigError: a URL cannot be used.
    """
    if layout.output_url is None:
        closed = [state_folder, staging_root]
        if layout.only is None and not is_remote(layout.input_root):
            closed.append(layout.input_root)
        yield OutputTree(layout.output_root, closed=closed)
        return
    with ExitStack() as stack:
        store: Store = stack.enter_context(closing(open_store(layout.output_url)))
        inside = None if layout.only else _below(layout.input_root, layout.output_url)
        tree = RemoteTree(store, layout.output_root, state_folder, closed=inside)
        yield stack.enter_context(closing(tree))


def _find_input(input_path: str) -> tuple[str, str | None]:
    """Return the input folder or its URL, and the single input in it or None."""
    if not is_remote(input_path):
        return match.find_input(local_path(input_path))
    place = remote_place(input_path)
    if not place.prefix or input_path.endswith("/"):
        return place.url, None
    root, _, name = place.url.rpartition("/")
    with closing(open_store(root)) as store:
        return (root, name) if store.exists(name) else (place.url, None)


def _split_output(output_path: str) -> tuple[str, str | None]:
    """Return where the output of a single input goes, and its stem if the name is a file's."""
    if not is_remote(output_path):
        return match.split_output(local_path(output_path))
    root, _, name = output_path.rpartition("/")
    stem, extension = os.path.splitext(name)
    return (root, stem) if extension and remote_place(output_path).prefix else (output_path, None)


def _below(inner: str | None, outer: str | None) -> str | None:
    """Return the path of one URL below another; None: it is not below it."""
    if inner is None or outer is None or not is_remote(inner) or not is_remote(outer):
        return None
    one, other = remote_place(inner), remote_place(outer)
    accounts = {one.account, other.account} - {""}
    if one.service != other.service or len(accounts) > 1:
        return None
    if not one.root.startswith(f"{other.root}/"):
        return None
    return one.root[len(other.root) + 1 :]


def _full_name(place: RemotePlace, environment: Mapping[str, str]) -> str:
    """Return what tells a place from one of the same URL in another account or at another server.

    It holds no credentials.
    """
    where = ""
    if place.service == "abfs" and not place.account:
        found = _ACCOUNT.search(environment.get("AZURE_STORAGE_CONNECTION_STRING", ""))
        where = found[1] if found else environment.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    elif place.service == "s3":
        where = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL", "")
    return f"{where} {place.url}"
