"""Decide what the places mean that a user gave: folders, files and URLs of object stores."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from ..core.errors import ConfigError, ScanError
from ..core.file_kinds import is_file, is_folder
from .inputs import InputCopies, Inputs, LocalInputs
from .match import Layout
from .output_tree import OutputTree
from .remote import FETCHED, FetchedCopies, RemoteInputs, RemoteTree
from .stores import is_remote, open_store
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
    """Decide what the two paths or URLs that a user gave mean.

    With a single input, an output path that ends in an extension, or is a file already, names the
    output: its parent is the output folder, its stem the output's stem.

    Args:
        state_path: where outputs that go to a URL are staged; None: in the user's state folder.

    Raises:
        ScanError: there is no such input, or it is neither a file nor a folder.
        ConfigError: the output folder is the input folder, or a file; or a URL cannot be used.
    """
    root, only = _find_input(input_path)
    output, stem = (output_path, None) if only is None else _split_output(output_path)
    url = remote_place(output).url if is_remote(output) else None
    output_root = os.path.abspath(local_root(output, state_path))
    if url is None and is_file(output_root):
        raise ConfigError(f"output_path {output!r} is a file; the input is a folder.")
    if only is None and (url or os.path.realpath(output_root)) in (root, os.path.realpath(root)):
        raise ConfigError(f"Outputs would lie among the inputs in {root!r}; choose another.")
    return Layout(
        input_root=root,
        output_root=output_root,
        output_url=url,
        only=only,
        output_stem=stem,
        output_names=output_names,
    )


def local_root(output_path: str, state_path: str | None = None) -> str:
    """Return the local folder of an output: itself, or for a URL, where state and staging are."""
    if not is_remote(output_path):
        return local_path(output_path)
    if state_path is not None:
        return os.path.join(os.path.abspath(state_path), "outputs")
    place = remote_place(output_path)
    words = re.sub(r"[^A-Za-z0-9]+", "-", place.root)[-40:].strip("-")
    which = hashlib.sha256(_full_name(place).encode()).hexdigest()[:_HASH_CHARS]
    return user_state_folder(f"{words}-{which}", place.url)


def user_state_folder(name: str, what: str = "this work") -> str:
    """Return where a user's programs keep what they need again; `what` is it for.

    Raises:
        ConfigError: there is no home folder.
    """
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    if not os.path.isabs(home):
        raise ConfigError(f"There is no home folder for the state of {what}; set state_path.")
    return os.path.join(home, _APP, name)


def parent_of(place: str) -> str:
    """Return the folder, or URL, that a path or URL lies in."""
    if is_remote(place):
        return place.rstrip("/").rpartition("/")[0]
    return os.path.dirname(os.path.abspath(local_path(place)))


@contextmanager
def open_inputs(
    layout: Layout, state_folder: str, own_files: Sequence[str] = ()
) -> Iterator[Inputs]:
    """Open where inputs come from; listed now, when it is remote.

    Args:
        own_files: files that are no inputs: the configuration, a log.
    """
    if not is_remote(layout.input_root):
        never = (layout.output_root, state_folder, *own_files)
        yield LocalInputs(layout.input_root, never=never)
        return
    own = _below(layout.output_url, layout.input_root)
    with (
        closing(open_store(layout.input_root)) as store,
        closing(RemoteInputs(store, state_folder, own=own)) as inputs,
    ):
        yield inputs


@contextmanager
def open_copies(layout: Layout, state_folder: str) -> Iterator[InputCopies]:
    """Open where inputs come from for a process that is told which, beside that of the run."""
    if not is_remote(layout.input_root):
        yield LocalInputs(layout.input_root)
        return
    with closing(open_store(layout.input_root)) as store:
        yield FetchedCopies(store, os.path.join(state_folder, FETCHED))


@contextmanager
def open_outputs(layout: Layout, state_folder: str, staging_root: str) -> Iterator[OutputTree]:
    """Open where outputs go; listed now, when it is remote."""
    if layout.output_url is None:
        closed = [state_folder, staging_root]
        if layout.only is None and not is_remote(layout.input_root):
            closed.append(layout.input_root)
        yield OutputTree(layout.output_root, closed=closed)
        return
    inside = None if layout.only else _below(layout.input_root, layout.output_url)
    with (
        closing(open_store(layout.output_url)) as store,
        closing(RemoteTree(store, layout.output_root, state_folder, closed=inside)) as tree,
    ):
        yield tree


def _find_input(input_path: str) -> tuple[str, str | None]:
    """Return the input folder or its URL, and the single input in it or None."""
    if is_remote(input_path):
        place = remote_place(input_path)
        if not place.prefix or input_path.endswith("/"):
            return place.url, None
        root, _, name = place.url.rpartition("/")
        with closing(open_store(root)) as store:
            return (root, name) if store.exists(name) else (place.url, None)
    path = os.path.abspath(local_path(input_path))
    if is_folder(path):
        return path, None
    if is_file(path):
        return os.path.split(path)
    if os.path.lexists(path):
        raise ScanError(f"{path!r} is neither a file nor a folder.", path=path)
    raise ScanError(f"There is no input at {path!r}; mend input_path.", path=path)


def _split_output(output_path: str) -> tuple[str, str | None]:
    """Return where the output of a single input goes, and its stem if the name is a file's."""
    if is_remote(output_path):
        folder, _, name = output_path.rpartition("/")
        names_file = bool(remote_place(output_path).prefix and os.path.splitext(name)[1])
    else:
        path = local_path(output_path)
        folder, name = os.path.split(path)
        has_extension = os.path.splitext(name)[1] and not is_folder(path)
        names_file = bool(has_extension) or is_file(path)
    return (folder, os.path.splitext(name)[0]) if names_file else (output_path, None)


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


def _full_name(place: RemotePlace) -> str:
    """Return what tells a place from one of the same URL in another account or at another server.

    It holds no credentials.
    """
    where = ""
    if place.service == "abfs" and not place.account:
        found = _ACCOUNT.search(os.environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
        where = found[1] if found else os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    elif place.service == "s3":
        where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    return f"{where} {place.url}"
