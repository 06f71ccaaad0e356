"""Keep the jobs on disk, each in a file of its own that is whole at any time.

<state folder>/jobs/<id>.json     what is known of an input that is under way
<state folder>/work/<id>/         its lines and results, until they are in their place
<state folder>/salt               what fingerprints of keys are made with
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import suppress
from typing import BinaryIO

from ...core.errors import JournalError
from ...core.filesystem import atomic_file, private_folder, storage_error, storage_errors
from .job import Job, job_from_json, job_to_json

_SALT_BYTES = 16


class Shelf:
    """The jobs of one state folder; each job is used by one task at a time."""

    def __init__(self, state_folder: str) -> None:
        """Make what is missing.

        Raises:
            StorageError: the folder cannot be used.
        """
        root = private_folder(shelf_folder(state_folder))
        self._jobs = private_folder(os.path.join(root, "jobs"))
        self._work = private_folder(os.path.join(root, "work"))
        self.salt = _salt(root)

    def load(self) -> list[Job]:
        """Return all jobs, oldest first.

        Raises:
            JournalError: one cannot be read.
        """
        jobs = []
        for name in os.listdir(self._jobs):
            if name.endswith(".json"):
                with suppress(FileNotFoundError):  # a run that is on has come to its end
                    jobs.append(self._read(os.path.join(self._jobs, name)))
        return sorted(jobs, key=lambda job: (job.taken_wall_s, job.path))

    def save(self, job: Job) -> None:
        """Make a job durable.

        Raises:
            StorageError: the disk refused.
        """
        told = json.dumps(job_to_json(job), indent=1).encode()
        write_whole(self._path(job), told)

    def forget(self, job: Job) -> None:
        """Delete a job and what lies in its work folder."""
        shutil.rmtree(self._folder(job), ignore_errors=True)
        try:
            os.unlink(self._path(job))
        except FileNotFoundError:
            return
        except OSError as exc:
            raise storage_error(exc, self._path(job)) from exc

    def place(self, job: Job, name: str) -> str:
        """Return the path of a file of a job's own."""
        folder = self._folder(job)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return os.path.join(folder, name)

    def sweep(self, jobs: list[Job]) -> None:
        """Delete what a crash left: work folders of no known job, and files half written."""
        known = {job.id for job in jobs}
        for name in os.listdir(self._jobs):
            if not name.endswith(".json"):
                os.unlink(os.path.join(self._jobs, name))
        for name in os.listdir(self._work):
            if name not in known:
                shutil.rmtree(os.path.join(self._work, name), ignore_errors=True)

    def _folder(self, job: Job) -> str:
        return os.path.join(self._work, job.id)

    def _path(self, job: Job) -> str:
        return os.path.join(self._jobs, f"{job.id}.json")

    def _read(self, path: str) -> Job:
        try:
            with open(path, "rb") as file:
                return job_from_json(json.load(file))
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise storage_error(exc, path) from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise JournalError(
                f"{path!r} is not what this version writes; move it away to go on without it: its "
                "input is then asked again, and what it had at the provider is left there.",
                path=path,
            ) from exc


def shelf_folder(state_folder: str) -> str:
    """Return the folder of a shelf; it is there when a BatchFolder has worked with that state."""
    return os.path.join(state_folder, "batch_folder")


def write_whole(path: str, content: bytes) -> None:
    """Write a file so that a power cut leaves the old one or the new one.

    Raises:
        StorageError: the disk refused.
    """
    with storage_errors(path), atomic_file(path) as part, open(part, "wb") as file:
        file.write(content)


def sync(file: BinaryIO) -> None:
    """Bring what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())


def _salt(root: str) -> bytes:
    path = os.path.join(root, "salt")
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        salt = secrets.token_bytes(_SALT_BYTES)
        write_whole(path, salt)
        return salt
    except OSError as exc:
        raise storage_error(exc, path) from exc
