"""Find the journal of an output folder, or of an output."""

from __future__ import annotations

import os

from ..core.command_line import command
from ..core.errors import UsageError
from ..core.file_kinds import exists, is_file, is_folder
from ..core.filesystem import storage_error
from ..files.run_folders import local_root, parent_of
from ..files.run_lock import STATE_FOLDER, state_folder_of
from ..journal import JournalReader
from ..journal.schema import FILE_NAME


def state_folder(output_path: str, state_path: str | None) -> str:
    """Return the folder that holds the journal; OUT may also be what a single output was called.

    Raises:
        UsageError: no run has begun there.
        StorageError: it cannot be looked into.
    """
    root = local_root(output_path, state_path)
    candidates = [state_folder_of(root, state_path)]
    if state_path is None and not is_folder(root):
        candidates.append(f"{os.path.realpath(output_path)}.state")  # of `prompts`
        if is_file(root) or os.path.splitext(output_path)[1]:
            parent = local_root(parent_of(output_path))
            candidates.append(os.path.join(parent, STATE_FOLDER))
    for folder in candidates:
        if _is_there(folder):
            return folder
    raise UsageError(
        f"no run has begun in {output_path!r} (there is no {candidates[0]}); name the output "
        "folder of a run, and its --state-path if it had one"
    )


def _is_there(folder: str) -> bool:
    try:
        os.scandir(folder).close()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise storage_error(exc, folder) from exc
    return True


def journal_folder(output_path: str, state_path: str | None) -> str:
    """Return the folder that holds the journal of a run or of `prompts`.

    Raises:
        UsageError: no run has begun there, or only BatchFolder has worked there.
    """
    folder = state_folder(output_path, state_path)
    if not _has_runs(folder) and _has_batch_files(folder):
        raise UsageError(
            f"a folder of batch files was worked on in {output_path!r}; use "
            f"`{command('batch', 'status', output_path)}` or `{command('batch', 'failures')} ERR`"
        )
    return folder


def _has_runs(folder: str) -> bool:
    """Return whether hooks or prompts were run there, and not only batch files."""
    if not exists(os.path.join(folder, FILE_NAME)):
        return False
    with JournalReader(folder) as journal:
        return journal.has_files()


def _has_batch_files(folder: str) -> bool:
    from ..api.batch_folder.status import has_folder  # loads all that sends

    return has_folder(folder)
